"""Agreement is what was published, and its interval holds the truth as often as it says."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from nltk.metrics.agreement import AnnotationTask

from osler.statistics.agreement import bootstrap_interval, cohen_kappa, krippendorff_alpha
from osler.statistics.intervals import Interval

FOUR_OBSERVERS = """
    1 2 3 3 2 1 4 1 2 . . .
    1 2 3 3 2 2 4 1 2 5 . 3
    . 3 3 3 2 3 4 2 2 5 1 .
    1 2 3 3 2 4 4 1 2 5 1 .
"""
"""Krippendorff 2011, example C."""
THREE_CODERS = """
    . . . . . 3 4 1 2 1 1 3 3 . 3
    1 . 2 1 3 3 4 3 . . . . . . .
    . . 2 1 3 4 4 . 2 1 1 3 3 . 4
"""
"""Wikipedia, Krippendorff's alpha, a computational example."""
TWO_OBSERVERS = """
    0 1 0 0 0 0 0 0 0 0
    1 1 1 0 0 1 0 1 0 0
"""
"""Krippendorff 2011, example A."""


def table(both: int, one: int, other: int, neither: int) -> list[tuple[str, str]]:
    """Pairs of yes and no."""
    cells = {("yes", "yes"): both, ("yes", "no"): one, ("no", "yes"): other, ("no", "no"): neither}
    return [pair for pair, count in cells.items() for _ in range(count)]


def drawn(seed: int, units: int, raters: int, categories: int, kept: float = 0.5) -> list[list[str]]:
    """Units whose raters mostly say what is so."""
    random = np.random.default_rng(seed)
    truth = random.integers(categories, size=(units, 1))
    said = np.where(random.random((units, raters)) < kept, truth, random.integers(categories, size=(units, raters)))
    return [[str(value) for value in row] for row in said]


def mean(units: Sequence[float]) -> float:
    """Of units; nan of none."""
    return sum(units) / len(units) if units else math.nan


def test_kappa_of_tables_that_can_be_checked_by_hand() -> None:
    """20 and 15 of 50 agree, chance would give 25; raters may also agree less than chance."""
    assert cohen_kappa(table(20, 5, 10, 15)) == pytest.approx(0.4)
    assert cohen_kappa(table(45, 15, 25, 15)) == pytest.approx(0.1304, abs=5e-5)
    assert cohen_kappa(table(25, 35, 5, 35)) == pytest.approx(0.2593, abs=5e-5)
    assert cohen_kappa(table(0, 5, 5, 0)) == -1


def units_of(rows: str) -> list[list[str]]:
    """Of a line for each observer; a point is no rating."""
    columns = zip(*(line.split() for line in rows.strip().splitlines()), strict=True)
    return [[rating for rating in column if rating != "."] for column in columns]


@pytest.mark.parametrize(
    ("rows", "published"), [(FOUR_OBSERVERS, 0.743), (THREE_CODERS, 0.691), (TWO_OBSERVERS, 0.095)]
)
def test_alpha_is_what_was_published(rows: str, published: float) -> None:
    """With ratings missing, and units that have one only or none."""
    assert krippendorff_alpha(units_of(rows)) == pytest.approx(published, abs=5e-4)


def test_units_with_fewer_than_two_ratings_count_for_none() -> None:
    """Not even for how often a category is given."""
    units = units_of(FOUR_OBSERVERS)
    assert krippendorff_alpha([*units, [], ["6"], ["1"]]) == krippendorff_alpha(units)


@pytest.mark.parametrize("seed", range(4))
def test_both_are_those_of_nltk(seed: int) -> None:
    """Kappa of two raters; alpha of two and of five, of two to six categories."""
    for raters, categories in ((2, 2), (2, 6), (5, 3)):
        units = drawn(seed, 40, raters, categories)
        task = AnnotationTask([(rater, unit, own) for unit, row in enumerate(units) for rater, own in enumerate(row)])
        assert krippendorff_alpha(units) == pytest.approx(task.alpha())
        if raters == 2:
            assert cohen_kappa([(row[0], row[1]) for row in units]) == pytest.approx(task.kappa())


@pytest.mark.parametrize("seed", range(4))
def test_alpha_of_two_raters_is_pi_and_what_few_ratings_add(seed: int) -> None:
    """Scott's pi takes chance with replacement; alpha = pi + (1 - pi) / n, of n ratings."""
    units = drawn(seed, 15, 2, 3)
    same = sum(one == other for one, other in units) / 15
    shares = [count / 30 for count in Counter(rating for unit in units for rating in unit).values()]
    chance = sum(share**2 for share in shares)
    pi = (same - chance) / (1 - chance)
    assert krippendorff_alpha(units) == pytest.approx(pi + (1 - pi) / 30)


def test_perfect_agreement_is_1_and_chance_is_near_0() -> None:
    """Exactly 1 whatever the sizes of units; 0 of 5,000 units rated by lot, though two of three ratings may be the same."""
    perfect = [[category] * raters for category, raters in (("a", 2), ("b", 3), ("a", 7), ("c", 2), ("c", 1))]
    assert krippendorff_alpha(perfect) == 1.0
    assert cohen_kappa([("a", "a"), ("b", "b"), ("c", "c")]) == 1.0
    random = drawn(0, 5000, 2, 3, kept=0.0)
    lopsided = [[rating.replace("2", "1") for rating in unit] for unit in random]
    for units in (random, lopsided):
        assert abs(krippendorff_alpha(units)) < 0.03
        assert abs(cohen_kappa([(one, other) for one, other in units])) < 0.03


