"""Commands that look at what was built, and hand it on."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from osler.build.section import BuildError
from osler.commands.errors import one_line_errors

FLAGS: dict[str, tuple[str, ...]] = {
    "a name": ("items", "ledger", "rows", "texts"),
    **dict.fromkeys(("--model", "--strategy", "--protocol", "--wrong", "--changed-from"), ("items",)),
    "--search": ("items", "ledger"),
}
"""Of `osler show`: what heeds them."""


def show(
    what: Annotated[
        Literal["summary", "items", "ledger", "rows", "texts", "training"],
        typer.Argument(
            help="summary: accuracies with intervals, claims, and where the report lies; items: what models answered to those"
            " of benchmark SOURCE; ledger: what was dropped and why, with rows of SOURCE; rows: of SOURCE; texts: what models"
            " wrote for a task; training: loss and gradient norm of runs, as they go on"
        ),
    ] = "summary",
    source: Annotated[
        str | None,
        typer.Argument(
            help="with items: a benchmark; with ledger and rows: a source; with texts: a task",
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        int,
        typer.Option(min=1, help="with rows: of documents; with items, texts: of items; with ledger: of each reason"),
    ] = 3,
    model: Annotated[list[str] | None, typer.Option(help="with items: of these only, each behind its --model")] = None,
    strategy: Annotated[str, typer.Option(help="with items: of the answers")] = "zero_shot",
    protocol: Annotated[str | None, typer.Option(help="with items: of the answers; absent: the headline")] = None,
    wrong: Annotated[bool, typer.Option("--wrong", help="with items: only those that a model has wrong")] = False,
    changed_from: Annotated[
        str | None, typer.Option(help="with items: only those that a model answered otherwise at this revision")
    ] = None,
    search: Annotated[str, typer.Option(help="with items: only those with these words; with ledger: reasons")] = "",
) -> None:
    """What the last build found, or items, ledgers, rows, texts, runs.

    Rows are those that models train on, with what is learned in brackets. Items and texts all go onto a page. Of runs, steps
    that stand out are marked.

    \b
    Examples:
        osler show
        osler show rows clinical_qa --count 5
        osler show ledger notes --search duplicate
        osler show items synthetic --model cpt --model cpt-sft --wrong
        osler show texts findings
        osler show training
    """
    with one_line_errors(pipes=True):
        refuse_flags(what, source, model, strategy != "zero_shot", protocol, wrong, changed_from, search)
        if what == "items":
            from osler.commands import show_items

            asked = show_items.Wanted(source, tuple(model or ()), strategy, protocol, wrong, changed_from, search)
            show_items.say(asked, count)
        else:
            _shown(what, source, search, count)


def refuse_flags(what: str, *given: object) -> None:
    """No flag is passed over.

    Args:
        what: is shown.
        given: of each of FLAGS; what is false is not given.
    Raises:
        BuildError: one is that `what` does not heed.
    """
    for (flag, heeding), is_given in zip(FLAGS.items(), given, strict=True):
        if is_given and what not in heeding:
            raise BuildError(f"show {what}: {flag} goes with {', '.join(heeding)} only; leave it out")


def _shown(what: str, source: str | None, search: str, count: int) -> None:
    from osler.commands import show as command
    from osler.commands import show_ledger, show_rows, show_texts, show_training

    if what == "summary":
        command.say()
    elif what == "training":
        show_training.say()
    elif what == "ledger":
        show_ledger.say(source, search, count)
    elif source is None:
        kind, example = ("task", "findings") if what == "texts" else ("source", "clinical_qa")
        raise BuildError(f"show {what}: name a {kind}, as in `osler show {what} {example}`")
    elif what == "texts":
        show_texts.say(source, count)
    else:
        show_rows.say(source, count)


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


def compare(
    revisions: Annotated[
        list[str],
        typer.Argument(metavar="REV...", help="builds; one is compared with the workspace", show_default=False),
    ],
    protocol: Annotated[
        str | None,
        typer.Option(help="how answers are read; default: the headline protocol of all", show_default=False),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write all rows and tests there too", show_default=False)
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(help="with three builds or more; default: zero_shot", show_default=False)
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="with three builds or more: the table as .csv, .tex or .md", show_default=False
        ),
    ] = None,
) -> None:
    """Is the difference between builds real?

    Paired tests on the answers to each item. Of three builds or more all models stand in one table, the best first.

    A revision is a branch, tag, commit, the name of a DVC experiment, or `workspace`.

    \b
    Examples:
        osler compare HEAD workspace
        osler compare main alpha-10 --json compared.json
        osler compare main alpha-10 alpha-15 --strategy few_shot --table leaderboard.tex
    """
    from osler.commands import compare as command
    from osler.commands import leaderboard

    with one_line_errors(pipes=True):
        if len(revisions) > 2:
            leaderboard.say(revisions, strategy or "zero_shot", protocol, json, table)
        elif strategy or table:
            raise BuildError(
                "compare: --strategy and --table are for three builds or more; leave them out, or name a third"
            )
        else:
            command.say(revisions[0], revisions[1] if len(revisions) == 2 else "workspace", protocol, json)


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


def rate(
    sheets: Annotated[list[Path], typer.Argument(help="a new file, or with --take filled ones", show_default=False)],
    judge: Annotated[str | None, typer.Option(help="whose judgements people check", show_default=False)] = None,
    task: Annotated[str | None, typer.Option(help="whose texts", show_default=False)] = None,
    rater: Annotated[str | None, typer.Option(help="name of the person", show_default=False)] = None,
    count: Annotated[int, typer.Option(min=1, help="of items")] = 20,
    take: Annotated[
        bool, typer.Option("--take", help="take verdicts of filled sheets into the file `ratings`")
    ] = False,
) -> None:
    """A sheet on which a person judges what a judge has judged.

    It is a CSV with requests, texts and criteria, and tells no model. Verdicts are written into its column `verdict`. Of filled
    sheets only key, rater and verdict are kept; `dvc repro` then says how far judge and people agree.

    \b
    Examples:
        osler rate scratch/sheet.csv --judge reader --task advice --rater anna
        osler rate --take scratch/sheet.csv
    """
    from osler.commands import rate as command

    with one_line_errors():
        command.say(sheets, take, judge, task, rater, count)


def export(
    model: Annotated[
        str, typer.Argument(help="its name in models/, one of `evaluated`, or adapter-NAME; or `results`")
    ],
    folder: Annotated[Path, typer.Argument(help="where to; a new or empty folder")],
    dtype: Annotated[
        Literal["float32", "bfloat16"] | None,  # in the order of Stored: typing takes both for one
        typer.Option(
            help="of the weights; unless given, bfloat16 for a base that came so, else as stored", show_default=False
        ),
    ] = None,
    merge: Annotated[
        bool,
        typer.Option("--merge", help="of an adapter: a whole model, the adapter in its weights; not prompt tuning"),
    ] = False,
) -> None:
    """A model and its card as a Hugging Face folder, or results.

    `results` writes each table of the report as CSV and LaTeX, and accuracies in the results format of
    lm-evaluation-harness.

    \b
    Examples:
        osler export cpt-neftune /some/folder
        osler export adapter-thin /some/folder --merge
        osler export results /another/folder
    """
    from osler.commands import export as command
    from osler.commands import export_results

    with one_line_errors():
        if model != export_results.NAME:
            command.say(model, folder, dtype, merge)
        elif dtype or merge:
            raise BuildError("export results: --dtype and --merge are of models; leave them out")
        else:
            export_results.say(folder)
