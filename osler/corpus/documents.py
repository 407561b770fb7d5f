"""The documents of a source as `ingest` wrote them.

A folder of parts, for the stages that read them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import polars as pl

from osler.build.section import BuildError

Collection = Literal["clinical", "general", "instructions"]
COLLECTIONS: tuple[Collection, ...] = ("clinical", "general", "instructions")

HELDOUT_DOMAINS: tuple[Collection, ...] = ("clinical", "general")  # of which documents are held out, each in a file

BATCH_BYTES = 1 << 22  # of documents' text at a time: their words and hashes take about ten times as much


def document_files(folder: Path) -> list[Path]:
    """The parts of one source's documents, in document order."""
    files = sorted(folder.glob("part-*.parquet"))
    if not files:
        raise BuildError(f"{folder}: has no part-*.parquet; run `dvc repro ingest`")
    return files


def document_batches(part: Path) -> Iterator[pl.DataFrame]:
    """The doc_id and text of one part, in document order.

    About BATCH_BYTES of text at a time.
    """
    documents = pl.read_parquet(part, columns=["doc_id", "text"])
    batch = documents["text"].str.len_bytes().cast(pl.Int64).cum_sum() // BATCH_BYTES
    yield from documents.with_columns(batch.alias("batch")).partition_by("batch", include_key=False)
