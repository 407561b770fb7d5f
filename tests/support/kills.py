"""Kill a training stage at some moment and run it again, without DVC around it."""

import os
import shutil
import signal
import subprocess
import sys
import time

from osler.build.files import folder_hash
from tests.support.project import ENVIRONMENT, Project

# a stage's address, its module and the name of its model
KILLED = (("cpt", "cpt", "cpt"), ("sft@base", "sft", "base-sft"), ("neftune@base", "neftune", "base-neftune"))


def outcome(project: Project, model: str) -> tuple[str, bytes]:
    """What the stage leaves: the hash of the model's folder, and its loss curve."""
    return (
        folder_hash(project.folder / "models" / model),
        (project.folder / "results/training" / f"{model}.csv").read_bytes(),
    )


def killed_and_run_again(project: Project, stage: tuple[str, str, str], seconds: float) -> tuple[bool, str]:
    """Start the stage from nothing, kill -9 all of it so many seconds after its first checkpoint, and run it again.

    Returns:
        Whether it was still running when it was killed, and what the second run said.
    """
    address, module, model = stage
    scratch = project.folder / "scratch" / model
    for folder in (scratch, project.folder / "scratch/trained" / model, project.folder / "models" / model):
        shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "osler", "launch", module]
    environment = ENVIRONMENT | {"DVC_STAGE": address}
    with subprocess.Popen(
        command, cwd=project.folder, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as running:  # fmt: skip
        deadline = time.monotonic() + 120
        while not list(scratch.glob("*/*step-*")) and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(seconds)
        hit = running.poll() is None
        if hit:
            os.killpg(running.pid, signal.SIGKILL)
    done = subprocess.run(
        command, cwd=project.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout[-2000:]
    return hit, done.stdout
