"""How often intervals over items and seeds hold the truth: answers simulated, the grid as a Markdown table.

    python -m bench.coverage --replicates 2000

Six minutes on one core at 2,000 data sets a corner, which is +-0.5 points (one standard error). Answers are right
where a latent normal variable is positive: the sum of what a group and an item have on every seed, what they have on one seed
only (the interaction; as large as `persistent` leaves), and the seed's own effect, scaled so that the accuracies of seeds have
the standard deviation of the corner. Half of the items' variance is their groups', of 1 to 4 items. Two models that are
compared share half of what persists, and the standard deviation of seeds is that of the difference. The truth is the mean over
the population of items and seeds, exactly. Beside ours stand versions that look right and are not:

* `items`: seeds are not in the interval. `rows`: every answer of an item under a seed is an item of its own.
* `seeds`: seeds alone, in place of items. `normal`: seeds added where they show, without degrees of freedom.
* `squared`: Satterthwaite's degrees of freedom. `apart`: seeds of their own on every benchmark (over three benchmarks).
"""

import argparse
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from osler.statistics.intervals import Estimate, Stratum, crossed_estimate, wilson_bounds

Floats = NDArray[np.float64]
LARGEST = 4  # items of a group
CHUNK = 200  # data sets at once


def seed_effect(share: float, deviation: float) -> float:
    """Standard deviation of the latent effect of seeds whose accuracies have `deviation` around `share`."""
    if not deviation:
        return 0.0
    places = stats.norm.ppf((np.arange(2000) + 0.5) / 2000)

    def excess(effect: float) -> float:
        shares = stats.norm.cdf((stats.norm.ppf(share) + effect * places) / np.sqrt(1 - effect**2))
        return float(shares.std() - deviation)

    return float(optimize.brentq(excess, 0.0, 0.999))


def latent(generator: np.random.Generator, variance: float, shape: Sequence[int]) -> Floats:
    """Half a group's, half an item's own: normal, of shape (R, G, items, seeds)."""
    replicates, groups, items, seeds = shape
    own = generator.standard_normal((replicates, groups, items, seeds))
    return np.asarray((variance / 2) ** 0.5 * (generator.standard_normal((replicates, groups, 1, seeds)) + own))


def simulated(
    generator: np.random.Generator,
    shares: Sequence[float],
    deviation: float,
    persistent: float,
    size: tuple[int, int, int],
    benchmarks: int = 1,
) -> list[Stratum]:
    """Sums over groups x seeds of the answers of one model, or of the first less the second of two.

    Args:
        generator: source of randomness.
        shares: true accuracy of each model.
        deviation: of the seeds' accuracies or, of two models, of their difference.
        persistent: share of the items' variance that is the same on every seed.
        size: data sets, groups and seeds.
        benchmarks: of so many groups each; a seed's effect is the same on all.
    """
    replicates, groups, seeds = size
    effects = [seed_effect(share, deviation / len(shares) ** 0.5) for share in shares]
    shifts = [effect * generator.standard_normal((replicates, 1, 1, seeds)) for effect in effects]
    strata = []
    for _ in range(benchmarks):
        held = np.arange(LARGEST) < generator.integers(1, LARGEST + 1, size=(replicates, groups, 1))
        both = latent(generator, 0.5 if len(shares) > 1 else 0.0, (replicates, groups, LARGEST, 1))
        right = []
        for share, effect, shift in zip(shares, effects, shifts, strict=True):
            own = latent(generator, 0.5 if len(shares) > 1 else 1.0, (replicates, groups, LARGEST, 1))
            kept = (persistent * (1 - effect**2)) ** 0.5 * (both + own)
            once = latent(generator, (1 - persistent) * (1 - effect**2), (replicates, groups, LARGEST, seeds))
            right.append((stats.norm.ppf(share) + kept + once + shift > 0).astype(np.float64))
        score = (right[0] - right[1] if len(right) > 1 else right[0]) * held[..., None]
        items = np.repeat(held.sum(axis=-1)[..., None].astype(np.float64), seeds, axis=-1)
        strata.append((score.sum(axis=-2), items))
    return strata


def held(found: Estimate, truth: float, difference: bool) -> NDArray[np.bool_]:
    """Whether 95 % intervals hold the truth."""
    low, high = found.bounds(0.95) if difference else wilson_bounds(found, 0.95)
    return (low <= truth) & (truth <= high)


def ours(strata: Sequence[Stratum], lowest: float) -> Estimate:
    """The library's."""
    return crossed_estimate(strata, lowest)


def items_alone(strata: Sequence[Stratum], lowest: float) -> Estimate:
    """Means over seeds as if they were single answers."""
    return crossed_estimate([tuple(own.mean(axis=-1, keepdims=True) for own in pair) for pair in strata], lowest)


def rows_as_items(strata: Sequence[Stratum], lowest: float) -> Estimate:
    """A group under a seed as a group of its own."""
    return crossed_estimate([tuple(own.reshape(*own.shape[:-2], -1, 1) for own in pair) for pair in strata], lowest)  # type: ignore[misc]


def seeds_alone(strata: Sequence[Stratum], lowest: float) -> Estimate:
    """Student's t over the seeds' means."""
    found = crossed_estimate(strata, lowest)
    shares_S = np.mean([top.sum(axis=-2) / bottom.sum(axis=-2) for top, bottom in strata], axis=0)
    seeds = shares_S.shape[-1]
    error = np.maximum(shares_S.std(axis=-1, ddof=1) / seeds**0.5, 1e-9)
    return Estimate(found.mean, error, np.full_like(error, seeds - 1), found.smooth)


