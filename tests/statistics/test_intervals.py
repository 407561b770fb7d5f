"""Intervals cover what they say, also where items come in groups and under seeds, and tests agree with their textbooks."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from bench.coverage import coverage
from osler.statistics.intervals import (
    Interval,
    Pairs,
    accuracy_interval,
    crossed_estimate,
    difference_interval,
    difference_p,
    mean_difference,
    ratio_interval,
    seeds_of,
    standard_error,
)
from osler.statistics.paired_tests import mcnemar_p

SIMULATIONS = 2000


def grouped(generator: np.random.Generator, share: float, groups: int, draws: int = 1) -> tuple[list[float], list[str]]:
    """Answers in groups of 1 to 5 items, of which 70 % repeat their group's: far from independent.

    With several draws an item's value is the mean of draws of which half repeat the first.
    """
    index = np.repeat(np.arange(groups), generator.integers(1, 6, size=groups))
    first = (generator.random(groups) < share)[index]
    items = len(index)
    answers = np.where(generator.random(items) < 0.7, first, generator.random(items) < share)
    again = generator.random((draws - 1, items)) < share
    values = [answers, *np.where(generator.random((draws - 1, items)) < 0.5, answers, again)]
    return np.mean(values, axis=0).tolist(), [f"g{number}" for number in index]


@pytest.mark.parametrize(("share", "draws"), [(0.25, 1), (0.5, 1), (0.95, 1), (0.4, 3)])
def test_accuracy_interval_covers_95_percent_of_the_time(share: float, draws: int) -> None:
    """In 95 +- 1 % of 2,000 simulated benchmarks with clustered items the truth lies within; ignoring groups it would not."""
    generator = np.random.default_rng(4)
    covered = naive = 0
    for _ in range(SIMULATIONS):
        correct, group = grouped(generator, share, 120, draws)
        interval = accuracy_interval(correct, group, 0.95)
        covered += interval.low <= share <= interval.high
        half = 1.96 * float(np.std(correct)) / len(correct) ** 0.5
        naive += abs(interval.estimate - share) <= half
    assert covered / SIMULATIONS == pytest.approx(0.95, abs=0.01)
    assert naive / SIMULATIONS < 0.9


def test_means_of_draws_count_for_more_than_one_answer() -> None:
    """40 unrelated items, each the mean of ten unrelated draws: the interval is near that of 400 answers, and covers 95 %."""
    generator = np.random.default_rng(9)
    names = [str(number) for number in range(40)]
    widths, covered = [], 0
    for _ in range(1000):
        interval = accuracy_interval((generator.binomial(10, 0.5, size=40) / 10).tolist(), names, 0.95)
        covered += interval.low <= 0.5 <= interval.high
        widths.append(interval.high - interval.low)
    assert covered / 1000 >= 0.95
    answers = accuracy_interval([True, False] * 200, [str(number) for number in range(400)], 0.95)
    single = accuracy_interval([True, False] * 20, names, 0.95)
    assert answers.high - answers.low < np.mean(widths) < 0.6 * (single.high - single.low)


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
    assert difference_interval(Pairs(["b", "b"], ["a", "a"], np.ones(2)), 0.95) == Interval(1.0, -1.0, 1.0)
    assert ratio_interval([6.0], [3.0], 0.95) == Interval(2.0, -math.inf, math.inf)


def test_ratio_weighs_documents_by_length() -> None:
    """Sum over sum, not the mean of ratios; documents of one ratio leave no doubt."""
    assert ratio_interval([10.0, 1.0], [10.0, 2.0], 0.95).estimate == pytest.approx(11 / 12)
    exact = ratio_interval([2.0, 4.0, 8.0], [1.0, 2.0, 4.0], 0.95)
    assert (exact.low, exact.high) == pytest.approx((2.0, 2.0))


def test_ratio_interval_covers_95_percent_of_the_time() -> None:
    """Of bits and bytes that vary together by document, the true ratio lies within in 95 +- 1 % of simulations."""
    generator = np.random.default_rng(8)
    covered = 0
    for _ in range(SIMULATIONS):
        size = generator.integers(100, 1500, size=60).astype(float)
        bits = size * (2.0 + generator.normal(0, 0.4, size=60))
        interval = ratio_interval(bits.tolist(), size.tolist(), 0.95)
        covered += interval.low <= 2.0 <= interval.high
    assert covered / SIMULATIONS == pytest.approx(0.95, abs=0.01)


def test_benchmarks_count_the_same_whatever_their_size() -> None:
    """Three items that gained and one that lost, in two benchmarks: no gain on average."""
    pairs = Pairs(["a", "a", "a", "b"], ["1", "2", "3", "1"], np.array([1.0, 1.0, 1.0, -1.0]))
    assert mean_difference(pairs) == 0.0


def simulated(generator: np.random.Generator, gain: float, groups: int = 100, differing: float = 0.4) -> Pairs:
    """Groups of 1 to 4 items in two benchmarks that share their difference, -1, 0 or 1."""
    index = np.repeat(np.arange(groups), generator.integers(1, 5, size=groups))
    up, down = (differing + gain) / 2, (differing - gain) / 2
    difference = generator.choice([1.0, -1.0, 0.0], p=[up, down, 1 - up - down], size=groups)[index]
    return Pairs([f"b{number % 2}" for number in index], [f"g{number}" for number in index], difference)


def one_item_each(pairs: Pairs) -> Pairs:
    """The same as if no two items were of one group."""
    return Pairs(pairs.benchmark, [str(number) for number in range(len(pairs.group))], pairs.difference)


def test_difference_interval_covers_95_percent_of_the_time() -> None:
    """In 95 +- 1 % of simulated comparisons with clustered items the true difference lies within; ignoring groups, in 70 %."""
    generator = np.random.default_rng(6)
    covered = naive = 0
    for _ in range(SIMULATIONS):
        pairs = simulated(generator, 0.1)
        interval = difference_interval(pairs, 0.95)
        covered += interval.low <= 0.1 <= interval.high
        blind = standard_error(one_item_each(pairs))
        naive += abs(interval.estimate - 0.1) <= 1.96 * blind
    assert covered / SIMULATIONS == pytest.approx(0.95, abs=0.01)
    assert naive / SIMULATIONS < 0.9


@pytest.mark.parametrize(("gain", "differing"), [(0.01, 0.03), (0.02, 0.02)])
def test_few_differences_do_not_make_sure(gain: float, differing: float) -> None:
    """Where 3 groups of 100 differ, up or down, or 2, all up, the true difference lies within at least as often as said.

    One simulation in eight has no group that gained: without the two groups added its interval has no width.
    """
    generator = np.random.default_rng(12)
    covered = 0
    for _ in range(1000):
        interval = difference_interval(simulated(generator, gain, differing=differing), 0.95)
        covered += interval.low <= gain <= interval.high
    assert covered / 1000 >= 0.95
    same = difference_interval(Pairs(["b"] * 100, [str(n) for n in range(100)], np.zeros(100)), 0.95)
    assert same.low < -0.02 < 0 < 0.02 < same.high


def test_t_tests_reject_5_percent_when_nothing_differs() -> None:
    """p is below 0.05 in 5 +- 1 % of simulations without a difference; the item-level test rejects far too often."""
    generator = np.random.default_rng(7)
    rejected = naive = 0
    for _ in range(SIMULATIONS):
        pairs = simulated(generator, 0.0)
        rejected += difference_p(pairs) < 0.05
        naive += mcnemar_p((pairs.difference > 0).tolist(), (pairs.difference < 0).tolist()) < 0.05
    assert rejected / SIMULATIONS == pytest.approx(0.05, abs=0.01)
    assert naive / SIMULATIONS > 0.1


@pytest.mark.parametrize(("gained", "p"), [(5, 2 / 2**5), (6, 2 / 2**6), (12, 2 / 2**12)])
def test_of_one_seed_p_is_near_the_sign_flip_of_groups(gained: int, p: float) -> None:
    """5, 6 and 12 of 40 groups gained and none lost: within a third of the exact p."""
    pairs = Pairs(["b"] * 40, [str(n) for n in range(40)], np.array([1.0] * gained + [0.0] * (40 - gained)))
    assert difference_p(pairs) == pytest.approx(p, rel=0.35)


def test_p_and_interval_say_the_same() -> None:
    """p is below 0.05 exactly where the 95 % interval excludes 0, with one seed and with three."""
    generator = np.random.default_rng(17)
    for number in range(60):
        pairs = simulated(generator, 0.1, groups=60)
        if number % 2:
            pairs = on_seeds([pairs.difference + shift for shift in generator.normal(0, 0.05, 3)], pairs)
        interval = difference_interval(pairs, 0.95)
        assert (difference_p(pairs) < 0.05) == (interval.low > 0 or interval.high < 0)


def test_the_standard_error_is_scipy_s() -> None:
    """Of single items, but for the two added, scipy's standard error of the mean."""
    difference = np.random.default_rng(3).choice([1.0, 0.0, -1.0], size=400)
    single = Pairs(["b"] * 400, [str(number) for number in range(400)], difference)
    assert standard_error(single) == pytest.approx(stats.sem(difference), rel=5e-3)


