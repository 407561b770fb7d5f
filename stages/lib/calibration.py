"""Whether probabilities mean what they say: of answers given with 80 %, are 80 % right? Expected calibration error."""

from dataclasses import dataclass

import polars as pl

from stages.lib.intervals import Interval


@dataclass(frozen=True)
class Bin:
    """Answers whose probability is in (low, high]: how many, their mean probability, and the share that is right."""

    low: float
    high: float
    items: int
    probability: float
    accuracy: Interval


@dataclass(frozen=True)
class Calibration:
    """Expected calibration error (a fraction) with its interval, and the bins that hold an answer, for a figure."""

    error: Interval
    bins: tuple[Bin, ...]


def calibrations(
    predictions: pl.DataFrame, confidence: float, samples: int, seed: int, strategy: str = "zero_shot"
) -> dict[tuple[str, str], Calibration]:
    """By protocol and model, of the protocols that read likelihoods, over the items of all benchmarks."""
    raise NotImplementedError
