"""Paired differences between two builds, by model, strategy and benchmark, and whether each of them is shown to be real.

Both builds answered the same items, so each item is its own control: the interval of a paired difference is often half as
wide as those of the two accuracies suggest. An item's score is the share of its draws that are right. Left out of the pairs
are items that only one build answered, and those whose question, context, options or answer differ.

The rule: a difference is `real` when its p is at most 1 - confidence after Holm's correction over all rows in which an item's
score differs, and its interval excludes 0; else `not shown`, which is no proof of equality. Rows in which no score
differs are `same`: their p is 1 by construction, they can reach no significance, and so they cost the others none.

All of it is about other items of the same kind. Other training seeds are in no interval here (stages/lib/ablations.py).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from stages.lib.intervals import Interval, Pairs, bootstrap_interval, holm, mcnemar_p, sign_flip_p

CELL = ["model", "strategy", "benchmark"]
ITEM = ["benchmark", "item_id"]
CONTENT = ["question", "context", "options", "answer"]
MEAN = "mean"  # over benchmarks, in place of a benchmark's name
FINEST_P = 5  # the smallest p after correction is this many times below the level, whatever the number of rows


@dataclass(frozen=True)
class Resampling:
    """Confidence of the intervals, number of bootstrap draws and least number of sign flips, and their seed."""

    confidence: float
    samples: int
    seed: int


@dataclass(frozen=True)
class Share:
    """Accuracy of both builds over `items`, and their paired difference."""

    items: int
    first: float
    second: float
    difference: Interval


@dataclass(frozen=True)
class Row:
    """One model under one strategy on one benchmark, or on the mean of several.

    Args:
        model, strategy, benchmark: which.
        whole: over all pairs.
        untouched: over the pairs that no kept document of either build touches; None where it touches none.
        differing: pairs whose scores differ.
        p: of the sign-flip test over groups.
        holm_p: after correction; 1 where nothing differs.
        mcnemar_p: exact, over items; None where an item has several draws, or over several benchmarks.
        verdict: real, not shown, or same.
    """

    model: str
    strategy: str
    benchmark: str
    whole: Share
    untouched: Share | None
    differing: int
    p: float
    holm_p: float
    mcnemar_p: float | None
    verdict: str


def item_scores(predictions: pl.DataFrame) -> pl.DataFrame:
    """One row an item of a model and strategy: CELL, item_id, group, gold, `score` (mean over draws) and `answers` (how many).

    Args:
        predictions: of one protocol, with model, strategy, benchmark, item_id, group, gold and correct.
    """
    keys = [*CELL, "item_id"]
    means = [pl.col("group", "gold").first(), pl.col("correct").cast(pl.Float64).mean().alias("score")]
    return predictions.group_by(keys).agg(*means, pl.len().alias("answers")).sort(keys)


def changed_items(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Items of both builds that are not the same question any more: benchmark, item_id, in order.

    Args:
        first, second: benchmark, item_id, question, context, options, answer.
    """
    both = first.select(*ITEM, *CONTENT).join(second.select(*ITEM, *CONTENT), on=ITEM, suffix="_second")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_second")) for name in CONTENT)
    return both.filter(differs).select(ITEM).sort(ITEM)


def pairs(first: pl.DataFrame, second: pl.DataFrame, changed: pl.DataFrame) -> pl.DataFrame:
    """`item_scores` of two builds side by side, without the changed items: the columns of the second have `_second`."""
    keys = [*CELL, "item_id"]
    both = first.join(second, on=keys, suffix="_second").filter(pl.col("gold") == pl.col("gold_second"))
    return both.join(changed, on=ITEM, how="anti").sort(keys)


def only_in(scores: pl.DataFrame, other: pl.DataFrame) -> list[tuple[str, str, str]]:
    """Model, strategy and benchmark of which `other` has no row, in order."""
    return sorted(scores.select(CELL).unique().join(other.select(CELL).unique(), on=CELL, how="anti").iter_rows())


