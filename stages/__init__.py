"""The stages of the build. Every module directly in this folder is a DVC stage of that name, or a listed command."""

import os
import sys
from importlib.util import find_spec

if find_spec("dvc") is None:
    sys.exit(
        f"osler: {sys.executable} has no dvc; run `. .venv/bin/activate` first, or use make, which makes the environment"
    )

# Threads that have nothing to do sleep. By default they spin, and where something else wants a core they then wait for each
# other: a step took thirty times as long. Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
