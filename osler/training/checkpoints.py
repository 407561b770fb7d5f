"""Checkpoints that any engine on any number of processes resumes.

The loop (loop.py) reads and writes them through its engine.

Each process copies the parts of weights and AdamW's moments that it has (the engine's `parts`: nothing is gathered, but under
DeepSpeed) and a thread writes them to a file of its own, in the format of torch.distributed.checkpoint
(checkpoint_files.py), as training goes on. Everything lies in a folder of a temporary name until all files are there; then the
index is written, with their sizes and hashes, and the folder gets its name. Whether all are there the loop sums up with its
counts: no collective waits for a disk, or waits with patience (patience.py). A killed run leaves a folder without a name, or a
named one that a bad disk damaged: both are passed over with a warning for the one before. Two are kept, and milestones where
asked for. No pickle, and no random state: data order and noise are functions of the step.

Cost: 12 bytes a parameter, on the disk and in main memory; the loop waits for the copy only. bench/checkpoints.py compares it
with plain torch.distributed.checkpoint.
"""

import json
import shutil
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from osler.build.files import file_hash, read_json, sync, write_json
from osler.build.section import BuildError
from osler.build.shard_store import content_key
from osler.build.shortages import is_damage, shortage
from osler.training.checkpoint_files import Part, Snapshot, reader, write_parts
from osler.training.engine import Engine
from osler.training.patience import summed_patiently

KEPT = 2
INDEX = "index.json"
FORMAT = 2  # 1 had whole parameters


class Logged(NamedTuple):
    """A row of a run's log.

    Losses are means over the steps since the row before, but for the last one.
    """

    step: int
    tokens: int
    loss: float
    learning_rate: float
    router_loss: float  # 0 for a dense model
    noise_free_loss: (
        float | None
    )  # of this step's rows, with the weights before it; now and then, and only under NEFTune
    consistency_loss: float | None = None  # cosine distance from the clean pass; where its weight is above 0


@dataclass
class State:
    """Where a run is, besides weights and optimizer."""

    step: int  # steps done
    tokens: int
    log: list[Logged]
    pending_loss: list[tuple[float, ...]]  # language-model, router and maybe consistency loss since the last log row
    codes: list[str]  # fingerprints of the code that trained, in order
    numerics: list[dict[str, Any]] = field(default_factory=list)  # {from_step, numerics}: where they changed
    idle_steps: int = 0  # of `step` those that updated nothing, also before this run: AdamW has not counted them
    skipped: list[dict[str, Any]] = field(default_factory=list)  # steps of this run that were not finite
    amendments: list[dict[str, Any]] = field(default_factory=list)  # that concern the steps done

    def updates(self) -> int:
        """Steps that AdamW counts."""
        return self.step - self.idle_steps


