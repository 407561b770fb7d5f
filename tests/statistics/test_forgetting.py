"""Averages and forgetting of answers that are written down here."""

import numpy as np
import polars as pl
import pytest

from osler.statistics.forgetting import (
    after_each,
    between,
    cumulative_interval,
    forgetting_interval,
    forgotten,
    summary,
    sums_of,
    table_of,
)
from osler.statistics.settings import Statistics

TASKS = ("one", "two", "three")
SETTINGS = Statistics(
    confidence=0.95, bootstrap_samples=400, bootstrap_seed=1, little_points=5.0, equivalence_points=2.0
)
SHARES = {1: (0.8,), 2: (0.6, 0.9), 3: (0.5, 0.7, 1.0)}  # after -> on each task so far


def answers(
    shares: dict[int, tuple[float, ...]] = SHARES, items: int = 20, seeds: int = 1, method: str = "m"
) -> pl.DataFrame:
    """The first share of each task's items is right."""
    rows = [
        (
            f"{TASKS[task]}/{item}",
            TASKS[task],
            f"{TASKS[task]}/{item}",
            seed,
            method,
            after,
            item < round(share * items),
        )
        for seed in range(1, seeds + 1)
        for after, each in shares.items()
        for task, share in enumerate(each)
        for item in range(items)
    ]
    return pl.DataFrame(rows, schema=["item_id", "task", "group", "seed", "method", "after", "correct"], orient="row")


def test_the_table_has_the_shares() -> None:
    """a[t][j], and nothing before a task was learned; groups of several items count as often as they have items."""
    table = table_of(sums_of(answers(seeds=2), TASKS))
    assert np.allclose(table, [[0.8, np.nan, np.nan], [0.6, 0.9, np.nan], [0.5, 0.7, 1.0]], equal_nan=True)
    uneven = answers().with_columns(
        group=pl.when(pl.col("item_id").str.ends_with("1")).then(pl.lit("g")).otherwise("group")
    )
    assert np.allclose(table_of(sums_of(uneven, TASKS)), table, equal_nan=True)


def test_the_three_numbers() -> None:
    """Final (0.5 + 0.7 + 1) / 3; cumulative (0.8 + 0.75 + 0.7333) / 3; forgotten (0.3 + 0.2) / 2."""
    found = summary(answers(), TASKS, SETTINGS)["m"]
    assert found["final_average"]["estimate"] == pytest.approx(2.2 / 3, abs=1e-6)
    assert found["cumulative_average"]["estimate"] == pytest.approx((0.8 + 0.75 + 2.2 / 3) / 3, abs=1e-6)
    assert found["forgetting"]["estimate"] == pytest.approx(0.25)


def test_forgetting_counts_from_the_best_and_not_from_the_first() -> None:
    """A task that got better later, and then worse, has forgotten from its best; one that only gets better, less than nothing."""
    better = np.array([[0.5, np.nan, np.nan], [0.9, 0.5, np.nan], [0.6, 0.7, 1.0]])
    assert forgotten(better) == pytest.approx((0.3 - 0.2) / 2)


@pytest.mark.parametrize("seeds", [1, 3])
def test_intervals_hold_their_estimates_and_shrink(seeds: int) -> None:
    """Of ten times the items they are a third as wide; the same again when asked again."""
    widths = []
    for items in (20, 200):
        sums = sums_of(answers(items=items, seeds=seeds), TASKS)
        own = forgetting_interval(sums, SETTINGS)
        assert own == forgetting_interval(sums, SETTINGS)
        assert own.low < own.estimate < own.high
        whole = cumulative_interval(sums, 0.95)
        assert whole.low < whole.estimate < whole.high
        widths.append((own.high - own.low, whole.high - whole.low))
    for small, large in zip(*widths, strict=True):
        assert small / large == pytest.approx(10**0.5, rel=0.35)


def test_seeds_that_differ_widen_forgetting() -> None:
    """One seed that forgot all and one that forgot nothing leave more open than two alike."""
    none = answers({1: (0.8,), 2: (0.8, 0.9), 3: (0.8, 0.9, 1.0)})
    everything = answers({1: (0.8,), 2: (0.1, 0.9), 3: (0.1, 0.1, 1.0)}).with_columns(seed=pl.lit(2, pl.Int64))
    apart = forgetting_interval(sums_of(pl.concat([none, everything]), TASKS), SETTINGS)
    alike = forgetting_interval(sums_of(answers(seeds=2), TASKS), SETTINGS)
    assert apart.high - apart.low > 2 * (alike.high - alike.low)


def test_differences_are_paired() -> None:
    """Two methods that are right on the same items differ by 0 for sure; on other ones by 0 and much is open."""
    last = answers().filter(pl.col("after") == 3)
    same = between(last, last, 0.95)
    shuffled = last.with_columns(correct=pl.col("correct").reverse().over("task"))
    other = between(last, shuffled, 0.95)
    assert same.estimate == other.estimate == 0
    assert other.high - other.low > 2 * (same.high - same.low)


def test_a_method_that_is_asked_at_the_end_only_forgets_nothing() -> None:
    """It has a final average, and a row for each task and the average in the table."""
    once = answers({3: (0.5, 0.7, 1.0)}, method="once")
    assert set(summary(pl.concat([answers(), once]), TASKS, SETTINGS)["once"]) == {"final_average"}
    table = after_each(once, TASKS, 0.95)
    assert table["task"].to_list() == [*TASKS, "average"]
    assert table["accuracy"].to_list() == pytest.approx([0.5, 0.7, 1.0, 2.2 / 3], abs=1e-6)
    assert (table["low"] < table["accuracy"]).all()
