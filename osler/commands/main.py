"""The command `osler`: what people type, its arguments and its help.

Each command imports what it runs when it runs.

`osler` of a project's environment serves the project stood in, also another clone or a temporary copy: it becomes
`python -m osler` of that folder. DVC's own commands (`dvc repro`, `dvc exp run`) stay DVC's.
"""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from osler.build.section import BuildError

NAME = "osler"
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


@contextmanager
def one_line_errors(pipes: bool = False) -> Iterator[None]:
    """A BuildError as one line and exit status 1.

    Args:
        pipes: end quietly where the reader of the output does (`| head`).
    """
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL) if pipes else None
    try:
        yield
    except BuildError as error:
        sys.exit(f"{NAME}: {error}")
    finally:
        if pipes:
            sys.stdout.flush()
            signal.signal(signal.SIGPIPE, before)  # who called this may write to pipes of its own


@app.command()
def check() -> None:
    """Is params.yaml whole, known and in range?

    Looks at every section, every name that refers to another one, and whether raw files are there. Has the chat template
    write a conversation. Builds nothing. 3 s.

    \b
    Example:
        osler check
    """
    from osler.commands import check as command

    with one_line_errors():
        command.say()


@app.command()
def profile(
    name: Annotated[str | None, typer.Argument(help="a file of profiles/, without .yaml", show_default=False)] = None,
    root: Annotated[
        str | None, typer.Option(help="absolute folder that the profile's paths are relative to", show_default=False)
    ] = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="show what NAME would change in params.yaml, leaf by leaf")
    ] = False,
    new: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="print a first profile for the files of this folder", show_default=False),
    ] = None,
) -> None:
    """Write params.yaml from a profile, or show the difference.

    \b
    Examples:
        osler profile real-small --root /data
        osler profile mistral-7b --diff
        osler profile --new /data/our-notes > profiles/ours.yaml
    """
    from osler.commands import profile as command

    with one_line_errors():
        command.say(name, root, diff, new)


@app.command()
def plan(
    profile: Annotated[
        str | None,
        typer.Argument(help="a file of profiles/, without .yaml; else the params in force", show_default=False),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(help="with a profile: absolute folder that its paths are relative to", show_default=False),
    ] = None,
    launch: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="another value of `launch`; may be repeated", show_default=False),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="a100, h100 ...: for device-hours, and to see what does not fit", show_default=False),
    ] = None,
    mfu: Annotated[float, typer.Option(help="share of the device's peak that is reached")] = 0.4,
    price: Annotated[
        float | None, typer.Option(help="of an hour of one device, in any currency", show_default=False)
    ] = None,
    conversation_tokens: Annotated[int, typer.Option(help="assumed where none are tokenized yet")] = 500,
) -> None:
    """What would run and why, and what training would cost.

    Before anything runs, and without writing anything.

    \b
    Examples:
        osler plan
        osler plan mixtral-8x7b --root /data
        osler plan --device h100 --mfu 0.4 --price 2.5
        osler plan mistral-7b --launch nodes=8
    """
    from osler.commands import plan as command

    with one_line_errors(pipes=True):
        asked = command.Asked(tuple(launch or ()), device, mfu, price, conversation_tokens)
        command.say(asked, profile, root)


@app.command()
def show(
    what: Annotated[
        Literal["summary", "items", "rows", "texts", "training"],
        typer.Argument(
            help="summary: accuracies with intervals, claims, and where the report lies; items: what models answered to those"
            " of benchmark SOURCE; rows: of SOURCE; texts: what models wrote for a task; training: loss and gradient norm of"
            " runs, as they go on"
        ),
    ] = "summary",
    source: Annotated[
        str | None,
        typer.Argument(
            help="with items: a benchmark; with rows: a source, whose packed rows are shown; with texts: a task",
            show_default=False,
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="with rows: how many documents; with items and texts: items")] = 3,
    model: Annotated[list[str] | None, typer.Option(help="with items: of these only, each behind its --model")] = None,
    strategy: Annotated[str, typer.Option(help="with items: of the answers")] = "zero_shot",
    protocol: Annotated[str | None, typer.Option(help="with items: of the answers; absent: the headline")] = None,
    wrong: Annotated[bool, typer.Option("--wrong", help="with items: only those that a model has wrong")] = False,
    changed_from: Annotated[
        str | None, typer.Option(help="with items: only those that a model answered otherwise at this revision")
    ] = None,
    search: Annotated[str, typer.Option(help="with items: only those with these words")] = "",
) -> None:
    """What the last build found, items, rows, texts of models, or runs.

    Rows are those that models train on, with what is learned in brackets. Items and texts all go onto a page. Of runs, steps
    that stand out are marked.

    \b
    Examples:
        osler show
        osler show rows clinical_qa --count 5
        osler show items synthetic --model cpt --model cpt-sft --wrong
        osler show texts findings
        osler show training
    """
    from osler.commands import show as command
    from osler.commands import show_items, show_rows, show_texts, show_training

    with one_line_errors(pipes=True):
        if what == "summary":
            command.say()
        elif what == "training":
            show_training.say()
        elif what == "items":
            asked = show_items.Wanted(source, tuple(model or ()), strategy, protocol, wrong, changed_from, search)
            show_items.say(asked, count)
        elif source is None:
            kind, example = ("task", "findings") if what == "texts" else ("source", "clinical_qa")
            raise BuildError(f"show {what}: name a {kind}, as in `osler show {what} {example}`")
        elif what == "texts":
            show_texts.say(source, count)
        else:
            show_rows.say(source, count)