class Checkpoint:
    """The checkpoints of one run in `folder`.

    Args:
        folder: the run's own, named after its params and inputs.
        code: fingerprint of the code that runs.
        accept_code_change: go on from a checkpoint that other code wrote.
        numerics: how arithmetic is done from now on; the state says from which step on it was done so.
        keep_every_steps: checkpoints of these steps are milestones, which are not removed; None: there are none.
    """

    def __init__(
        self,
        folder: Path,
        code: str,
        accept_code_change: bool,
        numerics: Mapping[str, Any] | None = None,
        keep_every_steps: int | None = None,
    ) -> None:
        self.folder = folder
        self.code = code
        self.accept_code_change = accept_code_change
        self.numerics = dict(numerics or {})
        self.keep_every_steps = keep_every_steps
        self._snapshot = Snapshot()
        self._writer: threading.Thread | None = None
        self._remover: threading.Thread | None = None
        self._error: Exception | None = None
        self._pending: Path | None = None
        self._state = ""

    def load(self, engine: Engine, objection: Callable[[State], str] = lambda _: "") -> State:
        """Set `engine` to the last whole checkpoint and return its state.

        Weights and optimizer are set. If there is none, the state is a fresh one.

        Args:
            engine: of all processes.
            objection: why the run cannot go on from a state; empty where it can. A checkpoint after the one that is loaded is
                set aside under another name.
        Raises:
            BuildError: it was written by other code and that is not accepted, or there is an objection to all.
        """
        if engine.rank == 0:
            for unfinished in sorted(self.folder.glob(".step-*.tmp")):
                _warn(f"{unfinished}: not finished; removed")
                shutil.rmtree(unfinished, ignore_errors=True)
        refused: list[str] = []
        for step in self._steps(engine):
            folder = self.folder / f"step-{step:08d}"
            found = faults(folder, range(engine.rank, 1 << 30, engine.processes))
            if summed_patiently([len(found)])[0]:
                for fault in found:
                    _warn(f"{fault}; going on from the checkpoint before it")
                continue
            if reason := objection(_state_of(read_json(folder / INDEX))):
                refused.append(f"{folder}: {reason}")
                continue
            state = self._loaded(folder, engine)
            summed_patiently([0])  # until all have read
            if engine.rank == 0:
                self._set_aside(state.step, refused)
            return state
        if refused:
            raise BuildError(
                f"{refused[-1]}; change that, or delete {self.folder} to start over: none from before is left"
            )
        return State(0, 0, [], [], [self.code], [{"from_step": 0, "numerics": self.numerics}])

    def _set_aside(self, step: int, refused: Sequence[str]) -> None:
        """Rename the checkpoints after `step` that were refused, or they would pass for the newest."""
        for reason in refused:
            _warn(f"{reason}; going on from step {step}")
        for folder in sorted(self.folder.glob("step-*")) if refused else ():
            if int(folder.name[5:]) > step:
                shutil.rmtree(aside := folder.with_name(f"aside-{folder.name}"), ignore_errors=True)
                folder.rename(aside)

    def _steps(self, engine: Engine) -> list[int]:
        """Steps with a checkpoint, newest first, as the first process sees them."""
        steps = sorted((int(path.name[5:]) for path in self.folder.glob("step-*")), reverse=True)
        number = int(summed_patiently([len(steps) if engine.rank == 0 else 0])[0])
        return [int(step) for step in summed_patiently(steps if engine.rank == 0 else [0] * number)]

    def _loaded(self, folder: Path, engine: Engine) -> State:
        state = _state_of(read_json(folder / INDEX))
        if state.codes[-1] != self.code:
            if not self.accept_code_change:
                raise BuildError(
                    f"{folder}: step {state.step} was trained by other code; set launch.accept_code_change: true"
                    " in params.yaml to go on from it, or delete that folder to start over"
                )
            state.codes.append(self.code)
        before = state.numerics[-1]["numerics"] if state.numerics else self.numerics
        if before != self.numerics:
            if engine.rank == 0:
                changed = {key: value for key, value in self.numerics.items() if before.get(key) != value}
                told = ", ".join(f"{key} {before.get(key)} -> {value}" for key, value in changed.items())
                print(f"{folder}: going on with other numerics: {told}", flush=True)
            state.numerics.append({"from_step": state.step, "numerics": self.numerics})
        engine.restore(reader(folder), state.updates())
        return state

    def save(self, engine: Engine, state: State) -> None:
        """Take a snapshot and start to write it.

        The one before is made complete first. All processes call it together.
        """
        self.settle(engine)
        parts = self._snapshot.take(engine.parts())
        self._pending = self.folder / f".step-{state.step:08d}.tmp"
        self._pending.mkdir(parents=True, exist_ok=True)
        self._state = json.dumps(vars(state))  # as it is now
        self._writer = threading.Thread(target=self._write, args=(self._pending, engine.rank, parts))
        self._writer.start()

    def _write(self, folder: Path, rank: int, parts: Sequence[Part]) -> None:
        try:
            path = folder / f"part-{rank:05d}.safetensors"
            write_json(path.with_suffix(".json"), {path.name: write_parts(path, parts)} if parts else {})
        except (OSError, MemoryError) as error:  # of a full disk; the loop raises it
            self._error = error

    def written(self) -> bool:
        """Whether this process's part of a snapshot lies on disk.

        It waits there to be made complete.

        Raises:
            BuildError: it could not be written.
        """
        if self._error:
            if self._pending:
                shutil.rmtree(self._pending, ignore_errors=True)
            said = " ".join((shortage(self._error) or str(self._error)).split())
            raise BuildError(f"{self._pending}: the checkpoint could not be written: {said}")
        return self._writer is not None and not self._writer.is_alive()

    def complete(self, engine: Engine) -> None:
        """Give the snapshot its index and its name.

        That is done once all parts are written. All snapshots but the last two and the milestones are removed.
        """
        assert self._pending
        if engine.rank == 0:
            facts = [self._pending / f"part-{rank:05d}.json" for rank in range(engine.processes)]
            files = {name: fact for path in facts for name, fact in read_json(path).items()}
            for path in facts:
                path.unlink()
            index = {"format": FORMAT, "state": json.loads(self._state), "files": files}
            write_json(self._pending / INDEX, index | {"hash": content_key(**index)})
            sync(self._pending / INDEX)
            sync(self._pending)
            final = self.folder / self._pending.name[1:].removesuffix(".tmp")
            shutil.rmtree(final, ignore_errors=True)  # a damaged one that was passed over
            self._pending.replace(final)
            sync(self.folder)
            self._remove([path for path in sorted(self.folder.glob("step-*"))[:-KEPT] if not self._is_milestone(path)])
        self._writer = self._pending = None

    def _is_milestone(self, path: Path) -> bool:
        return bool(self.keep_every_steps) and int(path.name[5:]) % (self.keep_every_steps or 1) == 0

    def _remove(self, folders: Sequence[Path]) -> None:
        """Take the names of `folders` away, and have a thread remove what is in them."""
        going = [folder.rename(folder.with_name(f".{folder.name}.tmp")) for folder in folders]
        if going:
            self._settle_removal()
            self._remover = threading.Thread(target=_removed, args=(going,))
            self._remover.start()

    def _settle_removal(self) -> None:
        if self._remover:
            self._remover.join()
        self._remover = None

    def settle(self, engine: Engine) -> None:
        """Wait until a snapshot that is being written is complete."""
        if self._writer:
            self._writer.join()
            if summed_patiently([self.written()])[0] == engine.processes:
                self.complete(engine)
        self._settle_removal()

    def retire(self, finished: Path) -> None:
        """End with the run, in the first process.

        Milestones go to the folder `finished`, from which no run goes on; the rest is removed.
        """
        milestones = [path for path in sorted(self.folder.glob("step-*")) if self._is_milestone(path)]
        if milestones:
            shutil.rmtree(finished, ignore_errors=True)
            finished.mkdir(parents=True)
            for path in milestones:
                path.rename(finished / path.name)
        shutil.rmtree(self.folder, ignore_errors=True)


