"""Paired differences between two builds, and whether each is real.

There is one for each model, strategy and benchmark.

Both builds answered the same items, so each item is its own control: the interval of a paired difference is often half as
wide as those of the two accuracies suggest. An item's score is the share of its draws that are right. Left out of the pairs
are items that only one build answered, and those whose question, context, options or answer differ.

Seeds are paired as well: a model and strategy compares under the training seeds that both builds have, over items and these
seeds (osler/statistics/intervals.py). Without such a seed the builds' seeds are two independent samples, whose variances add; they
are taken to vary alike, so that [1, 2, 3] against [7] has two degrees of freedom. With one seed of each the interval is over
items alone, and another seed can move the difference by more.

The rule: a difference is `real` when its p is at most 1 - confidence after Holm's correction over all rows in which an item's
score differs, and its interval excludes 0; else `not shown`, which is no proof of equality. Rows in which no score
differs are `same`: their p is 1 by construction, they can reach no significance, and so they cost the others none.

"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from osler.statistics.intervals import Interval, Pairs, difference_interval, difference_p
from osler.statistics.paired_tests import holm, mcnemar_p

CELL = ["model", "strategy", "benchmark"]
ITEM = ["benchmark", "item_id"]
CONTENT = ["question", "context", "options", "answer"]
MEAN = "mean"  # over benchmarks, in place of a benchmark's name


@dataclass(frozen=True)
class Share:
    """Accuracy of both builds over `items`, and their paired difference."""

    items: int
    first: float
    second: float
    difference: Interval


@dataclass(frozen=True)
class Row:
    """One model under one strategy on one benchmark, or on several.

    On several it is about the mean of them.

    Args:
        model, strategy, benchmark: which.
        whole: over all pairs.
        untouched: over the pairs that no kept document of either build touches; None where it touches none.
        differing: items whose scores differ, under some seed or, where seeds are not paired, in their means.
        p: of the t test over items and seeds.
        holm_p: after correction; 1 where nothing differs.
        mcnemar_p: exact, over items; None where an item has several draws or seeds, or over several benchmarks.
        seeds: how many training seeds of the first and of the second build.
        paired: whether these are the same seeds, or one each.
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
    seeds: tuple[int, int]
    paired: bool
    verdict: str


def item_scores(predictions: pl.DataFrame) -> pl.DataFrame:
    """One row for each item, seed, model and strategy.

    Columns are CELL, item_id, seed, group, gold, `score` (mean over draws) and `answers` (how many).

    Args:
        predictions: of one protocol, with model, strategy, benchmark, item_id, seed, group, gold and correct.
    """
    keys = [*CELL, "item_id", "seed"]
    means = [pl.col("group", "gold").first(), pl.col("correct").cast(pl.Float64).mean().alias("score")]
    return predictions.group_by(keys).agg(*means, pl.len().alias("answers")).sort(keys)


