"""How much an answer depends on the way it is read.

Here are accuracy by protocol, agreement, position bias and unparsed answers.

Two protocols of one accuracy may still be right on different items, so agreement is of predictions, item by item. A model
that likes a position is seen by comparing where its answers stand with where the right ones do. Where items were answered
under several training seeds, accuracies and shares are means over seeds with intervals over items and seeds; kappas and the
distributions of positions are of all answers, and the test of positions takes a group's answers together, not seeds apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from osler.statistics import agreement
from osler.statistics.accuracy import mean_accuracies
from osler.statistics.intervals import Interval, accuracy_interval

UNPARSED = -1  # in place of a prediction that is null


@dataclass(frozen=True)
class Agreement:
    """How far two protocols agree on the same items.

    `share` is that of items with the same prediction, `kappa` is Cohen's.
    """

    share: Interval
    kappa: float
    items: int


@dataclass(frozen=True)
class PositionBias:
    """How answers depend on the position of an option.

    Positions count from 0, the first. `accuracy` is by position of the gold answer. `predicted` and `gold` are shares
    of parsed answers; `total_variation` is half the sum of their differences; `p` is the clustered Stuart-Maxwell test
    that the two are the same.
    """

    accuracy: tuple[Interval, ...]
    predicted: tuple[float, ...]
    gold: tuple[float, ...]
    total_variation: float
    p: float


@dataclass(frozen=True)
class Unparsed:
    """Answers from which nothing could be read, of how many.

    They count as wrong.
    """

    unparsed: int
    answers: int


def _rows(predictions: pl.DataFrame, strategy: str) -> pl.DataFrame:
    own = predictions.filter(pl.col("strategy") == strategy).sort("benchmark", "item_id", "seed", "draw")
    return own.with_columns(
        pl.concat_str("benchmark", "group", separator="\0").alias("cluster"),
        pl.col("prediction").fill_null(UNPARSED),
    )


def protocol_accuracies(
    predictions: pl.DataFrame, confidence: float, strategy: str = "zero_shot"
) -> dict[tuple[str, str], Interval]:
    """Accuracy by protocol and model, as a mean over benchmarks.

    It is of the rows of `strategy`. Unparsed answers count as wrong.
    """
    rows = predictions.filter(pl.col("strategy") == strategy)
    return {
        (str(protocol), model): share
        for (protocol,), own in sorted(rows.partition_by("protocol", as_dict=True).items())
        for (_, model), share in mean_accuracies(own, confidence).items()
    }


def cohen_kappa(first: Sequence[int], second: Sequence[int]) -> float:
    """Agreement of two beyond what they would have by chance.

    Chance is with the labels that each of them uses. 1 is full agreement, 0 is none; for one label only it is 1.

    Source:
        Cohen 1960, A coefficient of agreement for nominal scales.
    """
    found = agreement.cohen_kappa([(str(one), str(other)) for one, other in zip(first, second, strict=True)])
    return 1.0 if math.isnan(found) else found


def agreements(
    predictions: pl.DataFrame, confidence: float, strategy: str = "zero_shot"
) -> dict[tuple[str, str, str], Agreement]:
    """Agreement by model and two protocols.

    Protocols are in alphabetical order. It is on the items that both were asked; unparsed is a label too.
    """
    rows = _rows(predictions, strategy)
    found = {}
    keys = ["benchmark", "item_id", "seed", "draw"]
    for (model,), own in sorted(rows.partition_by("model", as_dict=True).items()):
        for one, other in combinations(sorted(own["protocol"].unique()), 2):
            second = own.filter(pl.col("protocol") == other).select(*keys, other="prediction")
            both = own.filter(pl.col("protocol") == one).join(second, on=keys).sort(keys)
            if both.height:
                same = (both["prediction"] == both["other"]).to_list()
                share = accuracy_interval(same, both["cluster"].to_list(), confidence, both["seed"].to_list())
                kappa = cohen_kappa(both["prediction"].to_list(), both["other"].to_list())
                found[str(model), one, other] = Agreement(share, kappa, both["item_id"].n_unique())
    return found


def stuart_maxwell_p(first: Sequence[int], second: Sequence[int], group: Sequence[str]) -> float:
    """Chi-square test that two labels are distributed alike.

    Both are labels of the same items; groups count as one observation. With every item its own group it is the
    Stuart-Maxwell test (McNemar's for more than two labels). Asymptotic: with few groups it is too sure or too shy.

    Returns:
        p; 1.0 where nothing differs.
    Source:
        Stuart 1955, Biometrika 42; Maxwell 1970, British Journal of Psychiatry 116; the covariance summed over groups
        as in Obuchowski 1998, Statistics in Medicine 17.
    """
    labels = np.union1d(first, second)
    _, index = np.unique(np.asarray(group, dtype=str), return_inverse=True)
    differences_GL = np.zeros((int(index.max(initial=-1)) + 1, len(labels)))
    for values, sign in ((first, 1.0), (second, -1.0)):
        np.add.at(differences_GL, (index, np.searchsorted(labels, values)), sign)
    sums: NDArray[np.float64] = differences_GL.sum(axis=0)
    covariance = differences_GL.T @ differences_GL
    rank = int(np.linalg.matrix_rank(covariance)) if len(labels) else 0
    if not rank:
        return 1.0
    return float(stats.chi2.sf(sums @ np.linalg.pinv(covariance, hermitian=True) @ sums, rank))


def position_biases(
    predictions: pl.DataFrame, confidence: float, strategy: str = "zero_shot"
) -> dict[tuple[str, str], PositionBias]:
    """By protocol and model, over the items of all benchmarks together.

    Positions are those of the item, which are what the model sees where options are listed in their own order. Accuracy
    counts unparsed answers as wrong; the distributions are of parsed ones.
    """
    found = {}
    for (protocol, model), own in sorted(
        _rows(predictions, strategy).partition_by("protocol", "model", as_dict=True).items()
    ):
        positions = range(int(own["scores"].list.len().max() or 0))  # type: ignore[arg-type]
        shares = []
        for position in positions:
            there = own.filter(pl.col("gold") == position)
            correct, cluster, seed = (there[name].to_list() for name in ("correct", "cluster", "seed"))
            shares.append(
                accuracy_interval(correct, cluster, confidence, seed) if there.height else Interval(0.0, 0.0, 1.0)
            )
        parsed = own.filter(pl.col("prediction") != UNPARSED)
        predicted, gold = (parsed[name].to_list() for name in ("prediction", "gold"))
        count = max(1, parsed.height)
        by_prediction, by_gold = (tuple(own.count(n) / count for n in positions) for own in (predicted, gold))
        found[str(protocol), str(model)] = PositionBias(
            tuple(shares),
            by_prediction,
            by_gold,
            sum(abs(p - g) for p, g in zip(by_prediction, by_gold, strict=True)) / 2,
            stuart_maxwell_p(predicted, gold, parsed["cluster"].to_list()),
        )
    return found


@dataclass(frozen=True)
class Cut:
    """Answers after a cut prompt, of how many.

    It lost its left end to fit the model.
    """

    cut: int
    answers: int


def cut_counts(predictions: pl.DataFrame) -> dict[tuple[str, str, str, str], Cut]:
    """By strategy, protocol, model and benchmark.

    Where there are any; draws count each.
    """
    keys = ["strategy", "protocol", "model", "benchmark"]
    counts = predictions.group_by(keys).agg(pl.col("truncated").sum(), pl.len().alias("answers")).sort(keys)
    return {(s, p, m, b): Cut(cut, answers) for s, p, m, b, cut, answers in counts.iter_rows() if cut}


def unparsed_counts(predictions: pl.DataFrame) -> dict[tuple[str, str, str], Unparsed]:
    """By strategy, protocol and model; draws count each."""
    keys = ["strategy", "protocol", "model"]
    counts = predictions.group_by(keys).agg(pl.col("prediction").is_null().sum(), pl.len().alias("answers")).sort(keys)
    return {(s, p, m): Unparsed(unparsed, answers) for s, p, m, unparsed, answers in counts.iter_rows()}
