"""Adapters of tasks that come one after another, of one seed.

Each task has an adapter of its own. The first one is fresh; a later one starts from the shared adapter, which is the first
task's at first, and after each later task goes `shared_step` of the way to that one's. Beside them, to compare with: one
adapter that is trained on the tasks in turn, and one trained on all at once. All are trained by the loop as any adapter is,
AdamW anew each time.

HiDe-PET (arXiv 2407.05229, of which the abstract was read) takes in knowledge of one task and knowledge that tasks share; how it
trains the shared part is not known here. Ours is an average of what was trained, which costs no training.

A finished adapter is found again in scratch/trained by all that it depends on, the adapter that it started from included: a run
that was killed goes on with the first one that is missing, and a task more at the end costs that task.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from osler.build.section import BuildError
from osler.build.shard_store import content_key, made_entry, whole_entry
from osler.model.adapter_weights import start_from, write_between
from osler.model.adapters import adapt
from osler.model.folder import trainable_model
from osler.model.numerics import Numerics
from osler.model.seeds import folder_of
from osler.tokens.mixture import row_order
from osler.tokens.shards import PackedRows, verify
from osler.training.adapters import Tuning, start_name
from osler.training.heartbeat import heartbeat
from osler.training.in_turn import CONTINUAL, ONE_PROCESS, InTurn
from osler.training.launch import started_launch
from osler.training.run import Run
from osler.training.stopping import listen, listen_no_more
from osler.training.trained_model import SCRATCH, TRAINED, Trainer, Training, of_seeds

OWN, IN_TURN, AT_ONCE, SHARED = "tasks", "in_turn", "at_once", "shared"


@dataclass(frozen=True)
class Adapters:
    """The folders of one seed's finished adapters, in scratch/.

    `own` and `in_turn` are of each task, the latter after that task.
    """

    own: dict[str, Path]
    in_turn: dict[str, Path]
    at_once: Path
    shared: Path

    def places(self) -> Iterator[tuple[str, Path]]:
        """Where each lies in the model's folder, and now."""
        for kind, folders in ((OWN, self.own), (IN_TURN, self.in_turn)):
            for task, folder in folders.items():
                yield f"{kind}/{task}", folder
        yield AT_ONCE, self.at_once
        yield SHARED, self.shared


def task_training(
    model: Path, rows: Path, tasks: Sequence[str], section: Tuning, title: str, begun: Path | None, seed: int
) -> Training:
    """The training of an adapter on the rows of some tasks, mixed.

    Args:
        model: of `seed`, which stays as it is.
        rows: folder of packed rows, a folder a task.
        title: of the run.
        begun: adapter whose weights it starts from; None: fresh ones, drawn from `seed`.
    Raises:
        BuildError: the model has not what the section names.
    """
    start, folders = folder_of(model, seed), {task: rows / task for task in tasks}
    verify(*folders.values())
    sources = {task: PackedRows.open(folder) for task, folder in folders.items()}
    there = {task: len(packed.row_ends_R) for task, packed in sources.items()}
    asked = {task: max(1, int(np.ceil(count * section.epochs))) for task, count in there.items()}
    whole = trainable_model(start)
    run = Run(title, sources, row_order(asked, there, seed), section, seed, alpha=section.neftune_alpha)
    longest = max(int(packed.lengths_S.max()) for packed in sources.values())
    where = f"params.yaml: {title.partition('.')[0].replace('-', '.', 1)}"
    adapter = adapt(whole, section.method_settings(), seed, where, longest)
    inputs = {"model": start} | {f"rows of {task}": folder for task, folder in folders.items()}
    if begun:
        start_from(adapter, whole, begun)
        inputs["adapter"] = begun
    return Training(whole, run, inputs, start, adapter=replace(adapter, start=start_name(start)))


@dataclass(frozen=True)
class Learner:
    """What one section trains.

    Args:
        module: the stage's file, whose code runs.
        model, rows: see `task_training`.
        section: of params, one of ContinualSection.
        name: of the section.
    """

    module: Path
    model: Path
    rows: Path
    section: Any
    name: str
    numerics: Numerics

    def adapters(self, seed: int) -> Adapters:
        """Train what is not trained yet.

        Raises:
            BuildError, StoppedError: see `Trainer.finished`.
        """
        section: InTurn = self.section
        first, second, *later = section.tasks
        own = {first: self._trained((first,), OWN, None, seed)}
        shared = own[first]
        before = own[second] = self._trained((second,), OWN, shared, seed)
        in_turn = dict(own)  # so far both have started from the same
        shared = self._shared(shared, own[second])
        for task in later:
            own[task] = self._trained((task,), OWN, shared, seed)
            shared = self._shared(shared, own[task])
            before = in_turn[task] = self._trained((task,), IN_TURN, before, seed)
        return Adapters(own, in_turn, self._trained(tuple(section.tasks), AT_ONCE, None, seed), shared)

    def title(self, kind: str, task: str = "") -> str:
        """Of a run, and of its folders in scratch/."""
        return ".".join(filter(None, (f"{CONTINUAL}{self.name}", kind, task)))  # no name has a point in it

    def _trained(self, tasks: tuple[str, ...], kind: str, begun: Path | None, seed: int) -> Path:
        title = self.title(kind, tasks[0] if len(tasks) == 1 else "")
        training = partial(task_training, self.model, self.rows, tasks, self.section, title, begun)
        return Trainer(self.module, self.numerics, training).finished(seed, is_last=False)

    def _shared(self, before: Path, own: Path) -> Path:
        step = self.section.shared_step
        key = content_key(before=before.name, own=own.name, step=step)  # names of entries are hashes of their files
        place = SCRATCH / TRAINED / self.title(SHARED) / key[:16]
        return whole_entry(place) or made_entry(place, partial(write_between, before, own, step))

    def all_adapters(self, seeds: tuple[int, ...]) -> dict[int, Adapters]:
        """Those of each seed, `launch.jobs` seeds at a time on a CPU.

        Raises:
            BuildError: the engine is one of several processes; see `adapters`, too.
        """
        launch = started_launch(os.environ)
        if launch.engine != "python":
            raise BuildError(f"params.yaml: launch.engine: {launch.engine}; {ONE_PROCESS}")
        listen()
        with heartbeat(os.environ):
            found = dict(zip(seeds, of_seeds(self.adapters, seeds, launch.jobs), strict=True))
        listen_no_more()
        self._forget({folder.parent for each in found.values() for _, folder in each.places()})
        return found

    def _forget(self, used: set[Path]) -> None:
        """Remove finished adapters of this section that none of its seeds uses any more."""
        tasks = self.section.tasks
        titles = [self.title(kind, task) for kind in (OWN, IN_TURN) for task in tasks]
        for title in (*titles, self.title(AT_ONCE), self.title(SHARED)):
            folder = SCRATCH / TRAINED / title
            for place in sorted(folder.iterdir()) if folder.is_dir() else ():
                if place not in used:
                    shutil.rmtree(place)
