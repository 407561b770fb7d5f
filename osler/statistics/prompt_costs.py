"""What an answer costs in tokens, and which strategies are worth it.

A strategy is worth it where nothing else is both cheaper and better.

Tokens read and tokens generated are counted apart, since a generated one takes a pass of its own and costs many times a
read one. Tokens are what was asked for, not what was computed: a prefix shared by prompts is counted in each of them.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import polars as pl

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Cost:
    """Mean tokens of one answer to an item.

    They are over all prompts that the answer took.
    """

    read_tokens: float
    generated_tokens: float

    @property
    def tokens(self) -> float:
        return self.read_tokens + self.generated_tokens


def costs(predictions: pl.DataFrame) -> dict[tuple[str, str], Cost]:
    """Mean tokens of an answer, by strategy and model.

    They are the mean over benchmarks of the mean over answers. Each draw is an answer of its own: draws show how much
    exemplars matter and are no part of a strategy, whose accuracy is that of one draw too.

    Args:
        predictions: of one protocol (`osler.statistics.accuracy.headline`).
    """
    keys = ["strategy", "model"]
    columns = ["prompt_tokens", "generated_tokens"]
    means = predictions.group_by("benchmark", *keys).agg(pl.col(columns).mean()).sort(*keys, "benchmark")
    cells = means.group_by(keys, maintain_order=True).agg(pl.col(columns).mean())
    return {(strategy, model): Cost(read, generated) for strategy, model, read, generated in cells.iter_rows()}


def pareto_frontier(points: Mapping[Key, tuple[float, float]]) -> list[Key]:
    """The points that no other dominates, by rising cost.

    No other point costs at most as much and is at least as accurate.

    Args:
        points: key -> (cost, accuracy). Of equal points the first is kept.
    """
    frontier: list[Key] = []
    best = float("-inf")
    for key, (_, accuracy) in sorted(points.items(), key=lambda point: (point[1][0], -point[1][1])):
        if accuracy > best:
            frontier.append(key)
            best = accuracy
    return frontier
