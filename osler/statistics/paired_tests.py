"""Tests of paired differences: equivalence, non-inferiority, power, many at once."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from osler.statistics.intervals import Pairs, difference_estimate, tail_probability


def mcnemar_p(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Two-sided exact McNemar test.

    It says how surprising so uneven a split is of the items that only one of two got right. Takes items as independent
    and knows one seed; where groups share a fact it is too sure, and `difference_p` is the one to read.

    Returns:
        p; 1.0 when both got the same items right.
    """
    one, other = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    wins, losses = int((one & ~other).sum()), int((other & ~one).sum())
    return float(stats.binomtest(wins, wins + losses, 0.5).pvalue) if wins + losses else 1.0


def minimum_detectable_effect(pairs: Pairs, confidence: float, power: float) -> float:
    """The smallest true difference that a test would be likely to find.

    The test is two-sided, at 1 - confidence. It would find this with probability `power` on so many groups and seeds.

    (t of (1 + confidence) / 2 + t of `power`) x `standard_error`: it depends on how the differences vary, not on their
    mean. An effect that was not found and is smaller than this was not to be found.

    Returns:
        A fraction, infinite with one group in every benchmark.
    Source:
        Bloom 1995, Minimum detectable effects, Evaluation Review 19.
    """
    found = difference_estimate(pairs)
    if not found.freedom:
        return math.inf
    return float((found.quantile((1 + confidence) / 2) + found.quantile(power)) * found.error)


def noninferiority_p(pairs: Pairs, margin: float) -> float:
    """One-sided t test of `no loss`.

    It is against a mean difference of -margin or less, by `standard_error`.

    Returns:
        p, small when the loss is surely below the margin; 1.0 with one group in every benchmark.
    """
    found = difference_estimate(pairs)
    return tail_probability(float(found.mean) + margin, found) if found.freedom else 1.0


def tost_p(pairs: Pairs, margin: float) -> float:
    """Two one-sided t tests of equivalence.

    They are against a mean difference of `margin` or more, either way. The p is the larger one.

    Source:
        Schuirmann 1987, A comparison of the two one-sided tests procedure and the power approach.
    """
    found = difference_estimate(pairs)
    return tail_probability(margin - abs(float(found.mean)), found) if found.freedom else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of a family of tests, in the order given.

    Rejecting those at most alpha errs anywhere with probability at most alpha. The smallest p is multiplied by how many
    there are, the next by one fewer, and none is below that of a smaller p. Holds whatever the dependence between the
    tests.

    Source:
        Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
