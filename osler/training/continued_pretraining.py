"""Continued pretraining on the mixture that `mix` planned.

In one run (`cpt`), or as a trunk with branches (`trunk`, `anneal`). These stages hand `continued` to a `Trainer`
(trained_model.py), which calls it once a seed.

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

from osler.build.files import read_json
from osler.build.section import BuildError, Section
from osler.model.seeds import Seeds, folder_of
from osler.tokens.mixture import row_order
from osler.tokens.shards import PackedRows, verify
from osler.training.amendments import Amendment, of_seed
from osler.training.heldout_loss import FOLDER, Heldout, heldout_rows
from osler.training.launch import brings_weights, started_launch
from osler.training.recipe import Recipe, Schedule

if TYPE_CHECKING:
    from osler.training.run import Run
    from osler.training.trained_model import Training

BASE = "base"


class Cpt(Recipe):
    """Section `cpt`: of `cpt` and of trunks with their branches.

    How many tokens they train on is the matter of plan or segment.
    """

    amendments: tuple[Amendment, ...] = Field(
        default=(), description="decisions taken as it runs: a learning rate from a step on, or steps left out"
    )


class Segment(Section):
    """A section `trunk.<name>`."""

    start: Annotated[str, Field(pattern=r"^(base|trunk-.+)$")] = Field(
        alias="from", description="base, or trunk-NAME of another segment"
    )
    tokens: int = Field(ge=1, le=1 << 50, description="read in this segment, padding not counted")
    maximum_epochs: float = Field(ge=1e-6, le=1e9, description="times that any row may be read since the base model")
    seeds: Seeds | None = Field(default=None, description="trained; absent: the first of the build")


class Branch(Segment):
    """A section `anneal.<name>`.

    It starts from a trunk, as only a trunk has the optimizer to go on from.
    """

    start: Annotated[str, Field(pattern=r"^trunk-.+$")] = Field(alias="from", description="trunk-NAME of a segment")


def continued(
    model: Path,
    packed: Path,
    plan: Path,
    cpt: Cpt,
    name: str,
    seed: int,
    segment: Segment | None = None,
) -> "Training":
    """The training of `model` on the stream of plan/plan.json.

    The model is the one of `seed`. Training goes to the plan's end, or over a `segment` of the stream.

    Args:
        name: of the model that is made.

    Raises:
        BuildError: the segment is shorter than a step, reads a row too often, or there is no trunk to go on from.
    """
    # torch is imported when training starts: params are checked without it
    from osler.model.folder import trainable_model
    from osler.training.run import Run
    from osler.training.trained_model import Training

    start = folder_of(model, seed)
    planned = read_json(plan / "plan.json")
    sources = planned["sources"]
    folders = {source: packed / sources[source]["collection"] / source for source in sorted(sources)}
    verify(*folders.values())
    there = {source: sources[source]["rows_there"] for source in folders}
    rates = {source: sources[source]["rows_per_token"] for source in folders}
    until = planned["budget_tokens"]
    if segment:
        until = segment.tokens + (_provenance(start)["stream_tokens"] if segment.start != BASE else 0)
    rows = {name: PackedRows.open(folder, there[name]) for name, folder in folders.items()}
    order = row_order(rates, there, seed, until)
    run = Run(name, rows, order, cpt, seed, amendments=of_seed(cpt.amendments, seed))
    is_branch = isinstance(segment, Branch)
    if (every := started_launch(os.environ).heldout_every_steps) and FOLDER in os.environ:
        run = replace(run, heldout=Heldout(heldout_rows(Path(os.environ[FOLDER]), start, run.row_tokens()), every))
    if segment:
        steps = -(-sum(source["rows"] for source in sources.values()) // run.rows_per_step())  # of `cpt`
        run = _segment_of(run, segment, start, round(cpt.warmup_fraction * steps), is_branch)
    return Training(
        trainable_model(start, empty=not brings_weights(os.environ)),
        run,
        {"model": start, "plan": plan} | folders,
        start,
        stream_tokens=until,
        keep_moments=segment is not None and not is_branch,
    )


def _provenance(model: Path) -> dict[str, Any]:
    """Of a trunk that a segment goes on from.

    Raises:
        BuildError: the model is none.
    """
    from osler.model.folder import provenance_of
    from osler.training.optimizer_state import FILE

    if not (model / FILE).is_file():
        raise BuildError(f"models/{model.name}: has no {FILE}, so nothing can go on from it; name a trunk")
    return provenance_of(model)


def _segment_of(run: "Run", segment: Segment, model: Path, warmup_steps: int, is_branch: bool) -> "Run":
    """The part of `run`, which reads the stream from its beginning, that follows what `model` has read, in whole steps."""
    from osler.training.optimizer_state import FILE
    from osler.training.run import Past

    key = f"params.yaml: {run.title.replace('-', '.', 1)}"
    past = None
    if is_branch or segment.start != BASE:
        before = _provenance(model)
        past = Past(model / FILE, before["steps"], before["continued_tokens"], before.get("idle_steps", 0))
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
    amendments = run.amendments or ()
    if is_branch:  # it fell from the peak that the trunk had by then
        amendments = tuple(one for one in amendments if one.skip_steps or one.first() <= first + 1)
    schedule = Schedule(warmup_steps, first if is_branch else None)
    order_N2 = run.order_N2[: steps * rows]
    return replace(run, order_N2=order_N2, schedule=schedule, past=past, amendments=amendments)
