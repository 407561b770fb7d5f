"""What a training run reads, and what was seen.

Rows per source from weights and a token budget, and the order they come in.

The order is a pure function of the sources' rates and the seed: every source is spread evenly over the run (so that the
mixture is the same at every moment), epoch after epoch, each epoch in an order of its own. What has been seen after so many
rows is therefore known exactly, by source, license and epoch; a checkpoint needs to hold no more than its step. A run is the
beginning of a stream without end, so a longer one begins with a shorter one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from osler.build.section import BuildError, Section, Seed
from osler.tokens.shards import PackedRows

Weights = Mapping[str, Annotated[float, Field(ge=0, le=1e9)]]

SHORT_OF_BUDGET = 0.01  # share of a part's tokens that `epochs` alone may miss it by


class Mix(Section):
    """Section `mix`.

    Guo et al. 2024, arXiv 2406.14833, is the `subset`, some `epochs` and much replay.
    """

    tokens: int = Field(ge=1, le=1 << 50, description="tokens read in continued pretraining, padding not counted")
    replay_fraction: float = Field(ge=0, lt=1, description="of the tokens, those of general sources")
    clinical_documents: Literal["all", "subset"] = Field(description="of clinical sources; `subset`: of pack.subset")
    epochs: Mapping[str, Annotated[float, Field(gt=0, le=1e9)]] = Field(
        description="of sources read so often, not by weight"
    )
    weights: Weights = Field(description="shares of what `epochs` leaves of the clinical and of the general part")
    maximum_epochs: float = Field(ge=1e-6, le=1e9, description="times that any row may be read")
    seed: Seed = Field(
        description="of the order that is counted; under another training seed a row more or less a source"
    )

    @model_validator(mode="after")
    def _each_source_in_one(self) -> "Mix":
        if twice := sorted(self.epochs.keys() & self.weights.keys()):
            raise ValueError(f"{twice[0]}: stands in `epochs` and in `weights`; take it out of one of them")
        if not self.epochs and not any(self.weights.values()):
            raise ValueError("weights: none is above 0; give the sources to be read one")
        return self


@dataclass(frozen=True)
class Available:
    """What one packed source offers."""

    rows: int
    tokens: int


def planned_rows(
    available: Mapping[str, Available], weights: Mapping[str, float], tokens: int, maximum_epochs: float, key: str
) -> dict[str, int]:
    """Rows to read of each source, by its share of the weights.

    Its share of `tokens` is that.

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
    _refuse_unknown(weights, available, f"{key}.weights")
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


def _refuse_unknown(named: Mapping[str, float], known: Mapping[str, object], key: str) -> None:
    if unknown := sorted(set(named) - set(known)):
        raise BuildError(f"params.yaml: {key}: {', '.join(unknown)}: not a packed source (see `corpus`)")


def mixture_rates(available: Mapping[str, Available], collections: Mapping[str, str], mix: Mix) -> dict[str, float]:
    """Rows of each source per token of continued pretraining.

    Where no source is in `epochs`, they hold whatever `mix.tokens` is.

    `replay_fraction` parts the tokens into general and clinical ones. In each part the sources in `epochs` come first,
    read so many times; the others share what is left by weight.

    Args:
        available: per source, what may be read of it.
        collections: clinical or general, per source.
        mix: the section.
    Returns:
        Source -> rate, above 0, in sorted order; a source of weight 0 is left out.
    Raises:
        BuildError: a source that is not packed or named twice, more epochs than allowed, or a part that its sources
            overfill or cannot fill.
    """
    _refuse_unknown(mix.weights, available, "mix.weights")
    _refuse_unknown(mix.epochs, available, "mix.epochs")
    rates: dict[str, float] = {}
    for part, share in (("clinical", 1 - mix.replay_fraction), ("general", mix.replay_fraction)):
        budget, taken = round(mix.tokens * share), 0
        for source in (source for source in sorted(mix.epochs) if collections[source] == part):
            if mix.epochs[source] > mix.maximum_epochs:
                raise BuildError(f"params.yaml: mix.epochs.{source}: above maximum_epochs {mix.maximum_epochs:g}")
            there = available[source]
            rates[source] = mix.epochs[source] * there.rows / mix.tokens
            taken += round(mix.epochs[source] * there.tokens)
        weights = {source: weight for source, weight in mix.weights.items() if collections[source] == part and weight}
        left = budget - taken
        if not budget and not taken:
            continue
        if left <= 0 if weights else abs(left) > SHORT_OF_BUDGET * budget:
            raise BuildError(
                f"params.yaml: mix: tokens and replay_fraction ask for {budget:,} {part} tokens, and the {part} sources in"
                f" epochs make {taken:,}; "
                + ("lower an epoch or change tokens" if taken else f"give a {part} source a weight in mix.weights")
            )
        if weights:
            planned_rows(available, weights, left, mix.maximum_epochs, "mix")  # refuses what cannot be
            total = sum(weights.values())
            for source, weight in weights.items():
                per_row = available[source].tokens / available[source].rows
                rates[source] = (share - taken / mix.tokens) * weight / total / per_row
    return dict(sorted(rates.items()))


