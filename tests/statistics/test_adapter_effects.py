"""What an adapter adds to its base, on answers made inside the test."""

from typing import Any

import polars as pl
import pytest

from osler.statistics.adapter_effects import adapter_effects, bases
from osler.statistics.claims import Test, outcomes
from osler.statistics.paired_tests import holm, mcnemar_p
from tests.report.test_report import answers

TEST = Test(confidence=0.95, samples=100, seed=1, little_points=5.0, equivalence_points=2.0)
LORA, BASE = "adapter-lora", "cpt"


def model(files: str, below: str | None = None) -> dict[str, Any]:
    """The contents of a model.json, as far as they say what it is."""
    return {"files": files, "provenance": {"inputs": {"model": below}} if below else {}}


def test_a_base_is_known_by_its_files() -> None:
    """Also of a seed, and of a whole model from the same recipe; a base that was not asked and other models have none."""
    models = {
        "adapter-full": model("f", "b"), "adapter-lora": model("l", "c"), "adapter-lost": model("x", "trunk"),
        "base": model("b"), "cpt": model("c", "b"), "cpt-sft": model("s", "c"),
    }  # fmt: skip
    assert bases(models) == {"adapter-full": "base", "adapter-lora": "cpt"}


def test_differences_by_eye() -> None:
    """20 of 40 items more are 50 points, under each strategy; the exact test and Holm's over both rows stand beside them."""
    found = adapter_effects(pl.concat([answers(LORA, 30), answers(BASE, 10)]), {LORA: BASE}, TEST)
    assert list(found) == [LORA]
    assert sorted(found[LORA]) == ["medprompt", "zero_shot"]
    own = found[LORA]["zero_shot"]
    assert (own["base"], own["effect_points"], own["items"], own["seeds"]) == ("cpt", 50.0, 40, 1)
    assert own["low_points"] > 0
    assert own["verdict"] == "gain on 1 seed"
    exact = mcnemar_p([number < 30 for number in range(40)], [number < 10 for number in range(40)])
    assert own["mcnemar_p"] == pytest.approx(exact, rel=1e-3)
    p = [effect["p"] for effect in found[LORA].values()]
    assert [effect["holm_p"] for effect in found[LORA].values()] == [round(one, 6) for one in holm(p)]
    assert "contrasts" not in own


@pytest.mark.parametrize(
    ("right", "below", "items", "verdict"),
    [(10, 30, 40, "loss"), (21, 20, 40, "undecided"), (20, 20, 40, "undecided"), (500, 500, 1000, "equivalent")],
)
def test_verdicts_say_gain_or_loss(right: int, below: int, items: int, verdict: str) -> None:
    """In place of what is said of a claim; of 40 items alike nothing is known, of 1,000 that there is no gain to speak of."""
    both = pl.concat([answers(LORA, right, items=items), answers(BASE, below, items=items)])
    found = adapter_effects(both, {LORA: BASE}, TEST)
    assert found[LORA]["zero_shot"]["verdict"] == f"{verdict} on 1 seed"


def test_seeds_and_items_are_those_of_both() -> None:
    """An adapter of three seeds of four, asked other items besides; what only one was asked is left out."""
    rows = [answers(LORA, 30, items=50, seed=seed) for seed in (1, 2, 3)]
    rows += [answers(BASE, 10, seed=seed) for seed in (1, 2, 3, 4)]
    everything = pl.concat(rows).filter((pl.col("model") == BASE) | (pl.col("strategy") == "zero_shot"))
    found = adapter_effects(everything, {LORA: BASE}, TEST)
    assert list(found[LORA]) == ["zero_shot"]
    own = found[LORA]["zero_shot"]
    assert (own["items"], own["seeds"], own["effect_points"], own["verdict"]) == (40, 3, 50.0, "gain")
    assert "mcnemar_p" not in own
    assert adapter_effects(everything, {}, TEST) == {}
    assert adapter_effects(answers(LORA, 30), {LORA: BASE}, TEST) == {}


def test_claims_are_as_without_adapters() -> None:
    """Holm's correction of theirs counts none of an adapter's rows."""
    without = pl.concat([answers("base", 10), answers(BASE, 20), answers("base-sft", 15), answers("cpt-sft", 30)])
    with_one = pl.concat([without, answers(LORA, 39)])
    assert adapter_effects(with_one, {LORA: BASE}, TEST)
    assert outcomes(with_one, TEST) == outcomes(without, TEST)
