"""torchrun that lets its workers stop: `python -m osler.training.agent`, with torchrun's own arguments.

At SIGTERM torchrun itself tells its workers and kills them half a minute later, which is too short to write a checkpoint of
7B parameters, and ends with exit code 1. Here SIGTERM and SIGUSR1 make a file that workers look for (stopping.py), and
torchrun waits for them as at their end; SIGINT, SIGHUP and SIGQUIT end it as they always did.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from osler.training.stopping import ASKED, SIGNALS


def main(arguments: Sequence[str]) -> None:
    """Run torchrun with `arguments`."""
    with TemporaryDirectory(prefix="osler-") as folder:
        asked = Path(folder) / "stop"
        os.environ[ASKED] = str(asked)
        for one in SIGNALS:
            signal.signal(one, lambda *_: asked.touch())
        if any(one.startswith("--max-restarts") for one in arguments):
            # torch 2.13 keeps one store for all attempts, where workers find the addresses of those that have died
            os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        from torch.distributed import run

        run.main(["--signals-to-handle=SIGINT,SIGHUP,SIGQUIT", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
