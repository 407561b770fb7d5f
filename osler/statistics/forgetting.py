"""What is known and what is forgotten of tasks that were learned one after another.

With a[t][j] the accuracy on task j after t of T tasks:

final_average: mean over j of a[T][j]; cumulative_average: mean over t of the mean over j <= t of a[t][j]; forgetting: mean over
j < T of the highest a[t][j] of t < T, less a[T][j] (Chaudhry et al. 2018, arXiv 1801.10112). A highest value of several that
are measured is too high by chance, most so on few items: forgetting of 0 can look like a little.

Intervals of accuracies and of differences are those of osler/statistics/intervals.py, over items in groups and over seeds; a
cumulative average is a mean of scores by item, too. Forgetting has a maximum in it: its interval is by bootstrap, whole groups
drawn within each task and, of several seeds, seeds with them, the maximum taken in each draw. Few seeds drawn again vary too
little: of three seeds such an interval is too narrow by about a fifth.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osler.statistics.intervals import Interval, Pairs, accuracy_interval, crossed_estimate, difference_interval
from osler.statistics.settings import Statistics

Floats = NDArray[np.float64]


def sums_of(answers: pl.DataFrame, tasks: Sequence[str]) -> dict[str, tuple[Floats, Floats]]:
    """Correct answers (T, G, S) and items (G, S) of each task.

    G are its groups, S the seeds.

    Args:
        answers: of one method: task, group, seed, after, correct; a task's rows under every seed and after each task from it
            on. What is before it is NaN.
    """
    found, seeds = {}, sorted(set(answers["seed"]))
    for place, task in enumerate(tasks):
        own = answers.filter(pl.col("task") == task)
        groups = sorted(set(own["group"]))
        right = np.full((len(tasks), len(groups), len(seeds)), np.nan)
        right[place:] = 0.0
        count = np.zeros_like(right)
        rows = own.group_by("group", "seed", "after").agg(pl.col("correct").sum(), pl.len().alias("items"))
        where = {group: index for index, group in enumerate(groups)}
        for group, seed, after, correct, items in rows.iter_rows():
            right[after - 1, where[group], seeds.index(seed)] = correct
            count[after - 1, where[group], seeds.index(seed)] = items
        found[task] = right, count[-1]
    return found


def table_of(
    sums: Mapping[str, tuple[Floats, Floats]], weights: Sequence[tuple[Floats, Floats]] | None = None
) -> Floats:
    """a[t][j], (T, J); NaN before a task was learned.

    Args:
        sums: see `sums_of`.
        weights: for each task how often each group (G) and each seed (S) counts; None: once.
    """
    columns = []
    for place, (right_TGS, count_GS) in enumerate(sums.values()):
        groups_G, seeds_S = weights[place] if weights else (np.ones(count_GS.shape[0]), np.ones(count_GS.shape[1]))
        shares_TS = np.einsum("tgs,g->ts", right_TGS, groups_G) / np.einsum("gs,g->s", count_GS, groups_G)
        columns.append(shares_TS @ seeds_S / seeds_S.sum())
    return np.stack(columns, axis=1)


def forgotten(table_TJ: Floats) -> float:
    """Forgetting of a table a[t][j]; see the module."""
    best_J = np.nanmax(table_TJ[:-1, :-1], axis=0)
    return float((best_J - table_TJ[-1, :-1]).mean())


def forgetting_interval(sums: Mapping[str, tuple[Floats, Floats]], settings: Statistics) -> Interval:
    """Forgetting with its bootstrap interval, the estimate always inside."""
    generator = np.random.default_rng([settings.bootstrap_seed, 0xF0])
    seeds = next(iter(sums.values()))[1].shape[1]
    draws = []
    for _ in range(settings.bootstrap_samples):
        seeds_S = np.bincount(generator.integers(0, seeds, seeds), minlength=seeds).astype(np.float64)
        weights = []
        for _, count_GS in sums.values():
            groups = len(count_GS)
            weights.append(
                (np.bincount(generator.integers(0, groups, groups), minlength=groups).astype(float), seeds_S)
            )
        draws.append(forgotten(table_of(sums, weights)))
    value, tail = forgotten(table_of(sums)), (1 - settings.confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(value, min(value, float(low)), max(value, float(high)))


def cumulative_interval(sums: Mapping[str, tuple[Floats, Floats]], confidence: float) -> Interval:
    """The cumulative average, a mean over tasks of scores by item.

    An item's score is the sum over t of whether it was right, each over t.
    """
    strata = []
    for right_TGS, count_GS in sums.values():
        weights_T = 1 / np.arange(1, len(right_TGS) + 1)
        strata.append((np.nansum(right_TGS * weights_T[:, None, None], axis=0), count_GS))
    found = crossed_estimate(strata, None)
    low, high = found.bounds(confidence) if found.freedom else (0.0, 1.0)
    mean = float(found.mean)
    return Interval(mean, min(mean, max(0.0, float(low))), max(mean, min(1.0, float(high))))


def average_interval(rows: pl.DataFrame, confidence: float) -> Interval:
    """Mean over tasks of the share of correct rows.

    Rows have task, group, seed, correct.
    """
    return accuracy_interval(
        rows["correct"].cast(pl.Float64).to_list(),
        rows["group"].to_list(),
        confidence,
        rows["seed"].to_list(),
        rows["task"].to_list(),
    )


def between(first: pl.DataFrame, second: pl.DataFrame, confidence: float) -> Interval:
    """Average accuracy of the first less that of the second.

    Both are on the same items under the same seeds.
    """
    keys = ["item_id", "seed"]
    pairs = first.join(second.select(*keys, other="correct"), on=keys, validate="1:1").sort("task", *keys)
    difference = (pairs["correct"].cast(pl.Float64) - pairs["other"].cast(pl.Float64)).to_numpy()
    return difference_interval(
        Pairs(pairs["task"].to_list(), pairs["group"].to_list(), difference, pairs["seed"].to_list()), confidence
    )


def shown(interval: Interval) -> dict[str, float]:
    """As metrics have it."""
    return {key: round(getattr(interval, key), 6) for key in ("estimate", "low", "high")}


def after_each(answers: pl.DataFrame, tasks: Sequence[str], confidence: float) -> pl.DataFrame:
    """Accuracy of each method after each task, on each task so far.

    Columns are method, after, task (or `average`), accuracy, low, high.
    """
    rows = []
    for method, after in answers.select("method", "after").unique().sort("method", "after").iter_rows():
        own = answers.filter(pl.col("method") == method, pl.col("after") == after)
        for task in (*tasks[:after], "average"):
            found = average_interval(own if task == "average" else own.filter(pl.col("task") == task), confidence)
            rows.append((method, after, task, *(round(each, 6) for each in (found.estimate, found.low, found.high))))
    schema = {"method": pl.String, "after": pl.Int64, "task": pl.String}
    return pl.DataFrame(rows, schema=schema | dict.fromkeys(("accuracy", "low", "high"), pl.Float64), orient="row")


def summary(answers: pl.DataFrame, tasks: Sequence[str], settings: Statistics) -> dict[str, dict[str, Any]]:
    """final_average, cumulative_average and forgetting of each method.

    The latter two are of one that was asked after each task.
    """
    found = {}
    for (method,), own in sorted(answers.group_by("method"), key=lambda pair: str(pair[0])):
        last = own.filter(pl.col("after") == len(tasks))
        about = {"final_average": shown(average_interval(last, settings.confidence))}
        if own["after"].n_unique() == len(tasks):
            sums = sums_of(own, tasks)
            about["cumulative_average"] = shown(cumulative_interval(sums, settings.confidence))
            about["forgetting"] = shown(forgetting_interval(sums, settings))
        found[str(method)] = about
    return found
