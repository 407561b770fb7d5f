"""Hashes of words and of runs of words, over many documents at once.

Documents are laid end to end: `hashes` (one u64 a word) and `ends` (one i64 a document, exclusive), the layout token
shards have too. 17 MB/s of text on one core (33 where it is ASCII), nine tenths of it finding the words.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
import polars_hash as plh
from numpy.typing import NDArray

from stages.lib.text import normalized_words

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying loses nothing modulo 2^64
NO_WORDS = np.uint64(0x6E6F20776F726473)  # the one shingle, before mixing, of a document without words


class Runs(NamedTuple):
    """Values of documents laid end to end."""

    hashes: U64
    ends: I64

    @property
    def starts(self) -> I64:
        """Where each document begins."""
        starts = np.zeros(len(self.ends), np.int64)
        starts[1:] = self.ends[:-1]
        return starts

    @property
    def lengths(self) -> I64:
        """Values in each document."""
        lengths: I64 = self.ends - self.starts
        return lengths


def text_hashes(texts: pl.Series) -> U64:
    """xxhash64 of each text: the same on every machine and version, unlike `Series.hash`."""
    return texts.to_frame("text").select(plh.col("text").nchash.xxhash64()).to_series().to_numpy()


def word_runs(texts: pl.Series) -> Runs:
    """The hashed normalized words of each text."""
    return normalized_runs(normalized_words(texts))


def normalized_runs(normalized: pl.Series) -> Runs:
    """`word_runs` of texts that are `normalized_words` already."""
    split = normalized.str.split(" ")
    lengths = np.where((normalized == "").to_numpy(), 0, split.list.len().to_numpy())
    return Runs(text_hashes(split.filter(normalized != "").explode()), np.cumsum(lengths, dtype=np.int64))


def mixed(values: U64) -> U64:
    """The finalizer of splitmix64: a bijection after which every bit depends on every bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def growing_hashes(hashes: U64, words: int) -> Iterator[U64]:
    """For each length from 1 to `words` a hash of every run of so many values, whatever document they lie in.

    A polynomial in BASE modulo 2^64: one multiplication and one addition a position turn the hashes of one length into
    those of the next. Order matters.

    Args:
        hashes: values of documents end to end.
        words: the longest run, at least 1.
    Yields:
        One value for each position at which a run starts, `max(0, len(hashes) - length + 1)` of them; valid until the
        next is asked for, which overwrites it.
    """
    rolled = np.zeros(len(hashes), np.uint64)
    for length in range(1, words + 1):
        rolled = rolled[: max(0, len(hashes) - length + 1)]
        rolled *= BASE
        rolled += hashes[length - 1 :]
        yield rolled


def rolling_hashes(hashes: U64, words: int) -> U64:
    """The last of `growing_hashes`: a hash of every run of `words` values."""
    *_, rolled = growing_hashes(hashes, words)
    return rolled


def inside_documents(runs: Runs, words: int) -> I64:
    """The positions at which a run of `words` values starts and ends in the same document."""
    document = np.repeat(np.arange(len(runs.ends)), runs.lengths)
    return np.flatnonzero(document[: max(0, len(document) - words + 1)] == document[words - 1 :])


def shingles(runs: Runs, words: int) -> Runs:
    """The hashed word n-grams of each document, in order, with repetitions; every bit is as good as another.

    A document shorter than `words` has one shingle, the whole of it, so that short documents can be compared too.

    Args:
        runs: hashed words.
        words: n, at least 1.
    """
    lengths = runs.lengths
    counts = np.maximum(lengths - words + 1, 1)
    ends = np.cumsum(counts, dtype=np.int64)
    values = np.full(int(counts.sum()), NO_WORDS, np.uint64)
    for length, rolled in enumerate(growing_hashes(runs.hashes, words), 1):
        if length < words:
            short = np.flatnonzero(lengths == length)
            values[ends[short] - 1] = rolled[runs.starts[short]]
        else:
            values[np.repeat(lengths >= words, counts)] = rolled[inside_documents(runs, words)]
    return Runs(mixed(values), ends)
