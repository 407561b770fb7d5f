"""What is counted in a text.

Words, characters, lines and n-grams that stand more than once.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osler.corpus.compiled import compiled, inlined
from osler.corpus.hash_set import Keys, find, keys
from osler.corpus.scanning_errors import (
    ALPHABET,
    DIGIT,
    LAST_LETTER,
    OTHER_LETTER,
    PUNCTUATION,
    SPACE,
    SYMBOL,
    character_classes,
    rare_trigrams,
)
from osler.corpus.word_hashes import BASE, I64, NO_WORDS, U64, Runs, characters, mix, mixed, run_hashes

(
    WORDS, CHARACTERS, ALPHABETIC_WORDS, STOPS, BOILERPLATE_WORDS, SYMBOLS, DIGITS, LETTERS,
    RARE_TRIGRAMS, LINES, BULLET_LINES, ELLIPSIS_LINES, REPEATED_LINES, REPEATED_LINE_CHARACTERS, FIRST_NGRAM,
) = range(15)  # fmt: skip

_ELLIPSIS, _FULL_STOP, _NUMBER_SIGN, _LINE_END = (np.uint32(ord(character)) for character in "….#\n")

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
BULLETS = "•‣▪●◦·*-–"
TOP_WORDS = (2, 3, 4)
REPEATED_WORDS = (5, 10)
ADDRESS_CHARACTERS = (
    25  # longer words are web addresses and file names, whose letters say nothing of how a text was read
)
# Website furniture, one to three words each; case and punctuation do not matter
BOILERPLATE = (
    "privacy policy", "cookie policy", "cookie settings", "use cookies", "uses cookies", "use of cookies", "all cookies",
    "accept cookies", "terms of use", "terms of service", "terms and conditions", "all rights reserved", "rights reserved",
    "this website", "our website", "this site", "site map", "click here", "read more", "sign up", "sign in", "log in",
    "contact us", "about us", "follow us", "share this", "back to top", "skip to main", "skip to content", "main content",
    "enable javascript", "javascript is", "your browser", "email address", "our newsletter", "newsletter", "unsubscribe",
    "written permission", "medical advice", "educational purposes only", "seek the advice", "substitute for professional",
    "forgot your password", "my account", "shopping cart", "next page", "previous page", "page not found",
)  # fmt: skip
# What is counted in a document; a signal is a ratio of two. "characters" are those of words.
COUNTS = (
    "words", "characters", "alphabetic_words", "stop_words", "boilerplate_words", "symbols", "digits", "letters",
    "rare_trigrams", "lines", "bullet_lines", "ellipsis_lines", "repeated_lines", "repeated_line_characters",
    "top_2gram", "top_3gram", "top_4gram", "repeated_5gram", "repeated_10gram",
)  # fmt: skip
_NGRAMS = np.array(TOP_WORDS + REPEATED_WORDS)
_BULLET_CODES = np.array([ord(bullet) for bullet in BULLETS], np.uint32)


@lru_cache(maxsize=1)
def _letter_values() -> U64:
    """A random value for each character below U+10000.

    One for both cases, 0 for all but letters and digits.
    """
    lower = np.array([ord(low) if len(low := chr(code).lower()) == 1 else code for code in range(1 << 16)], np.uint64)
    values = mixed(lower + np.uint64(1))
    values[np.isin(character_classes(), (SPACE, SYMBOL, PUNCTUATION))] = 0
    return values


class Words(NamedTuple):
    """The words of one document; room for more than it has.

    Of a word: its hash, which is that of its letters and digits, without case ("The" is "the" and "end." is "end", but not
    "(end"), the place of its first character and the one after its last, and the line that it is in.
    """

    hashes: U64
    starts: I64
    ends: I64
    lines: I64


@compiled
def _room(words: int) -> Words:
    hashes, ints = np.empty(words, np.uint64), np.empty((3, words), np.int64)
    return Words(hashes, ints[0], ints[1], ints[2])


class PhraseTable(NamedTuple):
    """A hash table with open addressing.

    A part as large as its entries need is used; a key of 0 is a free place.
    """

    keys: U64
    sums: I64
    firsts: I64


@inlined
def _place(keys: U64, key: np.uint64, mask: int) -> int:
    """Where `key` is in a table, or where it belongs."""
    at = int(key ^ (key >> np.uint64(32))) & mask
    while keys[at] != key and keys[at] != 0:
        at = (at + 1) & mask
    return at


@compiled
def _read_words(
    codes: NDArray[np.uint32],
    start: int,
    end: int,
    classes: NDArray[np.uint8],
    letter_values: U64,
    rare: NDArray[np.bool_],
    words: Words,
    counts: I64,
) -> None:
    """Fill `words`, and the counts of characters, from one document.

    A line end precedes and follows it.
    """
    hashes, starts, ends, lines = words
    inside, line, dots = False, 0, 0
    value, power = np.uint64(0), np.uint64(1)
    letters, rare_trigrams, alphabetic = 0, 0, False
    before = SPACE
    here = SPACE
    after = classes[min(codes[start], np.uint32(0xFFFF))]
    for at in range(start, end + 1):
        code = codes[at]
        before, here = here, after
        after = classes[min(codes[at + 1], np.uint32(0xFFFF))] if at < end else SPACE
        dots = dots + 1 if code == _FULL_STOP else 0
        if dots == 3 or code in (_ELLIPSIS, _NUMBER_SIGN):
            counts[SYMBOLS] += 1
        if here != SPACE:
            word = counts[WORDS]
            if not inside:
                inside, starts[word], lines[word] = True, at, line
                value, power, letters, rare_trigrams, alphabetic = np.uint64(0), np.uint64(1), 0, 0, False
            value += letter_values[min(code, np.uint32(0xFFFF))] * power
            power *= BASE
            if here <= LAST_LETTER:
                letters += 1
                alphabetic = True
                rare_trigrams += rare[(before * len(ALPHABET) + here) * len(ALPHABET) + after]
            elif here == OTHER_LETTER:
                alphabetic = True
            elif here == DIGIT:
                counts[DIGITS] += 1
        elif inside:
            inside = False
            word = counts[WORDS]
            hashes[word], ends[word] = mix(value), at
            length = at - starts[word]
            counts[WORDS] += 1
            counts[CHARACTERS] += length
            counts[ALPHABETIC_WORDS] += alphabetic
            if length <= ADDRESS_CHARACTERS:
                counts[LETTERS] += letters
                counts[RARE_TRIGRAMS] += rare_trigrams
        if code == _LINE_END:
            line += 1


@compiled
def _read_lines(codes: NDArray[np.uint32], words: Words, table: PhraseTable, mask: int, counts: I64) -> None:
    """Count the lines that have a word, and the repeated ones.

    These stood earlier.
    """
    (hashes, starts, ends, lines), (keys, _, _) = words, table
    keys[: mask + 1] = 0
    first = 0
    while first < counts[WORDS]:
        last, value = first, np.uint64(0)
        while last < counts[WORDS] and lines[last] == lines[first]:
            value += hashes[last] * mix(np.uint64(last - first + 1))
            last += 1
        counts[LINES] += 1
        for bullet in _BULLET_CODES:
            counts[BULLET_LINES] += codes[starts[first]] == bullet
        end = ends[last - 1]
        dots = codes[end - 1] == _FULL_STOP and codes[end - 2] == _FULL_STOP and codes[end - 3] == _FULL_STOP
        counts[ELLIPSIS_LINES] += codes[end - 1] == _ELLIPSIS or dots
        value |= np.uint64(1)
        at = _place(keys, value, mask)
        if keys[at]:
            counts[REPEATED_LINES] += 1
            for word in range(first, last):
                counts[REPEATED_LINE_CHARACTERS] += ends[word] - starts[word]
        keys[at] = value
        first = last


@compiled
def _read_ngrams(words: Words, table: PhraseTable, mask: int, repeated: NDArray[np.uint8], counts: I64) -> None:
    """Count the characters of n-grams that repeat, for each length.

    Of the top one, or of those that stood earlier.

    What stands once as an n-gram does as a longer one: `repeated` says of a word how many of the lengths stand more often.
    """
    (hashes, starts, ends, _), (keys, sums, firsts) = words, table
    repeated[: counts[WORDS]] = 0
    for number in range(len(_NGRAMS)):
        length, top, covered, span, covered_to = _NGRAMS[number], 0, 0, 0, 0
        keys[: mask + 1] = 0
        for word in range(min(length - 1, counts[WORDS])):
            span += ends[word] - starts[word]
        for first in range(counts[WORDS] - length + 1):
            last = first + length - 1
            span += ends[last] - starts[last]
            if repeated[first] == number:
                value = np.uint64(0)
                for word in range(first, first + length):
                    value = value * BASE + hashes[word]
                value |= np.uint64(1)
                at = _place(keys, value, mask)
                if keys[at]:
                    repeated[first] = repeated[firsts[at]] = number + 1
                    sums[at] += span
                    top = max(top, sums[at])
                    for word in range(max(covered_to, first), first + length):
                        covered += ends[word] - starts[word]
                    covered_to = first + length
                else:
                    keys[at], sums[at], firsts[at] = value, span, first
            span -= ends[first] - starts[first]
        counts[FIRST_NGRAM + number] = top if number < len(TOP_WORDS) else covered


@compiled
def _read_phrases(words: Words, stops: Keys, openings: Keys, phrases: U64, phrase_words: int, counts: I64) -> None:
    """Count the different stop words, and the words in `phrases`.

    Args:
        words: of a document.
        stops: hashes of words.
        openings: hashes of the words that a phrase begins with.
        phrases: results of `run_hashes`.
        phrase_words: in the longest.
        counts: of the document.
    """
    hashes, _, _, _ = words
    seen, covered_to = 0, 0
    for first in range(counts[WORDS]):
        word = hashes[first]
        stop = find(stops.hashes, word) if stops.table[word >> stops.shift] else -1
        if stop >= 0 and not seen >> stop & 1:
            seen |= 1 << stop
            counts[STOPS] += 1
        if openings.table[word >> openings.shift] and find(openings.hashes, word) >= 0:
            value = NO_WORDS
            for last in range(first, min(first + phrase_words, counts[WORDS])):
                value = mix(value * BASE + hashes[last])
                if find(phrases, value) >= 0:
                    counts[BOILERPLATE_WORDS] += max(0, last + 1 - max(covered_to, first))
                    covered_to = max(covered_to, last + 1)


@compiled
def _counts(
    codes: NDArray[np.uint32],
    starts_D: I64,
    ends_D: I64,
    classes: NDArray[np.uint8],
    letter_values: U64,
    rare: NDArray[np.bool_],
    stops: Keys,
    openings: Keys,
    phrases: U64,
    phrase_words: int,
) -> I64:
    """(D, COUNTS) of each document."""
    counts_DK = np.zeros((len(starts_D), FIRST_NGRAM + len(_NGRAMS)), np.int64)
    room = (ends_D - starts_D).max() // 2 + 1 if len(starts_D) else 1
    words = _room(room)
    size = 4
    while size < 2 * room:
        size *= 2
    table = PhraseTable(np.empty(size, np.uint64), np.empty(size, np.int64), np.empty(size, np.int64))
    repeated = np.empty(room, np.uint8)
    for document in range(len(starts_D)):
        counts = counts_DK[document]
        _read_words(codes, starts_D[document], ends_D[document], classes, letter_values, rare, words, counts)
        mask = 4
        while mask < 2 * counts[WORDS]:
            mask *= 2
        _read_lines(codes, words, table, mask - 1, counts)
        _read_ngrams(words, table, mask - 1, repeated, counts)
        _read_phrases(words, stops, openings, phrases, phrase_words, counts)
    return counts_DK


def word_hashes(text: str) -> U64:
    """The hashes of the words of `text`, as in `Words`."""
    words = _room(len(text))
    counts = np.zeros(len(COUNTS), np.int64)
    codes = characters([text])
    _read_words(codes, 1, len(text) + 1, character_classes(), _letter_values(), rare_trigrams(), words, counts)
    return words.hashes[: counts[WORDS]]


@lru_cache(maxsize=1)
def _stop_words() -> Keys:
    return keys(np.concatenate([word_hashes(word) for word in STOP_WORDS]))


@lru_cache(maxsize=1)
def _phrases() -> tuple[Keys, U64, int]:
    """Of BOILERPLATE: first words, phrases, and words in the longest."""
    found = [word_hashes(phrase) for phrase in BOILERPLATE]
    lengths = np.array([len(words) for words in found])
    phrases = run_hashes(Runs(np.concatenate(found), lengths.cumsum()))
    return keys(np.array([words[0] for words in found])), np.unique(phrases), int(lengths.max())


def counts(texts: pl.Series) -> dict[str, I64]:
    """COUNTS of each text."""
    plain = texts.to_list()
    ends_D = np.cumsum([len(text) + 1 for text in plain], dtype=np.int64)
    starts_D = np.append(np.int64(1), ends_D[:-1] + 1)[: len(plain)]
    tables = (character_classes(), _letter_values(), rare_trigrams(), _stop_words(), *_phrases())
    return dict(zip(COUNTS, _counts(characters(plain), starts_D, ends_D, *tables).T, strict=True))
