"""How sure a measured number is: intervals over items in groups, and tests of paired answers.

All intervals are about other items of the same kind, clustered by group (items about one fact are not independent),
and about nothing else: another training seed, another prompt or another benchmark may move a number by more.
Group-blind intervals would be too narrow by sqrt(items per group) where a model knows a fact or does not.

Variances are taken with two groups of average size added to each benchmark, one all for and one all against: where few
groups differ from the rest the sample's own variance is a poor estimate, down to zero where none happens to. For 100
groups of which 2 % gain and 1 % lose, the plain bootstrap of paired differences covers 79 % of the time at 95 %, this one
99 %; where 30 % differ both cover 94 %, and this one is 2 % wider (7 % for 30 groups).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

BOOTSTRAP_CELLS = 1 << 22  # draws held at once, 32 MB


@dataclass(frozen=True)
class Interval:
    """An estimate and its bounds; `low <= estimate <= high`. The bounds may be infinite where nothing is known."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Pairs:
    """Differences between two conditions on the same items.

    Args:
        benchmark: which benchmark each pair belongs to.
        group: which group of that benchmark; pairs of one group are drawn together.
        difference: score of the one minus score of the other, for each pair.
    """

    benchmark: Sequence[str]
    group: Sequence[str]
    difference: NDArray[np.float64]