@app.command()
def trace(
    doc_id: Annotated[
        str | None,
        typer.Argument(
            help="<source>/<id>, as in data/documents and the ledgers; without id <source>/<origin>; or an item or row,"
            " <benchmark, task or exercise>/<id>",
            show_default=False,
        ),
    ] = None,
    withdrawn: Annotated[
        Path | None,
        typer.Option(
            metavar="LIST",
            help="which models learned from the documents in a list like that of select.withdrawn",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Where a document came from and where it went.

    \b
    Example:
        osler trace notes/note-0012
        osler trace --withdrawn withdrawn.txt
    """
    from osler.commands import trace as command

    with one_line_errors(pipes=True):
        command.say(doc_id, withdrawn)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="REV_A", help="what is compared with")],
    second: Annotated[str, typer.Argument(metavar="REV_B", help="the other build")] = "workspace",
    protocol: Annotated[
        str | None,
        typer.Option(help="how answers are read; default: the headline protocol of both", show_default=False),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write all rows and tests there too", show_default=False)
    ] = None,
) -> None:
    """Is the difference between two builds real?

    Paired tests on the answers to each item.

    A revision is a branch, tag, commit, the name of a DVC experiment, or `workspace`.

    \b
    Examples:
        osler compare HEAD workspace
        osler compare main alpha-10 --json compared.json
    """
    from osler.commands import compare as command

    with one_line_errors(pipes=True):
        command.say(first, second, protocol, json)


@app.command()
def ablate(
    pairs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE,VALUE,...", help="params to vary; `seeds` are averaged over", show_default=False
        ),
    ] = None,
) -> None:
    """Every combination of values, summed up over seeds.

    Each is a DVC experiment, run one after another. What is done is not run again.

    \b
    Example:
        osler ablate neftune.alpha=0,5,10,15 seeds=1,2,3
    """
    from osler.commands import ablate as command

    with one_line_errors():
        command.say(pairs or [])


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="its name in models/, one of `evaluated`, or adapter-NAME")],
    folder: Annotated[Path, typer.Argument(help="where to; a new or empty folder")],
    dtype: Annotated[
        Literal["bfloat16", "float32"] | None,
        typer.Option(
            help="of the weights; unless given, bfloat16 for a base that came so, else as stored", show_default=False
        ),
    ] = None,
    merge: Annotated[
        bool,
        typer.Option("--merge", help="of an adapter: a whole model, the adapter in its weights; not prompt tuning"),
    ] = False,
) -> None:
    """A model and its card as a Hugging Face folder.

    \b
    Example:
        osler export cpt-neftune /some/folder
        osler export adapter-thin /some/folder --merge
    """
    from osler.commands import export as command

    with one_line_errors():
        command.say(model, folder, dtype, merge)


@app.command()
def doctor(
    verify: Annotated[
        bool, typer.Option("--verify", help="compare all that was built with its hashes instead: 0.6 GB/s a core")
    ] = False,
) -> None:
    """What this machine and its packages can do, in one screen.

    \b
    Examples:
        osler doctor
        osler doctor --verify
    """
    from osler.commands import doctor as command
    from osler.commands import verify as verification

    with one_line_errors(pipes=not verify):
        verification.say() if verify else command.say()


@app.command()
def clean(
    yes: Annotated[bool, typer.Option("--yes", help="remove what is listed as of other params or inputs")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="with --yes: also those that a run would go on from, and milestones")
    ] = False,
) -> None:
    """Checkpoints that no run goes on from: a list, or without them.

    Each training stage keeps the checkpoints of an unfinished run in scratch/, also when its params have changed.

    \b
    Examples:
        osler clean
        osler clean --yes
    """
    from osler.commands import clean as command

    with one_line_errors():
        command.say(yes, everything)


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
