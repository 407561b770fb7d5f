"""Time a part of a stage alone, on documents that `ingest` wrote: what bench/corpus.py shows beside its steps.

    python -m bench.beside FOLDER PART CORE

`language identification` is part of `screen` already; `de-identification` is not part of the comparison, since datatrove
masks e-mail and IP addresses only: it is what `ingest` of a source about patients takes more.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl

from bench.measure import measured, pinned
from osler.corpus.language import languages
from osler.privacy.detector import identifiers

SAMPLE_BYTES = 5_000_000  # of text
PARTS: dict[str, Callable[[pl.Series], object]] = {
    "language identification": languages,
    "de-identification": lambda texts: [identifiers(text) for text in texts],
}


def sample(folder: Path) -> pl.Series:
    """About SAMPLE_BYTES of texts, spread over the documents."""
    texts = pl.read_parquet(folder / "data/documents/clinical/corpus/part-*.parquet", columns=["text"])["text"]
    size = int(texts.str.len_bytes().sum())
    return texts.gather_every(-(-size // SAMPLE_BYTES))


def main(folder: Path, part: str, core: int) -> None:
    """Write what `part` took on the sample to <folder>/costs/<part>.json."""
    pinned(core)
    texts, work = sample(folder), PARTS[part]
    work(texts.head(1))  # loads its tables
    measured(lambda: work(texts), folder / "costs" / f"{part}.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
