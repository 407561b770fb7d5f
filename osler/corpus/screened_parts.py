"""Documents and what `screen` measured of them, in order of preference, a few parts at a time.

A document's number is its place in that order. Files are opened once for each pass over the corpus, and nothing here holds
more than a batch of them, except what a caller asks for by number.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osler.build.section import BuildError
from osler.corpus.documents import document_files
from osler.corpus.screening import band_column
from osler.corpus.word_hashes import I64, U64

BATCH_ROWS = 1 << 17  # parts are read together until they have as many documents: an expression costs 10 ms however few
BANDS_BYTES = 1 << 26  # of bands at a time, if one is not more: a small corpus is read once for all


class ScreenedPart(NamedTuple):
    """One part of a source.

    first: the number of its first document.
    rows: its documents.
    """

    source: str
    collection: str
    documents: Path
    screen: Path
    overlaps: Path
    first: int
    rows: int


Batch = Sequence[ScreenedPart]


def screened_parts(
    documents: Path, screens: Path, overlaps: Path, collections: Mapping[str, str]
) -> list[ScreenedPart]:
    """All parts, in order of preference.

    Args:
        documents, screens, overlaps: the folders of all sources.
        collections: source -> collection, in order of priority.
    """
    found, first = [], 0
    for name, collection in collections.items():
        for part in document_files(documents / collection / name):
            rows = int(pl.scan_parquet(part).select(pl.len()).collect().item())
            screen, overlap = screens / name / part.name, overlaps / name / part.name
            found.append(ScreenedPart(name, collection, part, screen, overlap, first, rows))
            first += rows
    return found


def batches(parts: Batch) -> list[list[ScreenedPart]]:
    """`parts` in runs of one source, of about BATCH_ROWS documents each."""
    runs: list[list[ScreenedPart]] = []
    rows = 0
    for part in parts:
        if not runs or rows >= BATCH_ROWS or part.source != runs[-1][0].source:
            runs.append([])
            rows = 0
        runs[-1].append(part)
        rows += part.rows
    return runs


def numbers_of(batch: Batch) -> slice:
    """The numbers of a batch's documents."""
    return slice(batch[0].first, batch[-1].first + batch[-1].rows)


def read_documents(batch: Batch, columns: Sequence[str]) -> pl.DataFrame:
    """Columns of a batch's documents, in order."""
    return pl.read_parquet([part.documents for part in batch], columns=list(columns))


def read_screens(batch: Batch) -> pl.DataFrame:
    """What was measured of a batch's documents, without bands."""
    columns = [column for column in pl.read_parquet_schema(batch[0].screen) if not column.startswith("band_")]
    return pl.read_parquet([part.screen for part in batch], columns=columns)


def read_overlaps(batch: Batch) -> pl.DataFrame:
    """What a batch's documents share with items."""
    return pl.concat([pl.read_parquet(part.overlaps) for part in batch])


def refuse_others(batch: Batch, doc_ids: pl.Series, screened: pl.Series) -> None:
    """Stop where a screen is not of its documents.

    Raises:
        BuildError: names the first such part.
    """
    if doc_ids.equals(screened):
        return
    for part in batch:
        own, of = (pl.read_parquet(file, columns=["doc_id"])["doc_id"] for file in (part.documents, part.screen))
        if not own.equals(of):
            raise BuildError(f"{part.screen}: does not fit the documents; run `dvc repro -f screen`")


def values_at(parts: Batch, numbers: I64, column: str) -> Iterator[pl.Series]:
    """A column of the documents with some numbers, part by part.

    Args:
        parts: all.
        numbers: ascending.
        column: of the documents.
    """
    at = 0
    for part in parts:
        end = at + int(np.searchsorted(numbers[at : at + part.rows], part.first + part.rows))
        if at < end:
            yield pl.read_parquet(part.documents, columns=[column])[column].gather(numbers[at:end] - part.first)
        at = end


def bands_of(runs: Sequence[Batch], taken: NDArray[np.bool_], bands: int) -> Iterator[U64]:
    """Each band's hash of the documents that are `taken`.

    As many bands are read at a time as BANDS_BYTES has room for, and one at least.

    Args:
        runs: result of `batches`.
        taken: for each document.
        bands: how many.
    """
    count = int(np.count_nonzero(taken))
    together = max(1, BANDS_BYTES // (8 * max(1, count)))
    for start in range(0, bands, together):
        names = [band_column(band) for band in range(start, min(bands, start + together))]
        read, at = {name: np.empty(count, np.uint64) for name in names}, 0
        for batch in runs:
            here = taken[numbers_of(batch)]
            frame = pl.read_parquet([part.screen for part in batch], columns=names)
            end = at + int(np.count_nonzero(here))
            for name in names:
                read[name][at:end] = frame[name].to_numpy()[here]
            at = end
        for name in names:
            yield read.pop(name)
