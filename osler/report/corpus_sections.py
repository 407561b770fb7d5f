"""Sections of the report about the corpus: mixture, licenses, screening, privacy, contamination."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from osler.evaluation.strategies.order import strategies_in_order
from osler.report.cells import grid, percent
from osler.report.findings import Findings
from osler.report.page import Block, Code, Heading, Paragraph, Strong, Table, Text
from osler.statistics.accuracy import in_order
from osler.statistics.intervals import Interval

CORPUS_WIDE = "all"  # the row of a recall table that is about all classes together


def learned(ledger: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """A token ledger without the rows that taught nothing.

    These are of steps that were left out, or whose gradient was not finite.
    """
    return [row for row in ledger if not row.get("skipped")]


def mixture_table(plan: Mapping[str, Any]) -> Table:
    """What continued pretraining read, from plan.json."""
    sources = plan["sources"]
    total = sum(source["tokens"] for source in sources.values()) or 1
    rows = [
        [name, f"{source['tokens']:,}", f"{100 * source['tokens'] / total:.1f} %", f"{source['epochs']:.2f}"]
        for name, source in sorted(sources.items())
    ]
    return Table(["source", "tokens", "share", "epochs"], rows)


def instruction_blocks(conversations: Mapping[str, Any]) -> list[Block]:
    """What fine-tuning reads of each instruction task, from conversations.json.

    There is no section where no source has tasks.
    """
    rows: list[list[Text]] = [
        [
            own["source"],
            Code(task["task"]),
            *(f"{task[key]:,}" for key in ("kept", "conversations")),
            *(f"{100 * task[key]:.1f} %" for key in ("share_asked", "share")),
            *(f"{task[key]:,}" for key in ("tokens", "learned_tokens", "wordings", "own_wording")),
        ]
        for own in conversations["sources"]
        for task in own.get("tasks", [])
    ]
    if not rows:
        return []
    sentence = (
        "Conversations of one pass, by task. Shares are of the source's conversations. Wordings are those of the task's"
        " definition that were drawn; as written counts conversations that have the file's own."
    )
    names = ["source", "task", "kept", "read", "share asked", "share", "tokens", "learned", "wordings", "as written"]
    return [Heading(2, "Instruction tasks"), Paragraph(sentence), Table(names, rows, text_columns=2)]


def license_table(ledgers: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    """Tokens by license and source, and the models trained on them.

    Tokens of all epochs are taken together.

    Args:
        ledgers: model -> the token ledger of its provenance, whose `run` is the model that read the tokens.
    """
    read: dict[tuple[str, str], dict[str, int]] = {}
    for run in in_order(row["run"] for ledger in ledgers.values() for row in ledger):
        own = next(ledger for ledger in ledgers.values() if any(row["run"] == run for row in ledger))
        tokens = Counter[tuple[str, str]]()
        for row in own:
            tokens[row["license"], row["source"]] += row["tokens"] if row["run"] == run else 0
        for key in +tokens:
            read.setdefault(key, {})[run] = tokens[key]
    rows = [
        [license, source, ", ".join(run for run in runs if runs[run] == tokens), f"{tokens:,}"]
        for (license, source), runs in sorted(read.items())
        for tokens in dict.fromkeys(runs.values())
    ]
    return Table(["license", "source", "read by", "tokens"], rows, text_columns=3)


def corpus_table(corpus: Mapping[str, Any]) -> Table:
    """Documents of each source: kept, and dropped for which reasons, from corpus.json."""
    rows = [
        [
            own["source"],
            ", ".join(f"{count:,} {reason}" for reason, count in own["dropped"].items()),
            f"{own['documents']:,}",
            f"{own['kept']:,}",
        ]
        for own in corpus["sources"]
    ]
    return Table(["source", "dropped", "documents", "kept"], rows, text_columns=2)


def privacy_blocks(phi: Mapping[str, Any]) -> list[Block]:
    """What the screening for identifiers of patients did.

    Its recall on planted identifiers stands with it. All is from phi.json.
    """
    if not phi["sources"]:
        return [Paragraph(("No source is declared to be about patients (", Code("phi"), "): none was screened."))]
    rows: list[list[Text]] = []
    for own in phi["sources"]:
        classes = sorted(own["classes"], key=lambda row: (row["kind"] != CORPUS_WIDE, row["kind"]))
        for row in classes:
            first = row["kind"] == CORPUS_WIDE
            recall = percent(Interval(row["recall"], row["low"], row["high"]))
            rows.append(
                [
                    own["source"] if first else "",
                    own["action"] if first else "",
                    Strong("all classes") if first else row["kind"],
                    f"{row['planted']:,}",
                    f"{row['found']:,}",
                    Strong(recall) if first else recall,
                ]
            )
    return [
        Paragraph(
            f"{phi['identifiers_found']:,} identifiers of patients were found and dealt with. Recall in percent, on identifiers"
            " planted in the sources' own documents, with exact 95 % intervals; those that rules and word lists miss stay in"
            " the text."
        ),
        Table(["source", "action", "class", "planted", "found", "recall"], rows, text_columns=3),
    ]


def contamination_blocks(found: Findings, contamination: Mapping[str, Any]) -> list[Block]:
    """What corpus and benchmarks share.

    This is what was dropped before training, what is left, and accuracy without the items still touched.

    Args:
        found: of the models.
        contamination: the contents of contamination.json.
    """
    dropped, shared = contamination["documents_dropped"], contamination["shared"]
    blocks: list[Block] = [
        Paragraph(
            f"Dropped before training because they hold items, whole or edited, or are twins of such: {dropped:,} documents."
        )
    ]
    if shared:
        kinds = ("contaminated", "near_copy")
        counts = [f"{counted}_{kind}" for kind in kinds for counted in ("documents", "items")]
        rules = ("items_ngram", "items_question_and_answer", "items_target_and_source")
        keys = ("documents_shared", *counts, *rules, "items_touched")
        rows = [[row["benchmark"], row["source"], *(f"{row[key]:,}" for key in keys)] for row in shared]
        names = ["documents that share words", "contaminated", "items in those", "near copies", "items in those"]
        names += ["items by n-grams", "by question and answer", "by target and source", "items still touched"]
        blocks.append(Table(["benchmark or task", "source", *names], rows, text_columns=2))
    if not found.touched:
        sentence = "No document that was kept shares a run of words with a benchmark item that was asked."
        return [*blocks, Paragraph(sentence)]
    for name, count in sorted(found.touched.items()):
        items = max(cell.items for (own, *_), cell in found.cells.items() if own == name)
        own = {
            (strategy, model): percent(cell.share) for (of, strategy, model), cell in found.clean.items() if of == name
        }
        sentence = f"{name}: {count:,} of {items:,} items share a run of words with a document that was kept."
        blocks.append(
            Paragraph(sentence + (" Accuracy on the others, for comparison with the full score:" if own else ""))
        )
        if own:
            blocks.append(grid(own, strategies_in_order([strategy for strategy, _ in own])))
    return blocks
