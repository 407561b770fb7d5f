"""Stage `instruct`: conversations to chat-templated rows, packed.

The loss is on response tokens only.

Conversations are drawn per source by weight, without repetition, in an order of the seed; those that were not drawn, do
not fit a row or were cut are in the ledger, and counted per source in metrics/conversations.json. A conversation is one
segment of one row and sees no other. Those of a source with a file a task (`format: meds`) begin with the task's definition, and
`tasks` may say how many of each task there are. 500M tokens take 1.5 GB of memory.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import polars as pl
from pydantic import Field

from osler.build.files import write_json, write_parquet
from osler.build.section import BuildError, Section, Seed, absent
from osler.build.stage import run
from osler.corpus.ledger import ledger as ledger_frame
from osler.tokens import packing
from osler.tokens.instruction_tasks import TaskShares, drawn_of_tasks, instructed, rewrites_of, task_counts, with_tasks
from osler.tokens.instructions import Conversation, fitted, ledger_row, write_instructions
from osler.tokens.mixture import Weights
from osler.tokens.shards import token_dtype


class Instruct(Section):
    """Section `instruct`."""

    weights: Weights = Field(description="shares of conversations")
    conversations: int | None = Field(default=None, ge=1, le=1 << 40, description="in all; null takes every one")
    seed: Seed = Field(description="of which conversations are drawn, and of the order of rows")
    overlong: Literal["cut", "drop"] = Field(description="what to do with a conversation longer than a row")
    benchmark_training_splits: dict[str, str] = Field(
        description="source -> benchmark: sources that are a benchmark's training split; no other may be one"
    )
    tasks: dict[str, TaskShares] | None = absent(
        "source of format meds -> how many conversations of each of its tasks; null: drawn as of any other source",
        min_length=1,
    )


class TaskDraw(NamedTuple):
    """Conversations of a task."""

    kept: int
    drawn: int


class Drawn(NamedTuple):
    """What is trained on, and what is not."""

    conversations: pl.DataFrame  # source, doc_id, license, turns; of tasks also task and wording
    skipped: list[dict[str, str | None]]  # rows for the ledger
    tasks: dict[str, dict[str, TaskDraw]]  # by source and task, of sources that have tasks


def refuse_unread(instruct: Instruct) -> None:
    """What names a source must name one that is read.

    Raises:
        BuildError: names the key.
    """
    if sum(instruct.weights.values()) <= 0:
        raise BuildError("params.yaml: instruct.weights: no weight above 0")
    for key in ("benchmark_training_splits", "tasks"):
        if unread := sorted(set(getattr(instruct, key) or ()) - set(instruct.weights)):
            raise BuildError(f"params.yaml: instruct.{key}: {', '.join(unread)}: not in instruct.weights")


def drawn(documents: Path, keep: Path, instruct: Instruct) -> Drawn:
    """The conversations to train on, and those not drawn.

    Raises:
        BuildError: a weight, a share or a task cannot be had.
    """
    refuse_unread(instruct)
    total = sum(instruct.weights.values())
    chosen, skipped, tasks = [], [], {}
    for index, (source, weight) in enumerate(sorted(instruct.weights.items())):
        folder = documents / source
        if not folder.is_dir():
            raise BuildError(f"params.yaml: instruct.weights.{source}: not a source of the collection instructions")
        there = pl.read_parquet(folder / "part-*.parquet", columns=["doc_id", "license", "turns"]).join(
            pl.read_parquet(keep / f"{source}.parquet"), on="doc_id", how="semi", maintain_order="left"
        )
        there = with_tasks(there, folder)
        shares = (instruct.tasks or {}).get(source)
        if shares is not None and "task" not in there.columns:
            raise BuildError(
                f"params.yaml: instruct.tasks.{source}: its files are no tasks; take it out of instruct.tasks"
            )
        count = len(there) if weight else 0
        if instruct.conversations is not None:
            count = round(instruct.conversations * weight / total)
        if shares is not None and weight:
            wanted = None if instruct.conversations is None else count
            own, left = divided(there, shares, wanted, instruct.seed, source)
        elif count > len(there):
            raise BuildError(
                f"params.yaml: instruct.weights.{source}: its share is {count} conversations and {len(there)} are kept;"
                " lower its weight or instruct.conversations"
            )
        else:
            order = np.random.default_rng([instruct.seed, index, 0x1257]).permutation(len(there))
            own, without = there[order[:count]], there[order[count:]]
            left = [(doc_id, f"{count} of {len(there)} were") for doc_id in without["doc_id"]]
        if "task" in there.columns:
            own = instructed(own, rewrites_of(folder), instruct.seed)
            kept, read = (dict(frame.group_by("task").len().sort("task").iter_rows()) for frame in (there, own))
            tasks[source] = {task: TaskDraw(kept[task], read.get(task, 0)) for task in kept}
        chosen.append(own.with_columns(source=pl.lit(source)))
        skipped += [ledger_row("instruct", source, doc_id, "not_drawn", detail) for doc_id, detail in left]
    conversations = pl.concat(chosen, how="diagonal")
    if conversations.is_empty():
        raise BuildError("params.yaml: instruct: no conversation is left to train on; see data/ledger/select.parquet")
    return Drawn(conversations, skipped, tasks)


def divided(
    there: pl.DataFrame, shares: TaskShares, wanted: int | None, seed: int, source: str
) -> tuple[pl.DataFrame, list[tuple[str, str]]]:
    """The conversations that the shares of a source's tasks ask for.

    Also doc_id and detail of the others.
    """
    rows = dict(there.group_by("task").len().sort("task").iter_rows())
    counts = task_counts(rows, shares, wanted, f"instruct.tasks.{source}")
    own = drawn_of_tasks(there, counts, seed)
    without = there.join(own, on="doc_id", how="anti", maintain_order="left").select("doc_id", "task")
    return own, [(doc_id, f"{counts[task]} of {rows[task]} of {task} were") for doc_id, task in without.iter_rows()]


def counts_per_task(draws: Mapping[str, TaskDraw], own: list[Conversation]) -> list[dict[str, Any]]:
    """What became of the kept conversations of each task of a source.

    `wordings` are the different ones that definitions were drawn in, `own_wording` conversations in the file's own.
    """
    asked = sum(draw.drawn for draw in draws.values())
    by_task: dict[str | None, list[Conversation]] = {task: [] for task in draws}
    for conversation in own:
        by_task[conversation.task].append(conversation)
    return [
        {
            "conversations": len(by_task[task]),
            "kept": draw.kept,
            "learned_tokens": sum(int(conversation.learned.sum()) for conversation in by_task[task]),
            "own_wording": sum(conversation.wording == 0 for conversation in by_task[task]),
            "share": round(len(by_task[task]) / max(1, len(own)), 6),
            "share_asked": round(draw.drawn / max(1, asked), 6),
            "task": task,
            "tokens": sum(len(conversation.ids) for conversation in by_task[task]),
            "wordings": len({conversation.wording for conversation in by_task[task]}),
        }
        for task, draw in sorted(draws.items())
    ]


def counts_per_source(
    instruct: Instruct,
    found: list[Conversation],
    ledger: list[dict[str, str | None]],
    tasks: Mapping[str, Mapping[str, TaskDraw]] | None = None,
) -> list[dict[str, Any]]:
    """What became of each source's kept conversations; for the metrics.

    Also its share asked for and got, and how many of its answers are context that is not learned.
    """
    total = sum(instruct.weights.values())
    counts = []
    for source, weight in sorted(instruct.weights.items()):
        own = [conversation for conversation in found if conversation.source == source]
        reasons = [row["reason"] for row in ledger if row["source"] == source]
        counts.append(
            {
                "answers": sum(conversation.answers for conversation in own),
                "benchmark_training_split": instruct.benchmark_training_splits.get(source),
                "context_answers": sum(conversation.context_answers for conversation in own),
                "conversations": len(own),
                "cut": reasons.count("cut"),
                "learned_tokens": sum(int(conversation.learned.sum()) for conversation in own),
                "not_drawn": reasons.count("not_drawn"),
                "share": round(len(own) / len(found), 6),
                "share_asked": round(weight / total, 6),
                "source": source,
                "tokens": sum(len(conversation.ids) for conversation in own),
                "too_long": reasons.count("too_long"),
                **({"tasks": counts_per_task(tasks[source], own)} if tasks and source in tasks else {}),
            }
        )
    return counts


def main(
    documents: Path,
    keep: Path,
    template: Path,
    tokenizer: Path,
    instructions: Path,
    ledger: Path,
    conversations: Path,
    instruct: Instruct,
    sequence_length_tokens: Annotated[int, Field(ge=8)],
) -> None:
    """Write packed rows with labels to `instructions`, and the metrics `conversations`.

    The ledger has who was cut or left out.
    """
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(tokenizer)
    loaded.chat_template = template.read_text(encoding="utf-8")
    width = sequence_length_tokens
    draw = drawn(documents, keep, instruct)
    found, overlong = fitted(loaded, draw.conversations, width, instruct.overlong, "instruct")
    rows = draw.skipped + overlong
    if not found:
        raise BuildError(f"params.yaml: pack.sequence_length_tokens: no conversation fits a row of {width} tokens")
    counts = write_instructions(instructions, found, width, token_dtype(loaded), instruct.seed)
    learned_tokens = sum(int(conversation.learned.sum()) for conversation in found)
    write_json(
        conversations,
        {
            "conversations": len(found),
            "fill_fraction": packing.shares(counts)["fill_fraction"],
            "learned_tokens": learned_tokens,
            "rows": counts["rows"],
            "sources": counts_per_source(instruct, found, rows, draw.tasks),
            "tokens": counts["tokens"],
        },
    )
    write_parquet(ledger, ledger_frame(rows))
    print(
        f"instruct: {len(found):,} conversations in {counts['rows']:,} rows, {learned_tokens:,} of"
        f" {counts['tokens']:,} tokens learned"
    )


if __name__ == "__main__":
    run(main)
