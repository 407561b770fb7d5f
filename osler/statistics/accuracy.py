"""Accuracies, chance levels and bits per byte, with their intervals.

Accuracies are of rows of one protocol (`headline`). An item that a strategy answered in several draws counts once, with
the mean of its draws: draws are about the same item, and taking them as items would make intervals too narrow. How far
whole draws lie apart is `draw_spreads`. An item answered under several training seeds is one item too: numbers are means
over seeds, their intervals are over items and seeds (osler/statistics/intervals.py), and `seed_accuracies` has the seeds apart.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from osler.statistics.intervals import Interval, accuracy_interval, ratio_interval


@dataclass(frozen=True)
class Accuracy:
    """Share of correct items with its interval.

    `items`, `groups` and `seeds` say how many items, groups and training seeds it rests on.
    """

    share: Interval
    items: int
    groups: int
    seeds: int


def in_order(models: Iterable[str]) -> list[str]:
    """Models in the order in which they are built.

    Each start comes with its fine-tunings after it, NEFTune last. Trunks and branches come after them.
    """
    starts = {"base": 0, "cpt": 1, "trunk": 2, "anneal": 3}
    endings = {"": 0, "sft": 1, "neftune": 2}

    def place(model: str) -> tuple[int, str, int, str]:
        start, _, ending = model.partition("-")
        return starts.get(start, len(starts)), start, endings.get(ending, len(endings)), model

    return sorted(set(models), key=place)


@dataclass(frozen=True)
class Spread:
    """How far the accuracies of whole draws lie apart.

    It holds how many draws there are, their lowest and highest accuracy, and the standard deviation.
    The divisor of the latter is draws - 1.
    """

    draws: int
    minimum: float
    maximum: float
    deviation: float


def headline(predictions: pl.DataFrame, protocol: str) -> pl.DataFrame:
    """The rows answered in `protocol`, which accuracies and claims are about."""
    return predictions.filter(pl.col("protocol") == protocol)


def item_means(predictions: pl.DataFrame) -> pl.DataFrame:
    """One row for each item, strategy, model and seed.

    `correct` is the mean over its draws, a fraction; `draws` is how many there are.

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
    """Accuracy by benchmark, strategy and model.

    Rows are of one protocol. An accuracy is the mean over seeds of the means over `item_means`.
    """
    cells = {}
    parts = item_means(predictions).partition_by("benchmark", "strategy", "model", as_dict=True)
    for (benchmark, strategy, model), rows in sorted(parts.items()):
        groups = rows["group"].to_list()
        share = accuracy_interval(rows["correct"].to_list(), groups, confidence, rows["seed"].to_list())
        sizes = (rows["item_id"].n_unique(), len(set(groups)), rows["seed"].n_unique())
        cells[str(benchmark), str(strategy), str(model)] = Accuracy(share, *sizes)
    return cells


def untouched(predictions: pl.DataFrame, touched: pl.DataFrame) -> pl.DataFrame:
    """Predictions for items that share no run of words with the corpus.

    The corpus is the kept documents. Benchmarks of which no item is touched are left out.

    Args:
        predictions: benchmark, item_id and more.
        touched: benchmark, item_id, as the stage `select` writes them.
    """
    of_these = predictions.filter(pl.col("benchmark").is_in(touched["benchmark"].unique().implode()))
    return of_these.join(touched, on=["benchmark", "item_id"], how="anti", maintain_order="left")


def mean_accuracies(predictions: pl.DataFrame, confidence: float) -> dict[tuple[str, str], Interval]:
    """Accuracy by strategy and model, as the mean over benchmarks.

    Rows are of one protocol, and each benchmark counts the same whatever its size. A seed is one model on all
    benchmarks, so this interval is not to be had from those of `accuracies`.
    """
    cells = {}
    for (strategy, model), rows in sorted(
        item_means(predictions).partition_by("strategy", "model", as_dict=True).items()
    ):
        correct, group, seed, benchmark = (rows[name].to_list() for name in ("correct", "group", "seed", "benchmark"))
        cells[str(strategy), str(model)] = accuracy_interval(correct, group, confidence, seed, benchmark)
    return cells


