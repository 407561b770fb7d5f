"""Stage `overlap@source`: what documents share with items of benchmarks and tasks; `select` decides what that means.

Of a task's item the source stands for the question and the target for context and answer, so that a document with either
counts, and a task's name for a benchmark's.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import polars as pl
from pydantic import Field

from stages.lib.documents import document_batches, document_files
from stages.lib.files import file_hash, write_parquet
from stages.lib.ngrams import item_index, shared_ngrams
from stages.lib.section import Section
from stages.lib.stage import run
from stages.lib.store import Store, link


class Overlap(Section):
    """The section `overlap`; the rules are in stages/lib/ngrams.py."""

    ngram_words: int = Field(gt=0, description="words in an n-gram; shorter questions go by question and answer")
    answer_window_words: int = Field(gt=0, description="words between a short question and its correct option, at most")


def shared_part(part: Path, folder: Path, items: pl.DataFrame, overlap: Overlap) -> None:
    """Write the hits of one part."""
    index, window = item_index(items, overlap.ngram_words), overlap.answer_window_words
    hits = [shared_ngrams(batch, items, index, window) for batch in document_batches(part)]
    write_parquet(folder / "overlaps.parquet", pl.concat(hits))


def task_items(path: Path) -> pl.DataFrame:
    """The rows of a task as those of a benchmark, dev and test alike."""
    target = pl.col("target")
    return pl.read_parquet(path).select(
        "item_id",
        pl.col("task").alias("benchmark"),
        "group",
        "split",
        pl.col("source").alias("question"),
        target.alias("context"),
        pl.concat_list(target).alias("options"),
        pl.lit(0, pl.Int64).alias("answer"),
    )


def main(
    documents: Path, items: Path, overlap: Overlap, benchmark: Mapping[str, object], overlaps: Path, store: Store
) -> None:
    """Write `overlaps` for one source against every benchmark and task, test and development items alike."""
    listed = [items / f"{name}.parquet" for name in sorted(benchmark)]
    tasks = sorted((items / "tasks").glob("*.parquet"))
    everything = pl.concat([*map(pl.read_parquet, listed), *map(task_items, tasks)])
    parts = document_files(documents)
    done = store.mapped(
        __file__,
        parts,
        partial(shared_part, items=everything, overlap=overlap),
        items=[file_hash(path) for path in (*listed, *tasks)],
        overlap=overlap.model_dump(),
    )
    for part, entry in zip(parts, done, strict=True):
        link(entry / "overlaps.parquet", overlaps / part.name)


if __name__ == "__main__":
    run(main)
