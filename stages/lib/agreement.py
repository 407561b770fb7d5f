"""How much an answer depends on the way it is read: accuracy by protocol, agreement, position bias, unparsed answers."""

from dataclasses import dataclass

import polars as pl

from stages.lib.intervals import Interval


@dataclass(frozen=True)
class Agreement:
    """Of two protocols on the same items: share of items with the same prediction, and Cohen's kappa."""

    share: Interval
    kappa: float
    items: int


@dataclass(frozen=True)
class PositionBias:
    """By position of an option (0 is the first): accuracy where the gold answer stands there, and who chooses it.

    `predicted` and `gold` are shares of parsed answers; `total_variation` is half the sum of their differences; `p` is
    the clustered Stuart-Maxwell test that the two are the same.
    """

    accuracy: tuple[Interval, ...]
    predicted: tuple[float, ...]
    gold: tuple[float, ...]
    total_variation: float
    p: float


@dataclass(frozen=True)
class Unparsed:
    """Answers from which nothing could be read (they count as wrong), of how many."""

    unparsed: int
    answers: int


def protocol_accuracies(
    predictions: pl.DataFrame, confidence: float, strategy: str = "zero_shot"
) -> dict[tuple[str, str], Interval]:
    """By protocol and model: accuracy as a mean over benchmarks, of the rows of `strategy`."""
    raise NotImplementedError


def agreements(
    predictions: pl.DataFrame, confidence: float, strategy: str = "zero_shot"
) -> dict[tuple[str, str, str], Agreement]:
    """By model and two protocols (in alphabetical order), on the items that both answered."""
    raise NotImplementedError


def position_biases(
    predictions: pl.DataFrame, confidence: float, strategy: str = "zero_shot"
) -> dict[tuple[str, str], PositionBias]:
    """By protocol and model, over the items of all benchmarks."""
    raise NotImplementedError


def unparsed_counts(predictions: pl.DataFrame) -> dict[tuple[str, str, str], Unparsed]:
    """By strategy, protocol and model; draws count each."""
    raise NotImplementedError
