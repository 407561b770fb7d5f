"""How a trainer is started, and that there is never a second one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.launch import Launch, command, held_lock
from stages.lib.section import BuildError
from stages.lib.stage import ROOT

HOLDER = """
import os, sys, time
from pathlib import Path
from stages.launch import held_lock
held_lock(Path(sys.argv[1]), "cpt")
os.execv(sys.executable, [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"])
"""


def test_a_second_trainer_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    """The lock passes from the launcher to the program it becomes; the refusal names that process; its death frees it."""
    lock = tmp_path / "locks" / "cpt"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "up\n"
        with pytest.raises(BuildError, match=rf"cpt is still being trained by process {holder.pid}\b"):
            held_lock(lock, "cpt")
        holder.kill()
        holder.wait()
        os.close(held_lock(lock, "cpt"))


def test_the_engine_decides_the_command() -> None:
    """python runs the module, ddp runs torchrun on as many processes as asked; python on several is refused."""
    plain = Launch(engine="python", processes=1, jobs=1, accept_code_change=False)
    assert command(plain, "stages.cpt") == [sys.executable, "-m", "stages.cpt"]
    ddp = command(plain.model_copy(update={"engine": "ddp", "processes": 2}), "stages.cpt")
    assert ddp[1:] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "stages.cpt"]
    with pytest.raises(BuildError, match=r"launch.processes: 2, but engine python runs 1"):
        command(plain.model_copy(update={"processes": 2}), "stages.cpt")