def changed_items(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Items of both builds that are no longer the same question.

    Columns are benchmark and item_id, in order.

    Args:
        first, second: benchmark, item_id, question, context, options, answer.
    """
    both = first.select(*ITEM, *CONTENT).join(second.select(*ITEM, *CONTENT), on=ITEM, suffix="_second")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_second")) for name in CONTENT)
    return both.filter(differs).select(ITEM).sort(ITEM)


def pairs(first: pl.DataFrame, second: pl.DataFrame, changed: pl.DataFrame) -> pl.DataFrame:
    """`item_scores` of two builds side by side.

    Changed items are left out. The columns of the second build end in `_second`. Pairs are of one seed. Where a model
    and strategy has no seed in common, one seed of each is a pair (`seed` is that of the first), and of more the rows
    are of one build each: the other's score is null.
    """
    keys, arm = [*CELL, "item_id"], ["model", "strategy"]
    gold = second.select(*keys, pl.col("gold").alias("gold_second")).unique()
    asked = first.select(*keys, "gold").unique().join(gold, on=keys).filter(pl.col("gold") == pl.col("gold_second"))
    asked = asked.join(changed, on=ITEM, how="anti")
    one, other = (side.join(asked.select(keys), on=keys, how="semi") for side in (first, second))
    renamed = other.select(*keys, "seed", "group", score_second="score", answers_second="answers")
    alone = [side.group_by(arm).agg(pl.col("seed").n_unique() == 1) for side in (one, other)]
    single = alone[0].filter("seed").join(alone[1].filter("seed"), on=arm)
    shared = one.select(*arm, "seed").join(other.select(*arm, "seed"), on=[*arm, "seed"]).select(arm).unique()
    columns = [*keys, "seed", "group", "score", "answers", "score_second", "answers_second"]
    loose = [side.join(shared, on=arm, how="anti") for side in (one, renamed)]
    parts = [
        one.join(renamed.drop("group"), on=[*keys, "seed"]),
        loose[0].join(single, on=arm, how="semi").join(loose[1].drop("group", "seed"), on=keys),
        loose[0].join(single, on=arm, how="anti").with_columns(score_second=None, answers_second=None),
        loose[1].join(single, on=arm, how="anti").with_columns(score=None, answers=None),
    ]
    return pl.concat([part.select(columns) for part in parts], how="vertical_relaxed").sort(*keys, "seed")


def only_in(scores: pl.DataFrame, other: pl.DataFrame) -> list[tuple[str, str, str]]:
    """Model, strategy and benchmark of which `other` has no row, in order."""
    return sorted(scores.select(CELL).unique().join(other.select(CELL).unique(), on=CELL, how="anti").iter_rows())


def unpaired(first: pl.DataFrame, second: pl.DataFrame) -> list[tuple[str, str, int, int]]:
    """How many items only one of two builds has.

    Each row is strategy, benchmark, items of the first build only, and of the second only. It counts over the models of
    both; rows without such items are left out.
    """
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
    benchmark, group, seed = (rows[name].to_list() for name in ("benchmark", "group", "seed"))
    paired = _paired(rows)
    second, first = (rows[name] if paired else rows[name].fill_null(0) for name in ("score_second", "score"))
    sides = None if paired else rows["score"].is_null().cast(pl.Int64).to_list()
    return Pairs(benchmark, group, (second - first).to_numpy().astype(np.float64), seed, sides)


def _paired(rows: pl.DataFrame) -> bool:
    return not rows.select(pl.any_horizontal(pl.col("score", "score_second").is_null().any())).item()


def _seeds(rows: pl.DataFrame) -> tuple[int, int]:
    """Of the first build and of the second."""
    first, second = (rows.filter(pl.col(name).is_not_null())["seed"].n_unique() for name in ("score", "score_second"))
    return first, second


def _differing(rows: pl.DataFrame) -> int:
    """Items whose scores differ."""
    apart = (pl.col("score") != pl.col("score_second")).any() if _paired(rows) else _apart
    return rows.group_by(ITEM).agg(apart.alias("apart")).filter("apart").height


_apart = (pl.col("score").mean() - pl.col("score_second").mean()).abs() > 1e-9  # of the seeds of two builds


def _share(rows: pl.DataFrame, confidence: float) -> Share:
    means = rows.group_by("benchmark").agg(pl.col("score", "score_second").mean())
    first, second = (float(np.mean(means[name].to_numpy())) for name in ("score", "score_second"))
    items = rows.select(ITEM).n_unique()
    if not _differing(rows):
        return Share(items, first, second, Interval(0.0, 0.0, 0.0))
    return Share(items, first, second, difference_interval(_differences(rows), confidence))


def _cells(paired: pl.DataFrame, beside: Collection[str]) -> Iterable[tuple[tuple[str, str, str], pl.DataFrame]]:
    """The rows of each benchmark, by model and strategy.

    After several benchmarks come the rows of all but those `beside`.
    """
    for (model, strategy), rows in sorted(paired.partition_by("model", "strategy", as_dict=True).items()):
        parts = sorted(rows.partition_by("benchmark", as_dict=True).items())
        for (benchmark,), own in parts:
            yield (str(model), str(strategy), str(benchmark)), own
        if len({name for (name,), _ in parts} - set(beside)) > 1:
            yield (str(model), str(strategy), MEAN), rows.filter(~pl.col("benchmark").is_in(list(beside)))


def compared(paired: pl.DataFrame, touched: pl.DataFrame, confidence: float, beside: Collection[str] = ()) -> list[Row]:
    """A row for each model, strategy and benchmark.

    Rows are in alphabetical order; the mean over benchmarks comes after several.

    Args:
        paired: as `pairs` gives them.
        touched: benchmark, item_id of the items that a kept document of either build shares a run of words with.
        confidence: of the intervals.
        beside: benchmarks that count in no mean.
    Returns:
        Differences are the second build minus the first, in fractions.
    """
    cells = list(_cells(paired, beside))
    differing = [_differing(rows) for _, rows in cells]
    found = [
        difference_p(_differences(rows)) if count else 1.0 for (_, rows), count in zip(cells, differing, strict=True)
    ]
    corrected = iter(holm([p for p, count in zip(found, differing, strict=True) if count]))
    result = []
    for ((model, strategy, benchmark), rows), count, p in zip(cells, differing, found, strict=True):
        whole = _share(rows, confidence)
        rest = rows.join(touched.select(ITEM).unique(), on=ITEM, how="anti")
        untouched = _share(rest, confidence) if 0 < rest.height < rows.height else None
        seeds = _seeds(rows)
        answers = {*rows["answers"], *rows["answers_second"]}  # None where seeds are not paired
        single = benchmark != MEAN and seeds == (1, 1) and answers == {1}
        holm_p = next(corrected) if count else 1.0
        excludes = whole.difference.low > 0 or whole.difference.high < 0
        real = excludes and holm_p <= 1 - confidence
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
                seeds,
                _paired(rows),
                "same" if not count else "real" if real else "not shown",
            )
        )
    return result
