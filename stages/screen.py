"""Stage `screen@source`: what is measured of each document.

Part by part; `select` decides upon it.

Size, text hash, signals of quality and MinHash bands (17 MB/s a core), and the word n-grams that it shares with items of
benchmarks and tasks. Each part of either is a shard of its own: another benchmark costs no signal anew, and the other way round.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from osler.build.files import link
from osler.build.shard_store import Store
from osler.build.stage import run
from osler.corpus.documents import document_files
from osler.corpus.overlaps import Overlap, write_overlaps
from osler.corpus.screening import Screen, screened_part


def main(
    documents: Path,
    items: Path,
    benchmark: Mapping[str, object],
    overlap: Overlap,
    screen: Screen,
    overlaps: Path,
    screens: Path,
    store: Store,
) -> None:
    """Write `screens` and `overlaps`, a part for each part of `documents`."""
    parts = document_files(documents)
    done = store.mapped(__file__, parts, partial(screened_part, screen=screen), screen=screen.model_dump())
    for part, entry in zip(parts, done, strict=True):
        link(entry / "screen.parquet", screens / part.name)
    write_overlaps(documents, items, overlap, benchmark, overlaps, store)


if __name__ == "__main__":
    run(main)
