"""Conversations of a source with a file a task: how many of each task, and in which wording it is asked.

The share of a task is that of T5 (Raffel et al. 2020, arXiv 1910.10683, section 3.5.2): with n kept conversations and a cap K,

    share = r / sum of all r,   r = min(n, K) ** (1 / temperature)

At temperature 1 tasks are mixed in proportion to their (capped) sizes; the higher it is, the more alike the shares are. Shares are
of conversations, not of tokens. Which conversation comes and in which wording is a function of the seed and its id alone.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from osler.build.section import BuildError, Section, absent
from osler.corpus.word_hashes import text_hashes
from osler.ingest.task_files import plain_words

WHOLE: Literal["whole"] = "whole"
NEARLY = 1e-9  # relative: a number of conversations that is as near to a whole one is that
Count = Annotated[int, Field(ge=0, le=1 << 40)] | Literal["whole"]


class TaskShares(Section):
    """A section `instruct.tasks.<source>`."""

    temperature: float | None = absent(
        "a task's share is as min(its conversations, the cap) ** (1 / temperature): 1 in proportion, large alike; null: only"
        " tasks in `counts` are read",
        gt=0,
        le=1e9,
    )
    cap_conversations: int | None = absent("more of a task do not count for its share; null: all do", ge=1, le=1 << 40)
    counts: dict[str, Count] | None = absent(
        "task: conversations, or whole; the others share what is left by temperature; null: all share", min_length=1
    )
    maximum_epochs: int = absent("times that a conversation may be read", default=1, ge=1, le=1000)

    @model_validator(mode="after")
    def _divided(self) -> "TaskShares":
        if self.temperature is None and self.counts is None:
            raise ValueError(
                "neither `temperature` nor `counts` says how tasks are divided; set one, or take the source out"
            )
        if self.temperature is None and self.cap_conversations is not None:
            raise ValueError("`cap_conversations` is for shares by `temperature`; set one, or take it out")
        return self


def task_shares(rows: Mapping[str, int], temperature: float, cap: int | None = None) -> dict[str, float]:
    """The share of each task, by the formula above.

    Args:
        rows: conversations by task, at least 1 each.
        temperature: above 0.
        cap: K; None: none.
    Returns:
        Shares that sum to 1, in sorted order of tasks.
    """
    logs = {task: math.log(min(rows[task], cap or rows[task])) for task in sorted(rows)}
    most = max(logs.values(), default=0.0)
    rates = {task: math.exp((log - most) / temperature) for task, log in logs.items()}  # no power overflows
    return {task: rate / sum(rates.values()) for task, rate in rates.items()}


def most_conversations(limits: Mapping[str, int], shares: Mapping[str, float]) -> int:
    """The most conversations in these shares within each task's limit."""
    return min(math.floor(limits[task] / share * (1 + NEARLY)) for task, share in shares.items() if share > 0)


