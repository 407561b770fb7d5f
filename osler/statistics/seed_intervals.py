"""How far results move from one training seed to the next.

An interval over items says nothing about this. Three seeds are the fewest that say something, and not much: their 95 %
interval is the mean +- 2.5 standard deviations (4.3 / sqrt 3), with ten seeds +- 0.7.
"""

import statistics
from collections.abc import Sequence

from scipy import stats

from osler.statistics.intervals import Interval

ENOUGH_SEEDS = 3


def seed_interval(values: Sequence[float], confidence: float) -> Interval:
    """Mean over training seeds, with Student's t interval.

    Each seed has one value. Seeds are taken as independent and near normal.

    Raises:
        ValueError: fewer than three values.
    """
    if len(values) < ENOUGH_SEEDS:
        raise ValueError(f"an interval over seeds needs {ENOUGH_SEEDS} of them, not {len(values)}")
    mean = statistics.fmean(values)
    error = statistics.stdev(values) / len(values) ** 0.5
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * error
    return Interval(mean, mean - half, mean + half)
