"""Credit of each technique: exact Shapley values of a factorial.

What continued pretraining gains depends on what it is tried with. From the whole factorial {base, cpt} x {none, sft,
neftune} x strategies a factor's credit is its gain averaged over all orders in which the factors can be switched from the
reference to the target: the one division that adds up to the total, treats equal factors alike and gives one that
changes nothing nothing. The gain of tuning is split along its path none - sft - neftune within each order, so that noise
has a credit of its own and tuning's is their sum (an Owen value).

A credit is linear in the cells, so it is one number an item and seed, and its interval that of a paired difference, over
items and seeds (intervals.py). The best strategy is picked on the items it is then measured on: `total` is somewhat
too high, the more so the more strategies are alike, and the intervals do not know.

Source:
    Shapley 1953, A value for n-person games. Owen 1977, Values of games with a priori unions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations, product

import numpy as np
import polars as pl

from osler.statistics.accuracy import item_means
from osler.statistics.claims import Test
from osler.statistics.intervals import Interval, Pairs, difference_interval

REFERENCE_STRATEGY = "zero_shot"
STARTS = ("base", "cpt")
TUNINGS = ("none", "sft", "neftune")
Cell = tuple[str, ...]


@dataclass(frozen=True)
class Credit:
    """What the steps from one cell to another are worth.

    They lead from a reference cell to a target cell. Credits are fractions of accuracy. Cells are (start, tuning,
    strategy). `steps` are named by the level they reach (cpt, sft, neftune and the strategy); their estimates add up to
    `total`'s, which is the accuracy of `target` less that of `reference`.
    """

    reference: Cell
    target: Cell
    steps: Mapping[str, Interval]
    total: Interval
    items: int
    seeds: int


def shapley_weights(paths: Sequence[Sequence[str]]) -> dict[str, dict[Cell, Fraction]]:
    """How much each cell counts in the credit of each step.

    The credit is the weighted sum of the cells' values.

    Args:
        paths: for each factor its levels from the reference to the target; a level's name is its own.
    Returns:
        By level reached, without the first of each path: cell -> weight. Over all steps the weights of a cell add up to
        1 for the target, -1 for the reference and 0 for the others.
    """
    share = Fraction(1, math.factorial(len(paths)))
    weights: dict[str, dict[Cell, Fraction]] = {level: {} for path in paths for level in path[1:]}
    for order in permutations(range(len(paths))):
        cell = [path[0] for path in paths]
        for factor in order:
            for level in paths[factor][1:]:
                own, before = weights[level], tuple(cell)
                cell[factor] = level
                own[before] = own.get(before, Fraction()) - share
                own[tuple(cell)] = own.get(tuple(cell), Fraction()) + share
    return weights


def model_of(start: str, tuning: str) -> str:
    """The folder of `models/` that a start and a tuning make."""
    return start if tuning == "none" else f"{start}-{tuning}"


def factorial(predictions: pl.DataFrame, strategies: Sequence[str]) -> pl.DataFrame:
    """Items that all six models answered under all `strategies`.

    Columns are benchmark, group, item_id, seed, and one for each cell.

    Args:
        predictions: of one protocol.
        strategies: two or more.
    Returns:
        Means over draws, columns named `start/tuning/strategy`; no row when a cell is missing.
    """
    keys = ["benchmark", "group", "item_id", "seed"]
    means = item_means(predictions)
    wide = means.select(keys).unique()
    for start, tuning, strategy in product(STARTS, TUNINGS, strategies):
        own = means.filter((pl.col("model") == model_of(start, tuning)) & (pl.col("strategy") == strategy))
        wide = wide.join(own.select(*keys, pl.col("correct").alias(f"{start}/{tuning}/{strategy}")), on=keys)
    return wide.sort(keys)


def best_strategy(predictions: pl.DataFrame) -> str | None:
    """The strategy under which `cpt-neftune` gains most over its zero-shot.

    It is another one than zero-shot. Gains are on the items of both. Only strategies under which all six models
    answered; None without one. Of equal ones the first by name.
    """
    best, most = None, -math.inf
    for strategy in sorted(set(predictions["strategy"]) - {REFERENCE_STRATEGY}):
        rows = factorial(predictions, (REFERENCE_STRATEGY, strategy))
        gain = pl.col(f"cpt/neftune/{strategy}") - pl.col(f"cpt/neftune/{REFERENCE_STRATEGY}")
        if not rows.height:
            continue
        by_benchmark = rows.group_by("benchmark", maintain_order=True).agg(gain.mean().alias("gain"))["gain"].to_list()
        if (own := math.fsum(by_benchmark) / len(by_benchmark)) > most:
            best, most = strategy, own
    return best


def shapley_credit(predictions: pl.DataFrame, test: Test, strategy: str | None = None) -> Credit | None:
    """Credit of each step, with intervals over items and seeds.

    The steps lead from (base, none, zero_shot) to (cpt, neftune, strategy).

    Args:
        predictions: of one protocol (`osler.statistics.accuracy.headline`); draws are averaged within an item.
        test: how intervals are computed; its margins are not used.
        strategy: of the target; None takes the `best_strategy`.
    Returns:
        None when the factorial is incomplete. Of the seeds that all cells have: one, where the strategy was asked of one.
    """
    strategy = strategy or best_strategy(predictions)
    if strategy is None:
        return None
    rows = factorial(predictions, (REFERENCE_STRATEGY, strategy))
    if not rows.height:
        return None
    benchmark, group, seed = (rows[name].to_list() for name in ("benchmark", "group", "seed"))

    def interval(weights: Mapping[Cell, Fraction]) -> Interval:
        values = sum((float(weight) * rows["/".join(cell)].to_numpy() for cell, weight in weights.items()), np.zeros(1))
        return difference_interval(Pairs(benchmark, group, values, seed), test.confidence)

    paths = (STARTS, TUNINGS, (REFERENCE_STRATEGY, strategy))
    reference, target = tuple(path[0] for path in paths), tuple(path[-1] for path in paths)
    return Credit(
        reference,
        target,
        {step: interval(weights) for step, weights in shapley_weights(paths).items()},
        interval({target: Fraction(1), reference: Fraction(-1)}),
        rows["item_id"].n_unique(),
        rows["seed"].n_unique(),
    )
