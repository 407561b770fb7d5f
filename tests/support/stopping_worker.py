"""A small run that can be told to stop, as one process or one of torchrun's, for test_stopping.py.

`stopping_worker.py FOLDER ENGINE PROCESSES MAX_RESTARTS`: checkpoints lie in FOLDER/run, and the weights come to
FOLDER/weights.safetensors. A file FOLDER/fail makes the process of rank 1 die once, at step 8; with FOLDER/slow step 12 takes
a minute.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from osler.build.section import StoppedError
from osler.training.checkpoints import Checkpoint
from osler.training.heartbeat import heartbeat
from osler.training.loop import train
from osler.training.run import Run
from osler.training.stopping import listen
from tests.support.runs import VOCABULARY, a_run
from tests.support.tiny import NUMERICS, launch, tiny_model

STEPS, SECONDS = 100, 0.03  # of a step, at least
CHANGES: dict[str, Any] = {"checkpoint_every_steps": 5}


def slowly(folder: Path) -> None:
    """Let each step take a while, and leave word of the step; die where asked."""
    original = Run.global_batch

    def global_batch(run: Run, step: int) -> Any:
        (folder / "step").write_text(str(step))
        time.sleep(60 if step == 12 and (folder / "slow").exists() else SECONDS)
        if step == 8 and os.environ.get("RANK") == "1" and (folder / "fail").exists():
            (folder / "fail").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return original(run, step)

    Run.global_batch = global_batch  # type: ignore[method-assign, assignment]


def main(folder: Path, engine: str, processes: int) -> None:
    """Train, and write the weights."""
    NUMERICS.apply()
    listen()
    slowly(folder)
    asked = launch(engine=engine, processes=processes, **CHANGES)
    run = a_run(5.0, rows=2 * STEPS)
    try:
        with heartbeat(os.environ, 0.5, 6.0):
            _, weights = train(tiny_model(VOCABULARY), run, NUMERICS, Checkpoint(folder / "run", "x", False), asked)
    except StoppedError as error:
        if os.environ.get("RANK", "0") == "0":
            print(error, flush=True)
        sys.exit(error.code)
    if weights:
        save_file({key: value.contiguous() for key, value in weights.items()}, folder / "weights.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
