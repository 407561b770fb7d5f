"""Candidate pairs, compared by their texts.

The texts are read once, in order; the shingles of each are kept in a file without a name, and read back for as many documents
at a time as are compared together. So time grows with the candidates, and memory does not.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osler.build.progress import progress
from osler.corpus.compiled import compiled
from osler.corpus.documents import BATCH_BYTES
from osler.corpus.near_duplicates import components, joining_similarities, shingle_sets
from osler.corpus.word_hashes import I64, U64, Runs, shingles, word_runs

COMPARED_BYTES = 1 << 28  # of text compared at a time; its shingles take about as much again


def shingle_sets_of(texts: pl.Series, shingle_words: int) -> Runs:
    """The different shingles of each text.

    They are made of about BATCH_BYTES of text at a time.
    """
    made = [Runs(np.zeros(0, np.uint64), np.zeros(0, np.int64))]
    ends = texts.str.len_bytes().cast(pl.Int64).cum_sum().to_numpy() // BATCH_BYTES
    for batch in np.unique(ends):
        first, last = np.searchsorted(ends, [batch, batch + 1])
        made.append(shingle_sets(shingles(word_runs(texts[int(first) : int(last)].rechunk()), shingle_words)))
    lengths = np.concatenate([runs.lengths for runs in made])
    return Runs(np.concatenate([runs.hashes for runs in made]), lengths.cumsum())


@compiled
def _gathered(hashes: U64, starts: I64, ends: I64, into: U64) -> None:
    at = 0
    for number in range(len(starts)):
        for place in range(starts[number], ends[number]):
            into[at] = hashes[place]
            at += 1


class StoredSets:
    """Sets of hashes in a file, one after another."""

    def __init__(self, stream: IO[bytes], made: Iterable[Runs]) -> None:
        """Write all sets of `made` to `stream`."""
        self._stream = stream
        lengths = [np.zeros(0, np.int64)]
        for runs in made:
            stream.write(runs.hashes.tobytes())
            lengths.append(runs.lengths)
        stream.flush()
        self._ends = np.concatenate(lengths).cumsum()

    def sets(self, numbers: I64) -> Runs:
        """Those with some numbers, ascending."""
        ends = self._ends[numbers]
        starts = np.where(numbers > 0, self._ends[numbers - 1], 0)
        lengths = ends - starts
        gathered = np.empty(int(lengths.sum()), np.uint64)
        if len(gathered):
            first = int(starts[0])
            shape = (int(ends[-1]) - first,)
            mapped = np.memmap(self._stream, np.uint64, "r", offset=8 * first, shape=shape)
            _gathered(np.asarray(mapped), starts - first, ends - first, gathered)
        return Runs(gathered, lengths.cumsum())


def verified_pairs(
    pairs: I64,
    sizes: NDArray[np.integer],
    texts: Callable[[I64], Iterable[pl.Series]],
    shingle_words: int,
    threshold: float,
    scratch: Path,
) -> tuple[I64, NDArray[np.float64]]:
    """Candidate pairs that are near duplicates: enough to join clusters.

    Their different word n-grams have a Jaccard similarity of at least `threshold`.

    Documents that are compared with each other, directly or through others, are taken together, and as many such groups
    at a time as COMPARED_BYTES allows, so that memory does not grow with the corpus.

    Args:
        pairs: (candidates, 2) numbers of documents, sorted.
        sizes: bytes of every document.
        texts: ascending numbers of documents -> their texts, in runs of any length; it is called once.
        shingle_words: n.
        threshold: 0 to 1.
        scratch: a folder with room for 8 bytes a word of what is compared.
    Returns:
        (pairs, 2), and their similarities.
    """
    members, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(-1, 2).astype(np.int64)
    clusters = components(places, len(members))
    weights = np.zeros(len(members), np.int64)
    np.add.at(weights, clusters, sizes[members])
    batch_of_group = weights.cumsum() // COMPARED_BYTES
    order = np.argsort(clusters[places[:, 0]], kind="stable")
    pairs, places = pairs[order], places[order]
    batch_of_pair = batch_of_group[clusters[places[:, 0]]]  # ascending: groups are in order
    similarities = np.zeros(len(pairs), np.float64)
    bounds = np.append(np.flatnonzero(np.diff(batch_of_pair, prepend=-1)), len(pairs)).tolist()
    with TemporaryFile(dir=scratch) as stream:
        stored = StoredSets(stream, (shingle_sets_of(run, shingle_words) for run in texts(members)))
        shown = progress(pairwise(bounds), len(bounds) - 1, "compare", "batches")
        for first, last in shown:
            here = places[first:last]
            numbers, of = np.unique(here, return_inverse=True)
            of = of.reshape(-1, 2).astype(np.int64)
            similarities[first:last] = joining_similarities(of, stored.sets(numbers), threshold)
    found = similarities >= threshold
    return pairs[found], similarities[found]
