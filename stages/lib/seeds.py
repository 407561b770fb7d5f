"""How far results move from one training seed to the next: mean, standard deviation and t interval over runs.

An interval over items says nothing about this. Three seeds are the fewest that say something, and not much: their 95 %
interval is the mean +- 2.5 standard deviations (4.3 / sqrt 3), with ten seeds +- 0.7.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

from stages.lib.intervals import Interval

ENOUGH_SEEDS = 3


@dataclass(frozen=True)
class SeedSummary:
    """A result over training seeds: mean with t interval, sample standard deviation, number of seeds."""

    mean: Interval
    deviation: float
    seeds: int


def seed_interval(values: Sequence[float], confidence: float) -> Interval:
    """Mean of one value a training seed, with Student's t interval; takes seeds as independent and near normal.

    Raises:
        ValueError: fewer than three values.
    """
    if len(values) < ENOUGH_SEEDS:
        raise ValueError(f"an interval over seeds needs {ENOUGH_SEEDS} of them, not {len(values)}")
    mean = statistics.fmean(values)
    error = statistics.stdev(values) / len(values) ** 0.5
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * error
    return Interval(mean, mean - half, mean + half)


def seed_summary(
    runs: Sequence[Mapping[str, Mapping[str, float]]], confidence: float
) -> dict[tuple[str, str], SeedSummary]:
    """By strategy and model, for those that every run has.

    Args:
        runs: the contents of eval.json, one a training seed, at least three.
        confidence: for example 0.95.
    Raises:
        ValueError: fewer than three runs.
    """
    cells = [
        {(strategy, model): share for strategy, row in run.items() for model, share in row.items()} for run in runs
    ]
    shared = sorted(set.intersection(*map(set, cells))) if cells else []
    found = {arm: [own[arm] for own in cells] for arm in shared}
    return {
        arm: SeedSummary(seed_interval(values, confidence), statistics.stdev(values), len(values))
        for arm, values in found.items()
    }
