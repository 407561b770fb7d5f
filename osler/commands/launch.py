"""`osler launch`: start a training stage as the section `launch` says.

It is the command of such stages in dvc.yaml.

Where `launch.submit` asks for it, a SLURM job starts it (osler/build/slurm.py), and this process waits for that. Else, before
anything starts, a lock is taken that the trainer, or its torchrun, inherits: after a killed dvc the old trainer may live on,
and a second one would write to the same checkpoints.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from osler.build.artifacts import Artifacts
from osler.build.lock import HELD, held_lock, locks
from osler.build.pipeline import ROOT, declarations, read_params
from osler.build.section import STOPPED, BuildError
from osler.build.slurm import LEFT, as_job, job_of, set_end
from osler.build.stage import _restore
from osler.build.validation import PARAMS, validated
from osler.model.numerics import allocate_in_segments
from osler.training.heldout_loss import FOLDER
from osler.training.launch import LAUNCH, Launch, check_stages, command
from osler.training.stopping import SIGNALS, WHY


def become_trainer(name: str) -> None:
    """Become the trainer of the running stage, or its torchrun's keeper.

    The lock of the stage is taken before. The stage's module is stages/`name`.py. The section of all stages is looked at
    first: what the last one cannot do is said before the first one runs for days.
    """
    stage = os.environ.get("DVC_STAGE")
    if not stage:
        sys.exit(f"osler: launch is what DVC calls; run `dvc repro {name}`")
    try:
        params = read_params(ROOT / PARAMS)
        whole: Launch = validated("launch", params.get("launch"), Launch)
        check_stages(whole)
        launch = whole.of(name)
        arguments = command(launch, f"stages.{name}", socket.gethostname())
        code = as_job(ROOT, params, stage, launch.nodes, [sys.executable, "-m", "osler", "launch", name])
        if code is not None:
            if code not in (0, LEFT):
                _restore(stage)
            sys.exit(code)
        if launch.heldout_every_steps:
            os.environ[FOLDER] = str(Artifacts(ROOT, declarations(ROOT, params)).path("select", "heldout"))
        if not (program := shutil.which(arguments[0])):
            raise BuildError(f"{PARAMS}: launch.nodes: {launch.nodes}, but this machine has no {arguments[0]} (SLURM)")
        lock = locks(ROOT, stage)
        os.set_inheritable(descriptor := held_lock(lock, stage), True)
    except BuildError as error:
        _restore(stage)  # dvc has removed the model of the last run before it came here
        sys.exit(f"osler: {stage}: {error}")
    stopped = job_of(ROOT, params, stage).stopped
    stopped.parent.mkdir(parents=True, exist_ok=True)
    stopped.unlink(missing_ok=True)
    set_end(os.environ)
    allocate_in_segments()
    os.environ |= {LAUNCH: launch.model_dump_json(), HELD: str(lock), WHY: str(stopped)}
    if launch.engine == "python":
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # they wait until the trainer listens (stopping.py)
        os.execv(program, arguments)
    sys.exit(kept([program, *arguments[1:]], descriptor, stopped))


def kept(arguments: Sequence[str], lock: int, stopped: Path) -> int:
    """Run torchrun, and hand it the signals that ask to stop.

    On several machines it is the srun that starts one on each. torchrun ends with 0 where its workers did, also where they
    were stopped; and an agent that ended with 75 would have srun kill the others. srun itself hands on SIGUSR1, but at
    SIGTERM kills all.

    Args:
        arguments: the command.
        lock: descriptor of the stage's lock, which the command inherits.
        stopped: file that is there once the workers have stopped.

    Returns:
        The exit code.
    """
    received: list[int] = []
    interrupted: list[int] = []
    running: list[subprocess.Popen[bytes]] = []

    def hand_on(number: int, _: Any) -> None:
        received.append(number)
        for one in running:
            one.send_signal(signal.SIGUSR1)

    for number in SIGNALS:
        signal.signal(number, hand_on)
    # a terminal sends it to the trainer, too; an exception as wait() returns would lose the exit code
    signal.signal(signal.SIGINT, lambda number, _: interrupted.append(number))
    with subprocess.Popen(arguments, pass_fds=(lock,)) as trainer:
        running.append(trainer)
        if received:
            trainer.send_signal(signal.SIGUSR1)
        code = trainer.wait()
    if (code == 0 and stopped.exists()) or (received and code == -signal.SIGUSR1):  # before it could hear
        return STOPPED
    if code and interrupted:  # 0: it had done all before it heard
        return 130
    return code if code >= 0 else 128 - code
