"""`osler launch`: start a training stage as the section `launch` says.

It is the command of such stages in dvc.yaml.

Before anything starts a lock is taken that the trainer, or its torchrun, inherits: after a killed dvc the old trainer may
live on, and a second one would write to the same checkpoints.
"""

import os
import shutil
import socket
import sys

from osler.build.lock import HELD, held_lock, locks
from osler.build.pipeline import ROOT, read_params
from osler.build.section import BuildError
from osler.build.stage import _restore
from osler.build.validation import PARAMS, validated
from osler.model.numerics import allocate_in_segments
from osler.training.launch import LAUNCH, Launch, command


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
        lock = locks(ROOT, stage)
        os.set_inheritable(held_lock(lock, stage), True)
    except BuildError as error:
        _restore(stage)  # dvc has removed the model of the last run before it came here
        sys.exit(f"osler: {stage}: {error}")
    allocate_in_segments()
    os.environ |= {LAUNCH: launch.model_dump_json(), HELD: str(lock)}
    os.execv(program, arguments)
