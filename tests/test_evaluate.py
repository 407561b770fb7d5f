"""The stage reuses what did not change, and gives the same bytes whether it reuses or computes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stages import evaluate
from stages.evaluate import Evaluate, Strategies
from stages.lib.section import BuildError
from stages.lib.strategies.cot import ChainOfThought
from stages.lib.strategies.few_shot import FewShot
from stages.lib.strategies.medprompt import Medprompt
from stages.lib.strategies.zero_shot import ZeroShot
from tests.tiny import NUMERICS, TEXTS, tiny_model, tiny_tokenizer

SETTINGS = Evaluate(
    protocol="full_answer",
    compared=["letter"],
    list_options=False,
    generation_instruction="",
    generation_limit_tokens=4,
    batch_tokens=512,
    window_tokens=32,
)
ALL: dict[str, Any] = {"limit_items": None, "models": None}
CHAIN: dict[str, Any] = {"instruction": "Think.", "answer_lead": "So it is", "limit_tokens": 4} | ALL
STRATEGIES = Strategies(
    zero_shot=ZeroShot(**ALL),
    few_shot=FewShot(shots=2, draws=2, **ALL),
    knn_few_shot=None,
    cot=ChainOfThought(**CHAIN),
    self_consistency=None,
    choice_shuffle=None,
    medprompt=Medprompt(shots=1, ensemble=2, combine="probabilities", **CHAIN),
    expand_guess_refine=None,
)
Run = Callable[..., str]


def items(benchmark: str, test: int, dev: int) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "item_id": f"{benchmark}/{split}{number}",
                "benchmark": benchmark,
                "group": f"g{number // 2}",
                "split": split,
                "question": f"What treats the {split} itch {number} of {benchmark}?",
                "context": "",
                "options": ["fern tea", "honey wrap", "acorn swab"],
                "answer": number % 3,
            }
            for split, count in (("test", test), ("dev", dev))
            for number in range(count)
        ]
    )


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the stage in a folder of its own, with changes to its arguments, and returns what it printed."""
    monkeypatch.chdir(tmp_path)
    tokenizer = tiny_tokenizer()
    tiny_model(len(tokenizer)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    for name in ("items", "heldout"):
        (tmp_path / name).mkdir()
    items("b", test=7, dev=4).write_parquet(tmp_path / "items/b.parquet")
    for domain in ("clinical", "general"):
        rows = [{"doc_id": f"{domain}/{n}", "source": "s", "text": text} for n, text in enumerate(TEXTS)]
        pl.DataFrame(rows).write_parquet(tmp_path / f"heldout/{domain}.parquet")

    def run(**changes: object) -> str:
        arguments = {
            "model": tmp_path / "model",
            "heldout": tmp_path / "heldout",
            "items": tmp_path / "items",
            "predictions": tmp_path / "out",
            "benchmark": {path.stem: None for path in (tmp_path / "items").glob("*.parquet")},
            "evaluate": SETTINGS,
            "numerics": NUMERICS,
            "seed": 1,
            "strategies": STRATEGIES,
            "name": "base",
        }
        capsys.readouterr()
        evaluate.main(**arguments | changes)  # type: ignore[arg-type]
        return capsys.readouterr().out

    return run


ALL = "few_shot: {0} 7 items\nmedprompt: {0} 7 items\nzero_shot: {0} 7 items\nheldout: {0} 6 documents\n"


def changed(settings: Evaluate | Strategies, **values: object) -> Evaluate | Strategies:
    return settings.model_copy(update=values)


def test_a_second_run_computes_nothing_and_writes_the_same_bytes(build: Run, tmp_path: Path) -> None:
    """Everything comes from the store; without the store everything is computed again; the files do not differ."""
    assert build() == ALL.format("computed")
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert sorted(first) == ["experts.parquet", "heldout.parquet", "model.json", "predictions.parquet"]
    assert pl.read_parquet(tmp_path / "out/experts.parquet").is_empty()
    assert json.loads(first["model.json"]) == {"continued_tokens": None}
    assert build() == ALL.format("reused")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first
    (tmp_path / "scratch").rename(tmp_path / "away")
    assert build() == ALL.format("computed")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first


def test_a_changed_strategy_is_the_only_one_computed(build: Run) -> None:
    """Another number of shots recomputes few_shot alone, and turning a strategy off computes nothing."""
    build()
    other = changed(STRATEGIES, few_shot=FewShot(shots=1, limit_items=None))
    assert build(strategies=other) == ALL.format("reused").replace("few_shot: reused", "few_shot: computed")
    off = changed(STRATEGIES, medprompt=None)
    assert build(strategies=off) == ALL.format("reused").replace("medprompt: reused 7 items\n", "")


def test_what_each_setting_recomputes(build: Run, tmp_path: Path) -> None:
    """The window only the held-out documents, the normalization only the strategies, the model's files everything."""
    build()
    found = build(evaluate=changed(SETTINGS, window_tokens=16))
    assert found == ALL.format("reused").replace("heldout: reused", "heldout: computed")
    found = build(evaluate=changed(SETTINGS, normalization="sum"))
    assert found == ALL.format("computed").replace("heldout: computed", "heldout: reused")
    config = json.loads((tmp_path / "model/config.json").read_text())
    (tmp_path / "model/config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-5}))
    assert build() == ALL.format("computed")


def test_other_exemplars_recompute_what_shows_them(build: Run, tmp_path: Path) -> None:
    """One more dev item recomputes the strategies with exemplars, not zero-shot."""
    build()
    items("b", test=7, dev=5).write_parquet(tmp_path / "items/b.parquet")
    expected = ALL.format("computed").replace("zero_shot: computed", "zero_shot: reused")
    assert build() == expected.replace("heldout: computed", "heldout: reused")


def test_another_benchmark_leaves_the_first_as_it_is(build: Run, tmp_path: Path) -> None:
    """Only the items of the new benchmark are computed; the old rows do not change."""
    build()
    before = pl.read_parquet(tmp_path / "out/predictions.parquet")
    items("c", test=3, dev=4).write_parquet(tmp_path / "items/c.parquet")
    assert "zero_shot: computed 3 items\nzero_shot: reused 7 items\n" in build()
    after = pl.read_parquet(tmp_path / "out/predictions.parquet")
    assert after.filter(pl.col("benchmark") == "b").equals(before)
    assert after.height == before.height + 9


def test_the_frames_are_as_agreed(build: Run, tmp_path: Path) -> None:
    """Columns, order and meaning: a score for each option, the best of them predicted, rows by strategy and item."""
    build(name="cpt-sft", seed=4)
    rows = pl.read_parquet(tmp_path / "out/predictions.parquet")
    assert rows.columns == [
        *("item_id", "benchmark", "group", "strategy", "model", "seed", "prediction", "gold", "correct", "scores"),
        *("prompt_tokens", "truncated"),
    ]
    assert rows.equals(rows.sort("strategy", "item_id"))
    assert set(rows["model"]) == {"cpt-sft"}
    assert set(rows["seed"]) == {4}
    for row in rows.iter_rows(named=True):
        assert row["scores"][row["prediction"]] == max(row["scores"])
        assert row["correct"] == (row["prediction"] == row["gold"])
    heldout = pl.read_parquet(tmp_path / "out/heldout.parquet")
    assert heldout.columns == ["doc_id", "domain", "source", "model", "bits", "bytes", "tokens"]
    assert heldout["domain"].to_list() == ["clinical"] * 3 + ["general"] * 3


def test_options_listed_or_not_is_a_different_measurement(build: Run, tmp_path: Path) -> None:
    """The prompt with options is longer, and everything but the held-out documents is computed for it."""
    build()
    short = pl.read_parquet(tmp_path / "out/predictions.parquet")
    found = build(evaluate=changed(SETTINGS, prompt="options"))
    assert found == ALL.format("computed").replace("heldout: computed", "heldout: reused")
    long = pl.read_parquet(tmp_path / "out/predictions.parquet")
    assert (long["prompt_tokens"] > short["prompt_tokens"]).all()


def test_nothing_to_answer_is_an_error(build: Run, tmp_path: Path) -> None:
    """No test item, or no strategy, is said in one line rather than written as an empty result."""
    off = Strategies(zero_shot=None, few_shot=None, medprompt=None)
    with pytest.raises(BuildError, match="strategies: all are null"):
        build(strategies=off)
    items("b", test=0, dev=4).write_parquet(tmp_path / "items/b.parquet")
    with pytest.raises(BuildError, match="no benchmark item has the split `test`"):
        build()


def test_scores_that_are_not_finite_are_an_error(build: Run, tmp_path: Path) -> None:
    """A diverged model has no accuracy."""
    model = tiny_model(len(tiny_tokenizer()))
    model.model.norm.weight.data[:] = float("nan")
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(BuildError, match="not finite"):
        build()


def test_the_experts_of_a_mixture_are_measured_once(build: Run, tmp_path: Path) -> None:
    """Two domains, two layers, three experts: twelve rows, the second time without loading the model."""
    tokenizer = tiny_tokenizer()
    tiny_model(len(tokenizer), experts=3).save_pretrained(tmp_path / "model")
    build()
    loads = pl.read_parquet(tmp_path / "out/experts.parquet")
    assert loads.height == 2 * 2 * 3
    assert loads.group_by("domain", "layer").agg(pl.col("tokens").sum())["tokens"].n_unique() == 1
    assert loads["model"].unique().to_list() == ["base"]
    assert build() == ALL.format("reused")
    assert pl.read_parquet(tmp_path / "out/experts.parquet").equals(loads)