def apportioned(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """`total` divided in these shares, by largest remainder.

    A task's count is less than 1 away from its part of the total; equal remainders go by name.
    """
    parts = {task: total * share for task, share in shares.items()}
    counts = {task: math.floor(part * (1 + NEARLY)) for task, part in parts.items()}
    ranked = sorted(parts, key=lambda task: (counts[task] - parts[task], task))
    for task in ranked[: total - sum(counts.values())]:
        counts[task] += 1
    return counts


def task_counts(rows: Mapping[str, int], section: TaskShares, wanted: int | None, key: str) -> dict[str, int]:
    """How many conversations of each task are read.

    Args:
        rows: kept conversations by task.
        section: says how they are divided.
        wanted: of all tasks together; None: as many as there are, in the shares that were asked for.
        key: of the section, for messages.
    Raises:
        BuildError: a task is unknown or nothing of it was kept, or it would be read more often than allowed.
    """
    fixed: dict[str, int] = {}
    for task, count in (section.counts or {}).items():
        if not rows.get(task):
            raise BuildError(
                f"params.yaml: {key}.counts.{task}: {count}, and no conversation of it is kept, but of {', '.join(sorted(rows))}"
            )
        fixed[task] = rows[task] if count == WHOLE else int(count)
        if fixed[task] > section.maximum_epochs * rows[task]:
            raise BuildError(
                f"params.yaml: {key}.counts.{task}: {count}, and {rows[task]} are kept; lower it, or raise maximum_epochs"
            )
    others = {task: count for task, count in rows.items() if task not in fixed}
    left = None if wanted is None else wanted - sum(fixed.values())
    if section.temperature is None or not others:
        if left:
            raise BuildError(
                f"params.yaml: {key}.counts: {sum(fixed.values())} conversations, and its share of instruct.conversations is"
                f" {wanted}; make them equal, or set a temperature for the other tasks"
            )
        return fixed | dict.fromkeys(others, 0)
    if left is not None and left < 0:
        raise BuildError(
            f"params.yaml: {key}.counts: {sum(fixed.values())} conversations, above its share of instruct.conversations, {wanted}"
        )
    shares = task_shares(others, section.temperature, section.cap_conversations)
    limits = {task: section.maximum_epochs * count for task, count in others.items()}
    most = most_conversations(limits, shares)
    counts = apportioned(shares, most if left is None else left)
    if over := [task for task in counts if counts[task] > limits[task]]:
        worst = max(over, key=lambda task: counts[task] / limits[task])
        raise BuildError(
            f"params.yaml: {key}.temperature: {section.temperature:g} asks for {counts[worst]} conversations of {worst}, and"
            f" {rows[worst]} are kept; at most {most + sum(fixed.values())} of all tasks can be read so: lower"
            " instruct.conversations or the temperature, or raise maximum_epochs"
        )
    return fixed | counts


def with_tasks(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Documents of a source with their task and definition.

    As they are where the source has no tasks.

    Args:
        frame: its documents.
        folder: where `ingest` wrote them.
    """
    files = sorted(folder.glob("tasks-*.parquet"))
    if not files:
        return frame
    tasks = pl.read_parquet(files, columns=["doc_id", "task", "definition"])
    return frame.join(tasks, on="doc_id", how="left", maintain_order="left", validate="m:1")


def drawn_of_tasks(frame: pl.DataFrame, counts: Mapping[str, int], seed: int) -> pl.DataFrame:
    """The conversations that are read, with the `epoch` of each.

    In each epoch of a task its conversations come in an order of their own; the last one may be cut short.

    Args:
        frame: doc_id, task and whatever else.
        counts: conversations by task.
        seed: of the orders.
    """
    drawn = [frame.clear().with_columns(epoch=pl.lit(0, pl.Int64))]
    for task, count in sorted(counts.items()):
        own = frame.filter(pl.col("task") == task)
        for epoch in range(-(-count // len(own)) if count else 0):
            ranks = text_hashes(own.select(pl.format(f"{seed} draw {epoch} {{}}", "doc_id")).to_series())
            order = np.lexsort((own["doc_id"].to_numpy(), ranks))
            drawn.append(own[order[: count - epoch * len(own)]].with_columns(epoch=pl.lit(epoch, pl.Int64)))
    return pl.concat(drawn)


def rewrites_of(folder: Path) -> dict[str, list[str]]:
    """Other wordings by task; empty where the source has none."""
    path = folder / "rewrites.parquet"
    return dict(pl.read_parquet(path).iter_rows()) if path.exists() else {}


def instructed(frame: pl.DataFrame, rewrites: Mapping[str, list[str]], seed: int) -> pl.DataFrame:
    """Conversations that begin with a wording of their task's definition.

    It stands before the first user's words, a blank line between.

    Args:
        frame: doc_id, turns, task, definition and, if read several times, epoch.
        rewrites: other wordings by task; one that is the file's own but for white space is not among them.
        seed: draws one of the file's own and these, each as likely.
    Returns:
        The frame with `wording`: 0 for the file's own, k for the k-th other one of the file of rewrites.
    """
    epochs = frame["epoch"] if "epoch" in frame.columns else pl.repeat(0, len(frame), eager=True)
    names = pl.DataFrame({"epoch": epochs, "doc_id": frame["doc_id"]})
    ranks = text_hashes(names.select(pl.format(f"{seed} wording {{}} {{}}", "epoch", "doc_id")).to_series())
    turns: list[list[dict[str, Any]]] = []
    wordings: list[int] = []
    known: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for rank, said, task, definition in zip(
        ranks.tolist(), frame["turns"].to_list(), frame["task"], frame["definition"], strict=True
    ):
        choices = known.get((task, definition))
        if choices is None:
            own = plain_words(definition)
            others = [one for one in enumerate(rewrites.get(task, ()), 1) if plain_words(one[1]) != own]
            choices = known[task, definition] = [(0, definition), *others]
        wording, text = choices[rank % len(choices)]
        first, *rest = said
        turns.append([{**first, "content": f"{text}\n\n{first['content']}"}, *rest])
        wordings.append(wording)
    return frame.with_columns(
        turns=pl.Series(turns, dtype=frame.schema["turns"]), wording=pl.Series(wordings, dtype=pl.Int64)
    )
