"""Start a training stage as the section `launch` says: `python -m stages.launch cpt` (a stage's command in dvc.yaml).

The section is declared by no stage, since where a model is trained must not change what is built. Before anything starts a
lock is taken that the trainer inherits: after a killed dvc the old trainer may live on, and a second one would write to the
same checkpoints.
"""

import fcntl
import os
import sys
from pathlib import Path
from typing import Literal

from pydantic import Field

from stages.lib.section import BuildError, Section
from stages.lib.stage import ACCEPT_CODE_CHANGE, PARAMS, ROOT, Jobs, _restore, read_params, validated


class Launch(Section):
    """Section `launch`."""

    engine: Literal["python", "ddp"] = Field(description="python: one process; ddp: torchrun on this machine")
    processes: int = Field(ge=1)
    jobs: Jobs
    accept_code_change: bool = Field(description="resume a checkpoint that other code wrote")


def command(launch: Launch, module: str) -> list[str]:
    """The trainer's command line.

    Raises:
        BuildError: one process is asked of an engine for several, or the reverse.
    """
    if launch.engine == "python":
        if launch.processes != 1:
            raise BuildError(f"{PARAMS}: launch.processes: {launch.processes}, but engine python runs 1; use ddp")
        return [sys.executable, "-m", module]
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *(f"--nproc-per-node={launch.processes}", "-m", module),
    ]


def held_lock(path: Path, stage: str) -> int:
    """Take the lock file, for this process and what it becomes or starts; its descriptor.

    Raises:
        BuildError: another trainer holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode().strip() or "unknown"
        os.close(descriptor)
        raise BuildError(
            f"{stage} is still being trained by process {holder}, from an earlier run; wait for it, or stop it with"
            f" `kill {holder}` (its checkpoints stay), then run this again"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    os.set_inheritable(descriptor, True)
    return descriptor


def main() -> None:
    """Take the lock and become the trainer."""
    stage = os.environ.get("DVC_STAGE")
    if len(sys.argv) != 2 or not stage:
        sys.exit("usage: python -m stages.launch STAGE, started by DVC (`dvc repro cpt`)")
    try:
        launch: Launch = validated("launch", read_params(ROOT / PARAMS).get("launch"), Launch)
        arguments = command(launch, f"stages.{sys.argv[1]}")
        held_lock(ROOT / "scratch" / "locks" / stage, stage)
    except BuildError as error:
        _restore(stage)  # dvc has removed the model of the last run before it came here
        sys.exit(f"osler: {stage}: {error}")
    os.environ[ACCEPT_CODE_CHANGE] = "1" if launch.accept_code_change else "0"
    os.execv(arguments[0], arguments)


if __name__ == "__main__":
    main()