def test_four_groups_that_all_gain_are_not_sure() -> None:
    """Four of four: signs agree by chance once in eight, and the interval goes far below 1, never above."""
    sure = Pairs(["a"] * 4, list("1234"), np.ones(4))
    assert difference_p(sure) == pytest.approx(2 / 16, abs=0.05)
    interval = difference_interval(sure, 0.95)
    assert (interval.estimate, interval.high) == (1.0, 1.0)
    assert interval.low < 0.5


def on_seeds(differences: Sequence[NDArray[np.float64]], pairs: Pairs) -> Pairs:
    """The items of `pairs` with a difference of their own for each seed."""
    count = len(differences)
    seeds = [seed for seed in range(count) for _ in pairs.group]
    return Pairs([*pairs.benchmark] * count, [*pairs.group] * count, np.concatenate(list(differences)), seeds)


def test_equal_seeds_are_one_seed_and_unequal_ones_are_not() -> None:
    """Three equal seeds have the interval of one; apart by 5 points each way they have a far wider one around the same mean."""
    one = simulated(np.random.default_rng(18), 0.1, groups=400)
    single = difference_interval(one, 0.95)
    three = difference_interval(on_seeds([one.difference] * 3, one), 0.95)
    assert (three.low, three.high) == pytest.approx((single.low, single.high))
    apart = difference_interval(on_seeds([one.difference + shift for shift in (-0.05, 0.0, 0.05)], one), 0.95)
    assert apart.estimate == pytest.approx(single.estimate)
    assert apart.high - apart.low > 1.5 * (single.high - single.low)
    assert apart.high - apart.low > 2 * 4 * 0.05 / 3**0.5


