"""Continued pretraining on the mixture that `mix` planned: in one run (`cpt`), or as a trunk with branches (`trunk`, `anneal`).

All read one stream of rows (mixture.py), `cpt` as far as `mix.tokens`. A segment of a trunk goes on from the weights and the
optimizer of another one at the peak rate, with the rows that follow; a branch does the same while the rate falls. Steps are
counted from the beginning of the trunk and always whole, so segments end up with the bits of one run of their length.
Sources: Ibrahim et al. 2024, arXiv 2403.08763 (re-warming, replay); for trunks recipe.py.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from stages.lib.files import read_json
from stages.lib.launching import brings_weights
from stages.lib.mixture import row_order
from stages.lib.numerics import Numerics
from stages.lib.recipe import Recipe, Schedule
from stages.lib.section import BuildError, Section
from stages.lib.shards import PackedRows, verify

if TYPE_CHECKING:
    from stages.lib.training import Run

BASE = "base"


class Cpt(Recipe):
    """Section `cpt`: of `cpt` and of trunks with their branches; how many tokens is the matter of plan or segment."""


class Segment(Section):
    """A section `trunk.<name>`."""

    start: Annotated[str, Field(pattern=r"^(base|trunk-.+)$")] = Field(alias="from", description="a folder of models/")
    tokens: int = Field(ge=1, description="read in this segment, padding not counted")
    maximum_epochs: float = Field(gt=0, description="times that any row may be read since the base model")


class Branch(Segment):
    """A section `anneal.<name>`: only a trunk has the optimizer to go on from."""

    start: Annotated[str, Field(pattern=r"^trunk-.+$")] = Field(alias="from", description="a folder of models/")


def continue_pretraining(
    module: Path,
    model: Path,
    packed: Path,
    plan: Path,
    trained_model: Path,
    training: Path,
    cpt: Cpt,
    numerics: Numerics,
    seed: int,
    segment: Segment | None = None,
    is_branch: bool = False,
) -> None:
    """Train `model` on the stream of plan/plan.json: from its beginning to the plan's end, or a `segment` of it.

    Raises:
        BuildError: the segment is shorter than a step, reads a row too often, or there is no trunk to go on from.
    """
    from stages.lib.models import loaded_model  # torch is imported when training starts: params are checked without it
    from stages.lib.trainer import train_and_write
    from stages.lib.training import Run

    numerics.apply()
    planned = read_json(plan / "plan.json")
    sources = planned["sources"]
    folders = {source: packed / sources[source]["collection"] / source for source in sorted(sources)}
    verify(*folders.values())
    there = {source: sources[source]["rows_there"] for source in folders}
    rates = {source: sources[source]["rows_per_token"] for source in folders}
    until = planned["budget_tokens"]
    if segment:
        until = segment.tokens + (_provenance(model)["stream_tokens"] if segment.start != BASE else 0)
    run = Run(
        trained_model.name,
        {name: PackedRows.open(folder, there[name]) for name, folder in folders.items()},
        row_order(rates, there, seed, until),
        cpt,
        seed,
        0.0,
    )
    if segment:
        steps = -(-sum(source["rows"] for source in sources.values()) // run.rows_per_step())  # of `cpt`
        run = _segment_of(run, segment, model, round(cpt.warmup_fraction * steps), is_branch)
    train_and_write(
        module,
        loaded_model(model, empty=not brings_weights(os.environ)),
        run,
        numerics,
        {"model": model, "plan": plan} | folders,
        model,
        trained_model,
        training,
        stream_tokens=until,
        keep_moments=segment is not None and not is_branch,
    )


def _provenance(model: Path) -> dict[str, Any]:
    """Of a trunk that a segment goes on from.

    Raises:
        BuildError: the model is none.
    """
    from stages.lib.models import provenance_of
    from stages.lib.moments import FILE

    if not (model / FILE).is_file():
        raise BuildError(f"models/{model.name}: has no {FILE}, so nothing can go on from it; name a trunk")
    return provenance_of(model)


def _segment_of(run: "Run", segment: Segment, model: Path, warmup_steps: int, is_branch: bool) -> "Run":
    """The part of `run`, which reads the stream from its beginning, that follows what `model` has read, in whole steps."""
    from stages.lib.moments import FILE
    from stages.lib.training import Past

    key = f"params.yaml: {run.title.replace('-', '.', 1)}"
    past = None
    if is_branch or segment.start != BASE:
        before = _provenance(model)
        past = Past(model / FILE, before["steps"], before["continued_tokens"])
    first, rows = past.steps if past else 0, run.rows_per_step()
    steps = len(run.order_N2) // rows
    if steps <= first:
        raise BuildError(
            f"{key}.tokens: {segment.tokens}, less than a step of cpt.batch_tokens {run.recipe.batch_tokens}"
        )
    read = run.rows_read(0)
    epochs = {source: read[source] / len(run.sources[source].row_ends_R) for source in read}
    most = max(epochs, key=lambda source: epochs[source])
    if epochs[most] > segment.maximum_epochs:
        raise BuildError(
            f"{key}.tokens: by its end {most} is read {epochs[most]:.1f} times, above its maximum_epochs"
            f" {segment.maximum_epochs:g}; raise that, or read less"
        )
    schedule = Schedule(warmup_steps, first if is_branch else None)
    return replace(run, order_N2=run.order_N2[: steps * rows], schedule=schedule, past=past)
