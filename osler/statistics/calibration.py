"""Expected calibration error: whether probabilities mean what they say.

Of the answers given with 80 %, are 80 % right?

The probability of an answer is the highest of the softmax of the options' log-likelihoods, taken as the only possible
answers. `per_token` and `per_byte` divide log-likelihoods by lengths, so theirs are flatter by construction: their errors
say what using them as probabilities would cost, and compare between models of one protocol only.

The error is the mean over bins of equal width of |share right - mean probability|, weighted by answers. Chance makes it too
large: calibrated answers in 100 groups of 1 to 4 have an error of 10 points, in 300 groups of 6. So its interval is no plain
bootstrap's, which would hardly ever reach down to 0; simulated, this one covers 95 to 100 % of the time at 95 %. Where items
were answered under several training seeds, the answers of all seeds are taken together, in their groups: the error is that of
these models, and its interval is about other items, not other seeds.

Source:
    Guo et al. 2017, On calibration of modern neural networks, arXiv 1706.04599.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osler.evaluation.probabilities import option_probabilities
from osler.statistics.intervals import Interval, accuracy_interval

BINS = 10  # of equal width, as in the source (15 there, with tens of thousands of answers)
LIKELIHOODS = (
    *("letter", "full_answer", "per_token", "per_byte", "lm_eval", "med42"),
)  # protocols that have probabilities


@dataclass(frozen=True)
class Bin:
    """Answers whose probability is in [low, high).

    It holds how many there are, their mean probability, and the share that is right.
    """

    low: float
    high: float
    items: int
    probability: float
    accuracy: Interval


@dataclass(frozen=True)
class Calibration:
    """Expected calibration error with its interval, and its bins.

    The error is a fraction. The bins are those that hold an answer, for a figure.
    """

    error: Interval
    bins: tuple[Bin, ...]


def answer_probability(scores: Sequence[float]) -> float:
    """The highest probability among the options of an item.

    Log-likelihoods, which are never positive, go through `softmax`; shares stand for themselves.
    """
    return max(option_probabilities(scores))


def calibration_error(
    probabilities: Sequence[float],
    correct: Sequence[float],
    group: Sequence[str],
    confidence: float,
    samples: int,
    seed: int,
) -> Interval:
    """Expected calibration error, with an interval over groups of items.

    The bins are of equal width. Low: the error less the distance, summed over bins, of a resample's gaps from the
    sample's. The true error cannot be further below than the true gaps are away (triangle inequality), so chance alone
    does not lift it above 0. High: the bootstrap's spread around its own mean, laid at the error: that chance makes the
    error too large is not taken off.

    Args:
        probabilities: of the answers given, in [0, 1].
        correct: whether they are right.
        group: the answers' groups.
        confidence: of the interval.
        samples: resamples of groups.
        seed: of the resamples.
    Returns:
        With one group, [0, 1].
    """
    chosen = np.asarray(probabilities, dtype=np.float64)
    _, index = np.unique(np.asarray(group, dtype=str), return_inverse=True)
    groups = int(index.max()) + 1
    gaps_GB = np.zeros((groups, BINS))
    held_GB = np.zeros((groups, BINS), dtype=bool)
    np.add.at(gaps_GB, (index, _bin(chosen)), np.asarray(correct, dtype=np.float64) - chosen)
    held_GB[index, _bin(chosen)] = True
    items_G = np.bincount(index).astype(np.float64)
    gaps_B = gaps_GB.sum(axis=0) / items_G.sum()
    error = float(np.abs(gaps_B).sum())
    if groups < 2:
        return Interval(error, 0.0, 1.0)
    drawn_SG = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=samples)
    moved_SB = drawn_SG @ gaps_GB / (drawn_SG @ items_G)[:, None] - gaps_B
    groups_B = held_GB.sum(axis=0)
    moved_SB *= np.sqrt(groups_B / np.maximum(1, groups_B - 1))  # the bootstrap's variance has the divisor n
    distance = float(np.quantile(np.abs(moved_SB).sum(axis=1), (1 + confidence) / 2))
    errors_S = np.abs(gaps_B + moved_SB).sum(axis=1)
    spread = float(errors_S.mean() - np.quantile(errors_S, (1 - confidence) / 2))
    return Interval(error, max(0.0, error - distance), min(1.0, error + spread))


def _bin(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)


def reliability(
    probabilities: Sequence[float], correct: Sequence[float], group: Sequence[str], confidence: float
) -> tuple[Bin, ...]:
    """The bins that hold an answer, from unsure to sure.

    A calibrated model's accuracy is the mean probability.
    """
    chosen, right, of = np.asarray(probabilities), np.asarray(correct, dtype=np.float64), np.asarray(group, dtype=str)
    place = _bin(chosen)
    return tuple(
        Bin(
            number / BINS,
            (number + 1) / BINS,
            int(inside.sum()),
            float(chosen[inside].mean()),
            accuracy_interval(right[inside].tolist(), of[inside].tolist(), confidence),
        )
        for number in np.unique(place).tolist()
        for inside in [place == number]
    )


def calibrations(
    predictions: pl.DataFrame, confidence: float, samples: int, seed: int, strategy: str = "zero_shot"
) -> dict[tuple[str, str], Calibration]:
    """Calibration by protocol and model, over all benchmarks together.

    It is over the items of all benchmarks, and only of protocols that read likelihoods.
    """
    rows = predictions.filter((pl.col("strategy") == strategy) & pl.col("protocol").is_in(LIKELIHOODS))
    found = {}
    for (protocol, model), own in sorted(rows.partition_by("protocol", "model", as_dict=True).items()):
        own = own.sort("benchmark", "item_id", "seed", "draw")
        probabilities = [answer_probability(scores) for scores in own["scores"]]
        correct, group = own["correct"].to_list(), own.select(pl.concat_str("benchmark", "group", separator="\0"))
        asked = (probabilities, correct, group.to_series().to_list(), confidence)
        found[str(protocol), str(model)] = Calibration(calibration_error(*asked, samples, seed), reliability(*asked))
    return found
