"""Kill or stop a training stage at some moment and run it again, without DVC around it."""

import os
import shutil
import signal
import subprocess
import sys
import time

from osler.build.files import folder_hash
from osler.build.section import STOPPED
from tests.support.project import ENVIRONMENT, Project

# a stage's address, its module and the name of its model
KILLED = (("cpt", "cpt", "cpt"), ("sft@base", "sft", "base-sft"), ("neftune@base", "neftune", "base-neftune"))


def outcome(project: Project, model: str) -> tuple[str, bytes]:
    """What the stage leaves: the hash of the model's folder, and its loss curve."""
    return (
        folder_hash(project.folder / "models" / model),
        (project.folder / "results/training" / f"{model}.csv").read_bytes(),
    )


def killed_and_run_again(
    project: Project, stage: tuple[str, str, str], seconds: float, number: int = signal.SIGKILL
) -> tuple[bool, str]:
    """Start the stage from nothing, send all of it a signal so many seconds after its first checkpoint, and run it again.

    At SIGTERM it must have ended with exit code 75, or be through with its steps.

    Returns:
        Whether it was still running when it got the signal, and what the second run said.
    """
    address, module, model = stage
    scratch = project.folder / "scratch" / model
    for folder in (scratch, project.folder / "scratch/trained" / model, project.folder / "models" / model):
        shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "osler", "launch", module]
    environment = ENVIRONMENT | {"DVC_STAGE": address}
    first = project.folder / "scratch" / "first.out"
    with first.open("wb") as output, subprocess.Popen(
        command, cwd=project.folder, env=environment, start_new_session=True, stdout=output, stderr=subprocess.STDOUT
    ) as running:  # fmt: skip
        deadline = time.monotonic() + 120
        while not list(scratch.glob("*/*step-*")) and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(seconds)
        hit = running.poll() is None
        if hit:
            os.killpg(running.pid, number)
        code = running.wait(300)
    assert number == signal.SIGKILL or code in (0, STOPPED), f"{code}: {first.read_text()[-2000:]}"
    done = subprocess.run(
        command, cwd=project.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout[-2000:]
    return hit, done.stdout
