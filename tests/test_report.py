"""The report says what the predictions say, in files that Git and DVC can compare."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stages import report, show
from stages.evaluate import EXPERTS
from stages.lib.intervals import Interval
from stages.lib.results import accuracies, bits_per_byte, chance_levels, in_order, mean_accuracies
from stages.lib.section import BuildError
from stages.lib.tables import accuracy_table, chance_sentence, markdown_table, p_value, percent, summary
from stages.report import Statistics

ROOT = Path(__file__).resolve().parents[1]
STATISTICS = Statistics(
    confidence=0.95, bootstrap_samples=200, bootstrap_seed=1, little_points=5.0, equivalence_points=2.0
)
MODELS = ("base", "base-sft", "base-neftune", "cpt", "cpt-sft", "cpt-neftune")
FILES = ("benchmarks.json", "claims.json", "curve.json", "eval.json", "experts.json", "loss.json", "report.md")


def answers(model: str, right: int, benchmark: str = "b", items: int = 40) -> pl.DataFrame:
    """Under each of two strategies the first `right` of `items` right, four options each, two items a group."""
    return pl.DataFrame(
        [
            {
                "item_id": f"{benchmark}/{number:02d}",
                "benchmark": benchmark,
                "group": f"g{number // 2}",
                "strategy": strategy,
                "model": model,
                "protocol": "full_answer",
                "seed": 1,
                "draw": 0,
                "correct": number < right,
                "scores": [0.0, -1.0, -2.0, -3.0],
                "truncated": False,
            }
            for strategy in ("medprompt", "zero_shot")
            for number in range(items)
        ]
    )


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
        answers(model, right).write_parquet(place / "predictions.parquet")
        documents(model, 2.0 - number / 10).write_parquet(place / "heldout.parquet")
        pl.DataFrame(schema=EXPERTS).write_parquet(place / "experts.parquet")
        (place / "model.json").write_text(json.dumps({"continued_tokens": 4000 if model == "cpt" else None}))
    (tmp_path / "training").mkdir()
    for model in MODELS:
        (tmp_path / f"training/{model}.csv").write_text(
            "step,tokens,loss,learning_rate\n1,512,7.6,0.1\n2,1024,6.5,0.1\n"
        )
    touched(tmp_path, [])
    (tmp_path / "plan").mkdir()
    sources = {
        "notes": {"rows": 3, "tokens": 3000, "epochs": 1.5, "tokens_per_license": {"CC0-1.0": 3000}},
        "towns": {"rows": 1, "tokens": 1000, "epochs": 0.5},
    }
    (tmp_path / "plan/plan.json").write_text(json.dumps({"tokens": 4000, "sources": sources}))
    return tmp_path


def touched(folder: Path, items: list[str]) -> None:
    """Say that the corpus touches `items` of benchmark b."""
    rows = [("b", f"b/{item}", 1) for item in items]
    schema = {"benchmark": pl.String, "item_id": pl.String, "documents": pl.UInt32}
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(folder / "touched.parquet")


def build(folder: Path, out: str = "metrics") -> Path:
    """Run the stage; returns the folder of its metrics."""
    metrics = folder / out
    names = {name.split(".")[0]: metrics / name for name in FILES}
    report.main(
        plan=folder / "plan",
        predictions=folder / "predictions",
        touched=folder / "touched.parquet",
        training=folder / "training",
        figures=metrics / "figures",
        plots=(metrics / "plots/accuracy.csv", metrics / "plots/bits_per_byte.csv", metrics / "plots/curve.csv"),
        statistics=STATISTICS,
        **names,
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
    assert "Guessing gives 25.0 %. At chance, marked `~`" in text
    assert "**supported on 1 seed** | +70.0 | [" in text
    assert "| notes | 3,000 | 75.0 % | 1.50 |" in text
    assert "| CC0-1.0 | 3,000 | 100.0 % |" in text
    assert "No prompt was cut" in text
    assert "nan" not in text


def test_same_predictions_same_bytes(folder: Path) -> None:
    """Two runs write the same metrics, tables and pictures."""
    first, second = build(folder, "one"), build(folder, "two")
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) == 14
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
    found = {name: columns(read(metrics / name)) for name in FILES[:-1]}
    assert found == {
        "benchmarks.json": 0, "claims.json": 8, "curve.json": 5, "eval.json": 12, "experts.json": 0, "loss.json": 12
    }  # fmt: skip


def test_plots_are_tables(folder: Path) -> None:
    """One row a result, with its bounds, models in the order they are built."""
    metrics = build(folder)
    accuracy = pl.read_csv(metrics / "plots/accuracy.csv")
    assert accuracy["model"].to_list() == [*MODELS] * 2
    assert accuracy["strategy"].to_list() == ["zero_shot"] * 6 + ["medprompt"] * 6
    bits = pl.read_csv(metrics / "plots/bits_per_byte.csv")
    assert bits.filter(pl.col("arm") == "general cpt-sft")["bits_per_byte"].to_list() == [1.6]


def test_a_second_benchmark_counts_as_much_as_the_first(folder: Path) -> None:
    """The headline is the mean over benchmarks, whatever their size, and both are in the report."""
    for model in MODELS:
        place = folder / "predictions" / model / "predictions.parquet"
        pl.concat([pl.read_parquet(place), answers(model, 2, "c", 4)]).write_parquet(place)
    metrics = build(folder)
    assert read(metrics / "eval.json")["zero_shot"]["base"] == (10 / 40 + 2 / 4) / 2
    assert "### c" in (metrics / "report.md").read_text()


def test_show_prints_what_the_report_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same summary from the files alone, with where to look next; before any build a hint instead."""
    build(folder)
    printed = capsys.readouterr().out
    (folder / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    show.main(folder)
    assert capsys.readouterr().out == printed
    assert "Where to look next: metrics/report.md, metrics/figures/" in printed
    (folder / "metrics/eval.json").unlink()
    with pytest.raises(SystemExit, match="no build has finished"):
        show.main(folder)


def test_no_predictions_is_an_error(tmp_path: Path) -> None:
    """An empty folder is said in one line."""
    (tmp_path / "predictions").mkdir()
    with pytest.raises(BuildError, match="no model has predictions"):
        build(tmp_path)


def test_the_report_does_not_import_torch() -> None:
    """It runs on a machine that only looks at results, in a second or two."""
    code = "import sys, stages.report, stages.show; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
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
    assert mean_accuracies(cells)["zero_shot", "base"].estimate == pytest.approx(0.25)
    assert bits_per_byte(documents("base", 1.5), 0.95)["clinical", "base"].estimate == pytest.approx(1.5)


def test_results_at_chance_are_marked() -> None:
    """An interval that holds the chance level is marked, and the sentence names it; others are not."""
    cells = {("zero_shot", "base"): Interval(0.3, 0.2, 0.4), ("zero_shot", "cpt"): Interval(0.9, 0.8, 0.95)}
    assert "| `base` | 30.0 [20.0, 40.0] ~ |" in accuracy_table(cells, 0.25)
    assert "| `cpt` | 90.0 [80.0, 95.0] |" in accuracy_table(cells, 0.25)
    assert chance_sentence(cells, 0.25).endswith("intervals that include it: zero_shot of base.")
    assert chance_sentence(cells, 0.5) == "Guessing gives 50.0 %. No interval includes it."


@pytest.mark.parametrize(("p", "text"), [(0.0004, "< 0.001"), (0.0314, "0.031"), (1.0, "1.000")])
def test_p_values_are_short(p: float, text: str) -> None:
    """Three decimals, and no zero."""
    assert p_value(p) == text


def test_tables_by_eye() -> None:
    """Markdown with numbers flush right."""
    assert markdown_table(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
    assert percent(Interval(0.5, 0.4, 0.61)) == "50.0 [40.0, 61.0]"


def test_summary_leaves_out_what_is_not_there() -> None:
    """A model without a strategy has an empty place, a claim that was not tested no numbers."""
    accuracy = {"zero_shot": {"base": 0.5, "cpt": 0.6}, "few_shot": {"cpt": 0.7}}
    claims = {"k": {"sentence": "It helps.", "verdict": "not tested: no predictions for cpt"}}
    lines = summary(accuracy, {"b": {"chance": 0.25}}, claims, "r.md", "f").split("\n")
    assert lines[1].split() == ["zero_shot", "50.0", "60.0"]
    assert lines[2].split() == ["few_shot", "70.0"]
    assert "not tested: no predictions for cpt: It helps." in lines
