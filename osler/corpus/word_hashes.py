"""Hashes of words and of runs of words.

Over many documents at once.

Documents are laid end to end: `hashes` (one u64 a word) and `ends` (one i64 a document, exclusive), the layout token
shards have too. Two texts with the same words count as exact duplicates; shingles and n-grams are made of these words.

Words are the runs of letters, marks and digits of a text in NFKC, without case and, in Latin and Greek script, without accents.
NFKC makes one word of the ligature in a PDF's or a benchmark's "\ufb02uorosis" and of "fluorosis". A byte order mark, a soft
hyphen and a caret divide no word, nor does the comma of "10,000". 90 to 140 MB/s of text on one core.
"""

import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, cast

import numpy as np
import polars as pl
import polars_hash as plh
from numpy.typing import NDArray

from osler.corpus.compiled import compiled, inlined

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying loses nothing modulo 2^64
NO_WORDS = np.uint64(0x6E6F20776F726473)  # the one shingle, before mixing, of a document without words

JOINER = np.uint32(1)  # stands for characters that are nothing inside a word; no letter has this code
COMMA, ZERO = np.uint32(ord(",")), np.uint32(ord("0"))
ACCENTED = ("LATIN ", "GREEK ")  # scripts in which a word is the same with and without an accent

LISTED_PLANES = 2  # of Unicode; the next two are ideographs, all of them letters, the others have none


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
    """xxhash64 of each text.

    The same on every machine and version, unlike `Series.hash`.
    """
    return texts.to_frame("text").select(plh.col("text").nchash.xxhash64()).to_series().to_numpy()


def mixed(values: U64) -> U64:
    """The finalizer of splitmix64.

    A bijection after which every bit depends on every bit.
    """
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


mix = cast("Callable[[np.uint64], np.uint64]", inlined(mixed))  # of one value, inside compiled functions


def characters(texts: Sequence[str]) -> NDArray[np.uint32]:
    """Code points of all texts, with line ends between.

    One before the first text and one after each.
    """
    return np.frombuffer("\n".join(["", *texts, ""]).encode("utf-32-le"), np.uint32)


@lru_cache(maxsize=1)
def folded_characters() -> NDArray[np.uint32]:
    """For each code point the one that stands for all its cases.

    Of the first LISTED_PLANES; 0 if it ends a word, JOINER if it does not and is no part of it.
    """
    return np.array([_folded(chr(code)) for code in range(LISTED_PLANES << 16)], np.uint32)


def _folded(character: str) -> int:
    category = unicodedata.category(character)
    if category == "Cf" or character == "^":  # 10^9 is 10⁹, and what markup left of it
        return int(JOINER)
    if category[0] not in "LMN":
        return 0
    if unicodedata.name(character, "").startswith(ACCENTED):
        spelled = unicodedata.normalize("NFD", character)
        character = spelled[0] if all(map(unicodedata.combining, spelled[1:])) else character
    forms = (character.casefold(), character.lower())
    return next((ord(form) for form in forms if len(form) == 1), ord(character))


@compiled
def _is_digit(code: np.uint32) -> bool:
    return bool(ZERO <= code < ZERO + np.uint32(10))


@compiled
def _divides_thousands(codes_C: NDArray[np.uint32], at: int) -> bool:
    """Whether three digits and no fourth follow the comma at `at`, and one is before it.

    A line end stands at both ends of `codes_C`.
    """
    if codes_C[at] != COMMA or not _is_digit(codes_C[at - 1]):
        return False
    after = at + 1
    while _is_digit(codes_C[after]):
        after += 1
    return after == at + 4


@compiled
def _words(codes_C: NDArray[np.uint32], ends_D: I64, folded: NDArray[np.uint32]) -> tuple[U64, I64]:
    hashes = np.empty(len(codes_C) // 2 + 1, np.uint64)
    word_ends_D = np.empty(len(ends_D), np.int64)
    words, at = 0, 0
    for document in range(len(ends_D)):
        value = np.uint64(0)
        while at <= ends_D[document]:  # one further: a line end, which ends the last word
            code = codes_C[at]
            letter = folded[code] if code < len(folded) else code if code < 4 << 16 else np.uint32(0)
            if letter > JOINER:
                value = (value ^ np.uint64(letter)) * BASE
                value ^= value >> np.uint64(32)
            elif value and letter != JOINER and not _divides_thousands(codes_C, at):
                hashes[words] = mix(value)
                words += 1
                value = np.uint64(0)
            at += 1
        word_ends_D[document] = words
    return hashes[:words].copy(), word_ends_D


def word_runs(texts: pl.Series) -> Runs:
    """The hashed words of each text."""
    normal = [text if text.isascii() else unicodedata.normalize("NFKC", text) for text in texts.to_list()]
    ends = np.cumsum([len(text) + 1 for text in normal], dtype=np.int64)
    return Runs(*_words(characters(normal), ends, folded_characters()))


@compiled
def _whole(hashes: U64, starts: I64, ends: I64) -> U64:
    whole = np.empty(len(ends), np.uint64)
    for document in range(len(ends)):
        value = NO_WORDS
        for at in range(starts[document], ends[document]):
            value = mix(value * BASE + hashes[at])
        whole[document] = value
    return whole


def run_hashes(runs: Runs) -> U64:
    """One hash for each document, the same where all words are."""
    return _whole(runs.hashes, runs.starts, runs.ends)


@compiled
def rolling_hashes(hashes: U64, words: int) -> U64:
    """A hash of every run of `words` values, across documents too.

    It is a polynomial in BASE modulo 2^64. Order matters.

    Args:
        hashes: values of documents end to end.
        words: at least 1.
    Returns:
        One value for each position at which a run starts, `max(0, len(hashes) - words + 1)` of them.
    """
    rolled = np.zeros(max(0, len(hashes) - words + 1), np.uint64)
    for start in range(len(rolled)):
        value = np.uint64(0)
        for at in range(start, start + words):
            value = value * BASE + hashes[at]
        rolled[start] = value
    return rolled


def inside_documents(runs: Runs, words: int) -> I64:
    """Where a run of `words` values lies inside one document."""
    document = np.repeat(np.arange(len(runs.ends)), runs.lengths)
    return np.flatnonzero(document[: max(0, len(document) - words + 1)] == document[words - 1 :])


@compiled
def _shingles(hashes: U64, starts: I64, ends: I64, words: int, values: U64) -> None:
    place = 0
    for document in range(len(ends)):
        start, length = starts[document], ends[document] - starts[document]
        size = min(words, length)
        for first in range(start, start + max(1, length - words + 1)):
            value = np.uint64(0) if size else NO_WORDS
            for at in range(first, first + size):
                value = value * BASE + hashes[at]
            values[place] = mix(value)
            place += 1


def shingles(runs: Runs, words: int) -> Runs:
    """The hashed word n-grams of each document, in order.

    With repetitions; every bit is as good as another.

    A document shorter than `words` has one shingle, the whole of it, so that short documents can be compared too.

    Args:
        runs: hashed words.
        words: n, at least 1.
    """
    ends = np.cumsum(np.maximum(runs.lengths - words + 1, 1), dtype=np.int64)
    values = np.empty(int(ends[-1]) if len(ends) else 0, np.uint64)
    _shingles(runs.hashes, runs.starts, runs.ends, words, values)
    return Runs(values, ends)