def _state_of(index: dict[str, Any]) -> State:
    state = State(**index["state"])
    state.pending_loss = [tuple(losses) for losses in state.pending_loss]
    state.log = [Logged(*row) for row in state.log]
    return state


def faults(folder: Path, numbers: Sequence[int] = range(1 << 30)) -> list[str]:
    """What is wrong with the checkpoint in a folder.

    Looked at are its index and those files of it that have these `numbers`.
    """
    try:
        index = read_json(folder / INDEX)
        if index.pop("hash") != content_key(**index):
            raise ValueError("it is not what was written")
        if index.get("format") != FORMAT:
            return [f"{folder / INDEX}: of another version of Osler, which this one does not read"]
        files = sorted(index["files"].items())
    except (OSError, ValueError, KeyError, AttributeError) as error:
        if isinstance(error, OSError) and not is_damage(error):
            raise
        return [f"{folder / INDEX}: missing or damaged ({type(error).__name__})"]
    found = []
    for number, (name, facts) in enumerate(files):
        path = folder / name
        if number in numbers and not (
            path.is_file() and path.stat().st_size == facts["bytes"] and file_hash(path) == facts["hash"]
        ):
            found.append(f"{path}: missing or damaged")
    return found


def _removed(folders: Sequence[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr, flush=True)
