"""torchrun that lets its workers stop: `python -m osler.training.agent`, with torchrun's own arguments.

At SIGTERM torchrun itself tells its workers and kills them half a minute later, which is too short to write a checkpoint of
7B parameters, and ends with exit code 1. Here SIGTERM, SIGUSR1 and the first SIGINT make a file that workers look for
(stopping.py), and torchrun waits for them as at their end; a second SIGINT, SIGHUP and SIGQUIT end it as they always did.
"""

import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from osler.training.stopping import ASKED, SIGNALS


def _interrupted(asked: Path, number: int, _: Any) -> None:
    """Ask the workers to stop; the second time end as torchrun does."""
    if asked.exists():
        from torch.distributed.elastic.multiprocessing.api import SignalException

        # the workers get SIGHUP, by which they end: SIGINT would be their first
        raise SignalException(f"Process {os.getpid()} got signal: {number}", signal.SIGHUP)
    asked.touch()


def main(arguments: Sequence[str]) -> None:
    """Run torchrun with `arguments`."""
    with TemporaryDirectory(prefix="osler-") as folder:
        asked = Path(folder) / "stop"
        os.environ[ASKED] = str(asked)
        for one in SIGNALS:
            signal.signal(one, lambda *_: asked.touch())
        signal.signal(signal.SIGINT, partial(_interrupted, asked))
        if any(one.startswith("--max-restarts") for one in arguments):
            # torch 2.13 keeps one store for all attempts, where workers find the addresses of those that have died
            os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        from torch.distributed import run

        run.main(["--signals-to-handle=SIGHUP,SIGQUIT", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
