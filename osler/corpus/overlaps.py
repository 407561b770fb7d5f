"""What documents share with items of benchmarks and tasks.

For `screen`; `select` decides what that means.

Of a task's item the source stands for the question and the target for context and answer, so that a document with either
counts, and a task's name for a benchmark's.
"""

from collections.abc import Collection
from functools import partial
from pathlib import Path

import polars as pl
from pydantic import Field

from osler.build.files import file_hash, link, write_parquet
from osler.build.section import Section
from osler.build.shard_store import Store
from osler.corpus.contamination import item_index, shared_ngrams
from osler.corpus.documents import document_batches, document_files


class Overlap(Section):
    """The section `overlap`; the rules are in osler/corpus/contamination.py."""

    ngram_words: int = Field(
        gt=0, le=1000, description="words in an n-gram; shorter questions go by question and answer"
    )
    shingle_words: int = Field(gt=0, le=1000, description="words in a shingle, by which edited copies are told")
    answer_window_words: int = Field(
        gt=0,
        le=1_000_000,
        description="words between a short question and its correct option, or a source and its short target, at most",
    )


def shared_part(part: Path, folder: Path, items: pl.DataFrame, overlap: Overlap) -> None:
    """Write the hits of one part."""
    index, window = item_index(items, overlap.ngram_words, overlap.shingle_words), overlap.answer_window_words
    hits = [shared_ngrams(batch, items, index, window) for batch in document_batches(part)]
    write_parquet(folder / "overlaps.parquet", pl.concat(hits))


def task_items(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of a task as those of a benchmark.

    Dev and test alike. Of several targets all are context.
    """
    target = context = pl.col("target")
    if "others" in rows.columns:
        context = pl.concat_list(target, "others").list.join("\n\n")
    return rows.select(
        "item_id",
        pl.col("task").alias("benchmark"),
        "group",
        "split",
        pl.col("source").alias("question"),
        context.alias("context"),
        pl.concat_list(target).alias("options"),
        pl.lit(0, pl.Int64).alias("answer"),
    )


def write_overlaps(
    documents: Path, items: Path, overlap: Overlap, benchmark: Collection[str], overlaps: Path, store: Store
) -> None:
    """Write `overlaps` of one source with every benchmark and task.

    Test and development items alike.
    """
    listed = [items / f"{name}.parquet" for name in sorted(benchmark)]
    tasks = sorted((items / "tasks").glob("*.parquet"))
    everything = pl.concat([*map(pl.read_parquet, listed), *(task_items(pl.read_parquet(path)) for path in tasks)])
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
