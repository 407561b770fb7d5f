"""What is measured of a document before it is decided upon.

Sizes, signals of quality, MinHash bands; 17 MB/s a core.
"""

from pathlib import Path

import numpy as np
import polars as pl
from pydantic import Field

from osler.build.files import write_parquet
from osler.build.section import Section
from osler.corpus.documents import document_batches
from osler.corpus.minhash import band_hashes
from osler.corpus.quality import signals
from osler.corpus.word_hashes import run_hashes, shingles, word_runs


class Screen(Section):
    """The section `screen`.

    The probability that two documents are compared is in osler/corpus/minhash.py.
    """

    shingle_words: int = Field(gt=0, le=1000, description="words in a shingle")
    bands: int = Field(gt=0, le=256, description="MinHash bands")
    rows_per_band: int = Field(gt=0, le=64, description="permutations a band")


def screened(documents: pl.DataFrame, screen: Screen) -> pl.DataFrame:
    """One row of measurements for each document.

    doc_id, bytes, words, text_hash, the signals of quality, and a column for each band.

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
    """The name of a band's column.

    Each has its own, so that `select` can hold one band of all documents at a time.
    """
    return f"band_{band:03d}"


def screened_part(part: Path, folder: Path, screen: Screen) -> None:
    """Write the rows of one part, in document order."""
    write_parquet(folder / "screen.parquet", pl.concat([screened(batch, screen) for batch in document_batches(part)]))
