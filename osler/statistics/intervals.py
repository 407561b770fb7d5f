"""How sure a measured number is: intervals over items and seeds together.

One method for accuracies, paired differences and bits per byte, for 1, 2 and more seeds. Every item (document) is answered
under every seed, so items and seeds are crossed: the variance of the mean is A + B, A what other items would change, B what
other seeds would. It is estimated as the crossed random-effects model has it (two-way clustering),

    A = max(0, V_items - V_both),   B = V_seeds,   V = max(A + B, V_items / 4),

with V_items the variance of the mean over seeds from how groups differ (linearized; items of one group are not independent),
V_seeds that of the mean over items from how seeds differ, V_both the part that is in both: what an item does under one seed
and not under another. B already holds V_both, so nothing is subtracted from what seeds say, of which there are few.
Student's t has the degrees of freedom 1 / f = (A / V) / (groups - benchmarks) + (B / V) / (seeds - 1): Cochran's weighted t,
read in degrees of freedom. Satterthwaite's, with squared weights, is too sure (92 % at 3 seeds), Cochran's own too shy (97 %).
Benchmarks count the same; a seed is the same model on all of them, so V_seeds is of means over benchmarks.

With one seed A = V_items, B is unknown and left out: the interval is over items alone, another seed can move the number by
more, and whoever shows it says `on 1 seed`. With two, B has one degree of freedom and intervals are wide (t up to 12.7).

Coverage in percent at 95 %, simulated (bench/coverage.py, with what else was tried): 2,000 data sets a corner, lowest and highest
over standard deviations of seeds of 0, 1, 3 and 8 points and items that differ between seeds little, by half, or nearly always:

    groups of 1 to 4 items       200                                      30
    seeds                          1         2          3         10      1         2          3         10
    accuracy 60 %               94.2   91.1-96.7  93.9-96.4  94.2-95.8  96.0   93.4-97.3  95.4-97.3  94.8-96.3
    60 % against 60 or 62 %     96.1   89.7-96.6  94.0-96.9  94.4-96.2  97.0   93.8-98.1  96.0-98.4  95.7-97.8
    95 % against 94 %           97.2   91.3-97.8  94.8-98.3  95.2-97.5  99.9   97.5-100   98.9-100   98.5-100
    accuracy 95 %, sd 0 to 3    95.5   89.2-96.9  92.8-96.8  93.2-96.7  97.3   97.7-98.4  98.0-99.0  94.3-97.7

Not met: seeds 8 points apart around 95 % are so skewed (most near 100, some at 70) that 84 to 88 % hold the mean, at any number
of seeds up to 10. Seeds left out of the interval cover down to 25 %, items under seeds as items of their own less.

Variances over items are taken with two groups of average size added to each benchmark, one all for and one all against:
where few groups differ from the rest the sample's own variance is a poor estimate, down to zero where none happens to. For
100 groups of which 2 % gain and none loses, 78 % of plain intervals hold the truth, and 99.9 % of these. The price: they
cover too much where few groups differ, as the right half of the table shows. Of several seeds V_items grows by the share by
which the two groups make that of single seeds grow.

Source:
    Cameron, Gelbach, Miller 2011, Robust inference with multiway clustering, JBES 29 (the three variances).
    Searle, Casella, McCulloch 1992, Variance components, chapter 4 (crossed random effects).
    Cochran 1964, Approximate significance levels of the Behrens-Fisher test, Biometrics 20 (weighted t).
    Agresti and Min 2005, Simple improved confidence intervals for comparing matched proportions, Statistics in Medicine 24
    (pairs added).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LEAST = 0.25  # of V_items: what V is at least, where seeds happen to agree. Costs 1 point of coverage where A is 0
Floats = NDArray[np.float64]
Stratum = tuple[Floats, Floats]


@dataclass(frozen=True)
class Interval:
    """An estimate and its bounds.

    It holds that `low <= estimate <= high`. The bounds may be infinite where nothing is known.
    """

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Pairs:
    """Differences between two conditions on the same items, under the same seeds.

    Args:
        benchmark: which benchmark each pair belongs to.
        group: which group of that benchmark; pairs of one group are drawn together.
        difference: score of the one minus score of the other, for each pair.
        seed: training seed of both; None: all of one.
        side: None, or for conditions that share no seed 0 and 1: each row is then one score, that of the second or minus
            that of the first, and the mean difference is the sum of the two sides' means.
    """

    benchmark: Sequence[str]
    group: Sequence[str]
    difference: Floats
    seed: Sequence[int] | None = None
    side: Sequence[int] | None = None


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error and degrees of freedom.

    There is one of each for every leading index of the data. Degrees of freedom of 0 are unknown. `smooth` is the mean
    with the added groups.
    """

    mean: Floats
    error: Floats
    freedom: Floats
    smooth: Floats

    def bounds(self, confidence: float) -> tuple[Floats, Floats]:
        """Of the t interval."""
        half = self.quantile((1 + confidence) / 2) * self.error
        return self.mean - half, self.mean + half

    def quantile(self, probability: float) -> Floats:
        """Of Student's t; infinite without a degree of freedom."""
        known = self.freedom > 0
        found = np.where(known, stats.t.ppf(probability, np.where(known, self.freedom, 1.0)), math.inf)
        return np.asarray(found, dtype=np.float64)