def test_neither_depends_on_names_or_on_order() -> None:
    """Of units, of raters, of categories."""
    units = drawn(3, 30, 2, 4)
    pairs = [(one, other) for one, other in units]
    other_way = [(f"x{other}", f"x{one}") for one, other in reversed(pairs)]
    assert krippendorff_alpha(other_way) == pytest.approx(krippendorff_alpha(units), abs=1e-15)
    assert cohen_kappa(other_way) == cohen_kappa(pairs)


def test_where_chance_would_agree_on_all_nothing_is_known() -> None:
    """No unit, no pair, one category. Two raters who each give one category, but not the same, have a kappa: 0."""
    for units in ([], [["a"], ["b"]], [["a", "a"], ["a", "a", "a"]]):
        assert math.isnan(krippendorff_alpha(units))
    assert math.isnan(cohen_kappa([]))
    assert math.isnan(cohen_kappa([("a", "a")] * 3))
    assert cohen_kappa([("a", "b")] * 3) == 0.0


def test_the_interval_is_that_of_whole_groups() -> None:
    """A group is drawn with all of its units or not at all; groups as many as there are."""
    groups = {"a": [1.0, 2.0], "b": [3.0, 4.0, 5.0], "c": [6.0]}
    seen: list[list[float]] = []

    def noted(units: Sequence[float]) -> float:
        seen.append(list(units))
        return mean(units)

    bootstrap_interval(groups, noted, 0.9, 50, 7)
    assert sorted(seen[0]) == [1, 2, 3, 4, 5, 6]
    assert len(seen) == 51
    for units in seen[1:]:
        times = Counter(units)
        assert times[1] == times[2]
        assert times[3] == times[4] == times[5]
        assert times[1] + times[3] + times[6] == 3


def test_the_interval_is_the_middle_of_the_draws() -> None:
    """Of 0 and 1, draws give 0, 1/2 or 1 by 1 : 2 : 1, so half of them lie in the middle; the seed says which, not the order."""
    groups = {str(number): [float(number)] for number in range(2)}
    assert bootstrap_interval(groups, mean, 0.95, 400, 1) == Interval(0.5, 0.0, 1.0)
    assert bootstrap_interval(groups, mean, 0.4, 400, 1) == Interval(0.5, 0.5, 0.5)
    many = {f"{number:02d}": [float(number)] for number in range(20)}
    found = bootstrap_interval(many, mean, 0.9, 100, 1)
    assert found == bootstrap_interval(dict(reversed(many.items())), mean, 0.9, 100, 1)
    assert found != bootstrap_interval(many, mean, 0.9, 100, 2)
    half = 1.645 * math.sqrt(np.var(range(20)) / 20)  # of the normal approximation
    wide = bootstrap_interval(many, mean, 0.9, 4000, 1)
    assert (wide.low, wide.high) == pytest.approx((9.5 - half, 9.5 + half), abs=0.2)


def test_the_bounds_hold_the_estimate() -> None:
    """Also of a statistic that is lower in every draw, as a largest value is."""
    found = bootstrap_interval(
        {str(number): [number] for number in range(100)}, lambda units: -len(set(units)), 0.9, 50, 0
    )
    assert found.low == found.estimate == -100
    assert -80 < found.high < -50


def test_where_nothing_is_known_the_bounds_are_nan() -> None:
    """One group or none, no estimate, most draws undefined. Where few are, they are left out."""

    def only_with_a(units: Sequence[str]) -> float:
        return units.count("b") / len(units) if "a" in units else math.nan

    one_in = {str(number): ["a" if number < 1 else "b"] for number in range(100)}
    none, one = bootstrap_interval({}, mean, 0.9, 20, 0), bootstrap_interval({"a": [1.0, 3.0]}, mean, 0.9, 20, 0)
    assert math.isnan(none.estimate)
    assert one.estimate == 2
    undefined = bootstrap_interval({"a": ["b"], "b": ["b"]}, only_with_a, 0.9, 20, 0)
    assert math.isnan(undefined.estimate)
    for found in (none, one, undefined):
        assert math.isnan(found.low)
        assert math.isnan(found.high)
    # a draw of 100 lacks the one that has an `a` with probability 0.37: fewer than half
    # a draw of 6 seldom has all of three
    known = bootstrap_interval(one_in, only_with_a, 0.9, 200, 0)
    assert 0.9 < known.low <= known.estimate == 0.99 <= known.high < 1
    rare = bootstrap_interval(
        {str(number): [number] for number in range(6)},
        lambda units: 1.0 if {0, 1, 2} <= set(units) else math.nan,
        0.9,
        200,
        0,
    )
    assert rare.estimate == 1
    assert math.isnan(rare.low)
    assert math.isnan(rare.high)


def test_the_interval_of_kappa_covers_it() -> None:
    """100 groups of two units alike, 200 data sets: 90 to 99 % hold the true kappa of 0.6. Units apart would cover 83 %."""
    random = np.random.default_rng(5)
    held = 0
    for data in range(200):
        first = random.random(100) < 0.5
        second = np.where(random.random(100) < 0.8, first, ~first)
        units = [(str(one), str(other)) for one, other in zip(first.tolist(), second.tolist(), strict=True)]
        groups = {str(number): [unit, unit] for number, unit in enumerate(units)}
        found = bootstrap_interval(groups, cohen_kappa, 0.95, 100, data)
        held += found.low <= 0.6 <= found.high
    assert 0.90 <= held / 200 <= 0.99
