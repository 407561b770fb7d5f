"""Stage `overlap@source`: what documents share with benchmark items; `select` decides what that means."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl
from pydantic import Field

from stages.lib.files import write_parquet
from stages.lib.ngrams import item_index, shared_ngrams
from stages.lib.records import document_batches
from stages.lib.section import Section
from stages.lib.stage import run


class Overlap(Section):
    """The section `overlap`; the rules are in stages/lib/ngrams.py."""

    ngram_words: int = Field(gt=0, description="words in an n-gram; shorter questions go by question and answer")
    answer_window_words: int = Field(gt=0, description="words between a short question and its correct option, at most")


def main(documents: Path, items: Path, overlap: Overlap, benchmark: Mapping[str, object], overlaps: Path) -> None:
    """Write `overlaps` for one source against every benchmark listed, test and development items alike."""
    all_items = pl.concat([pl.read_parquet(items / f"{name}.parquet") for name in sorted(benchmark)])
    index = item_index(all_items, overlap.ngram_words)
    batches = document_batches(documents)
    window = overlap.answer_window_words
    write_parquet(overlaps, pl.concat([shared_ngrams(batch, all_items, index, window) for batch in batches]))


if __name__ == "__main__":
    run(main)