def crossed_estimate(strata: Sequence[Stratum], lowest: float | None, side_S: ArrayLike | None = None) -> Estimate:
    """The mean over benchmarks with its error over groups and seeds.

    It is of mean scores, or of ratios, over groups x seeds: see the module.

    Args:
        strata: for each benchmark `top_GS` and `bottom_GS` of shape (..., G, S): sums of the scores of a group under a seed,
            and its numbers of items (or sums of denominators); an item that a seed lacks is in neither. All benchmarks
            have the same S seeds; the leading indices are data sets apart.
        lowest: of a score, where the highest is 1; of the two added groups. None: scores have no bounds, none is added.
        side_S: which of two conditions each seed is of (`Pairs.side`); seeds of both are taken to vary alike.
    """
    sides = np.asarray(side_S) if side_S is not None else np.zeros(strata[0][0].shape[-1], dtype=np.int64)
    seeds = np.bincount(sides)  # of each side
    weight_S = 1 / seeds[sides]
    known = len(sides) - len(seeds)  # degrees of freedom between seeds
    scale = float((1 / seeds).sum()) / max(1, known)  # from squared deviations to the variance of the mean
    items = both = smooth = np.zeros(())
    ratio_S = np.zeros(len(sides))
    for top_GS, bottom_GS in strata:
        groups, whole = top_GS.shape[-2], bottom_GS.sum(axis=-2, keepdims=True)
        own = top_GS.sum(axis=-2, keepdims=True) / whole
        share_GS = bottom_GS / whole
        residual_GS = top_GS / whole - own * share_GS
        variance, center = _items_variance(own, share_GS, residual_GS, weight_S, lowest, len(seeds) > 1)
        deviation_GS = _within(residual_GS, sides)
        correction = groups / max(1, groups - 1)
        items = items + variance / len(strata) ** 2
        both = both + correction * scale * (deviation_GS**2).sum(axis=(-2, -1)) / len(strata) ** 2
        ratio_S = ratio_S + own[..., 0, :] / len(strata)
        smooth = smooth + center / len(strata)
    between = scale * (_within(ratio_S, sides) ** 2).sum(axis=-1)
    variance = np.maximum(np.maximum(0.0, items - both) + between, LEAST * items) if known else items
    freedom = sum(top_GS.shape[-2] for top_GS, _ in strata) - len(strata)
    by_seeds = np.divide(between, variance, out=np.zeros_like(variance), where=variance > 0)
    inverse = (1 - by_seeds) / max(1, freedom) + by_seeds / max(1, known)
    return Estimate(ratio_S @ weight_S, np.sqrt(variance), np.where(freedom > 0, 1 / inverse, 0.0), smooth)


def _within(values_S: Floats, sides: NDArray[np.int64]) -> Floats:
    """Values less the mean over the seeds of their side."""
    result = np.empty_like(values_S)
    for side in np.unique(sides):
        own = values_S[..., sides == side]
        result[..., sides == side] = own - own.mean(axis=-1, keepdims=True)
    return result


