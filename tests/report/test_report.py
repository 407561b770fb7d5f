"""The report says what the predictions say, in files that Git and DVC can compare."""

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
import yaml

from osler.build.section import BuildError
from osler.commands import show
from osler.evaluation.answered import EXPERTS
from osler.evaluation.task_predictions import GENERATIONS
from osler.report.cells import p_value, percent, points
from osler.report.corpus_sections import license_table, privacy_blocks
from osler.report.figures import curve_figure
from osler.report.method_sections import vllm_lines
from osler.report.page import markdown
from osler.report.sections import accuracy_table, chance_sentence, summary
from osler.statistics.accuracy import accuracies, bits_per_byte, chance_levels, in_order, mean_accuracies
from osler.statistics.intervals import Interval
from osler.statistics.settings import Statistics
from stages import report
from tests.report.test_page import PIXEL
from tests.support.browser import NAMES, PROGRAM, page

ROOT = Path(__file__).resolve().parents[2]
STATISTICS = Statistics(
    confidence=0.95, bootstrap_samples=200, bootstrap_seed=1, little_points=5.0, equivalence_points=2.0
)
MODELS = ("base", "base-sft", "base-neftune", "cpt", "cpt-sft", "cpt-neftune")
METRICS = ("benchmarks", "claims", "costs", "credit", "curve", "eval", "experts", "generation", "loss", "protocols")
PLOTS = ("accuracy", "bits_per_byte", "calibration", "curve", "frontier", "protocols")
FIGURES = ("accuracy", "bits_per_byte", "curve", "frontier", "protocols", "reliability", "training_loss")
HASH = "0123456789abcdef"


def answers(
    model: str, right: int, benchmark: str = "b", items: int = 40, protocol: str = "full_answer", **changes: Any
) -> pl.DataFrame:
    """Under each of two strategies the first `right` of `items` right, four options each, two items a group.

    Medprompt reads 300 tokens and generates 50 where zero-shot reads 30; under `generation` there are no likelihoods.
    """
    rows = [
        {
            "item_id": f"{benchmark}/{number:02d}",
            "benchmark": benchmark,
            "group": f"g{number // 2}",
            "strategy": strategy,
            "protocol": protocol,
            "model": model,
            "seed": 1,
            "draw": 0,
            "prediction": number % 4 if number < right else (number + 1) % 4,
            "gold": number % 4,
            "correct": number < right,
            "scores": [-1.0 + 0.9 * (place == (number if number < right else number + 1) % 4) for place in range(4)],
            "prompt_tokens": 300 if strategy == "medprompt" else 30,
            "generated_tokens": 50 if strategy == "medprompt" else 0,
            "truncated": False,
            "texts": [],
        }
        | changes
        for strategy in ("medprompt", "zero_shot")
        for number in range(items)
    ]
    return pl.DataFrame(rows, schema_overrides={"prediction": pl.Int64(), "texts": pl.List(pl.String)})


def facts(model: str, tokens: int | None) -> dict[str, Any]:
    """The contents of a model.json, its ledger in two epochs."""
    ledger = [
        {"run": run, "source": source, "license": license, "epoch": epoch, "tokens": 1500}
        for run, source, license in (("cpt", "notes", "CC-BY-4.0"), (model, "qa|set", "CC0-1.0"))
        for epoch in (1, 2)
        if run == model or model.startswith("cpt-")
    ]
    made = {
        "parameters": 1000,
        "steps": 7,
        "tokens": 3000,
        "inputs": {"model": "fedcba"},
        "settings": {"seed": 1, "config": {"model_type": "mistral", "num_hidden_layers": 2}},
        "token_ledger": ledger,
    }
    return {"continued_tokens": tokens, "protocol": "full_answer", "files": f"{HASH}-{model}", "provenance": made}


