"""How much of an item's part a document holds, around the n-grams that both have.

Every copy of a part with L words that shares an n-gram with it lies within L words of that n-gram. So a window is looked at
from L before to 2 L after the first shared n-gram, the next from the first one that is L further, and so on: no copy is divided
by all windows, whatever the order of its sentences, and a document is looked at three times at most for a part.

A window's figure is the share of the part's different shingles in it. Shingles are shorter than n-grams: with a word in ten
replaced a quarter of the 13-grams is left, and more than half of the 5-grams.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from osler.corpus.compiled import compiled
from osler.corpus.hash_set import find_between
from osler.corpus.word_hashes import BASE, I64, U64, Runs, mix

Laid = tuple[U64, I64, I64]  # values, and where each text's begin and end
Postings = tuple[I64, I64, I64]  # first, part, offset of Parts


class Parts(NamedTuple):
    """Questions, then contexts, of all items, and their n-grams.

    runs: hashed words of each part.
    shingles: different shingles of each part, sorted; `shingle_words` long.
    first: for each n-gram where its postings begin, and the end of all.
    part, offset: of each posting: the part, and where in `runs` the n-gram stands in it first.
    totals: different n-grams of each part.
    """

    runs: Runs
    shingles: Runs
    shingle_words: int
    first: I64
    part: I64
    offset: I64
    totals: I64


class Shared(NamedTuple):
    """One row for each document and part with an n-gram in common.

    In order of document.

    ngrams, shingles: how many different ones; shingles of the best window.
    run: words of the longest run.
    answered: whether the item's short context stands near a run of its question.
    """

    document: I64
    part: I64
    ngrams: I64
    shingles: I64
    run: I64
    answered: NDArray[np.bool_]


def _laid(runs: Runs) -> Laid:
    return runs.hashes, runs.starts, runs.ends


@compiled
def stands_between(hashes: U64, low: int, high: int, run: U64) -> bool:
    """Whether `run` occurs from `low` to `high` as consecutive values."""
    for at in range(low, high - len(run) + 1):
        length = 0
        while length < len(run) and hashes[at + length] == run[length]:
            length += 1
        if length == len(run):
            return True
    return False


@compiled
def _shingles_between(
    hashes: U64, low: int, high: int, words: int, shingles: U64, first: int, last: int, seen: I64, window: int
) -> int:
    """How many different shingles of a part, `first` to `last`, the window has."""
    count = 0
    for start in range(low, high - words + 1):
        value = np.uint64(0)
        for at in range(start, start + words):
            value = value * BASE + hashes[at]
        place = find_between(shingles, first, last, mix(value))
        if place >= 0 and seen[place] != window:
            seen[place] = window
            count += 1
    return count


@compiled
def _run_around(
    one: U64, low: int, high: int, at: int, other: U64, start: int, end: int, there: int
) -> tuple[int, int]:
    """Where in `one` the longest equal run around `at` begins and ends."""
    first, last = at, at
    while first > low and there - (at - first) > start and one[first - 1] == other[there - (at - first) - 1]:
        first -= 1
    while last < high and there + (last - at) < end and one[last] == other[there + (last - at)]:
        last += 1
    return first, last


@compiled
def _stands_beside(hashes: U64, low: int, begin: int, stop: int, high: int, reach: int, run: U64) -> bool:
    """Whether `run` stands within `reach` before `begin` or after `stop`."""
    before = stands_between(hashes, max(low, begin - reach), begin, run)
    return before or stands_between(hashes, stop, min(high, stop + reach), run)


@compiled
def _compared(
    texts: Laid,
    positions: I64,
    grams: I64,
    words: int,
    parts: Laid,
    sets: Laid,
    size: int,
    postings: Postings,
    reach: int,
) -> list[tuple[int, int, int, int, int, bool]]:
    hashes, starts, ends = texts
    words_of_parts, part_starts, part_ends = parts
    shingles, shingle_starts, shingle_ends = sets
    first, part_of, offset_of = postings
    items = len(part_ends) // 2
    found = [(0, 0, 0, 0, 0, False)][:0]
    seen = np.full(len(shingles), -1, np.int64)
    counted = np.full(len(part_of), -1, np.int64)  # the document in which a posting was counted
    row_of = np.full(len(part_ends), -1, np.int64)  # row of this document
    next_window, run_end, diagonal = np.zeros_like(part_ends), np.zeros_like(part_ends), np.zeros_like(part_ends)
    document, before, window = 0, 0, 0
    for hit, at in enumerate(positions):
        while ends[document] <= at:
            document, before = document + 1, len(found)
        start, end = starts[document], ends[document]
        if at + words > end:
            continue
        for posting in range(first[grams[hit]], first[grams[hit] + 1]):
            part, offset = part_of[posting], offset_of[posting]
            row = row_of[part]
            if row < before:
                row = row_of[part] = len(found)
                found.append((document, part, 0, 0, 0, False))
                next_window[part], run_end[part] = start, start
            _, _, ngrams, best, longest, answered = found[row]
            if counted[posting] != document:
                counted[posting] = document
                ngrams += 1
            length = part_ends[part] - part_starts[part]
            if at >= run_end[part] or at - offset != diagonal[part]:
                around = (part_starts[part], part_ends[part], offset)
                begin, stop = _run_around(hashes, start, end, at, words_of_parts, *around)
                longest, run_end[part], diagonal[part] = max(longest, stop - begin), stop, at - offset
                if part < items and not answered:
                    short = words_of_parts[part_starts[items + part] : part_ends[items + part]]
                    if 0 < len(short) < words:
                        answered = _stands_beside(hashes, start, begin, stop, end, reach, short)
            if longest == length:
                best = shingle_ends[part] - shingle_starts[part]
            elif at >= next_window[part]:
                low, high = max(start, at - length), min(end, at + 2 * length + words)
                window += 1
                alike = _shingles_between(
                    *(hashes, low, high, size, shingles),
                    *(shingle_starts[part], shingle_ends[part], seen, window),
                )
                best, next_window[part] = max(best, alike), at + length
            found[row] = (document, part, ngrams, best, longest, answered)
    return found


def shared_parts(runs: Runs, positions: I64, grams: I64, words: int, parts: Parts, reach: int) -> Shared:
    """What documents share with the parts of items.

    Args:
        runs: hashed words of the documents.
        positions: where in them an n-gram of an item stands, ascending.
        grams: which n-gram.
        words: n.
        parts: of the items.
        reach: how many words from a run of its question a short context may be.
    """
    found = _compared(
        _laid(runs),
        positions,
        grams,
        words,
        _laid(parts.runs),
        _laid(parts.shingles),
        parts.shingle_words,
        (parts.first, parts.part, parts.offset),
        reach,
    )
    rows = np.array(found, np.int64).reshape(-1, 6)
    document, part, ngrams, shingles, run, answered = rows.T
    return Shared(document, part, ngrams, shingles, run, answered.astype(np.bool_))