def _items_variance(
    mean_S: Floats, share_GS: Floats, residual_GS: Floats, weight_S: Floats, lowest: float | None, collapsed: bool
) -> tuple[Floats, Floats]:
    """V_items of one benchmark, and the mean, both with the added groups.

    Args:
        mean_S: by seed, with an axis of 1 for the groups.
        share_GS: of each group in the items.
        residual_GS: what each group adds to the mean of a seed.
        weight_S: of each seed in the mean.
        lowest: see `crossed_estimate`.
        collapsed: the two groups are added to means over seeds, whose spread that of single seeds says nothing about.
    """
    groups = residual_GS.shape[-2]
    correction = groups / max(1, groups - 1)
    plain = correction * ((residual_GS @ weight_S) ** 2).sum(axis=-1)
    if lowest is None:
        return plain, (mean_S @ weight_S)[..., 0]
    if collapsed:
        mean_S, residual_GS = ((values @ weight_S)[..., None] for values in (mean_S, residual_GS))
        share_GS, weight_S = share_GS.mean(axis=-1, keepdims=True), np.ones(1)
    single = correction * ((residual_GS**2).sum(axis=-2) @ weight_S**2)
    center_S = (groups * mean_S + 1 + lowest) / (groups + 2)
    squares_S = ((residual_GS + (mean_S - center_S) * share_GS) ** 2).sum(axis=-2)
    squares_S = squares_S + ((1 - center_S) ** 2 + (lowest - center_S) ** 2)[..., 0, :] / groups**2
    smoothed = groups / (groups + 1) * (squares_S @ weight_S**2)
    alike = np.divide(plain, single, out=np.full_like(single, float(len(weight_S))), where=single > 0)
    return np.asarray(alike * smoothed), (center_S @ weight_S)[..., 0]


def _sums(
    benchmark: ArrayLike,
    group: ArrayLike,
    top: ArrayLike,
    bottom: ArrayLike,
    seed: ArrayLike | None,
    side: ArrayLike | None,
) -> tuple[list[Stratum], NDArray[np.int64]]:
    """Rows as `crossed_estimate` takes them.

    These are the sums of each benchmark, and the side of each seed. Seeds that a benchmark lacks are left out; if no seed
    is left, all rows are taken as of one.
    """
    benchmarks, groups = np.asarray(benchmark, dtype=str), np.asarray(group, dtype=str)
    tops, bottoms = np.asarray(top, dtype=np.float64), np.asarray(bottom, dtype=np.float64)
    sides = np.zeros(len(tops), dtype=np.int64) if side is None else np.asarray(side, dtype=np.int64)
    seeds = np.zeros(len(tops), dtype=np.int64) if seed is None else np.array(seed, dtype=np.int64)
    column, side_S = np.full(len(tops), -1), list[int]()
    for one in np.unique(sides):
        of_side = sides == one
        names = np.unique(benchmarks[of_side])
        shared = set.intersection(*(set(seeds[of_side & (benchmarks == name)].tolist()) for name in names))
        for number in sorted(shared) or [None]:
            column[of_side if number is None else of_side & (seeds == number)] = len(side_S)
            side_S.append(int(one))
    strata = []
    for name in np.unique(benchmarks):
        rows = (benchmarks == name) & (column >= 0)
        kept, index = np.unique(groups[rows], return_inverse=True)
        top_GS, bottom_GS = np.zeros((2, len(kept), len(side_S)))
        np.add.at(top_GS, (index, column[rows]), tops[rows])
        np.add.at(bottom_GS, (index, column[rows]), bottoms[rows])
        strata.append((top_GS, bottom_GS))
    return strata, np.array(side_S)


def accuracy_interval(
    correct: Sequence[float],
    group: Sequence[str],
    confidence: float,
    seed: Sequence[int] | None = None,
    benchmark: Sequence[str] | None = None,
) -> Interval:
    """Mean of correct items with a Wilson interval.

    The mean is over seeds and benchmarks; the sample size of the interval is what they are worth. The variance of
    `crossed_estimate` gives the effective number of items p (1 - p) / variance, and the Wilson score interval is taken
    at that size with its Student's t. It stays inside [0, 1] and has a width at 0 % and 100 %, unlike the mean +- 1.96
    standard errors.

    Args:
        correct: one value an item and seed, 0, 1 or a fraction (the mean of an item's draws); at least one.
        group: the items' groups.
        confidence: for example 0.95.
        seed: the training seed that each is of; None: all of one.
        benchmark: of each, each counting the same; None: all of one.
    Returns:
        Fractions. With one group in every benchmark, which says nothing about others, the bounds are 0 and 1.
    Source:
        Franco, Little, Louis, Slud 2019, Comparative study of confidence intervals for proportions in complex sample
        surveys.
    """
    one = np.zeros(len(correct)) if benchmark is None else benchmark
    strata, _ = _sums(one, group, np.asarray(correct, dtype=np.float64), np.ones(len(correct)), seed, None)
    low, high = wilson_bounds(crossed_estimate(strata, 0.0), confidence)
    share = math.fsum(float((top.sum(axis=0) / bottom.sum(axis=0)).mean()) for top, bottom in strata) / len(strata)
    return Interval(share, min(share, float(low)), max(share, float(high)))


