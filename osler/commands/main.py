"""The command `osler`: what people type, its arguments and its help.

Each command imports what it runs when it runs.

`osler` of a project's environment serves the project stood in, also another clone or a temporary copy: it becomes
`python -m osler` of that folder. DVC's own commands (`dvc repro`, `dvc exp run`) stay DVC's.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from osler.commands import after_build, before_build
from osler.commands.errors import NAME, one_line_errors

ROOT = Path(__file__).resolve().parents[2]

app = typer.Typer(
    name=NAME,
    help="A build system for clinical language models. `dvc repro` builds; these commands look before and after.",
    epilog="Start with `make repro`; then `osler show`, `osler plan`. README.md has the first hour.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help is there in half the time
    context_settings={"help_option_names": ["-h", "--help"]},
)


for _command in (
    *(before_build.check, before_build.profile, before_build.plan),
    *(
        after_build.show,
        after_build.trace,
        after_build.compare,
        after_build.ablate,
        after_build.rate,
        after_build.export,
    ),
    *(before_build.doctor, before_build.clean),
):  # in the order of the help
    app.command()(_command)


@app.command(hidden=True)
def launch(stage: Annotated[str, typer.Argument(help="a training stage, as dvc.yaml calls it")]) -> None:
    """Start a training stage as the section `launch` says.

    Called by DVC (`dvc repro cpt`).
    """
    from osler.commands import launch as command

    command.become_trainer(stage)


@app.command(hidden=True)
def docs(
    check: Annotated[bool, typer.Option("--check", help="only say whether a generated part is out of date")] = False,
) -> None:
    """Write the generated parts of README.md and docs/."""
    from osler.commands import docs as command

    with one_line_errors():
        command.say(app, check)


def project_of(folder: Path) -> Path | None:
    """The nearest Osler project at `folder` or above it."""
    for place in (folder, *folder.parents):
        if (place / "dvc.yaml").is_file() and (place / "osler/__main__.py").is_file():
            return place
    return None


def console() -> None:
    """The console script: become `python -m osler` of the project stood in."""
    asks_for_help = len(sys.argv) == 1 or {"-h", "--help"} & set(sys.argv) or "_OSLER_COMPLETE" in os.environ
    project = project_of(Path.cwd()) or (ROOT if asks_for_help else None)
    if project is None:
        sys.exit(f"{NAME}: {Path.cwd()} is in no project (no dvc.yaml beside osler/); cd into one")
    paths = [str(project), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    os.execve(sys.executable, [sys.executable, "-P", "-m", NAME, *sys.argv[1:]], environment)


def run(arguments: Sequence[str] | None = None) -> None:
    """Run a command line."""
    app(args=arguments, prog_name=NAME)