def parts(strata: Sequence[Stratum], lowest: float) -> tuple[Estimate, Floats, Floats, float]:
    """The library's estimate, V_items, what seeds add beyond the interaction (at least 0), and degrees of freedom of items."""
    found, items = crossed_estimate(strata, lowest), items_alone(strata, lowest)
    seeds = strata[0][0].shape[-1]
    between = seeds_alone(strata, lowest).error ** 2
    both = np.zeros_like(between)
    for top, bottom in strata:
        whole = bottom.sum(axis=-2, keepdims=True)
        rest = top / whole - top.sum(axis=-2, keepdims=True) / whole * bottom / whole
        rest = rest - rest.mean(axis=-1, keepdims=True)
        both += (rest**2).sum(axis=(-2, -1)) / (seeds - 1) / seeds / len(strata) ** 2
    return found, items.error**2, np.maximum(0, between - both), float(items.freedom.flat[0])


def without_freedom(strata: Sequence[Stratum], lowest: float) -> Estimate:
    """V_items + max(0, V_seeds - V_both), normal."""
    found, items, added, _ = parts(strata, lowest)
    return Estimate(found.mean, np.sqrt(items + added), np.full_like(items, 1e9), found.smooth)


def squared_weights(strata: Sequence[Stratum], lowest: float) -> Estimate:
    """Satterthwaite's degrees of freedom for our variance."""
    found, _, _, freedom = parts(strata, lowest)
    share = np.minimum(1.0, seeds_alone(strata, lowest).error ** 2 / found.error**2)
    inverse = (1 - share) ** 2 / freedom + share**2 / (strata[0][0].shape[-1] - 1)
    return Estimate(found.mean, found.error, 1 / inverse, found.smooth)


def seeds_apart(strata: Sequence[Stratum], lowest: float) -> Estimate:
    """The benchmarks' variances added, as if their seeds were not the same."""
    each = [crossed_estimate([own], lowest) for own in strata]
    error = np.sqrt(sum(own.error**2 for own in each)) / len(each)
    freedom = np.sum([own.freedom for own in each], axis=0)
    return Estimate(crossed_estimate(strata, lowest).mean, error, freedom, each[0].smooth)


METHODS: dict[str, Callable[[Sequence[Stratum], float], Estimate]] = {
    "ours": ours,
    "items": items_alone,
    "rows": rows_as_items,
    "seeds": seeds_alone,
    "normal": without_freedom,
    "squared": squared_weights,
    "apart": seeds_apart,
}


def coverage(
    shares: Sequence[float],
    deviation: float,
    persistent: float,
    groups: int,
    seeds: int,
    replicates: int,
    names: Sequence[str] = tuple(METHODS),
    benchmarks: int = 1,
) -> dict[str, float]:
    """Share of data sets whose 95 % interval holds the truth, by method.

    Args:
        shares, deviation, persistent, benchmarks: as `simulated` takes them.
        groups: of each benchmark.
        seeds: of training.
        replicates: data sets, in chunks of `CHUNK`.
        names: of the methods.
    """
    generator = np.random.default_rng([groups, seeds, round(1000 * deviation), round(10 * persistent), len(shares)])
    truth = shares[0] - (shares[1] if len(shares) > 1 else 0)
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(max(1, replicates // CHUNK)):
        strata = simulated(generator, shares, deviation, persistent, (CHUNK, groups, seeds), benchmarks)
        for name in names:
            estimate = METHODS[name](strata, -1.0 if len(shares) > 1 else 0.0)
            found[name].append(float(held(estimate, truth, len(shares) > 1).mean()))
    return {name: float(np.mean(own)) for name, own in found.items()}


CASES = {
    "accuracy 60 %": (0.6,),
    "accuracy 95 %": (0.95,),
    "60 % against 60 %": (0.6, 0.6),
    "62 % against 60 %": (0.62, 0.6),
    "95 % against 94 %": (0.95, 0.94),
}


def lines(replicates: int) -> Iterator[str]:
    """The grid."""
    names = [name for name in METHODS if name != "apart"]
    yield f"| what | groups | seeds | sd of seeds | persistent | {' | '.join(names)} |"
    yield f"|---|{'---:|' * (4 + len(names))}"
    for case, shares in CASES.items():
        for groups in (200, 30):
            for seeds in (1, 2, 3, 5, 10):
                for deviation in (0.0, 0.01, 0.03, 0.08) if seeds > 1 else (0.0,):
                    for persistent in (0.1, 0.5, 0.9) if seeds > 1 else (0.5,):
                        asked = [name for name in names if seeds > 1 or name in ("ours", "items", "rows")]
                        own = coverage(shares, deviation, persistent, groups, seeds, replicates, asked)
                        cells = [f"{100 * own[name]:.1f}" if name in own else "" for name in names]
                        yield f"| {case} | {groups} | {seeds} | {100 * deviation:g} | {persistent} | {' | '.join(cells)} |"
    yield ""
    yield "| over three benchmarks of 80 groups | seeds | sd of seeds | ours | apart |"
    yield "|---|---:|---:|---:|---:|"
    for case, shares in CASES.items():
        for seeds in (3, 5):
            for deviation in (0.0, 0.03):
                own = coverage(shares, deviation, 0.5, 80, seeds, replicates, ("ours", "apart"), 3)
                yield f"| {case} | {seeds} | {100 * deviation:g} | {100 * own['ours']:.1f} | {100 * own['apart']:.1f} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--replicates", type=int, default=2000, help="data sets of a corner")
    for line in lines(parser.parse_args().replicates):
        print(line, flush=True)
