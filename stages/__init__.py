"""The stages of the build. Every module directly in this folder is a DVC stage of that name, or a listed command."""

import sys
from importlib.util import find_spec

if find_spec("dvc") is None:
    sys.exit(
        f"osler: {sys.executable} has no dvc; run `. .venv/bin/activate` first, or use make, which makes the environment"
    )
