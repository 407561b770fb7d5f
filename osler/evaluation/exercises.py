"""Rows of a task's training split, as conversations to train on.

A row is written as the evaluation asks it, with its target as the answer, so that an adapter learns the very prompt. What is asked
of test or dev, of any benchmark or task, is never among them: rows in = rows drawn + ledger, under each seed.
"""

from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from osler.build.section import BuildError, RelativePath, Section
from osler.evaluation.task_texts import asked_turn
from osler.evaluation.tasks import TRAIN, Task, rows_frame, task_rows
from osler.inference.interface import seeded_rank
from osler.tokens.instructions import Conversation, fitted, ledger_row

STAGE = "exercises"
Ledger = list[dict[str, str | None]]


class Exercise(Section):
    """A section `exercise.<name>`: rows for adapters whose `rows` are exercises/<name>."""

    task: str = Field(description="a name of `task`, whose fields, labels and prompt the rows have")
    path: RelativePath
    license: str = Field(min_length=1, description="of the rows, one of licenses.allow")
    few: int | None = Field(
        default=None,
        ge=1,
        le=1 << 40,
        description="rows that each seed draws, more of them a superset of fewer; null: all",
    )


def training_rows(raw: Path, exercise: Exercise, task: Task, name: str) -> tuple[pl.DataFrame, Ledger]:
    """The rows of the split train, and ledger rows of the others.

    They are rows of TASKS. In the task's own file these are the rows that its `split_field` or `training_fraction` says; in
    another one all but those that `split_field` calls otherwise.

    Raises:
        BuildError: a row is bad (tasks.py), or the file has none of the split train.
    """
    own = exercise.path == task.path
    rows = rows_frame(task_rows(raw, task), task, name, None if own else TRAIN)
    wanted = pl.col("split") == TRAIN
    others = [
        ledger_row(STAGE, name, doc_id, "other_split", f"split {split}")
        for doc_id, split in rows.filter(~wanted).select("item_id", "split").iter_rows()
    ]
    if len(others) == len(rows):
        raise BuildError(
            f"params.yaml: exercise.{name}.path: {exercise.path}: no row of the split train; set task.{exercise.task}"
            ".training_fraction or split_field, or name the file of the training split"
        )
    return rows.filter(wanted), others


def conversations(
    tokenizer: Any, rows: pl.DataFrame, license: str, width: int, name: str
) -> tuple[list[Conversation], Ledger]:
    """The rows as the evaluation asks them, answered with their targets.

    Ledger rows of those too long come second.

    Args:
        rows: of TASKS.
        width: tokens of a row of training.
    """
    asked = [
        {
            "source": name,
            "doc_id": row["item_id"],
            "license": license,
            "turns": [
                {"role": "user", "content": asked_turn(row["instruction"], row["source"])},
                {"role": "assistant", "content": row["target"]},
            ],
        }
        for row in rows.iter_rows(named=True)
    ]
    turn = pl.Struct({"role": pl.String, "content": pl.String})
    schema = pl.Schema(
        [("source", pl.String()), ("doc_id", pl.String()), ("license", pl.String()), ("turns", pl.List(turn))]
    )
    return fitted(tokenizer, pl.DataFrame(asked, schema=schema), width, "drop", STAGE)


def drawn(found: list[Conversation], exercise: Exercise, name: str, seed: int) -> tuple[list[Conversation], Ledger]:
    """Those that `seed` draws, in order, and ledger rows of the others.

    A row's rank hangs on the seed and its own id, so that a larger `few` draws the same rows and more.

    Raises:
        BuildError: there are fewer than `few`.
    """
    few = len(found) if exercise.few is None else exercise.few
    if not found or few > len(found):
        raise BuildError(
            f"params.yaml: exercise.{name}.few: {few}, and {len(found)} rows are left without those that are asked, withdrawn or"
            " too long; ask for fewer, or lengthen pack.sequence_length_tokens"
        )

    def rank(one: Conversation) -> tuple[int, str]:
        own = one.doc_id.removeprefix(f"{name}/")
        return seeded_rank(seed, STAGE, exercise.task, own), own

    chosen = {one.doc_id for one in sorted(found, key=rank)[:few]}
    left = [
        ledger_row(STAGE, name, one.doc_id, "not_drawn", f"seed {seed}: {few} of {len(found)} were")
        for one in found
        if one.doc_id not in chosen
    ]
    return [one for one in found if one.doc_id in chosen], left