def _group_sums(group: ArrayLike, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum of `values` and number of rows of each group, groups in sorted order."""
    _, index = np.unique(np.asarray(group, dtype=str), return_inverse=True)
    return np.bincount(index, weights=values).astype(np.float64), np.bincount(index).astype(np.float64)


def _smoothed(
    sums: NDArray[np.float64], items: NDArray[np.float64], low: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The groups and two of average size besides, in which every item has the highest value, 1, and the lowest."""
    size = items.mean()
    return np.append(sums, [size, low * size]), np.append(items, [size, size])


def _mean_variance(sums: NDArray[np.float64], items: NDArray[np.float64], low: float) -> float:
    """Variance of the mean over items, linearized, over `_smoothed` groups."""
    groups = len(items)
    sums, items = _smoothed(sums, items, low)
    residuals = sums - sums.sum() / items.sum() * items
    return float((groups + 2) ** 2 / (groups * (groups + 1)) * (residuals**2).sum() / items.sum() ** 2)


def accuracy_interval(correct: Sequence[float], group: Sequence[str], confidence: float) -> Interval:
    """Mean of correct items, with a Wilson interval whose sample size is what the items are worth when clustered.

    Cluster-robust and analytic: the linearized variance of the mean over groups, G / (G - 1) corrected, gives the
    effective number of items p (1 - p) / variance, and the Wilson score interval is taken at that size with Student's t
    of G - 1 degrees of freedom. It stays inside [0, 1] and has a width at 0 % and 100 %, unlike the mean +- 1.96
    standard errors. The variance is at least that of independent items: groups whose items differ more than items of
    different groups do not count for more than their items. Of whole answers, right or wrong, the effective number is
    then at most the real one; fractions vary less and may count for more.

    Args:
        correct: one value an item, 0, 1 or a fraction (the mean of an item's draws); at least one item.
        group: the items' groups.
        confidence: for example 0.95.
    Returns:
        Fractions. With one group, which says nothing about others, [0, 1].
    Source:
        Franco, Little, Louis, Slud 2019, Comparative study of confidence intervals for proportions in complex sample
        surveys.
    """
    values = np.asarray(correct, dtype=np.float64)
    right, items = _group_sums(group, values)
    share = float(right.sum() / items.sum())
    groups = len(items)
    if groups < 2:
        return Interval(share, 0.0, 1.0)
    smooth_right, smooth_items = _smoothed(right, items, 0.0)
    smooth, size = float(smooth_right.sum() / smooth_items.sum()), float(items.mean())
    squares = float(((values - smooth) ** 2).sum()) + size * ((1 - smooth) ** 2 + smooth**2)
    independent = squares / float(smooth_items.sum()) / len(values)
    effective = smooth * (1 - smooth) / max(independent, _mean_variance(right, items, 0.0))
    z = float(stats.t.ppf((1 + confidence) / 2, groups - 1))
    center = (share + z**2 / (2 * effective)) / (1 + z**2 / effective)
    half = z / (1 + z**2 / effective) * math.sqrt(share * (1 - share) / effective + z**2 / (4 * effective**2))
    return Interval(share, max(0.0, min(share, center - half)), min(1.0, max(share, center + half)))


def mean_interval(parts: Sequence[Interval]) -> Interval:
    """The mean of independent estimates, with an interval from theirs (MOVER): one part gives its own interval.

    Source:
        Zou and Donner 2008, Construction of confidence limits about effect measures, Statistics in Medicine 27.
    """
    mean = math.fsum(part.estimate for part in parts) / len(parts)
    low = math.sqrt(math.fsum((part.estimate - part.low) ** 2 for part in parts)) / len(parts)
    high = math.sqrt(math.fsum((part.high - part.estimate) ** 2 for part in parts)) / len(parts)
    return Interval(mean, mean - low, mean + high)


def ratio_interval(numerator: Sequence[float], denominator: Sequence[float], confidence: float) -> Interval:
    """Sum of numerators over sum of denominators (bits per byte over documents), with documents as clusters.

    The ratio of sums weighs a document by its length. Its variance is linearized: that of the residuals numerator -
    ratio x denominator, n / (n - 1) corrected, over the squared sum of denominators; Student's t with n - 1 degrees
    of freedom.

    Args:
        numerator: one value a document.
        denominator: the same, with a positive sum.
        confidence: for example 0.95.
    Returns:
        With one document the bounds are infinite.
    """
    top, bottom = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    total, documents = float(bottom.sum()), len(bottom)
    ratio = float(top.sum()) / total
    if documents < 2:
        return Interval(ratio, -math.inf, math.inf)
    residuals = top - ratio * bottom
    error = math.sqrt(documents / (documents - 1) * float((residuals**2).sum())) / total
    half = float(stats.t.ppf((1 + confidence) / 2, documents - 1)) * error
    return Interval(ratio, ratio - half, ratio + half)


def mcnemar_p(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Two-sided exact McNemar test: how surprising so uneven a split of the items that only one of two got right is.

    Takes items as independent; where groups share a fact it is too sure, and `sign_flip_p` is the one to read.

    Returns:
        p; 1.0 when both got the same items right.
    """
    one, other = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    wins, losses = int((one & ~other).sum()), int((other & ~one).sum())
    return float(stats.binomtest(wins, wins + losses, 0.5).pvalue) if wins + losses else 1.0


def _strata(pairs: Pairs) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    benchmark = np.asarray(pairs.benchmark, dtype=str)
    group = np.asarray(pairs.group, dtype=str)
    own = [benchmark == name for name in np.unique(benchmark)]
    return [_group_sums(group[rows], pairs.difference[rows]) for rows in own]


def mean_difference(pairs: Pairs) -> float:
    """The mean over benchmarks of the mean difference, so that a large benchmark counts no more than a small one."""
    return float(np.mean([sums.sum() / items.sum() for sums, items in _strata(pairs)]))


def _freedom(strata: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> int:
    """Degrees of freedom of a mean over benchmarks: groups less benchmarks."""
    return sum(len(items) for _, items in strata) - len(strata)


def bootstrap_differences(pairs: Pairs, samples: int, seed: int) -> NDArray[np.float64]:
    """`mean_difference` of resampled data: each benchmark's groups drawn with replacement, whole, as many as there are.

    Two groups are among them that were not measured (see the module), for the spread only: it is around the mean that
    was seen. Each benchmark's draws are spread to the variance that its own number of groups has, with the divisor G - 1.

    Returns:
        float64 (samples,), sorted. A function of its arguments only.
    """
    generator = np.random.default_rng(seed)
    strata = _strata(pairs)
    means = np.zeros(samples)
    for own_sums, own_items in strata:
        sums, items = _smoothed(own_sums, own_items, -1.0)
        groups = len(items)
        center, spread = sums.sum() / items.sum(), groups / math.sqrt((groups - 1) * (groups - 2))
        step = max(1, BOOTSTRAP_CELLS // groups)
        for start in range(0, samples, step):
            drawn = generator.integers(groups, size=(min(step, samples - start), groups))
            resampled = sums[drawn].sum(axis=1) / items[drawn].sum(axis=1)
            means[start : start + step] += own_sums.sum() / own_items.sum() + (resampled - center) * spread
    return np.sort(means / len(strata))


def bootstrap_interval(pairs: Pairs, confidence: float, samples: int, seed: int) -> Interval:
    """`mean_difference` with the percentile interval of its `bootstrap_differences`, inside [-1, 1].

    The percentiles are those that Student's t asks for, of as many degrees of freedom as there are groups less
    benchmarks: plain percentiles are too narrow for few groups.

    Returns:
        With one group in every benchmark, [-1, 1].
    Source:
        Hesterberg 2015, What teachers should know about the bootstrap, arXiv 1411.5279 (expanded percentiles).
        Agresti and Min 2005, Simple improved confidence intervals for comparing matched proportions, Statistics in
        Medicine 24 (pairs added).
    """
    estimate = mean_difference(pairs)
    freedom = _freedom(_strata(pairs))
    if freedom < 1:
        return Interval(estimate, -1.0, 1.0)
    tail = float(stats.norm.cdf(-stats.t.ppf((1 + confidence) / 2, freedom)))
    low, high = np.quantile(bootstrap_differences(pairs, samples, seed), [tail, 1 - tail])
    return Interval(estimate, max(-1.0, min(float(low), estimate)), min(1.0, max(float(high), estimate)))


def _student(pairs: Pairs) -> tuple[float, float, int]:
    """`mean_difference`, its standard error, and degrees of freedom."""
    strata = _strata(pairs)
    mean = math.fsum(sums.sum() / items.sum() for sums, items in strata) / len(strata)
    variance = math.fsum(_mean_variance(sums, items, -1.0) for sums, items in strata)
    return mean, math.sqrt(variance) / len(strata), _freedom(strata)


def standard_error(pairs: Pairs) -> float:
    """Of `mean_difference`, clustered by group; the linearized twin of `bootstrap_differences`."""
    return _student(pairs)[1]


def minimum_detectable_effect(pairs: Pairs, confidence: float, power: float) -> float:
    """The true difference that a two-sided test at 1 - confidence would find with probability `power` on so many groups.

    (t of (1 + confidence) / 2 + t of `power`) x `standard_error`: it depends on how the differences vary, not on their
    mean. An effect that was not found and is smaller than this was not to be found.

    Returns:
        A fraction, infinite with one group in every benchmark.
    Source:
        Bloom 1995, Minimum detectable effects, Evaluation Review 19.
    """
    _, error, freedom = _student(pairs)
    if freedom < 1:
        return math.inf
    return float(stats.t.ppf((1 + confidence) / 2, freedom) + stats.t.ppf(power, freedom)) * error


def noninferiority_p(pairs: Pairs, margin: float) -> float:
    """One-sided t test of `no loss`: against a mean difference of -margin or less, by `standard_error`.

    Returns:
        p, small when the loss is surely below the margin; 1.0 with one group in every benchmark.
    """
    mean, error, freedom = _student(pairs)
    return float(stats.t.sf((mean + margin) / error, freedom)) if freedom > 0 else 1.0


def tost_p(pairs: Pairs, margin: float) -> float:
    """Two one-sided t tests of equivalence: against a mean difference of `margin` or more, either way. The larger p.

    Source:
        Schuirmann 1987, A comparison of the two one-sided tests procedure and the power approach.
    """
    mean, error, freedom = _student(pairs)
    return float(stats.t.sf((margin - abs(mean)) / error, freedom)) if freedom > 0 else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of a family, in the order given: rejecting those at most alpha errs anywhere with at most alpha.

    The smallest p is multiplied by how many there are, the next by one fewer, and none is below that of a smaller p.
    Holds whatever the dependence between the tests.

    Source:
        Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def sign_flip_p(pairs: Pairs, samples: int, seed: int) -> float:
    """Two-sided test that the mean difference is zero: how often random signs for whole groups reach what was seen.

    If the two conditions were the same, each group's difference would be as likely with the other sign. Groups flip
    as one, so that items about one fact count as one observation.

    Returns:
        p, at least 1 / (samples + 1).
    """
    generator = np.random.default_rng(seed)
    strata = _strata(pairs)
    weighted = np.concatenate([sums / items.sum() for sums, items in strata]) / len(strata)
    seen = abs(weighted.sum()) - 1e-12
    step = max(1, BOOTSTRAP_CELLS // len(weighted))
    reached = 0
    for start in range(0, samples, step):
        signs = generator.integers(0, 2, size=(min(step, samples - start), len(weighted))) * 2 - 1
        reached += int((np.abs(signs @ weighted) >= seen).sum())
    return (reached + 1) / (samples + 1)
