"""Stage `screen@source`: size, text hash and MinHash bands of each document. 14 MB/s on one core."""

from pathlib import Path

import numpy as np
import polars as pl
from pydantic import Field

from stages.lib.files import write_parquet
from stages.lib.minhash import band_hashes
from stages.lib.records import document_batches
from stages.lib.section import Section
from stages.lib.shingles import normalized_runs, shingles, text_hashes
from stages.lib.stage import run
from stages.lib.text import normalized_words


class Screen(Section):
    """The section `screen`; the probability that two documents are compared is in stages/lib/minhash.py."""

    shingle_words: int = Field(gt=0, description="words in a shingle")
    bands: int = Field(gt=0, le=256, description="MinHash bands")
    rows_per_band: int = Field(gt=0, le=64, description="permutations a band")


def screened(documents: pl.DataFrame, screen: Screen) -> pl.DataFrame:
    """One row for each document: doc_id, bytes, words, text_hash, bands.

    Args:
        documents: doc_id, text.
        screen: the section.
    """
    texts = documents["text"]
    normalized = normalized_words(texts)
    words = normalized_runs(normalized)
    bands = band_hashes(shingles(words, screen.shingle_words), screen.bands, screen.rows_per_band)
    return pl.DataFrame(
        {
            "doc_id": documents["doc_id"],
            "bytes": texts.str.len_bytes(),
            "words": words.lengths.astype(np.uint32),
            "text_hash": text_hashes(normalized),
            "bands": pl.Series(bands, dtype=pl.Array(pl.UInt64, screen.bands)).cast(pl.List(pl.UInt64)),
        },
        schema_overrides={"bytes": pl.UInt32},
    )


def main(documents: Path, screen: Screen, screens: Path) -> None:
    """Write `screens`, in document order."""
    write_parquet(screens, pl.concat([screened(batch, screen) for batch in document_batches(documents)]))


if __name__ == "__main__":
    run(main)
