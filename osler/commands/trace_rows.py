"""What became of an item, a row of an exercise or a row of tasks in sequence.

Asked, learned by which adapters of which seeds, or left out for a reason; and which rows were left out for an item's sake.
Only what stages `exercises`, `task_rows` and the trained folders say of themselves is read.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from osler.build.artifacts import Artifacts
from osler.build.provenance import FILE, provenance
from osler.build.section import BuildError
from osler.commands.trace import sharing, times_read
from osler.commands.withdrawals import packed_rows
from osler.model.seeds import SEEDS
from osler.tokens.shards import content_hash

Steps = Iterator[tuple[str, str]]
NOT_DRAWN, CUT = "not_drawn", "cut"


def readers_of(artifacts: Artifacts, packed: Path, asked: str, source: str, rows: list[int]) -> Steps:
    """Which trained folders read rows of a packed folder.

    Those of every seed are looked at, and adapters inside of a model's folder.

    Args:
        packed: folder of the rows.
        asked: its name among the inputs of a training.
        source: its name among the sources of a training.
        rows: of the packed folder.
    """
    content = content_hash(packed)
    for folder, _ in artifacts.models().values():
        for file in sorted(folder.rglob(FILE)):
            record = provenance(file.parent, artifacts.root)
            if record["inputs"].get(asked) == content:
                count, place = times_read(record, source, rows), file.parent.relative_to(folder.parent).as_posix()
                yield "read by", f"{place}, {count} times" if count else f"{place}: not these rows"


def packing(artifacts: Artifacts, packed: Path, item_id: str, asked: str, source: str) -> Steps:
    """In which packed rows a conversation is, and who read them."""
    names = pl.read_parquet(packed / "documents.parquet")["doc_id"]
    if rows := packed_rows(packed, names, pl.Series([item_id]))["row"].to_list():
        yield "packed in", f"{artifacts.shown(packed)}, row {', '.join(map(str, rows))}"
        yield from readers_of(artifacts, packed, asked, source, rows)


def mentioned(detail: str, item_id: str) -> bool:
    """Whether a ledger's detail names an item, as a whole word."""
    return f" {item_id.replace(',', ' ')} " in f" {detail.replace(',', ' ')} "


def left_out_for(ledger: Path, item_id: str) -> Steps:
    """Rows of a ledger that are, or hold, an item."""
    for row in pl.read_parquet(ledger).iter_rows(named=True):
        if row["doc_id"] != item_id and mentioned(row["detail"] or "", item_id):
            yield "left out for it", f"{row['doc_id']} of {row['stage']}, {row['reason']}: {row['detail']}"


def exercise_steps(artifacts: Artifacts, name: str, row_id: str | None, item_id: str) -> Steps:
    """What an exercise made of a row and of an item.

    Args:
        name: of the exercise.
        row_id: `<name>/<id>` of a row of its file, if it is one.
        item_id: that was asked for; rows that were left out for its sake are told.
    """
    stage = f"exercises@{name}"
    try:
        ledger, draws = artifacts.path(stage, "ledger"), artifacts.path(stage, "instructions") / SEEDS
    except BuildError as error:
        yield f"exercise {name}", str(error)
        return
    yield from left_out_for(ledger, item_id)
    own = pl.read_parquet(ledger).filter(pl.col("doc_id").is_in([row_id] if row_id else []))
    for reason, detail in own.filter(pl.col("reason") != NOT_DRAWN).select("reason", "detail").iter_rows():
        yield "no exercise", f"{row_id}, {reason}: {detail}"
    for draw in sorted(draws.iterdir(), key=lambda folder: int(folder.name)) if row_id else ():
        yield from packing(artifacts, draw, str(row_id), "instructions", "instructions")
    for detail in own.filter(pl.col("reason") == NOT_DRAWN)["detail"]:
        yield "not drawn", f"{row_id}, {detail}"


def sequence_steps(artifacts: Artifacts, name: str, item_id: str) -> Steps:
    """What tasks in sequence, the section `continual.<name>`, made of a row."""
    stage, task = f"task_rows@{name}", item_id.partition("/")[0]
    try:
        ledger, folder = artifacts.path(stage, "ledger"), artifacts.path(stage, "task_rows")
    except BuildError as error:
        yield f"continual {name}", str(error)
        return
    yield from left_out_for(ledger, item_id)
    own = pl.read_parquet(ledger).filter(pl.col("doc_id") == item_id)
    for reason, detail in own.select("reason", "detail").iter_rows():
        yield "cut" if reason == CUT else "no task row", f"of continual {name}, {reason}: {detail}"
    rows = pl.read_parquet(folder / "rows.parquet").filter(pl.col("item_id") == item_id)
    for split, label in rows.select("split", "label").iter_rows():
        yield "task row in", f"{artifacts.shown(folder / 'rows.parquet')}, {split}, label {label!r}"
    yield from packing(artifacts, folder / task, item_id, f"rows of {task}", task)


def item_steps(artifacts: Artifacts, stage: str, item_id: str) -> Steps:
    """Where an item is asked, and which documents share words with it."""
    items = artifacts.path(stage, "items")
    for (split,) in pl.read_parquet(items).filter(pl.col("item_id") == item_id).select("split").iter_rows():
        yield "item in", f"{artifacts.shown(items)}, split {split}"
    yield from sharing(artifacts, pl.col("item_id") == item_id, "doc_id")


def row_steps(artifacts: Artifacts, params: Mapping[str, Any], item_id: str) -> Steps:
    """What is known of an item or a learned row.

    As (what, text). A row of a task's own file is `<task>/<id>` as an item and `<exercise>/<id>` as an exercise: both find it.

    Args:
        artifacts: of the build.
        params: of the build.
        item_id: of one of benchmark, task or exercise.
    Raises:
        BuildError: nothing is known of it, or items have not been made.
    """
    found = False
    for step in _all_steps(artifacts, params, item_id):
        found = True
        yield step
    if not found:
        raise BuildError(f"{item_id}: no item, no row of an exercise and none of tasks in sequence has this id")


def _all_steps(artifacts: Artifacts, params: Mapping[str, Any], item_id: str) -> Steps:
    name, _, own = item_id.partition("/")
    asked = [stage for stage in (f"benchmarks@{name}", f"tasks@{name}") if stage in artifacts.stages]
    for stage in asked:
        yield from item_steps(artifacts, stage, item_id)
    for exercise, section in params["exercise"].items():
        of_task = section["task"] == name and section["path"] == params["task"][name]["path"]
        if asked or exercise == name:
            row_id = f"{exercise}/{own}" if of_task or exercise == name else None
            yield from exercise_steps(artifacts, exercise, row_id, item_id)
    for sequence, section in params["continual"].items():
        if name in section["tasks"]:
            yield from sequence_steps(artifacts, sequence, item_id)