def test_many_items_leave_the_t_interval_over_seeds() -> None:
    """Of 20,000 items without noise of their own: scipy's t interval over the seeds' means, of 3 seeds and of 2."""
    flat = Pairs(["b"] * 20000, [str(n) for n in range(20000)], np.zeros(20000))
    for shares in ([0.1, 0.2, 0.24], [0.1, 0.12]):
        found = difference_interval(on_seeds([flat.difference + share for share in shares], flat), 0.95)
        low, high = stats.t.interval(0.95, len(shares) - 1, loc=np.mean(shares), scale=stats.sem(shares))
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-3)


def test_variances_are_those_of_the_crossed_mean_squares() -> None:
    """8 groups of one item under 3 seeds, unbounded: (MS_groups + MS_seeds - MS_both) / 24, from the analysis of variance."""
    values_GS = np.random.default_rng(19).normal(size=(8, 3)) + np.arange(8)[:, None] + np.array([0.0, 1.0, 3.0])
    mean = values_GS.mean()
    by_group, by_seed = values_GS.mean(axis=1, keepdims=True), values_GS.mean(axis=0, keepdims=True)
    rest = ((values_GS - by_group - by_seed + mean) ** 2).sum() / 14
    squares = 3 * ((by_group - mean) ** 2).sum() / 7 + 8 * ((by_seed - mean) ** 2).sum() / 2 - rest
    found = crossed_estimate([(values_GS, np.ones((8, 3)))], None)
    assert float(found.mean) == pytest.approx(mean)
    assert float(found.error) ** 2 == pytest.approx(squares / 24)


def test_ratio_of_one_document_a_row_and_of_three_seeds() -> None:
    """Bits of three seeds that all lie by the same factor apart: the mean ratio, wider than one seed's, narrower than by t of 2."""
    generator = np.random.default_rng(20)
    size = generator.integers(100, 1500, size=60).astype(float)
    bits = size * generator.normal(2.0, 0.4, size=60)
    names = [str(number) for number in range(60)]
    one = ratio_interval(bits.tolist(), size.tolist(), 0.95)
    assert ratio_interval(bits.tolist(), size.tolist(), 0.95, names, [1] * 60) == one
    three = ratio_interval(
        np.concatenate([bits * factor for factor in (0.97, 1.0, 1.03)]).tolist(),
        [*size, *size, *size],
        0.95,
        names * 3,
        [seed for seed in (1, 2, 3) for _ in names],
    )
    assert three.estimate == pytest.approx(one.estimate)
    assert one.high - one.low < three.high - three.low < 4.4 / 1.96 * (one.high - one.low + 2 * 0.06)


@pytest.mark.parametrize("lowest", [0.0, -1.0])
def test_benchmarks_share_their_seeds(lowest: float) -> None:
    """Two benchmarks that a seed moves together: the variance of seeds is that of one, not half of it."""
    shares = np.array([0.4, 0.5, 0.6])
    top_GS = np.tile(shares, (400, 1))
    one = crossed_estimate([(top_GS, np.ones((400, 3)))], lowest)
    two = crossed_estimate([(top_GS, np.ones((400, 3)))] * 2, lowest)
    assert float(two.error) == pytest.approx(float(one.error), rel=0.02)
    against = crossed_estimate([(top_GS, np.ones((400, 3))), (top_GS[:, ::-1], np.ones((400, 3)))], lowest)
    assert float(against.error) < 0.2 * float(one.error)


