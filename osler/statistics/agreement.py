"""How far raters agree on categories, and how sure that is.

Both coefficients are 1 for full agreement, 0 for what chance would give, and below 0 for less. Cohen's kappa is of two raters
who each have their own shares of categories; Krippendorff's alpha is of any number of raters who stand for each other, with
ratings missing, and subtracts what few ratings add to agreement. Neither is defined where chance alone would agree on all,
as where every rating is of one category: nothing could have been disagreed on.

Source:
    Cohen 1960, A coefficient of agreement for nominal scales, Educational and Psychological Measurement 20.
    Krippendorff 2011, Computing Krippendorff's alpha-reliability (nominal data, any number of observers, missing data).
    Efron and Tibshirani 1993, An introduction to the bootstrap, chapter 13 (percentile interval).
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from osler.statistics.intervals import Interval

T = TypeVar("T")


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float:
    """Agreement of two raters beyond chance, of nominal categories.

    kappa = (p_o - p_e) / (1 - p_e), with p_o the share of pairs that are the same and p_e what it would be if each rater
    had given its categories at random, as often as it did.

    Args:
        pairs: what the one and the other said of each unit.
    Returns:
        At most 1. nan without a pair, and where p_e is 1: both gave one category only, the same.
    Source:
        Cohen 1960.
    """
    table = Counter(pairs)
    first, second = Counter[str](), Counter[str]()
    for (one, other), count in table.items():
        first[one] += count
        second[other] += count
    total = table.total()
    same = sum(count for (one, other), count in table.items() if one == other)
    chance = sum(count * second[category] for category, count in first.items())  # p_e times total^2: exact
    possible = total**2 - chance
    return (total * same - chance) / possible if possible else math.nan


def krippendorff_alpha(units: Sequence[Sequence[str]]) -> float:
    """Agreement of any number of raters beyond chance, of nominal categories.

    alpha = 1 - D_o / D_e over pairable ratings, those of units that have two or more. D_o is the share of pairs within a
    unit that differ, where a unit counts by its number of ratings m: its ordered pairs are divided by m - 1. D_e is the
    share of all pairs of ratings, of whatever units, that differ.

    Args:
        units: the ratings of each, missing ones left out; who gave which does not matter.
    Returns:
        At most 1. nan without a pairable rating, and where all of them are of one category.
    Source:
        Krippendorff 2011.
    """
    counts = [Counter(ratings) for ratings in units if len(ratings) > 1]
    totals = Counter[str]()
    for own in counts:
        totals.update(own)
    ratings = totals.total()
    possible = ratings**2 - sum(count**2 for count in totals.values())
    if not possible:
        return math.nan
    differing = math.fsum(
        (own.total() ** 2 - sum(count**2 for count in own.values())) / (own.total() - 1) for own in counts
    )
    return 1 - (ratings - 1) * differing / possible


def bootstrap_interval(
    groups: Mapping[str, Sequence[T]],
    statistic: Callable[[Sequence[T]], float],
    confidence: float,
    samples: int,
    seed: int,
) -> Interval:
    """Percentile interval of a statistic of units, over groups of units.

    Each draw takes as many groups as there are, with replacement, with all of their units, since units of one group are not
    independent. Draws whose statistic is undefined (nan) are left out. Percentile intervals are somewhat too short where
    groups are few.

    Args:
        groups: the units of each; the order of the groups changes nothing.
        statistic: of units in some order, a unit as often as it was drawn; nan where it is undefined.
        confidence: for example 0.95.
        samples: draws, at least 1.
        seed: of the draws.
    Returns:
        The statistic of all units, and bounds that hold it. The bounds are nan where nothing is known: with fewer than two
        groups, where the statistic is undefined, or for more than half of the draws.
    Source:
        Efron and Tibshirani 1993, chapter 13; Davison and Hinkley 1997, Bootstrap methods and their application, 3.8
        (whole groups drawn).
    """
    members = [groups[name] for name in sorted(groups)]
    estimate = statistic([unit for own in members for unit in own])
    unknown = Interval(estimate, math.nan, math.nan)
    if len(members) < 2 or math.isnan(estimate):
        return unknown
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(samples):
        drawn = generator.integers(len(members), size=len(members)).tolist()
        value = statistic([unit for index in drawn for unit in members[index]])
        if not math.isnan(value):
            found.append(value)
    if 2 * len(found) < samples:
        return unknown
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
    return Interval(estimate, min(estimate, low), max(estimate, high))
