"""Start a training stage as the section `launch` says: `python -m stages.launch cpt` (a stage's command in dvc.yaml).

Before anything starts a lock is taken that the trainer, or its torchrun, inherits: after a killed dvc the old trainer may
live on, and a second one would write to the same checkpoints.
"""

import fcntl
import os
import shutil
import socket
import sys
from pathlib import Path

from stages.lib.launching import LAUNCH, Launch, command
from stages.lib.section import BuildError
from stages.lib.stage import PARAMS, ROOT, _restore, read_params, validated


def held_lock(path: Path, stage: str) -> int:
    """Take the lock file, for this process and what it becomes; its descriptor.

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
        arguments = command(launch, f"stages.{sys.argv[1]}", socket.gethostname())
        if not (program := shutil.which(arguments[0])):
            raise BuildError(f"{PARAMS}: launch.nodes: {launch.nodes}, but this machine has no {arguments[0]} (SLURM)")
        held_lock(ROOT / "scratch" / "locks" / stage, stage)
    except BuildError as error:
        _restore(stage)  # dvc has removed the model of the last run before it came here
        sys.exit(f"osler: {stage}: {error}")
    os.environ[LAUNCH] = launch.model_dump_json()
    os.execv(program, arguments)


if __name__ == "__main__":
    main()