def test_an_item_missing_under_one_seed_counts_in_the_others() -> None:
    """Ten items under seed 1, of which nine under seed 2: the mean of the two seeds' means."""
    groups, values = [str(number) for number in range(10)], np.arange(10) / 20
    found = Pairs(["b"] * 19, [*groups, *groups[1:]], np.concatenate([values, values[1:]]), [1] * 10 + [2] * 9)
    assert seeds_of(found) == 2
    assert difference_interval(found, 0.95).estimate == pytest.approx((values.mean() + values[1:].mean()) / 2)


def test_seeds_that_a_benchmark_lacks_are_left_out() -> None:
    """Benchmark c knows seed 2 of b's seeds 1 and 2: that one counts. If it knows seed 7 alone, all are taken as of one seed."""
    groups, values = [str(number) for number in range(10)], np.repeat([0.1, 0.3, 0.5], 10)
    shared = Pairs(["b"] * 20 + ["c"] * 10, groups * 3, values, [1] * 10 + [2] * 20)
    assert seeds_of(shared) == 1
    assert mean_difference(shared) == pytest.approx(0.4)
    apart = Pairs(shared.benchmark, shared.group, values, [1] * 10 + [2] * 10 + [7] * 10)
    assert seeds_of(apart) == 1
    assert mean_difference(apart) == pytest.approx(0.35)


def test_seeds_without_a_partner_add_their_variances() -> None:
    """Seeds 0.1, 0.2, 0.3 of the second against 0.1 of the first: the two-sample t interval with one pooled variance."""
    names, first, second = [str(n) for n in range(20000)], [0.1], [0.1, 0.2, 0.3]
    rows = [(-share, seed, 0) for seed, share in enumerate(first)] + [(s, 7 + seed, 1) for seed, s in enumerate(second)]
    pairs = Pairs(
        ["b"] * 20000 * 4,
        names * 4,
        np.repeat([share for share, _, _ in rows], 20000),
        np.repeat([seed for _, seed, _ in rows], 20000).tolist(),
        np.repeat([side for _, _, side in rows], 20000).tolist(),
    )
    found = difference_interval(pairs, 0.95)
    half = stats.t.ppf(0.975, 2) * 0.1 * (1 / 3 + 1) ** 0.5
    assert (found.estimate, found.high - found.estimate) == pytest.approx((0.1, half), abs=1e-3)
    assert seeds_of(pairs) == 4


CORNERS = [
    # shares, sd of seeds, persistent share, groups, seeds
    ((0.6,), 0.0, 0.1, 200, 3),
    ((0.6,), 0.03, 0.5, 200, 3),
    ((0.6,), 0.08, 0.5, 200, 3),
    ((0.95,), 0.01, 0.1, 200, 3),
    ((0.62, 0.6), 0.0, 0.1, 200, 3),
    ((0.62, 0.6), 0.03, 0.1, 200, 3),
    ((0.62, 0.6), 0.08, 0.5, 150, 3),
    ((0.62, 0.6), 0.03, 0.5, 200, 5),
    ((0.6,), 0.03, 0.5, 200, 10),
    ((0.6,), 0.03, 0.5, 30, 3),
]


@pytest.mark.parametrize(("shares", "deviation", "persistent", "groups", "seeds"), CORNERS)
def test_intervals_over_items_and_seeds_cover_95_percent_of_the_time(
    shares: tuple[float, ...], deviation: float, persistent: float, groups: int, seeds: int
) -> None:
    """95 +- 1.5 % of 2,000 simulated evaluations, and chance (0.5 points, twice), hold the mean over all items and seeds."""
    found = coverage(shares, deviation, persistent, groups, seeds, SIMULATIONS, ["ours"])
    assert found["ours"] == pytest.approx(0.95, abs=0.025)


def test_what_looks_right_and_covers_less() -> None:
    """Seeds left out, items under seeds as items, seeds without degrees of freedom, or of their own on each benchmark."""
    wrong = coverage((0.6,), 0.08, 0.5, 200, 3, 1000)
    assert wrong["items"] < 0.7
    assert wrong["rows"] < 0.7
    assert wrong["normal"] < 0.9 < wrong["ours"]
    assert wrong["squared"] < wrong["ours"]
    small = coverage((0.62, 0.6), 0.0, 0.9, 200, 3, 1000, ["seeds", "ours"])
    assert small["seeds"] < 0.8
    apart = coverage((0.95,), 0.03, 0.5, 80, 3, 1000, ["apart", "ours"], benchmarks=3)
    assert apart["apart"] < 0.85 < 0.91 < apart["ours"]
