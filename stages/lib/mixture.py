"""What continued pretraining reads: rows per source from weights and a token budget, and the order they come in.

The order is a pure function of the plan and the seed: every source is spread evenly over the run (so that the mixture is
the same at every moment), epoch after epoch, each epoch in an order of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from stages.lib.section import BuildError

Weights = Mapping[str, Annotated[float, Field(ge=0)]]


@dataclass(frozen=True)
class Available:
    """What one packed source offers."""

    rows: int
    tokens: int
    tokens_per_license: Mapping[str, int]


def planned_rows(
    available: Mapping[str, Available], weights: Mapping[str, float], tokens: int, maximum_epochs: float, key: str
) -> dict[str, int]:
    """Rows to read of each source so that its share of `tokens` is its share of the weights.

    Args:
        available: per source; sources without a weight are not read.
        weights: relative shares of tokens, at least 0, not all 0.
        tokens: the budget over all sources; padding does not count.
        maximum_epochs: how often any row may be read at most.
        key: the params section, for messages.
    Returns:
        Source -> rows, at least 1, in sorted order; a source of weight 0 is left out.
    Raises:
        BuildError: a weight for a source that is not packed, no positive weight, or more epochs than allowed.
    """
    unknown = sorted(set(weights) - set(available))
    if unknown:
        raise BuildError(f"params.yaml: {key}.weights: {', '.join(unknown)}: not a packed source (see `corpus`)")
    total = sum(weights.values())
    if total <= 0:
        raise BuildError(f"params.yaml: {key}.weights: no weight above 0")
    planned: dict[str, int] = {}
    for source in sorted(weights):
        if weights[source] == 0:
            continue
        per_row = available[source].tokens / available[source].rows
        rows = max(1, round(tokens * weights[source] / total / per_row))
        epochs = rows / available[source].rows
        if epochs > maximum_epochs:
            raise BuildError(
                f"params.yaml: {key}.weights.{source}: {epochs:.1f} epochs of its {available[source].tokens:,} tokens,"
                f" above maximum_epochs {maximum_epochs:g}; lower its weight or {key}.tokens"
            )
        planned[source] = rows
    return planned


def row_order(planned: Mapping[str, int], available: Mapping[str, int], seed: int) -> npt.NDArray[np.int64]:
    """The rows of a run in the order they are read.

    Args:
        planned: source -> rows to read, may exceed the rows there are (epochs).
        available: source -> rows there are.
        seed: of the orders within epochs, and of ties between sources.
    Returns:
        (N, 2) of source index (in sorted order of `planned`) and row. Row i of a source that is read n times in all comes
        at about i / n of the run.
    """
    parts, moments = [], []
    for index, source in enumerate(sorted(planned)):
        rows, there = planned[source], available[source]
        epochs = [np.random.default_rng([seed, index, epoch]).permutation(there) for epoch in range(-(-rows // there))]
        parts.append(np.column_stack([np.full(rows, index), np.concatenate(epochs)[:rows]]))
        jitter = np.random.default_rng([seed, index, 0, 0x71E]).random(rows)
        moments.append((np.arange(rows) + jitter) / rows)
    order: npt.NDArray[np.int64] = np.concatenate(parts)[np.argsort(np.concatenate(moments), kind="stable")]
    return order
