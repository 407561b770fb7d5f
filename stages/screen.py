"""Stage `screen@source`: size, text hash, signals of quality and MinHash bands of each document, part by part. 17 MB/s a core."""

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import Field

from stages.lib.documents import document_batches, document_files
from stages.lib.files import write_parquet
from stages.lib.minhash import band_hashes
from stages.lib.quality import signals
from stages.lib.section import Section
from stages.lib.shingles import run_hashes, shingles, word_runs
from stages.lib.stage import run
from stages.lib.store import Store, link


class Screen(Section):
    """The section `screen`; the probability that two documents are compared is in stages/lib/minhash.py."""

    shingle_words: int = Field(gt=0, description="words in a shingle")
    bands: int = Field(gt=0, le=256, description="MinHash bands")
    rows_per_band: int = Field(gt=0, le=64, description="permutations a band")


def screened(documents: pl.DataFrame, screen: Screen) -> pl.DataFrame:
    """One row for each document: doc_id, bytes, words, text_hash, the signals of quality, and a column for each band.

    Args:
        documents: doc_id, text.
        screen: the section.
    """
    texts = documents["text"]
    words = word_runs(texts)
    bands = band_hashes(shingles(words, screen.shingle_words), screen.bands, screen.rows_per_band)
    sizes = pl.DataFrame(
        {
            "doc_id": documents["doc_id"],
            "bytes": texts.str.len_bytes(),
            "words": words.lengths.astype(np.uint32),
            "text_hash": run_hashes(words),
        },
        schema_overrides={"bytes": pl.UInt32},
    )
    columns = pl.DataFrame({band_column(band): bands[:, band] for band in range(screen.bands)})
    return pl.concat([sizes, signals(texts), columns], how="horizontal")


def band_column(band: int) -> str:
    """A column a band, so that `select` can hold one band of all documents at a time."""
    return f"band_{band:03d}"


def screened_part(part: Path, folder: Path, screen: Screen) -> None:
    """Write the rows of one part, in document order."""
    write_parquet(folder / "screen.parquet", pl.concat([screened(batch, screen) for batch in document_batches(part)]))


def main(documents: Path, screen: Screen, screens: Path, store: Store) -> None:
    """Write `screens`, a part for each part of `documents`."""
    parts = document_files(documents)
    done = store.mapped(__file__, parts, partial(screened_part, screen=screen), screen=screen.model_dump())
    for part, entry in zip(parts, done, strict=True):
        link(entry / "screen.parquet", screens / part.name)


if __name__ == "__main__":
    run(main)