def source_order(index: int, there: int, rows: int, seed: int) -> npt.NDArray[np.int64]:
    """The first `rows` rows that are read of one source.

    It has `there` rows and is the one at place `index` among a run's. Epoch after epoch.
    """
    epochs = [np.random.default_rng([seed, index, epoch]).permutation(there) for epoch in range(-(-rows // there))]
    order: npt.NDArray[np.int64] = np.concatenate([np.zeros(0, np.int64), *epochs])[:rows]
    return order


def row_order(
    rates: Mapping[str, float], available: Mapping[str, int], seed: int, until: float = 1.0
) -> npt.NDArray[np.int64]:
    """The rows of a run in the order they are read.

    This is the stream up to a moment.

    Row i of a source comes at the moment (i + jitter) / rate, which does not depend on where the run ends. With rows to read
    as rates, the run is one unit long and reads just these.

    Args:
        rates: source -> rows per unit of the run (a token, say); what is read may exceed the rows there are (epochs).
        available: source -> rows there are.
        seed: of the orders within epochs, and of jitter in [0, 1).
        until: where the run ends, in that unit.
    Returns:
        (N, 2) of source index (in sorted order of `rates`) and row; for a smaller `until` the beginning of the same.
    """
    parts, moments = [], []
    for index, source in enumerate(sorted(rates)):
        most = int(rates[source] * until) + 1
        jitter = np.random.default_rng([seed, index, 0, 0x71E]).random(most)
        own = (np.arange(most) + jitter) / rates[source]
        moments.append(own[own < until])
        read = source_order(index, available[source], len(moments[-1]), seed)
        parts.append(np.column_stack([np.full(len(read), index), read]))
    order: npt.NDArray[np.int64] = np.concatenate(parts)[np.argsort(np.concatenate(moments), kind="stable")]
    return order


class Plan(Protocol):
    """Rows, and the order that they are read in.

    `order_N2` as `row_order` gives it, for the sorted names of `sources`.
    """

    @property
    def sources(self) -> Mapping[str, PackedRows]:
        """By name."""

    @property
    def order_N2(self) -> npt.NDArray[np.int64]:  # noqa: N802 - shape suffix
        """Source and row."""


def seen(plan: Plan, rows: int, after: int = 0) -> list[dict[str, Any]]:
    """The token ledger: what a plan has shown a model, exactly.

    Of the rows up to the `rows`-th, after the `after`-th.

    A token's epoch is how often its row has been read by then, the first time being 1. Prompts of conversations count,
    padding does not, so the sum is the number of tokens of the run's log. A few seconds for 50 million segments.

    Returns:
        {source, license, epoch, tokens}, sorted by these, without those of no token.
    """
    tokens: dict[tuple[str, str, int], int] = {}
    for index, name in enumerate(sorted(plan.sources)):
        packed = plan.sources[name]
        tokens_RO = packed.tokens_by_origin()
        before_R, times_R = (
            np.bincount(read_N2[read_N2[:, 0] == index, 1], minlength=len(tokens_RO))
            for read_N2 in (plan.order_N2[:after], plan.order_N2[:rows])
        )
        for epoch in range(int(before_R.min()) + 1, int(times_R.max()) + 1):
            own_R = (before_R < epoch) & (times_R >= epoch)
            for origin, count in zip(packed.origins, tokens_RO[own_R].sum(0).tolist(), strict=True):
                key = (origin.source, origin.license, epoch)
                tokens[key] = tokens.get(key, 0) + count
    names = ("source", "license", "epoch", "tokens")
    return [dict(zip(names, (*key, count), strict=True)) for key, count in sorted(tokens.items()) if count]
