"""Stage `task_rows@name`: rows that tasks are learned from and tested on.

A text is cut to its first tokens. Learned rows become conversations, packed for each task by itself, of which the label is
learned. Who was left out is in the ledger, and who was cut. Seconds for thousands of rows.
"""

from pathlib import Path
from typing import Annotated, Any

import polars as pl
from pydantic import Field

from osler.build.files import write_json, write_parquet
from osler.build.section import BuildError
from osler.build.stage import run
from osler.corpus.ledger import ledger as ledger_frame
from osler.corpus.overlaps import Overlap
from osler.corpus.selection import Select
from osler.corpus.withdrawn import listed_names
from osler.evaluation.learned_rows import Guard, Refused, every_item
from osler.evaluation.task_rows import check_counts, divided, labels_of, shortened
from osler.tokens.conversations import tokenized
from osler.tokens.instructions import Conversation, write_instructions
from osler.tokens.shards import token_dtype
from osler.training.in_turn import ContinualSection

NOT_STATED = "not stated"  # tasks have no license


def cut_items(tokenizer: Any, items: pl.DataFrame, limit: int) -> tuple[pl.DataFrame, Refused]:
    """Items with a column `text`, their source cut, and who was."""
    found = shortened(tokenizer, items["source"].to_list(), limit)
    ids = items["item_id"].to_list()
    cut = {
        item_id: ("cut", f"{limit} of {tokens} tokens") for item_id, (_, tokens) in zip(ids, found, strict=True)
        if tokens > limit
    }  # fmt: skip
    return items.with_columns(text=pl.Series([text for text, _ in found], dtype=pl.String)), cut


def conversations(tokenizer: Any, rows: pl.DataFrame, width: int, dropped: Refused) -> list[Conversation]:
    """Learned rows as token ids; longer ones than `width` are `dropped`."""
    dtype, found = token_dtype(tokenizer), []
    for item_id, task, text, label in rows.select("item_id", "task", "text", "label").iter_rows():
        turns = [{"role": "user", "content": text}, {"role": "assistant", "content": label}]
        ids, learned = tokenized(tokenizer, turns)
        if len(ids) > width:
            dropped[item_id] = "too_long", f"{len(ids)} tokens in rows of {width}"
        else:
            found.append(Conversation(task, item_id, NOT_STATED, ids.astype(dtype), learned, 1, 0))
    return found


def ledger_rows(name: str, tasks: dict[str, Refused]) -> list[dict[str, str | None]]:
    """As the ledger has them, by task and item."""
    return [
        {"stage": "task_rows", "source": task, "doc_id": item_id, "origin": name, "reason": why, "detail": detail}
        for task, rows in tasks.items()
        for item_id, (why, detail) in sorted(rows.items())
    ]


def main(
    raw: Path,
    items: Path,
    template: Path,
    tokenizer: Path,
    task_rows: Path,
    ledger: Path,
    name: str,
    continual: ContinualSection,
    overlap: Overlap,
    select: Select,
    sequence_length_tokens: Annotated[int, Field(ge=8)],
) -> None:
    """Write rows, labels and packed rows of each task to `task_rows`.

    The files are `rows.parquet`, `labels.json` and a folder for each task. `raw` is the list of withdrawn documents.
    """
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(tokenizer)
    loaded.chat_template = template.read_text(encoding="utf-8")
    whole, cut = {}, {}
    for task in continual.tasks:
        read = pl.read_parquet(items / "tasks" / f"{task}.parquet")
        whole[task], cut[task] = cut_items(loaded, read, continual.source_limit_tokens)
    others = every_item(items).filter(~pl.col("benchmark").is_in(continual.tasks))
    found = divided(whole, continual, Guard(others, overlap, select, listed_names(raw)))
    dropped, packed = {task: dict(rows) for task, rows in found.dropped.items()}, {}
    for task in continual.tasks:
        learned = found.rows.filter(pl.col("task") == task, pl.col("split") == "train")
        packed[task] = conversations(loaded, learned, sequence_length_tokens, dropped[task])
    gone = {item_id for rows in dropped.values() for item_id in rows}
    rows = found.rows.filter(~pl.col("item_id").is_in(list(gone)))
    check_counts(rows, continual.tasks)
    task_rows.mkdir()
    for task in continual.tasks:
        used = rows.filter(pl.col("task") == task)
        if len(used) + len(dropped[task]) != len(whole[task]):
            raise BuildError(
                f"data/items/tasks/{task}.parquet: {len(whole[task])} rows, but {len(used)} used and {len(dropped[task])} in"
                " the ledger; this is an error of the stage, please report it"
            )
        write_instructions(
            task_rows / task, packed[task], sequence_length_tokens, token_dtype(loaded), continual.rows_seed
        )
        splits = dict(used["split"].value_counts().iter_rows())
        print(
            f"{name}: {task}: {splits['train']} rows to learn, {splits['test']} to test, {len(dropped[task])} left out"
        )
    write_parquet(task_rows / "rows.parquet", rows)
    write_json(task_rows / "labels.json", labels_of(rows, continual.tasks))
    used_ids = set(rows["item_id"])
    both = {
        task: {one: why for one, why in cut[task].items() if one in used_ids} | dropped[task]
        for task in continual.tasks
    }
    write_parquet(ledger, ledger_frame(ledger_rows(name, both)))


if __name__ == "__main__":
    run(main)
