"""Credits add up to what was gained, and no order of the techniques is favored."""

from collections.abc import Mapping
from fractions import Fraction
from itertools import product

import numpy as np
import polars as pl
import pytest

from osler.statistics.claims import Test
from osler.statistics.shapley import Cell, best_strategy, factorial, model_of, shapley_credit, shapley_weights

PATHS = (("base", "cpt"), ("none", "sft", "neftune"), ("zero_shot", "medprompt"))
TEST = Test(confidence=0.95, samples=300, seed=3, little_points=5.0, equivalence_points=2.0)
STEPS = ("cpt", "sft", "neftune", "medprompt")


def credits(value: Mapping[Cell, Fraction]) -> dict[str, Fraction]:
    return {
        step: sum((weight * value[cell] for cell, weight in weights.items()), Fraction())
        for step, weights in shapley_weights(PATHS).items()
    }


def cells() -> list[Cell]:
    return list(product(*PATHS))


def answers(share: Mapping[Cell, float], items: int = 40, seed: int = 4, benchmark: str = "b") -> pl.DataFrame:
    """Each cell's share of items right, which ones by chance; two items a group."""
    generator = np.random.default_rng(seed)
    return pl.DataFrame(
        [
            {
                "benchmark": benchmark,
                "group": f"g{number // 2}",
                "item_id": f"{benchmark}/{number}",
                "strategy": strategy,
                "protocol": "full_answer",
                "model": model_of(start, tuning),
                "seed": 1,
                "draw": 0,
                "correct": bool(right),
            }
            for (start, tuning, strategy), level in share.items()
            for number, right in enumerate(generator.permutation(items) < level * items)
        ]
    )


def test_credits_add_up_exactly() -> None:
    """Whatever the twelve values are, the four credits are the target less the reference, as fractions."""
    generator = np.random.default_rng(1)
    for _ in range(20):
        value = {cell: Fraction(int(generator.integers(1000)), 1000) for cell in cells()}
        gained = value["cpt", "neftune", "medprompt"] - value["base", "none", "zero_shot"]
        assert sum(credits(value).values()) == gained


def test_effects_that_add_are_their_own_credit() -> None:
    """Where each step adds the same whatever the others are, its credit is that."""
    gains = {"cpt": Fraction(3), "sft": Fraction(5), "neftune": Fraction(-1), "medprompt": Fraction(2)}
    steps = {"base": (), "none": (), "zero_shot": (), "neftune": ("sft", "neftune")}
    value = {
        cell: sum((gains[step] for level in cell for step in steps.get(level, (level,))), Fraction())
        for cell in cells()
    }
    assert credits(value) == gains


def test_a_gain_of_two_together_is_shared_by_them() -> None:
    """6 points that only cpt with sft brings, tuned or with noise: 3 each, none for noise and prompts, in all orders alike."""
    value = {cell: Fraction(6 if cell[0] == "cpt" and cell[1] != "none" else 0) for cell in cells()}
    assert credits(value) == {"cpt": 3, "sft": 3, "neftune": 0, "medprompt": 0}


def test_a_gain_of_three_together_is_shared_by_factors() -> None:
    """6 points only with everything: cpt and prompts 2 each and tuning 2, which are noise's, since sft alone has none."""
    value = {cell: Fraction(6 if cell == ("cpt", "neftune", "medprompt") else 0) for cell in cells()}
    assert credits(value) == {"cpt": 2, "sft": 0, "neftune": 2, "medprompt": 2}