def seed_accuracies(predictions: pl.DataFrame) -> dict[tuple[str, str], dict[int, float]]:
    """Accuracy of each training seed, by strategy and model.

    It is a mean over benchmarks. A seed that a benchmark lacks is left out.

    Args:
        predictions: of one protocol.
    """
    keys = ["strategy", "model"]
    shares = item_means(predictions).group_by(*keys, "benchmark", "seed").agg(pl.col("correct").mean())
    asked = pl.col("benchmark").n_unique().over(keys)
    means = shares.with_columns(asked=asked).sort("benchmark").group_by(*keys, "seed", maintain_order=True)
    complete = means.agg(pl.col("correct").mean(), whole=pl.len() == pl.col("asked").first()).filter("whole")
    found: dict[tuple[str, str], dict[int, float]] = {}
    for strategy, model, seed, share, _ in complete.sort(*keys, "seed").iter_rows():
        found.setdefault((strategy, model), {})[seed] = share
    return found


def draw_spreads(predictions: pl.DataFrame) -> dict[tuple[str, str], Spread]:
    """Spread of the accuracies of draws, by strategy and model.

    The accuracy of a draw is over benchmarks and seeds. Where there is only one draw, there is no spread.
    """
    keys = ["strategy", "model", "draw"]
    shares = predictions.group_by("benchmark", "seed", *keys).agg(pl.col("correct").mean())
    ordered = shares.sort(*keys, "benchmark", "seed").group_by(keys, maintain_order=True)
    draws = ordered.agg(pl.col("correct").mean())
    found: dict[tuple[str, str], list[float]] = {}
    for strategy, model, _, share in draws.iter_rows():
        found.setdefault((strategy, model), []).append(share)
    return {
        arm: Spread(len(own), min(own), max(own), statistics.stdev(own)) for arm, own in found.items() if len(own) > 1
    }


def chance_levels(predictions: pl.DataFrame) -> dict[str, float]:
    """Accuracy of guessing, by benchmark.

    It is that of a guess among each item's own options, on average over the benchmark's items. Scores are one an option
    under every protocol and strategy, likelihoods as well as shares of votes.
    """
    items = predictions.unique(["benchmark", "item_id"]).sort("benchmark", "item_id")
    chance = items.group_by("benchmark").agg((1 / pl.col("scores").list.len()).mean().alias("chance"))
    return {str(benchmark): float(value) for benchmark, value in sorted(chance.iter_rows())}


def bits_per_byte(heldout: pl.DataFrame, confidence: float) -> dict[tuple[str, str], Interval]:
    """Bits per byte by domain and model.

    They are over all documents of the domain and all seeds. Domains without a byte are left out.

    Args:
        heldout: doc_id, domain, model, bits, bytes and, unless all are of one, seed.
        confidence: of the intervals.
    """
    cells = {}
    for (domain, model), rows in sorted(with_seed(heldout).partition_by("domain", "model", as_dict=True).items()):
        if rows["bytes"].sum() > 0:
            bits, size, document, seed = (rows[name].to_list() for name in ("bits", "bytes", "doc_id", "seed"))
            cells[str(domain), str(model)] = ratio_interval(bits, size, confidence, document, seed)
    return cells


def with_seed(heldout: pl.DataFrame) -> pl.DataFrame:
    """Held-out rows with a column `seed`, 0 where they have none."""
    return heldout if "seed" in heldout.columns else heldout.with_columns(seed=pl.lit(0, pl.Int64))


def load_entropy(tokens: Sequence[int]) -> float | None:
    """Entropy of the shares of tokens over experts, from 0 to 1.

    It is divided by its largest value: 1 is even, 0 is all tokens to one expert. None for no token or a single expert.
    """
    total = sum(tokens)
    if not total or len(tokens) < 2:
        return None
    return -math.fsum(n / total * math.log(n / total) for n in tokens if n) / math.log(len(tokens))


def expert_entropies(experts: pl.DataFrame) -> dict[tuple[str, str], float]:
    """Mean `load_entropy` over layers, by domain and model.

    Empty where all models are dense.

    Args:
        experts: domain, model, layer, expert, tokens.
    """
    layers: dict[tuple[str, str], list[float]] = {}
    parts = experts.sort("expert").partition_by("domain", "model", "layer", as_dict=True)
    for (domain, model, _), rows in sorted(parts.items()):
        if (entropy := load_entropy(rows["tokens"].to_list())) is not None:
            layers.setdefault((str(domain), str(model)), []).append(entropy)
    return {cell: math.fsum(own) / len(own) for cell, own in layers.items()}