def wilson_bounds(estimate: Estimate, confidence: float) -> tuple[Floats, Floats]:
    """Of a share in [0, 1]: see `accuracy_interval`."""
    z = estimate.quantile((1 + confidence) / 2)
    known = np.isfinite(z)
    z, share = np.where(known, z, 0.0), np.clip(estimate.mean, 0.0, 1.0)
    weight = z**2 * estimate.error**2 / (estimate.smooth * (1 - estimate.smooth))  # z^2 over the effective number
    center = (share + weight / 2) / (1 + weight)
    half = np.sqrt(weight * share * (1 - share) + weight**2 / 4) / (1 + weight)
    return np.where(known, np.maximum(0.0, center - half), 0.0), np.where(known, np.minimum(1.0, center + half), 1.0)


def ratio_interval(
    numerator: Sequence[float],
    denominator: Sequence[float],
    confidence: float,
    document: Sequence[str] | None = None,
    seed: Sequence[int] | None = None,
) -> Interval:
    """Sum of numerators over sum of denominators, with its interval.

    This is for bits per byte over documents, with documents as clusters. The ratio of sums weighs a document by its
    length; of several seeds it is the mean of theirs. Its variance is that of `crossed_estimate`, of the residuals
    numerator - ratio x denominator over the sum of denominators.

    Args:
        numerator: one value a document and seed.
        denominator: the same, with a positive sum for every seed.
        confidence: for example 0.95.
        document: which document each is of; None: one each.
        seed: which training seed; None: all of one.
    Returns:
        With one document the bounds are infinite.
    """
    rows = len(numerator)
    names = [str(number) for number in range(rows)] if document is None else document
    found = crossed_estimate(_sums(np.zeros(rows), names, numerator, denominator, seed, None)[0], None)
    if not found.freedom:
        return Interval(float(found.mean), -math.inf, math.inf)
    low, high = found.bounds(confidence)
    return Interval(float(found.mean), float(low), float(high))


def difference_estimate(pairs: Pairs) -> Estimate:
    """The mean difference with its error and degrees of freedom."""
    ones = np.ones(len(pairs.difference))
    strata, side_S = _sums(pairs.benchmark, pairs.group, pairs.difference, ones, pairs.seed, pairs.side)
    return crossed_estimate(strata, -1.0, side_S)


def seeds_of(pairs: Pairs) -> int:
    """How many training seeds `mean_difference` rests on; of two sides together."""
    ones = np.ones(len(pairs.difference))
    return len(_sums(pairs.benchmark, pairs.group, pairs.difference, ones, pairs.seed, pairs.side)[1])


def mean_difference(pairs: Pairs) -> float:
    """The mean over benchmarks of the mean difference.

    So a large benchmark counts no more than a small one.
    """
    return float(difference_estimate(pairs).mean)


def difference_interval(pairs: Pairs, confidence: float) -> Interval:
    """`mean_difference` with its t interval over items and seeds.

    The module says how it is computed. It stays inside [-1, 1].

    Returns:
        With one group in every benchmark, [-1, 1].
    """
    found = difference_estimate(pairs)
    mean = float(found.mean)
    if not found.freedom:
        return Interval(mean, -1.0, 1.0)
    low, high = found.bounds(confidence)
    return Interval(mean, min(mean, max(-1.0, float(low))), max(mean, min(1.0, float(high))))


def standard_error(pairs: Pairs) -> float:
    """Of `mean_difference`, over items in groups and seeds."""
    return float(difference_estimate(pairs).error)


def difference_p(pairs: Pairs) -> float:
    """Two-sided t test that the mean difference is zero.

    It is below 1 - confidence where `difference_interval` excludes 0. Of one seed it is near the sign-flip test of
    whole groups: where 6 of 40 groups gain 0.029 to 0.031, where 12 do 0.0006 to 0.0005. A sign flip knows nothing of
    seeds.

    Returns:
        p; 1.0 with one group in every benchmark.
    """
    found = difference_estimate(pairs)
    return 2 * tail_probability(abs(float(found.mean)), found)


def tail_probability(distance: float, found: Estimate) -> float:
    """Probability of Student's t beyond a distance.

    The distance is in units of the mean. It is 0.5 where nothing is known.
    """
    return float(stats.t.sf(distance / float(found.error), float(found.freedom))) if found.freedom else 0.5
