"""Which rows of tasks an adapter must not learn: what is asked, and who withdrew.

The one rule for stages that make rows of tasks: `exercises` and `task_rows`.
"""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from osler.corpus.contamination import item_index, shared_ngrams
from osler.corpus.leaks import leaks
from osler.corpus.overlaps import Overlap, task_items
from osler.corpus.selection import Select
from osler.corpus.withdrawn import names_of, withdrawn

Refused = dict[str, tuple[str, str]]
"""item_id -> reason, detail."""


class Guard(NamedTuple):
    """What no row may be.

    `items` are of benchmarks and tasks, as rows of a benchmark (osler/corpus/overlaps.py); `listed` names what is withdrawn.
    """

    items: pl.DataFrame
    overlap: Overlap
    select: Select
    listed: dict[str, str]


def every_item(items: Path) -> pl.DataFrame:
    """All items of benchmarks and tasks, test and dev, in a folder."""
    columns = ["item_id", "benchmark", "group", "question", "context", "options", "answer"]
    frames = [pl.read_parquet(path) for path in sorted(items.glob("*.parquet"))]
    frames += [task_items(pl.read_parquet(path)) for path in sorted((items / "tasks").glob("*.parquet"))]
    return pl.concat([frame.select(columns) for frame in frames])


def _words(column: str) -> pl.Expr:
    """Texts without what two copies may differ in: case, white space and signs."""
    return pl.col(column).str.to_lowercase().str.replace_all(r"[\W_]+", " ").str.strip_chars(" ")


def refused(rows: pl.DataFrame, guard: Guard, task: str | None) -> Refused:
    """Rows that must not be learned, in order, with a reason.

    The first of these that holds:

    * `withdrawn`: select.withdrawn lists it.
    * `asked_group`: of a group that has an item of the task.
    * `asked`: its source has the words of an item's question or source.
    * `contaminated`, `near_copy`: as for documents (osler/corpus/leaks.py), the source with its target below.

    Args:
        rows: item_id, group, source, target; ids and groups are `name/own`.
        task: whose items' groups are those of `rows`, whatever the name before them; None: groups are of one row each.
    """
    found: Refused = {}
    documents = rows.select(pl.col("item_id").alias("doc_id"), pl.format("{}\n\n{}", "source", "target").alias("text"))
    gone = withdrawn(documents["doc_id"], names_of({}, guard.listed), guard.listed)
    for doc_id, listed in gone.select("doc_id", "name").iter_rows():
        found.setdefault(doc_id, ("withdrawn", f"listed as {listed}"))
    own = guard.items.head(0) if task is None else guard.items.filter(benchmark=task)
    groups = {group.partition("/")[2]: item_id for item_id, group in own.select("item_id", "group").iter_rows()}
    for doc_id, group in rows.select("item_id", "group").iter_rows():
        if (item := groups.get(group.partition("/")[2])) is not None:
            found.setdefault(doc_id, ("asked_group", f"of the group of {item}"))
    same = rows.select(pl.col("item_id").alias("doc_id"), _words("source").alias("words")).join(
        guard.items.select("item_id", _words("question").alias("words")), on="words", maintain_order="left_right"
    )
    for doc_id, item in same.select("doc_id", "item_id").iter_rows():
        found.setdefault(doc_id, ("asked", f"{item} word for word"))
    overlap = guard.overlap
    index = item_index(guard.items, overlap.ngram_words, overlap.shingle_words)
    shared = shared_ngrams(documents, guard.items, index, overlap.answer_window_words)
    for doc_id, reason, detail in leaks(shared, guard.select).iter_rows():
        found.setdefault(doc_id, (reason, detail))
    return {doc_id: found[doc_id] for doc_id in rows["item_id"] if doc_id in found}
