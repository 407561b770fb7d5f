"""Intervals cover what they say, also where items come in groups, and tests agree with their textbooks."""

import math

import numpy as np
import pytest
from scipy import stats

from stages.lib.intervals import (
    Interval,
    Pairs,
    accuracy_interval,
    bootstrap_differences,
    bootstrap_interval,
    mcnemar_p,
    mean_difference,
    mean_interval,
    ratio_interval,
    sign_flip_p,
)

SIMULATIONS = 1000


def grouped(generator: np.random.Generator, share: float, groups: int) -> tuple[list[bool], list[str]]:
    """Answers in groups of 1 to 5 items, of which 70 % repeat their group's first answer: far from independent."""
    correct: list[bool] = []
    group: list[str] = []
    for number in range(groups):
        first = bool(generator.random() < share)
        for _ in range(int(generator.integers(1, 6))):
            own = bool(generator.random() < share)
            correct.append(first if generator.random() < 0.7 else own)
            group.append(f"g{number}")
    return correct, group


@pytest.mark.parametrize("share", [0.25, 0.5, 0.95])
def test_accuracy_interval_covers_95_percent_of_the_time(share: float) -> None:
    """In 95 +- 2 % of simulated benchmarks with clustered items the truth lies within; ignoring groups it would not."""
    generator = np.random.default_rng(4)
    covered = naive = 0
    for _ in range(SIMULATIONS):
        correct, group = grouped(generator, share, 120)
        interval = accuracy_interval(correct, group, 0.95)
        covered += interval.low <= share <= interval.high
        blind = stats.binomtest(sum(correct), len(correct)).proportion_ci(0.95, "wilson")
        naive += blind.low <= share <= blind.high
    assert covered / SIMULATIONS == pytest.approx(0.95, abs=0.02)
    assert naive / SIMULATIONS < 0.9


@pytest.mark.parametrize("right", [0, 1, 37, 199, 200])
def test_accuracy_of_single_items_is_about_wilson(right: int) -> None:
    """With every item its own group the interval is scipy's Wilson interval, but for Student's t (1 % wider at 200)."""
    interval = accuracy_interval([True] * right + [False] * (200 - right), [str(n) for n in range(200)], 0.95)
    wilson = stats.binomtest(right, 200).proportion_ci(0.95, "wilson")
    assert interval.estimate == right / 200
    assert (interval.low, interval.high) == pytest.approx((wilson.low, wilson.high), abs=2e-3)


def test_copies_of_items_in_their_groups_add_nothing() -> None:
    """Asking every item five times gives the same interval, since the groups are the same."""
    correct = [True, False, True, True, False, True, True, False]
    once = accuracy_interval(correct, [str(number) for number in range(8)], 0.95)
    five = accuracy_interval(correct * 5, [str(number) for number in range(8)] * 5, 0.95)
    assert (five.low, five.high) == pytest.approx((once.low, once.high))


def test_one_group_says_nothing_about_others() -> None:
    """All of [0, 1] or [-1, 1], and infinite bounds for a ratio of one document."""
    assert accuracy_interval([True, False], ["a", "a"], 0.95) == Interval(0.5, 0.0, 1.0)
    assert bootstrap_interval(Pairs(["b", "b"], ["a", "a"], np.ones(2)), 0.95, 100, 1) == Interval(1.0, -1.0, 1.0)
    assert ratio_interval([6.0], [3.0], 0.95) == Interval(2.0, -math.inf, math.inf)


def test_mean_of_one_is_itself_and_of_equals_is_narrower() -> None:
    """MOVER: one part keeps its interval; four equal ones have half its width."""
    part = Interval(0.5, 0.4, 0.7)
    one, four = mean_interval([part]), mean_interval([part] * 4)
    assert (one.estimate, one.low, one.high) == pytest.approx((0.5, 0.4, 0.7))
    assert (four.estimate, four.low, four.high) == pytest.approx((0.5, 0.45, 0.6))


def test_ratio_weighs_documents_by_length() -> None:
    """Sum over sum, not the mean of ratios; documents of one ratio leave no doubt."""
    assert ratio_interval([10.0, 1.0], [10.0, 2.0], 0.95).estimate == pytest.approx(11 / 12)
    exact = ratio_interval([2.0, 4.0, 8.0], [1.0, 2.0, 4.0], 0.95)
    assert (exact.low, exact.high) == pytest.approx((2.0, 2.0))