def documents(model: str, bits: float) -> pl.DataFrame:
    rows = [
        (f"{domain}/{n}", domain, "s", model, bits * (90 + n), 90 + n, 30)
        for domain in ("clinical", "general")
        for n in (0, 9)
    ]
    columns = ["doc_id", "domain", "source", "model", "bits", "bytes", "tokens"]
    return pl.DataFrame(rows, schema=columns, orient="row")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Predictions of six models, of which those after continued pretraining and fine-tuning know the answers."""
    for number, model in enumerate(MODELS):
        right = {"cpt-sft": 38, "cpt-neftune": 36}.get(model, 10)
        place = tmp_path / "predictions" / model
        place.mkdir(parents=True)
        letters = answers(model, right // 2, protocol="letter").filter(pl.col("strategy") == "zero_shot")
        pl.concat([answers(model, right), letters]).write_parquet(place / "predictions.parquet")
        documents(model, 2.0 - number / 10).write_parquet(place / "heldout.parquet")
        pl.DataFrame(schema=EXPERTS).write_parquet(place / "experts.parquet")
        pl.DataFrame(schema=GENERATIONS).write_parquet(place / "generations.parquet")
        (place / "model.json").write_text(json.dumps(facts(model, 4000 if model == "cpt" else None)))
    (tmp_path / "training").mkdir()
    for model in MODELS:
        log = "step,tokens,loss,learning_rate\n1,512,7.6,0.1\n2,1024,6.5,0.1\n"
        (tmp_path / f"training/{model}.csv").write_text(log)
    touched(tmp_path, [])
    (tmp_path / "plan").mkdir()
    sources = {
        "notes": {"rows": 3, "tokens": 3000, "epochs": 1.5, "tokens_per_license": {"CC0-1.0": 3000}},
        "towns": {"rows": 1, "tokens": 1000, "epochs": 0.5},
    }
    (tmp_path / "plan/plan.json").write_text(json.dumps({"tokens": 4000, "sources": sources}))
    dropped = {"source": "notes", "documents": 9, "kept": 7, "dropped": {"near_duplicate": 2}}
    others = {"corpus": {"sources": [dropped]}, "conversations": {"sources": [{"source": "clinical_qa"}]}, "judged": {}}
    others |= {"contamination": {"documents_dropped": 3, "shared": []}, "phi": {"identifiers_found": 0, "sources": []}}
    for name, value in others.items():
        write(tmp_path, name, value)
    return tmp_path


def write(folder: Path, name: str, value: object) -> None:
    """A metrics file of an earlier stage."""
    (folder / f"{name}.json").write_text(json.dumps(value))


def touched(folder: Path, items: list[str]) -> None:
    """Say that the corpus touches `items` of benchmark b."""
    rows = [("b", f"b/{item}", 1) for item in items]
    schema = {"benchmark": pl.String, "item_id": pl.String, "documents": pl.UInt32}
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(folder / "touched.parquet")


def build(folder: Path, out: str = "metrics", drawn: bool = False) -> Path:
    """Run the stage, its pictures a dot unless `drawn`, which takes ten times as long; returns the folder of its metrics."""
    metrics = folder / out
    with ExitStack() as stack:
        if not drawn:
            stack.enter_context(patch.object(report, "figures_of", return_value=dict.fromkeys(FIGURES)))
            stack.enter_context(patch.object(report, "png", return_value=PIXEL))
        report.main(
            plan=folder / "plan",
            predictions=folder / "predictions",
            touched=folder / "touched.parquet",
            training=folder / "training",
            contamination=folder / "contamination.json",
            conversations=folder / "conversations.json",
            judged=folder / "judged.json",
            corpus=folder / "corpus.json",
            phi=folder / "phi.json",
            cards=metrics / "cards",
            report=(metrics / "report.html", metrics / "report.md"),
            figures=metrics / "figures",
            plots=tuple(metrics / f"plots/{name}.csv" for name in PLOTS),
            statistics=STATISTICS,
            **{name: metrics / f"{name}.json" for name in METRICS},
        )
    return metrics


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_expert_loads_by_eye(folder: Path) -> None:
    """Of a dense model nothing; of a mixture entropy 1 where tokens are even, the mean over layers, and the shares."""
    assert read(build(folder) / "experts.json") == {}
    rows = [("clinical", "cpt", layer, e, n) for layer, own in enumerate([(5, 5), (8, 0)]) for e, n in enumerate(own)]
    pl.DataFrame(rows, schema=EXPERTS, orient="row").write_parquet(folder / "predictions/cpt/experts.parquet")
    assert read(build(folder) / "experts.json") == {
        "entropy": {"clinical": {"cpt": 0.5}},
        "load": [
            {"domain": "clinical", "model": "cpt", "layer": 0, "shares": [0.5, 0.5]},
            {"domain": "clinical", "model": "cpt", "layer": 1, "shares": [1.0, 0.0]},
        ],
    }


def test_numbers_by_eye(folder: Path) -> None:
    """38 of 40 are 0.95 in eval.json and benchmarks.json, and 1.6 bits per byte are 1.6 in loss.json."""
    metrics = build(folder)
    assert read(metrics / "eval.json")["zero_shot"]["cpt-sft"] == 0.95
    benchmark = read(metrics / "benchmarks.json")["benchmarks"][0]
    assert benchmark["chance"] == 0.25
    cell = benchmark["zero_shot"]["cpt-sft"]
    assert cell["items"] == 40
    assert 0.7 < cell["low"] < cell["accuracy"] == 0.95 < cell["high"] < 1
    assert read(metrics / "loss.json")["general"] == {model: 2.0 - n / 10 for n, model in enumerate(MODELS)}
    assert read(metrics / "claims.json")["cpt_strengthens_sft"]["verdict"] == "supported on 1 seed"


def test_accuracy_without_touched_items_stands_beside_the_full_score(folder: Path) -> None:
    """Of 40 items, 38 right, two right ones are touched: 36 of 38 are left; untouched benchmarks say so."""
    assert "No document that was kept shares" in (build(folder) / "report.md").read_text()
    touched(folder, ["00", "01"])
    metrics = build(folder, "again")
    cell = read(metrics / "benchmarks.json")["benchmarks"][0]["zero_shot"]["cpt-sft"]
    assert (cell["accuracy"], cell["untouched"]) == (0.95, {"accuracy": round(36 / 38, 6), "items": 38})
    text = (metrics / "report.md").read_text()
    assert "b: 2 of 40 items share" in text
    assert "| `cpt-sft` | 94.7 [" in text


def test_the_report_can_be_read_alone(folder: Path) -> None:
    """Results with intervals, chance, claims with verdicts, the mixture and how to compare: all in one page."""
    text = (build(folder) / "report.md").read_text()
    assert "| `cpt-sft` | 95.0 [" in text
    assert "Guessing gives 25.0 %. At chance, marked †" in text
    assert "**supported on 1 seed** | +70.0 | [" in text
    assert "| notes | 3,000 | 75.0 % | 1.50 |" in text
    assert "| CC-BY-4.0 | notes | cpt | 3,000 |" in text
    assert "| CC0-1.0 | qa\\|set | base, base-sft, base-neftune, cpt, cpt-sft, cpt-neftune | 3,000 |" in text
    assert "| notes | 2 near_duplicate | 9 | 7 |" in text
    assert "read by the protocol `full_answer`, with 95 % intervals" in text
    assert "No prompt was cut" in text
    assert "nan" not in text


def test_same_predictions_same_bytes(folder: Path) -> None:
    """Two runs write the same metrics, tables and pictures."""
    first, second = build(folder, "one", drawn=True), build(folder, "two", drawn=True)
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) == len(METRICS) + len(PLOTS) + len(FIGURES) + len(MODELS) + 2
    for path in files:
        assert (first / path).read_bytes() == (second / path).read_bytes(), path


def test_dvc_sees_a_column_a_headline_and_no_nan(folder: Path) -> None:
    """Outside lists, which DVC leaves out, there are accuracies, losses, effects and verdicts; NaN is nowhere."""

    def columns(value: object) -> int:
        if isinstance(value, Mapping):
            return sum(columns(inner) for inner in value.values())
        assert isinstance(value, list | int | float | str)
        assert value == value
        return 0 if isinstance(value, list) else 1

    metrics = build(folder)
    found = {name: count for name in METRICS if (count := columns(read(metrics / f"{name}.json")))}
    assert found == {"claims": 8, "curve": 5, "eval": 12, "loss": 12}


def test_plots_are_tables(folder: Path) -> None:
    """One row a result, with its bounds, models in the order they are built."""
    metrics = build(folder)
    accuracy = pl.read_csv(metrics / "plots/accuracy.csv")
    assert accuracy["model"].to_list() == [*MODELS] * 2
    assert accuracy["strategy"].to_list() == ["zero_shot"] * 6 + ["medprompt"] * 6
    bits = pl.read_csv(metrics / "plots/bits_per_byte.csv")
    assert bits.filter(pl.col("arm") == "general cpt-sft")["bits_per_byte"].to_list() == [1.6]


def test_a_curve_without_a_point_is_a_table_with_its_columns(folder: Path) -> None:
    """Where only fine-tuned models are evaluated; its figure has no legend, and no warning."""
    header = (build(folder) / "plots/curve.csv").read_text().splitlines()[0]
    for model in ("base", "cpt"):
        (folder / f"predictions/{model}/predictions.parquet").unlink()
    assert (build(folder, "tuned") / "plots/curve.csv").read_text() == f"{header}\n"
    assert curve_figure({"accuracy": {"annealed": []}}).axes[0].get_legend() is None


def test_a_second_benchmark_counts_as_much_as_the_first(folder: Path) -> None:
    """The headline is the mean over benchmarks, whatever their size, and both are in the report."""
    for model in MODELS:
        place = folder / "predictions" / model / "predictions.parquet"
        pl.concat([pl.read_parquet(place), answers(model, 2, "c", 4)]).write_parquet(place)
    metrics = build(folder)
    assert read(metrics / "eval.json")["zero_shot"]["base"] == (10 / 40 + 2 / 4) / 2
    assert "### c" in (metrics / "report.md").read_text()


def test_a_report_without_a_tested_claim_names_no_margin(folder: Path) -> None:
    """One model under one strategy: none of the claims can be tested, and no margin of 0 points is told."""
    assert "lies within +-2 points" in (build(folder) / "report.md").read_text()
    for model in MODELS[1:]:
        (folder / f"predictions/{model}/predictions.parquet").unlink()
    answers("base", 10)[40:].write_parquet(folder / "predictions/base/predictions.parquet")
    text = (build(folder, "alone") / "report.md").read_text()
    assert "1 model, 1 strategy, 1 training seed" in text
    assert "lies within" not in text


def test_show_prints_what_the_report_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same summary from the files alone, with where to look next; before any build a hint instead."""
    build(folder)
    printed = capsys.readouterr().out
    (folder / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    show.say(folder)
    said = capsys.readouterr()
    assert (said.out, "nothing has been built here" in said.err) == (printed, True)
    assert "Where to look next: metrics/report.md, metrics/figures/" in printed
    (folder / "metrics/eval.json").unlink()
    with pytest.raises(BuildError, match="no build has finished"):
        show.say(folder)


def test_no_predictions_is_an_error(tmp_path: Path) -> None:
    """An empty folder is said in one line."""
    (tmp_path / "predictions").mkdir()
    with pytest.raises(BuildError, match="no model has predictions"):
        build(tmp_path)


def test_the_report_does_not_import_torch() -> None:
    """It runs on a machine that only looks at results, in a second or two."""
    code = "import sys, stages.report, osler.commands.show; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_models_are_ordered_as_they_are_built() -> None:
    """Each start before its fine-tunings, NEFTune after plain fine-tuning."""
    assert in_order(["cpt-sft", "base-neftune", "cpt", "base-sft", "base", "base"]) == [
        *("base", "base-sft", "base-neftune", "cpt", "cpt-sft")
    ]


def test_chance_is_the_mean_over_items() -> None:
    """Two items of two and of four options: guessing gets three eighths."""
    rows = pl.DataFrame({"item_id": ["a", "b"], "benchmark": ["x", "x"], "scores": [[0.0] * 2, [0.0] * 4]})
    assert chance_levels(pl.concat([rows, rows])) == {"x": 0.375}


def test_cells_by_eye() -> None:
    """Accuracy by benchmark, strategy and model, and bits per byte by domain, as sums over sums."""
    cells = accuracies(answers("base", 10), 0.95)
    assert cells["b", "zero_shot", "base"].share.estimate == 0.25
    assert (cells["b", "zero_shot", "base"].items, cells["b", "zero_shot", "base"].groups) == (40, 20)
    assert mean_accuracies(answers("base", 10), 0.95)["zero_shot", "base"].estimate == pytest.approx(0.25)
    assert bits_per_byte(documents("base", 1.5), 0.95)["clinical", "base"].estimate == pytest.approx(1.5)


def test_results_at_chance_are_marked() -> None:
    """An interval that holds the chance level is marked, and the sentence names it; others are not."""
    cells = {("zero_shot", "base"): Interval(0.3, 0.2, 0.4), ("zero_shot", "cpt"): Interval(0.9, 0.8, 0.95)}
    table = markdown([accuracy_table(cells, 0.25)])
    assert "| `base` | 30.0 [20.0, 40.0] † |" in table
    assert "| `cpt` | 90.0 [80.0, 95.0] |" in table
    assert chance_sentence(cells, 0.25).endswith("intervals that include it: zero_shot of base.")
    assert chance_sentence(cells, 0.5) == "Guessing gives 50.0 %. No interval includes it."
    cells |= {("few_shot", model): Interval(0.3, 0.2, 0.4) for model in ("base", "cpt")}
    assert chance_sentence(cells, 0.25).endswith("include it: all strategies of base; few_shot of cpt.")


@pytest.mark.parametrize(("p", "text"), [(0.0004, "< 0.001"), (0.0314, "0.031"), (1.0, "1.000")])
def test_p_values_are_short(p: float, text: str) -> None:
    """Three decimals, and no zero."""
    assert p_value(p) == text


def test_tables_by_eye() -> None:
    """Percent and points with their intervals."""
    assert points(Interval(0.012, -0.003, 0.027)) == "+1.2 [-0.3, +2.7]"
    assert percent(Interval(0.5, 0.4, 0.61)) == "50.0 [40.0, 61.0]"


def test_summary_leaves_out_what_is_not_there() -> None:
    """A model without a strategy has an empty place, a claim that was not tested no numbers."""
    accuracy = {"zero_shot": {"base": 0.5, "cpt": 0.6}, "few_shot": {"cpt": 0.7}}
    claims = {"k": {"sentence": "It helps.", "verdict": "not tested: no predictions for cpt"}}
    lines = summary(accuracy, {"b": {"chance": 0.25}}, claims, "r.md", "f").split("\n")
    assert lines[1].split() == ["zero_shot", "50.0", "60.0"]
    assert lines[2].split() == ["few_shot", "70.0"]
    assert "not tested: no predictions for cpt: It helps." in lines


def test_costs_and_frontier_by_eye(folder: Path) -> None:
    """Zero-shot reads 30 tokens, Medprompt 300 and writes 50; where both are right as often only the cheap one is worth it."""
    better = folder / "predictions/cpt/predictions.parquet"
    rows = pl.read_parquet(better)
    rest = rows.filter((pl.col("strategy") == "zero_shot") | (pl.col("item_id") > "b/19"))
    gained = answers("cpt", 20).filter((pl.col("strategy") == "medprompt") & (pl.col("item_id") <= "b/19"))
    pl.concat([rest, gained]).write_parquet(better)
    metrics = build(folder)
    costs = {(row["strategy"], row["model"]): row for row in read(metrics / "costs.json")["costs"]}
    assert costs["medprompt", "base"]["read_tokens"] == 300
    assert costs["medprompt", "base"]["tokens"] == 350
    assert [row["model"] for row in costs.values() if row["frontier"] and row["strategy"] == "medprompt"] == ["cpt"]
    text = (metrics / "report.md").read_text()
    assert "| `base` | 30 + 0 ‡ | 300 + 50 |" in text
    assert "| `cpt` | 30 + 0 ‡ | 300 + 50 ‡ |" in text


def test_protocols_stand_side_by_side(folder: Path) -> None:
    """Of 40 items cpt-sft has 38 right in the headline and 19 by letter, agreeing on 21; headline results stay its own."""
    metrics = build(folder)
    accuracy = {(row["protocol"], row["model"]): row for row in read(metrics / "protocols.json")["accuracy"]}
    assert accuracy["letter", "cpt-sft"]["accuracy"] == 0.475
    assert accuracy["full_answer", "cpt-sft"]["headline"]
    assert read(metrics / "eval.json")["zero_shot"]["cpt-sft"] == 0.95
    text = (metrics / "report.md").read_text()
    assert "| model | full_answer | letter |" in text
    assert "| `cpt-sft` | 52.5 (" in text
    plot = pl.read_csv(metrics / "plots/protocols.csv")
    assert plot["arm"].to_list()[:2] == ["full_answer base", "full_answer base-sft"]
    assert pl.read_csv(metrics / "plots/calibration.csv")["items"].sum() == 2 * 6 * 40


def test_answers_that_could_not_be_read_are_counted(folder: Path) -> None:
    """Three of 40 have no prediction: they are wrong, and the table says 3 of 40; without any it says none."""
    assert "None of 720." in (build(folder, "before") / "report.md").read_text()
    place = folder / "predictions/cpt/predictions.parquet"
    unread = (pl.col("protocol") == "letter") & pl.col("item_id").is_in(["b/30", "b/31", "b/32"])
    rows = pl.read_parquet(place).with_columns(
        prediction=pl.when(~unread).then("prediction"), correct=pl.col("correct") & ~unread
    )
    rows.write_parquet(place)
    text = (build(folder) / "report.md").read_text()
    assert "| model | zero_shot, letter |\n| --- | ---: |\n| `cpt` | 3 of 40 |" in text


def test_a_strategy_asked_fewer_items_is_named(folder: Path) -> None:
    """Its accuracy stands beside those on all items, so the page says on how many it rests."""
    for model in MODELS:
        path = folder / "predictions" / model / "predictions.parquet"
        rows = pl.read_parquet(path)
        rows.filter((pl.col("strategy") == "zero_shot") | (pl.col("item_id") < "b/30")).write_parquet(path)
    text = (build(folder) / "report.md").read_text()
    assert "b: 40 items in 20 groups. On fewer items: medprompt, 30 of b." in text


def test_the_spread_over_draws_stands_below_their_mean(folder: Path) -> None:
    """Draws with 10 and 20 of 40 right: 37.5 in the table, 25.0 to 50.0 below it."""
    place = folder / "predictions/base/predictions.parquet"
    pl.concat([pl.read_parquet(place), answers("base", 20, draw=1)]).write_parquet(place)
    text = (build(folder) / "report.md").read_text()
    assert "| `base` | 37.5 [" in text
    assert "| `base` | 25.0 to 50.0 (sd 17.7) | 25.0 to 50.0 (sd 17.7) |" in text


def test_credit_adds_up_in_the_report(folder: Path) -> None:
    """Six models under two strategies are a whole factorial; without one of them there is no section."""
    metrics = build(folder, "before")
    (credit,) = read(metrics / "credit.json")["credit"]
    assert sum(step["estimate"] for step in credit["steps"]) == pytest.approx(credit["total"]["estimate"], abs=1e-5)
    assert "| **together** | **+" in (metrics / "report.md").read_text()
    for file in (folder / "predictions/base-sft").iterdir():
        file.unlink()
    metrics = build(folder)
    assert read(metrics / "credit.json") == {"credit": []}
    assert "## Credit" not in (metrics / "report.md").read_text()


def test_only_one_headline(folder: Path) -> None:
    """Models read by different protocols do not stand in one table."""
    place = folder / "predictions/cpt/model.json"
    place.write_text(json.dumps(facts("cpt", None) | {"protocol": "letter"}))
    with pytest.raises(BuildError, match="different protocols: full_answer, letter; run `dvc repro evaluate`"):
        build(folder)


def test_recall_of_the_screening_by_eye() -> None:
    """All classes first, then each; where nothing was screened it says so."""
    rows = [
        {"kind": kind, "planted": 10, "found": found, "recall": found / 10, "low": 0.2, "high": 0.99}
        for kind, found in (("name", 9), ("all", 8))
    ]
    phi = {"identifiers_found": 1234, "sources": [{"source": "notes", "action": "redact", "classes": rows}]}
    text = markdown(privacy_blocks(phi))
    assert "1,234 identifiers of patients" in text
    assert (
        "| notes | redact | **all classes** | 10 | 8 | **80.0 [20.0, 99.0]** |\n|  |  | name | 10 | 9 | 90.0 [" in text
    )
    assert "none was screened" in markdown(privacy_blocks({"identifiers_found": 0, "sources": []}))


def test_tokens_by_license_count_a_run_once() -> None:
    """Two models made from one base show its tokens once; two epochs are one sum; runs that read as much share a row."""
    base = [{"run": "base", "source": "s", "license": "L", "epoch": epoch, "tokens": 5} for epoch in (1, 2)]
    tuned = [{"run": "base-sft", "source": "q", "license": "K", "epoch": 1, "tokens": 3}]
    table = license_table({"base": base, "base-sft": [*base, *tuned], "base-x": [*base, tuned[0] | {"run": "base-x"}]})
    assert table.rows == [["K", "q", "base-sft, base-x", "3"], ["L", "s", "base", "10"]]


def test_a_card_is_what_the_hub_reads(folder: Path) -> None:
    """Front matter with license and tags, the hash of the files, training runs, results, and that it is not for patients."""
    text = (build(folder) / "cards/cpt-neftune.md").read_text()
    _, head, body = text.split("---\n", 2)
    front = yaml.safe_load(head)
    assert (front["license"], front["language"]) == ("other", ["en"])
    assert "base_model" not in front
    assert f"`{HASH}-cpt-neftune`" in body
    assert "in their order: `cpt` `cpt-neftune`." in body
    assert "| `cpt` | notes | CC-BY-4.0 | 3,000 | 2 |" in body
    assert "* CC0-1.0: 3,000 tokens, 50.0 %" in body
    assert "| zero_shot | 90.0 [" in body
    assert "Not for clinical use" in body
    downloaded = facts("base", None) | {"provenance": {"repository": "org/base", "revision": "abc", "inputs": {}}}
    (folder / "predictions/base/model.json").write_text(json.dumps(downloaded))
    metrics = build(folder, "downloaded")
    assert "base_model: org/base\n" in (metrics / "cards/cpt.md").read_text()
    assert "Nothing in this build" in (metrics / "cards/base.md").read_text()


@pytest.mark.skipif(PROGRAM is None, reason=f"no browser is installed: none of {', '.join(NAMES)}")
def test_the_page_in_a_browser(folder: Path) -> None:
    """It shows all pictures, complains of nothing, asks for nothing but itself, and fits screens of both widths."""
    metrics = build(folder, drawn=True)
    with page() as tab:
        for width, dark in ((1280, False), (400, False), (400, True)):
            tab.open(metrics / "report.html", width, dark)
            assert tab.complaints() == []
            assert tab.value("document.documentElement.scrollWidth") <= width
            assert [address for address in tab.requests() if not address.startswith("data:")] == [
                (metrics / "report.html").as_uri()
            ]
            widths = tab.value("[...document.images].map(image => image.naturalWidth)")
            assert len(widths) == len(FIGURES) - 1  # no curve without a trunk
            assert min(widths) > 0
        assert tab.value("document.title") == "Report"
        assert "| model |" not in tab.value("document.body.innerText")
        assert tab.value("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        cells = tab.value("[...document.querySelectorAll('td')].map(cell => cell.innerText)")
        assert "qa|set" in cells


@pytest.mark.skipif(PROGRAM is None, reason=f"no browser is installed: none of {', '.join(NAMES)}")
@pytest.mark.parametrize(
    "broken", ["<script>throw 1</script>", '<img src="http://127.0.0.1:9/x.png">', "<p>" + "x" * 999]
)
def test_the_browser_sees_what_is_wrong(tmp_path: Path, broken: str) -> None:
    """A script, a picture from elsewhere and a line that does not wrap are noticed, so that the test above can fail."""
    (tmp_path / "page.html").write_text(f"<!doctype html><html><body>{broken}</body></html>")
    with page() as tab:
        tab.open(tmp_path / "page.html", 400)
        tab.value("1")
        found = (
            bool(tab.complaints()),
            len(tab.requests()) > 1,
            tab.value("document.documentElement.scrollWidth") > 400,
        )
    assert any(found)


def test_what_vllm_computed_is_named() -> None:
    """A line for each way with its models; nothing where transformers did."""
    whole, written = ({"version": "0.32.0", "scores": scores} for scores in (True, False))
    made: dict[str, dict[str, Any]] = {
        "base": {"vllm": whole},
        "sft": {"vllm": None},
        "cpt": {"vllm": whole},
        "cpt-sft": {"vllm": written},
    }
    assert vllm_lines(made) == [
        "vLLM 0.32.0 wrote and scored the answers of base, cpt.",
        "vLLM 0.32.0 wrote the answers of cpt-sft.",
    ]
    assert vllm_lines({"base": {}}) == []


def test_seeds_stand_apart_and_in_the_intervals(folder: Path) -> None:
    """Zero-shot of three seeds with 10, 14 and 18 of 40 right: their mean, a table of seeds, and nothing of seeds not covered."""
    alone = build(folder, "alone")
    assert "### Seeds" not in (alone / "report.md").read_text()
    assert "They do not cover training: 1 seed" in (alone / "report.md").read_text()
    assert "Intervals do not cover training seeds." in (alone / "cards/cpt.md").read_text()
    for model in MODELS:
        place = folder / "predictions" / model / "predictions.parquet"
        more = [
            answers(model, right, seed=seed).filter(pl.col("strategy") == "zero_shot")
            for seed, right in ((2, 14), (3, 18))
        ]
        first = pl.read_parquet(place)
        if model == "cpt":
            first = first.filter((pl.col("strategy") == "zero_shot") | (pl.col("item_id") < "b/20"))
        pl.concat([first, *more]).write_parquet(place)
    metrics = build(folder)
    assert read(metrics / "eval.json")["zero_shot"]["base"] == pytest.approx((10 + 14 + 18) / 120, abs=1e-6)
    cells = {own["benchmark"]: own for own in read(metrics / "benchmarks.json")["benchmarks"]}["b"]
    assert (cells["zero_shot"]["base"]["seeds"], cells["medprompt"]["base"]["seeds"]) == (3, 1)
    assert (cells["zero_shot"]["base"]["items"], cells["medprompt"]["base"]["items"]) == (40, 40)
    text = (metrics / "report.md").read_text()
    assert "| model | strategy | seed 1 | seed 2 | seed 3 | sd |" in text
    assert "| `base` | zero_shot | 25.0 | 35.0 | 45.0 | 10.0 |" in text
    assert "Over 3 training seeds, fewer for medprompt (1); compare these with that seed's zero-shot" in text
    assert "They cover training seeds too" in text
    assert "do not cover training" not in text
    assert "Draws of exemplars" not in text
    assert "over training seeds, which the intervals cover too: zero_shot (3); the others are of one seed." in (
        (metrics / "cards/cpt.md").read_text().replace("\n", " ")
    )
    claims = read(metrics / "claims.json")
    assert claims["cpt_strengthens_sft"]["verdict"] == "undecided"
    assert claims["medprompt_beats_zero_shot"]["verdict"].endswith(" on 1 seed")
    assert read(metrics / "credit.json")["credit"][0]["seeds"] == 1
