"""The command line itself: its help, its laziness, and which project it serves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.commands.errors import one_line_errors
from osler.commands.main import app, project_of

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
CONSOLE = (sys.executable, "-P", "-c", "from osler.commands.main import console; console()")


def said(folder: Path, *command: str, **environment: str) -> tuple[int, str]:
    """Exit status, and what was printed on both streams."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A project that says what it was asked and from where its code came."""
    folder = tmp_path / "other"
    (folder / "osler").mkdir(parents=True)
    (folder / "data/deep").mkdir(parents=True)
    (folder / "dvc.yaml").touch()
    (folder / "osler/__init__.py").touch()
    (folder / "osler/__main__.py").write_text("import sys; print('other', *sys.argv[1:])")
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_and_no_effect(name: str, tmp_path: Path) -> None:
    """In a folder that is no project it prints, exits with 0 and leaves nothing behind."""
    code, text = said(tmp_path, sys.executable, "-m", "osler", name, "--help")
    assert code == 0
    assert text.startswith(f"Usage: osler {name}")
    assert f"    osler {name}" in text or name in ("launch", "docs")
    assert list(tmp_path.iterdir()) == []


def test_help_imports_nothing_heavy() -> None:
    """Neither torch nor polars, DVC, pyarrow or any command's own module."""
    heavy = "{'torch', 'polars', 'dvc', 'pyarrow', 'transformers', 'numpy', 'osler.commands.plan'}"
    code = f"import sys\nfrom osler.commands.main import run\ntry: run(['--help'])\nfinally: print({heavy} & set(sys.modules))"
    assert said(ROOT, sys.executable, "-c", code)[1].endswith("set()\n")


def test_what_dvc_calls_is_not_in_the_list() -> None:
    """`launch` and `docs` are for dvc.yaml and for those who change the project."""
    listed = said(ROOT, sys.executable, "-m", "osler", "--help")[1]
    assert [name for name in COMMANDS if f"\n  {name} " not in listed] == ["docs", "launch"]


def test_a_mistyped_command_is_told_what_was_meant() -> None:
    """With exit status 2, as usage errors have."""
    code, text = said(ROOT, sys.executable, "-m", "osler", "compar")
    assert (code, "Did you mean 'compare'?" in text) == (2, True)


@pytest.mark.parametrize("place", [".", "data/deep"])
def test_the_console_script_serves_the_project_stood_in(other: Path, place: str) -> None:
    """Another clone's commands are that clone's code, also below its root."""
    assert said(other / place, *CONSOLE, "plan", "x") == (0, "other plan x\n")


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (["ledger", "notes", "--wrong"], "show ledger: --wrong goes with items only; leave it out"),
        (["rows", "notes", "--search", "fever"], "show rows: --search goes with items, ledger only; leave it out"),
        (["training", "cpt"], "show training: a name goes with items, ledger, rows, texts only; leave it out"),
        (["--model", "cpt"], "show summary: --model goes with items only; leave it out"),
    ],
)
def test_no_flag_of_show_is_passed_over(asked: list[str], line: str) -> None:
    """Who gives one that changes nothing is told."""
    assert said(ROOT, sys.executable, "-m", "osler", "show", *asked) == (1, f"osler: {line}\n")


def test_outside_a_project_only_help_works(tmp_path: Path) -> None:
    """Nothing is done to a project that one does not stand in."""
    code, text = said(tmp_path, *CONSOLE, "show")
    assert code == 1
    assert text == f"osler: {tmp_path} is in no project (no dvc.yaml beside osler/); cd into one\n"
    assert said(tmp_path, *CONSOLE, "--help")[0] == 0


def test_the_nearest_project_counts(other: Path) -> None:
    """A project within another is its own."""
    inner = other / "data/deep"
    assert project_of(inner) == other
    (inner / "osler").mkdir()
    (inner / "osler/__main__.py").touch()
    assert project_of(inner) == other
    (inner / "dvc.yaml").touch()
    assert project_of(inner) == inner


def test_a_shell_completes_commands() -> None:
    """As bash asks for them after `osler --install-completion`."""
    asked = {"_OSLER_COMPLETE": "complete_bash", "COMP_WORDS": "osler pl", "COMP_CWORD": "1"}
    assert said(ROOT, *CONSOLE, **asked) == (0, "plan\n")


def test_an_error_of_the_build_is_one_line() -> None:
    """Any other error is a fault of the program, and keeps its traceback."""
    with pytest.raises(SystemExit, match="^osler: params.yaml: seeds: missing$"), one_line_errors():
        raise BuildError("params.yaml: seeds: missing")
    with pytest.raises(ZeroDivisionError), one_line_errors():
        raise ZeroDivisionError
