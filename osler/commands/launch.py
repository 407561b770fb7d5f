"""`osler launch`: start a training stage as the section `launch` says.

It is the command of such stages in dvc.yaml.

Before anything starts a lock is taken that the trainer, or its torchrun, inherits: after a killed dvc the old trainer may
live on, and a second one would write to the same checkpoints.
"""

import fcntl
import os
import shutil
import socket
import sys
from pathlib import Path

from osler.build.pipeline import ROOT, read_params
from osler.build.section import BuildError
from osler.build.stage import _restore
from osler.build.validation import PARAMS, validated
from osler.training.launch import LAUNCH, Launch, command


def held_lock(path: Path, stage: str) -> int:
    """Take the lock file.

    It is held for this process and what it becomes. Its descriptor is returned.

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


def become_trainer(name: str) -> None:
    """Take the lock and become the trainer of the running stage.

    The stage's module is stages/`name`.py.
    """
    stage = os.environ.get("DVC_STAGE")
    if not stage:
        sys.exit(f"osler: launch is what DVC calls; run `dvc repro {name}`")
    try:
        launch: Launch = validated("launch", read_params(ROOT / PARAMS).get("launch"), Launch)
        arguments = command(launch, f"stages.{name}", socket.gethostname())
        if not (program := shutil.which(arguments[0])):
            raise BuildError(f"{PARAMS}: launch.nodes: {launch.nodes}, but this machine has no {arguments[0]} (SLURM)")
        held_lock(ROOT / "scratch" / "locks" / stage, stage)
    except BuildError as error:
        _restore(stage)  # dvc has removed the model of the last run before it came here
        sys.exit(f"osler: {stage}: {error}")
    os.environ[LAUNCH] = launch.model_dump_json()
    os.execv(program, arguments)