def test_credit_of_predictions_adds_up_with_intervals() -> None:
    """Over two benchmarks of different size; each estimate lies in its interval, and the total is target less reference."""
    share = {cell: 0.2 + 0.05 * number for number, cell in enumerate(cells())}
    rows = pl.concat(
        [answers(share), answers({cell: 1 - 0.05 * n for n, cell in enumerate(cells())}, 20, benchmark="c")]
    )
    found = shapley_credit(rows, TEST)
    assert found is not None
    assert (found.reference, found.target) == (("base", "none", "zero_shot"), ("cpt", "neftune", "medprompt"))
    assert list(found.steps) == list(STEPS)
    assert found.items == 60
    assert found.total.estimate == pytest.approx((0.55 - 0.55) / 2)
    assert sum(step.estimate for step in found.steps.values()) == pytest.approx(found.total.estimate, abs=1e-12)
    assert all(step.low < step.estimate < step.high for step in (*found.steps.values(), found.total))


def test_the_best_complete_strategy_is_the_target() -> None:
    """The final model does best with cot, but only it was asked so; of the strategies all models had, few_shot is best."""
    share: dict[Cell, float] = dict.fromkeys(product(*PATHS[:2], ("zero_shot", "medprompt", "few_shot")), 0.3)
    share |= {("cpt", "neftune", "few_shot"): 0.6, ("cpt", "neftune", "medprompt"): 0.5}
    rows = pl.concat([answers(share), answers({("cpt", "neftune", "cot"): 0.9})])
    assert best_strategy(rows) == "few_shot"
    found = shapley_credit(rows, TEST)
    assert found is not None
    assert found.target == ("cpt", "neftune", "few_shot")
    chosen = shapley_credit(rows, TEST, "medprompt")
    assert chosen is not None
    assert chosen.total.estimate == pytest.approx(0.2)


def test_an_incomplete_factorial_has_no_credit() -> None:
    """Without one model, or with zero-shot alone, there is none."""
    share = dict.fromkeys(cells(), 0.5)
    rows = answers(share)
    assert shapley_credit(rows.filter(pl.col("model") != "base-sft"), TEST) is None
    assert shapley_credit(rows.filter(pl.col("strategy") == "zero_shot"), TEST) is None
    assert shapley_credit(rows, TEST, "cot") is None


def test_cells_are_of_the_items_that_all_answered() -> None:
    """A strategy limited to 10 of 40 items leaves those, and draws are averaged."""
    rows = answers(dict.fromkeys(cells(), 0.5))
    few = {f"b/{number}" for number in range(10)}
    rows = rows.filter((pl.col("strategy") == "zero_shot") | pl.col("item_id").is_in(few))
    twice = pl.concat([rows, rows.with_columns(draw=pl.lit(1, pl.Int64), correct=~pl.col("correct"))])
    wide = factorial(twice, ("zero_shot", "medprompt"))
    assert wide.height == 10
    assert set(wide["cpt/neftune/medprompt"]) == {0.5}


def test_credit_is_of_the_seeds_that_all_cells_have() -> None:
    """Medprompt asked of the first of three seeds: the credit is on 1 seed. Asked of all, it is on 3, and the interval wider."""
    share = {cell: 0.2 + 0.05 * number for number, cell in enumerate(cells())}
    first = answers(share, items=200)
    lifted = answers({cell: level + (0.2 if cell[0] == "cpt" else 0) for cell, level in share.items()}, items=200)
    rest = [lifted.with_columns(seed=pl.lit(seed, pl.Int64)) for seed in (2, 3)]
    whole = pl.concat([first, *rest])
    alone = whole.filter((pl.col("strategy") == "zero_shot") | (pl.col("seed") == 1))
    one, three = shapley_credit(alone, TEST), shapley_credit(whole, TEST)
    assert one
    assert three
    assert (one.seeds, three.seeds, one.items, three.items) == (1, 3, 200, 200)
    assert three.steps["cpt"].estimate == pytest.approx(one.steps["cpt"].estimate + 0.2 * 2 / 3, abs=2e-3)
    widths = [found.steps["cpt"].high - found.steps["cpt"].low for found in (one, three)]
    assert widths[1] > 2 * widths[0]
    assert sum(step.estimate for step in three.steps.values()) == pytest.approx(three.total.estimate)
