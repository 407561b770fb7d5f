"""`python -m osler`: the command line of the project stood in."""

import sys
from importlib.util import find_spec
from pathlib import Path

from osler.commands.main import ROOT, console, project_of, run

# safe_path: console() has brought it here, and would again where a project has no stages
if sys.flags.safe_path or (project_of(Path.cwd()) == ROOT and find_spec("stages")):
    run()
else:
    console()