def unpaired(first: pl.DataFrame, second: pl.DataFrame) -> list[tuple[str, str, int, int]]:
    """Strategy, benchmark, items of the first build only, of the second only, over the models of both; where there are some."""
    keys = ["strategy", "benchmark"]
    models = first.select("model").unique().join(second.select("model").unique(), on="model")
    one, other = (
        side.join(models, on="model", how="semi").select(*keys, "item_id").unique() for side in (first, second)
    )
    counts = [
        side.join(against, on=[*keys, "item_id"], how="anti").group_by(keys).agg(pl.len().alias(name))
        for side, against, name in ((one, other, "first"), (other, one, "second"))
    ]
    shared = one.select(keys).unique().join(other.select(keys).unique(), on=keys)
    joined = shared.join(counts[0], on=keys, how="left").join(counts[1], on=keys, how="left").fill_null(0)
    return [row for row in sorted(joined.select(*keys, "first", "second").iter_rows()) if row[2] or row[3]]


def _differences(rows: pl.DataFrame) -> Pairs:
    difference = (rows["score_second"] - rows["score"]).to_numpy()
    return Pairs(rows["benchmark"].to_list(), rows["group"].to_list(), difference.astype(np.float64))


def _share(rows: pl.DataFrame, resampling: Resampling) -> Share:
    means = rows.group_by("benchmark").agg(pl.col("score", "score_second").mean())
    first, second = (float(np.mean(means[name].to_numpy())) for name in ("score", "score_second"))
    found = _differences(rows)
    if not found.difference.any():
        return Share(rows.height, first, second, Interval(0.0, 0.0, 0.0))
    interval = bootstrap_interval(found, resampling.confidence, resampling.samples, resampling.seed)
    return Share(rows.height, first, second, interval)


def _cells(paired: pl.DataFrame) -> Iterable[tuple[tuple[str, str, str], pl.DataFrame]]:
    """The rows of each benchmark, and after several of them those of all, by model and strategy."""
    for (model, strategy), rows in sorted(paired.partition_by("model", "strategy", as_dict=True).items()):
        parts = sorted(rows.partition_by("benchmark", as_dict=True).items())
        for (benchmark,), own in parts:
            yield (str(model), str(strategy), str(benchmark)), own
        if len(parts) > 1:
            yield (str(model), str(strategy), MEAN), rows


def compared(paired: pl.DataFrame, touched: pl.DataFrame, resampling: Resampling) -> list[Row]:
    """A row for each model, strategy and benchmark, in alphabetical order; the mean over benchmarks after several.

    Args:
        paired: as `pairs` gives them.
        touched: benchmark, item_id of the items that a kept document of either build shares a run of words with.
        resampling: how; sign flips are as many as Holm's correction over the rows takes, if those are more.
    Returns:
        Differences are the second build minus the first, in fractions.
    """
    cells = list(_cells(paired))
    differing = [rows.filter(pl.col("score") != pl.col("score_second")).height for _, rows in cells]
    tests = sum(map(bool, differing))
    flips = max(resampling.samples, math.ceil(FINEST_P * tests / (1 - resampling.confidence)))
    found = [
        sign_flip_p(_differences(rows), flips, resampling.seed) if count else 1.0
        for (_, rows), count in zip(cells, differing, strict=True)
    ]
    corrected = iter(holm([p for p, count in zip(found, differing, strict=True) if count]))
    result = []
    for ((model, strategy, benchmark), rows), count, p in zip(cells, differing, found, strict=True):
        whole = _share(rows, resampling)
        rest = rows.join(touched.select(ITEM).unique(), on=ITEM, how="anti")
        untouched = _share(rest, resampling) if 0 < rest.height < rows.height else None
        single = benchmark != MEAN and rows.select((pl.col("answers", "answers_second") == 1).all()).row(0) == (
            True,
            True,
        )
        holm_p = next(corrected) if count else 1.0
        excludes = whole.difference.low > 0 or whole.difference.high < 0
        real = excludes and holm_p <= 1 - resampling.confidence
        result.append(
            Row(
                model,
                strategy,
                benchmark,
                whole,
                untouched,
                count,
                p,
                holm_p,
                mcnemar_p((rows["score_second"] == 1).to_list(), (rows["score"] == 1).to_list()) if single else None,
                "same" if not count else "real" if real else "not shown",
            )
        )
    return result
