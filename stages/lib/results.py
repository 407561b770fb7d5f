"""What predictions and held-out bits amount to: accuracies, chance levels and bits per byte, with their intervals.

Accuracies are of rows of one protocol (`headline`). An item that a strategy answered in several draws counts once, with
the mean of its draws: draws are about the same item, and taking them as items would make intervals too narrow. How far
whole draws lie apart is `draw_spreads`.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from stages.lib.intervals import Interval, accuracy_interval, mean_interval, ratio_interval


@dataclass(frozen=True)
class Accuracy:
    """Share of correct items with its interval, and the number of items and of groups it rests on."""

    share: Interval
    items: int
    groups: int


def in_order(models: Iterable[str]) -> list[str]:
    """Models as they are built: each start with its fine-tunings after it, NEFTune last; trunks and branches after them."""
    starts = {"base": 0, "cpt": 1, "trunk": 2, "anneal": 3}
    endings = {"": 0, "sft": 1, "neftune": 2}

    def place(model: str) -> tuple[int, str, int, str]:
        start, _, ending = model.partition("-")
        return starts.get(start, len(starts)), start, endings.get(ending, len(endings)), model

    return sorted(set(models), key=place)


@dataclass(frozen=True)
class Spread:
    """Accuracy of whole draws: how many, the lowest, the highest, and their standard deviation (divisor draws - 1)."""

    draws: int
    minimum: float
    maximum: float
    deviation: float


def headline(predictions: pl.DataFrame, protocol: str) -> pl.DataFrame:
    """The rows answered in `protocol`, which accuracies and claims are about."""
    return predictions.filter(pl.col("protocol") == protocol)


def item_means(predictions: pl.DataFrame) -> pl.DataFrame:
    """One row an item, strategy, model and seed: `correct` is the mean over its draws (a fraction), `draws` how many.

    Args:
        predictions: of one protocol.
    Returns:
        benchmark, strategy, model, item_id, seed, group, correct, draws, sorted.
    Raises:
        ValueError: several protocols.
    """
    if predictions["protocol"].n_unique() > 1:
        raise ValueError("rows of several protocols: take `headline` first")
    keys = ["benchmark", "strategy", "model", "item_id", "seed", "group"]
    means = predictions.group_by(keys).agg(pl.col("correct").cast(pl.Float64).mean(), pl.len().alias("draws"))
    return means.sort(keys)


def accuracies(predictions: pl.DataFrame, confidence: float) -> dict[tuple[str, str, str], Accuracy]:
    """By benchmark, strategy and model, of rows of one protocol, over `item_means`.

    An item answered under several seeds counts once for each, in its group.
    """
    cells = {}
    parts = item_means(predictions).partition_by("benchmark", "strategy", "model", as_dict=True)
    for (benchmark, strategy, model), rows in sorted(parts.items()):
        groups = rows["group"].to_list()
        share = accuracy_interval(rows["correct"].to_list(), groups, confidence)
        cells[str(benchmark), str(strategy), str(model)] = Accuracy(share, rows["item_id"].n_unique(), len(set(groups)))
    return cells


def untouched(predictions: pl.DataFrame, touched: pl.DataFrame) -> pl.DataFrame:
    """The predictions for items that no kept document shares a run of words with, of benchmarks that have other items too.

    Args:
        predictions: benchmark, item_id and more.
        touched: benchmark, item_id, as the stage `select` writes them.
    """
    of_these = predictions.filter(pl.col("benchmark").is_in(touched["benchmark"].unique().implode()))
    return of_these.join(touched, on=["benchmark", "item_id"], how="anti", maintain_order="left")


def mean_accuracies(cells: Mapping[tuple[str, str, str], Accuracy]) -> dict[tuple[str, str], Interval]:
    """By strategy and model: the mean over benchmarks, each counting the same whatever its size."""
    arms = sorted({(strategy, model) for _, strategy, model in cells})
    return {
        arm: mean_interval([cell.share for (_, *own), cell in sorted(cells.items()) if tuple(own) == arm])
        for arm in arms
    }


def draw_spreads(predictions: pl.DataFrame) -> dict[tuple[str, str], Spread]:
    """By strategy and model, where there are several draws: the spread of their accuracies (means over benchmarks)."""
    keys = ["strategy", "model", "seed", "draw"]
    shares = predictions.group_by("benchmark", *keys).agg(pl.col("correct").mean())
    draws = shares.sort(*keys, "benchmark").group_by(keys, maintain_order=True).agg(pl.col("correct").mean())
    found: dict[tuple[str, str], list[float]] = {}
    for strategy, model, _, _, share in draws.iter_rows():
        found.setdefault((strategy, model), []).append(share)
    return {
        arm: Spread(len(own), min(own), max(own), statistics.stdev(own)) for arm, own in found.items() if len(own) > 1
    }


def chance_levels(predictions: pl.DataFrame) -> dict[str, float]:
    """By benchmark: the accuracy of a guess among each item's own options, on average over its items.

    Scores are one an option under every protocol and strategy, likelihoods as well as shares of votes.
    """
    items = predictions.unique(["benchmark", "item_id"]).sort("benchmark", "item_id")
    chance = items.group_by("benchmark").agg((1 / pl.col("scores").list.len()).mean().alias("chance"))
    return {str(benchmark): float(value) for benchmark, value in sorted(chance.iter_rows())}


def bits_per_byte(heldout: pl.DataFrame, confidence: float) -> dict[tuple[str, str], Interval]:
    """By domain and model, over all documents of the domain. Domains without a byte are left out."""
    cells = {}
    for (domain, model), rows in sorted(heldout.partition_by("domain", "model", as_dict=True).items()):
        if rows["bytes"].sum() > 0:
            bits, size = rows["bits"].to_list(), rows["bytes"].to_list()
            cells[str(domain), str(model)] = ratio_interval(bits, size, confidence)
    return cells


def load_entropy(tokens: Sequence[int]) -> float | None:
    """Entropy of the shares of tokens over experts, divided by its largest value: 1 even, 0 all to one; None for no token."""
    total = sum(tokens)
    if not total or len(tokens) < 2:
        return None
    return -math.fsum(n / total * math.log(n / total) for n in tokens if n) / math.log(len(tokens))


def expert_entropies(experts: pl.DataFrame) -> dict[tuple[str, str], float]:
    """By domain and model: `load_entropy`, the mean over layers. Empty where all models are dense.

    Args:
        experts: domain, model, layer, expert, tokens.
    """
    layers: dict[tuple[str, str], list[float]] = {}
    parts = experts.sort("expert").partition_by("domain", "model", "layer", as_dict=True)
    for (domain, model, _), rows in sorted(parts.items()):
        if (entropy := load_entropy(rows["tokens"].to_list())) is not None:
            layers.setdefault((str(domain), str(model)), []).append(entropy)
    return {cell: math.fsum(own) / len(own) for cell, own in layers.items()}
