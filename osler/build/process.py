"""What a process of the build needs before torch and numpy are imported; each package prepares it when it is imported."""

import gc
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from osler.build.dvc_state import keep_private
from osler.build.portability import is_asked, set_portable
from osler.build.shortages import say_in_one_line

PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"


def prepare() -> None:
    """Set up this process: its last words, threads, kernels and garbage collection.

    What of the machine runs out is said in a line. DVC keeps its index in the project. Threads sleep when they have
    nothing to do. Kernels are those of every CPU where the params ask for them. Garbage is collected less often.
    """
    if find_spec("dvc") is None:
        sys.exit(
            f"osler: {sys.executable} has no dvc; run `. .venv/bin/activate` first, or use make, which makes the environment"
        )
    say_in_one_line()
    keep_private(PARAMS.parent)
    # By default threads that have nothing to do spin, and where something else wants a core they then wait for each other: a
    # step took thirty times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if is_asked(PARAMS):
        set_portable(os.environ)
    # imports make objects that stay: looking through them again and again costs 0.4 s a process
    gc.set_threshold(100_000, 20, 100)