def test_ratio_interval_covers_95_percent_of_the_time() -> None:
    """Of bits and bytes that vary together by document, the true ratio lies within in 95 +- 2 % of simulations."""
    generator = np.random.default_rng(8)
    covered = 0
    for _ in range(SIMULATIONS):
        size = generator.integers(100, 1500, size=60).astype(float)
        bits = size * (2.0 + generator.normal(0, 0.4, size=60))
        interval = ratio_interval(bits.tolist(), size.tolist(), 0.95)
        covered += interval.low <= 2.0 <= interval.high
    assert covered / SIMULATIONS == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(("wins", "losses", "expected"), [(0, 0, 1.0), (5, 5, 1.0), (6, 0, 2 / 64), (1, 8, 20 / 512)])
def test_mcnemar_counts_the_items_that_one_got_right(wins: int, losses: int, expected: float) -> None:
    """Two-sided binomial tails, by hand; items that both got right or wrong do not count."""
    first = [True] * wins + [False] * losses + [True, False] * 9
    second = [False] * wins + [True] * losses + [True, False] * 9
    assert mcnemar_p(first, second) == pytest.approx(expected)
    assert mcnemar_p(second, first) == pytest.approx(expected)


def test_benchmarks_count_the_same_whatever_their_size() -> None:
    """Three items that gained and one that lost, in two benchmarks: no gain on average."""
    pairs = Pairs(["a", "a", "a", "b"], ["1", "2", "3", "1"], np.array([1.0, 1.0, 1.0, -1.0]))
    assert mean_difference(pairs) == 0.0


def simulated(generator: np.random.Generator, gain: float) -> Pairs:
    """100 groups of 1 to 4 items in two benchmarks that share their difference, -1, 0 or 1."""
    sizes = generator.integers(1, 5, size=100)
    index = np.repeat(np.arange(100), sizes)
    up, down = 0.2 + gain / 2, 0.2 - gain / 2
    difference = generator.choice([1.0, -1.0, 0.0], p=[up, down, 1 - up - down], size=100)[index]
    return Pairs([f"b{number % 2}" for number in index], [f"g{number}" for number in index], difference)


def test_bootstrap_interval_covers_95_percent_of_the_time() -> None:
    """In 95 +- 2 % of simulated comparisons with clustered items the true difference lies within."""
    generator = np.random.default_rng(6)
    covered = 0
    for number in range(SIMULATIONS):
        pairs = simulated(generator, 0.1)
        interval = bootstrap_interval(pairs, 0.95, 400, number)
        covered += interval.low <= 0.1 <= interval.high
    assert covered / SIMULATIONS == pytest.approx(0.95, abs=0.02)


def test_sign_flips_reject_5_percent_when_nothing_differs() -> None:
    """p is below 0.05 in 5 +- 2 % of simulations without a difference; the item-level test rejects far too often."""
    generator = np.random.default_rng(7)
    rejected = naive = 0
    for number in range(SIMULATIONS):
        pairs = simulated(generator, 0.0)
        rejected += sign_flip_p(pairs, 400, number) < 0.05
        naive += mcnemar_p((pairs.difference > 0).tolist(), (pairs.difference < 0).tolist()) < 0.05
    assert rejected / SIMULATIONS == pytest.approx(0.05, abs=0.02)
    assert naive / SIMULATIONS > 0.1


def test_draws_depend_on_the_seed_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same seed gives the same draws, another seed others, and a difference everywhere of 1 no doubt."""
    pairs = simulated(np.random.default_rng(1), 0.1)
    draws = bootstrap_differences(pairs, 300, 5)
    assert np.array_equal(draws, bootstrap_differences(pairs, 300, 5))
    assert not np.array_equal(draws, bootstrap_differences(pairs, 300, 6))
    sure = Pairs(["a"] * 4, list("1234"), np.ones(4))
    assert set(bootstrap_differences(sure, 300, 5)) == {1.0}
    assert sign_flip_p(sure, 300, 5) == pytest.approx(2 / 16, abs=0.05)
    monkeypatch.setattr("stages.lib.intervals.BOOTSTRAP_CELLS", 1000)
    assert len(bootstrap_differences(pairs, 300, 5)) == 300
