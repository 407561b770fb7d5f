"""Signals of document quality, and the thresholds on them.

`signals` looks at the text, `reasons` only at its numbers, so that changing a threshold reads no text again. The rules are
those of Gopher and of its repetition filter, on words between white space: splitting off punctuation, as datatrove does,
counts "(p = 0.03)" as several words of which one is alphabetic, and its defaults drop 45 % of biomedical text. Two signals
are added: letters in an order that English does not have (scanning errors), and phrases of website furniture. Left out
are 6- to 9-grams and paragraphs (what they repeat, 5-grams and lines repeat too, and 5 and 10 bracket their thresholds),
and the word count, which is `select.minimum_words`.

16 to 21 MB/s on one core and 20 to 60 MB of memory without the language, whatever the number of documents (one of 4 MB takes
200 MB); with it 10 MB/s on abstracts, 17 on articles. In numpy on code points, n-grams by sorting: with polars' group-by for
them it was 7 to 10 MB/s.

With the thresholds of profiles/real-small.yaml 1.0 % of the abstracts, 1.2 % of the articles, 0.1 % of the notes and 3.7 %
of the drug labels go (documents that the trigrams were not taken from), and 13 % of a wiki in Markdown: style sheets, lists
of links, stubs, and lists of abbreviations. Of planted junk (tests/junk.py) are found 99 % of the pages with 5 to 35 % of
the characters misread (96 % of those with 5 %), all tables of numbers, all boilerplate (98 % where its own phrases are not
on the list), and 99 % of the foreign text (two or three sentences of Russian are too little for CLD2 to be sure).

Source: Rae et al. 2021, Scaling Language Models, table A1, arXiv 2112.11446.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from stages.lib.language import UNKNOWN, languages
from stages.lib.section import Section
from stages.lib.shingles import BASE, I64, U64, growing_hashes, mixed
from stages.lib.trigrams import (
    DIGIT,
    LAST_LETTER,
    OTHER_LETTER,
    PUNCTUATION,
    SPACE,
    SYMBOL,
    character_classes,
    rare_trigrams,
    trigram_numbers,
)

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
BULLETS = "•‣▪●◦·*-–"
ELLIPSIS = ord("…")
FULL_STOP = ord(".")
TOP_WORDS = (2, 3, 4)
REPEATED_WORDS = (5, 10)

ADDRESS_CHARACTERS = (
    25  # longer words are web addresses and file names, whose letters say nothing of how a text was read
)
BLOCK_BYTES = 1 << 19  # of text worked on at once: its arrays are 40 times as large, and this many fit a cache

_IS_LETTER = np.array([SPACE < number <= LAST_LETTER or number == OTHER_LETTER for number in range(31)])

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


class Tokens(NamedTuple):
    """Documents as one run of characters, words and lines; a word lies in one line, a line in one document.

    Shapes: C characters (a line end before the first document and after each), W words between white space, L lines that
    have a word, D documents.
    """

    codes_C: NDArray[np.uint32]
    classes_C: NDArray[np.uint8]
    starts_D: I64
    word_starts_W: I64
    word_ends_W: I64
    hashes_W: U64
    first_words_D1: I64  # of each document, and the number of words
    documents_W: I64
    first_words_L1: I64  # of each line, and the number of words


@lru_cache(maxsize=1)
def _letter_values() -> U64:
    """A random value for each character below U+10000, one for both cases, 0 for all but letters and digits."""
    lower = np.array([ord(low) if len(low := chr(code).lower()) == 1 else code for code in range(1 << 16)], np.uint64)
    values = mixed(lower + np.uint64(1))
    values[np.isin(character_classes(), (SPACE, SYMBOL, PUNCTUATION))] = 0
    return values


@lru_cache(maxsize=1)
def _powers(count: int) -> tuple[U64, U64]:
    """The first `count` powers of BASE and of its inverse, modulo 2^64."""
    inverse = pow(int(BASE), -1, 1 << 64)
    powers, inverses = (np.full(count, base, np.uint64).cumprod(dtype=np.uint64) for base in (int(BASE), inverse))
    return powers, inverses


def word_hashes(codes_C: NDArray[np.uint32], starts_W: I64, ends_W: I64) -> U64:
    """A hash of each word's letters and digits, without case: "The" is "the" and "end." is "end", but not "(end".

    A polynomial in BASE modulo 2^64 with the position in the whole text as the exponent, divided by the word's first.
    """
    powers, inverses = _powers(1 << max(20, len(codes_C).bit_length()))
    running = np.zeros(len(codes_C) + 1, np.uint64)
    np.multiply(_letter_values().take(codes_C, mode="clip"), powers[: len(codes_C)], out=running[1:])
    np.cumsum(running, out=running)
    return mixed((running[ends_W] - running[starts_W]) * inverses[starts_W])


def tokens(texts: pl.Series) -> Tokens:
    """Characters, words and lines of `texts`, which are not null."""
    joined = "\n".join(["", *texts.to_list(), ""])
    codes_C = np.frombuffer(joined.encode("utf-32-le"), np.uint32)
    classes_C = character_classes().take(codes_C, mode="clip")
    starts_D = np.ones(len(texts), np.int64)
    starts_D[1:] += np.cumsum(texts.str.len_chars().to_numpy().astype(np.int64) + 1)[:-1]
    is_word_C = classes_C != SPACE
    bounds = np.flatnonzero(is_word_C[1:] != is_word_C[:-1]) + 1
    starts_W, ends_W = bounds[::2], bounds[1::2]
    first_words_D1 = np.append(np.searchsorted(starts_W, starts_D), len(starts_W))
    line_ends = np.flatnonzero(codes_C == ord("\n"))
    first_words_L1 = np.unique(np.append(np.searchsorted(starts_W, line_ends), len(starts_W)))
    return Tokens(
        codes_C,
        classes_C,
        starts_D,
        starts_W,
        ends_W,
        word_hashes(codes_C, starts_W, ends_W),
        first_words_D1,
        np.repeat(np.arange(len(texts)), np.diff(first_words_D1)),
        first_words_L1,
    )


def sums(values: NDArray[Any], firsts: I64) -> I64:
    """The sum of `values` from each of `firsts` to the next, 0 where they are equal; the last of `firsts` only ends."""
    running = np.zeros(len(values) + 1, np.int64)
    running[1:] = values
    return np.diff(running.cumsum()[firsts])


def ratio(part_D: NDArray[Any], whole_D: NDArray[Any]) -> NDArray[np.float32]:
    """Their ratio, 0 where there is nothing to divide by."""
    fractions: NDArray[np.float32] = (part_D / np.maximum(whole_D, 1)).astype(np.float32)
    return fractions


def occurrences(keys: U64, positions: I64) -> tuple[I64, NDArray[np.bool_]]:
    """`positions` with equal keys side by side, lower ones first, and whether each is the first of its key.

    The position is put into the lower bits of its key and the sum sorted, six times as fast as a group-by; what is left of
    the key has 64 bits less those of the largest position, 44 for a million words.
    """
    bits = np.uint64(int(positions[-1]).bit_length() if len(positions) else 0)
    merged = keys >> bits << bits | positions.astype(np.uint64)
    merged.sort()
    groups = merged >> bits
    is_first = np.ones(len(groups), np.bool_)
    is_first[1:] = groups[1:] != groups[:-1]
    return (merged ^ (groups << bits)).astype(np.int64), is_first


def top_ngram_characters(found: Tokens, spans_W: I64, positions: I64, is_first: NDArray[np.bool_]) -> I64:
    """(D,) characters in the occurrences of the n-gram that covers most of a document, 0 where none occurs twice.

    Args:
        found: documents.
        spans_W: characters in the n-gram that starts at a word.
        positions: result of `occurrences`, as is `is_first`.
    """
    characters = np.zeros(len(found.starts_D), np.int64)
    firsts = np.flatnonzero(is_first)
    covered = sums(spans_W[positions], np.append(firsts, len(positions)))
    several = np.diff(firsts, append=len(positions)) > 1
    np.maximum.at(characters, found.documents_W[positions[firsts[several]]], covered[several])
    return characters


def covered_words(starts: I64, words: int, count: int) -> NDArray[np.bool_]:
    """(count,) whether a word is in one of the runs of `words` words from the different `starts` on."""
    change = np.zeros(count + 1, np.int64)
    change[starts] += 1
    change[starts + words] -= 1
    return change.cumsum()[:-1] > 0


def line_signals(found: Tokens) -> dict[str, NDArray[np.float32]]:
    """Bullets, ellipses and repetitions among the lines that have a word."""
    lengths_W = found.word_ends_W - found.word_starts_W
    first_L, last_L = found.first_words_L1[:-1], found.first_words_L1[1:] - 1
    documents_L = found.documents_W[first_L]
    first_lines_D1 = np.searchsorted(documents_L, np.arange(len(found.starts_D) + 1))
    lines_D = np.diff(first_lines_D1)
    starts_L, ends_L = found.word_starts_W[first_L], found.word_ends_W[last_L]
    bullet_L = np.isin(found.codes_C[starts_L], [ord(bullet) for bullet in BULLETS])
    ellipsis_L = found.codes_C[ends_L - 1] == ELLIPSIS
    dots_L = np.logical_and.reduce([found.codes_C[np.maximum(ends_L - back, 0)] == FULL_STOP for back in (1, 2, 3)])
    place_W = np.arange(len(lengths_W)) - np.repeat(first_L, np.diff(found.first_words_L1))
    terms_W = found.hashes_W * mixed(place_W.astype(np.uint64) + np.uint64(1))
    hashes_L = np.add.reduceat(terms_W, first_L) if len(first_L) else terms_W
    lines, is_first = occurrences(hashes_L + mixed(documents_L.astype(np.uint64)), np.arange(len(first_L)))
    repeated_L = np.zeros(len(first_L), np.bool_)
    repeated_L[lines] = ~is_first
    characters_L = sums(lengths_W, found.first_words_L1)
    return {
        "bullet_line_fraction": ratio(sums(bullet_L, first_lines_D1), lines_D),
        "ellipsis_line_fraction": ratio(sums(ellipsis_L | dots_L, first_lines_D1), lines_D),
        "repeated_line_fraction": ratio(sums(repeated_L, first_lines_D1), lines_D),
        "repeated_line_character_fraction": ratio(
            sums(characters_L * repeated_L, first_lines_D1), sums(characters_L, first_lines_D1)
        ),
    }


@lru_cache(maxsize=1)
def _stop_words() -> U64:
    return tokens(pl.Series(STOP_WORDS)).hashes_W


@lru_cache(maxsize=1)
def _phrase_hashes() -> dict[int, pl.Series]:
    """Number of words -> the hashes that `growing_hashes` gives BOILERPLATE's phrases of so many."""
    phrases: dict[int, list[int]] = {}
    for phrase in BOILERPLATE:
        words = tokens(pl.Series([phrase])).hashes_W
        *_, whole = growing_hashes(words, len(words))
        phrases.setdefault(len(words), []).append(int(whole[0]))
    return {words: pl.Series(hashes, dtype=pl.UInt64) for words, hashes in phrases.items()}


def word_signals(found: Tokens) -> dict[str, NDArray[Any]]:
    """Kinds of words, runs of words that come again, and phrases of websites."""
    firsts_D1, lengths_W = found.first_words_D1, found.word_ends_W - found.word_starts_W
    words_D, characters_D = np.diff(firsts_D1), sums(lengths_W, firsts_D1)
    letters_C1 = np.zeros(len(found.codes_C) + 1, np.int32)
    np.cumsum(_IS_LETTER.take(found.classes_C), out=letters_C1[1:])
    alphabetic_W = letters_C1[found.word_ends_W] > letters_C1[found.word_starts_W]
    signals: dict[str, NDArray[Any]] = {
        "whitespace_words": words_D.astype(np.uint32),
        "mean_word_characters": ratio(characters_D, words_D),
        "alphabetic_word_fraction": ratio(sums(alphabetic_W, firsts_D1), words_D),
        "stop_words": np.array([sums(found.hashes_W == word, firsts_D1) > 0 for word in _stop_words()]).sum(
            0, np.uint8
        ),
    }
    boilerplate_W = np.zeros(len(lengths_W), np.bool_)
    ends_W = np.append(0, lengths_W.cumsum())
    salts_W = mixed(found.documents_W.astype(np.uint64))
    for words, hashes in enumerate(growing_hashes(found.hashes_W, max(REPEATED_WORDS)), 1):
        inside = found.documents_W[: len(hashes)] == found.documents_W[words - 1 :]
        if words in _phrase_hashes():
            starts = np.flatnonzero(inside & pl.Series(hashes).is_in(_phrase_hashes()[words].implode()).to_numpy())
            boilerplate_W |= covered_words(starts, words, len(lengths_W))
        if words not in TOP_WORDS + REPEATED_WORDS:
            continue
        starts = np.flatnonzero(inside)
        positions, is_first = occurrences(hashes[starts] + salts_W[starts], starts)
        if words in TOP_WORDS:
            characters = top_ngram_characters(found, ends_W[words:] - ends_W[:-words], positions, is_first)
            signals[f"top_{words}gram_fraction"] = np.minimum(ratio(characters, characters_D), 1)
        else:
            repeated_W = covered_words(positions[~is_first], words, len(lengths_W))
            signals[f"repeated_{words}gram_fraction"] = ratio(sums(lengths_W * repeated_W, firsts_D1), characters_D)
    signals["boilerplate_word_fraction"] = ratio(sums(boilerplate_W, firsts_D1), words_D)
    return signals


def character_signals(found: Tokens) -> dict[str, NDArray[np.float32]]:
    """Shares of digits, symbols and rare trigrams."""

    def counts(which_C: NDArray[np.bool_]) -> I64:
        counted: I64 = np.add.reduceat(which_C, found.starts_D, dtype=np.int64)
        return counted

    classes, codes = found.classes_C, found.codes_C
    dots = (
        (codes[:-3] != FULL_STOP) & (codes[1:-2] == FULL_STOP) & (codes[2:-1] == FULL_STOP) & (codes[3:] == FULL_STOP)
    )
    symbols = (codes == ELLIPSIS) | (codes == ord("#"))
    symbols[1 : 1 + len(dots)] |= dots
    rare = np.zeros(len(codes), np.bool_)
    rare[1:-1] = rare_trigrams().take(trigram_numbers(classes))
    letters = (classes > SPACE) & (classes <= LAST_LETTER)
    for word in np.flatnonzero(found.word_ends_W - found.word_starts_W > ADDRESS_CHARACTERS):
        address = slice(found.word_starts_W[word], found.word_ends_W[word])
        rare[address] = letters[address] = False
    words_D = np.diff(found.first_words_D1)
    return {
        "symbol_word_ratio": ratio(counts(symbols), words_D),
        "digit_fraction": ratio(counts(classes == DIGIT), counts(classes != SPACE)),
        "rare_trigram_fraction": ratio(counts(rare), counts(letters)),
    }


def signals(texts: pl.Series) -> pl.DataFrame:
    """The signals of each text, one row each; shares are of 1, and 0 where there is nothing to divide by.

    Words are what stands between white space, lines those with a word; letters and digits are Unicode's. Where words, lines
    and n-grams are compared, case and the punctuation after them do not count.

    Args:
        texts: not null.
    Returns:
        whitespace_words: words.
        mean_word_characters: characters in a word.
        alphabetic_word_fraction: of words, with at least one letter.
        stop_words: how many of STOP_WORDS occur, 0 to 8.
        symbol_word_ratio: number signs and ellipses ("…" or three or more full stops) for each word.
        digit_fraction: of characters that are not white space.
        rare_trigram_fraction: of the trigrams around the letters a to z, not in stages/lib/trigrams.txt; words longer than
            ADDRESS_CHARACTERS do not count.
        boilerplate_word_fraction: of words, in one of the phrases BOILERPLATE.
        bullet_line_fraction, ellipsis_line_fraction: of lines, beginning with one of BULLETS, ending in an ellipsis.
        repeated_line_fraction: of lines, those that stood earlier in the text.
        repeated_line_character_fraction: of characters of words, those in such lines.
        top_2gram_fraction, top_3gram_, top_4gram_: of characters of words, those in the occurrences of the n-gram that
            covers most, unless it occurs once.
        repeated_5gram_fraction, repeated_10gram_: of characters of words, those in n-grams that stood earlier.
        language, language_fraction: as in stages/lib/language.py.
    """
    block = (texts.str.len_bytes().cast(pl.Int64).cum_sum() // BLOCK_BYTES).alias("block")
    blocks = pl.DataFrame({"text": texts, "block": block}).partition_by("block", maintain_order=True)
    columns = []
    for rows in blocks or [texts.to_frame("text")]:
        found = tokens(rows["text"])
        columns.append(pl.DataFrame(word_signals(found) | line_signals(found) | character_signals(found)))
    return pl.concat([pl.concat(columns), languages(texts)], how="horizontal")


class Quality(Section):
    """The section `quality`: what a document may look like. Fractions are those of `signals`."""

    maximum_digit_fraction: float = Field(ge=0, le=1, description="digits among characters")
    minimum_alphabetic_word_fraction: float = Field(ge=0, le=1, description="words with a letter")
    languages: tuple[str, ...] = Field(min_length=1, description="ISO 639-1 codes of the languages to keep")
    foreign_language_fraction: float = Field(
        gt=0, le=1, description="share of the text in another language from which on a document is dropped"
    )
    maximum_rare_trigram_fraction: float = Field(ge=0, le=1, description="trigrams that English does not have")
    minimum_mean_word_characters: float = Field(ge=0, description="characters in a word, mean")
    maximum_mean_word_characters: float = Field(gt=0, description="characters in a word, mean")
    maximum_symbol_word_ratio: float = Field(ge=0, description="number signs and ellipses for each word")
    maximum_bullet_line_fraction: float = Field(ge=0, le=1, description="lines that begin with a bullet")
    maximum_ellipsis_line_fraction: float = Field(ge=0, le=1, description="lines that end in an ellipsis")
    maximum_repeated_line_fraction: float = Field(ge=0, le=1, description="lines that stood earlier")
    maximum_repeated_line_character_fraction: float = Field(ge=0, le=1, description="characters in such lines")
    maximum_top_2gram_fraction: float = Field(ge=0, le=1, description="characters in the top word 2-gram")
    maximum_top_3gram_fraction: float = Field(ge=0, le=1, description="characters in the top word 3-gram")
    maximum_top_4gram_fraction: float = Field(ge=0, le=1, description="characters in the top word 4-gram")
    maximum_repeated_5gram_fraction: float = Field(ge=0, le=1, description="characters in 5-grams that stood earlier")
    maximum_repeated_10gram_fraction: float = Field(ge=0, le=1, description="characters in 10-grams that stood earlier")
    maximum_boilerplate_word_fraction: float = Field(ge=0, le=1, description="words in phrases of websites")
    minimum_stop_words: int = Field(ge=0, le=len(STOP_WORDS), description="different stop words")


class Rule(NamedTuple):
    """A reason to drop a document; `fails` gives an expression over the signals, `signal` the one to show."""

    name: str
    signal: str
    fails: Callable[[Quality], pl.Expr]


def _above(name: str, signal: str) -> Rule:
    return Rule(name, signal, lambda quality: pl.col(signal) > getattr(quality, f"maximum_{signal}"))


def _below(name: str, signal: str) -> Rule:
    return Rule(name, signal, lambda quality: pl.col(signal) < getattr(quality, f"minimum_{signal}"))


RULES = (
    _above("digits", "digit_fraction"),
    _below("no_words", "alphabetic_word_fraction"),
    Rule(
        "foreign_language",
        "language_fraction",
        lambda quality: (
            ~pl.col("language").is_in([*quality.languages, UNKNOWN])
            & (pl.col("language_fraction") >= quality.foreign_language_fraction)
        ),
    ),
    _above("garbled", "rare_trigram_fraction"),
    _below("short_words", "mean_word_characters"),
    _above("long_words", "mean_word_characters"),
    _above("symbols", "symbol_word_ratio"),
    _above("bullets", "bullet_line_fraction"),
    _above("ellipses", "ellipsis_line_fraction"),
    _above("repeated_lines", "repeated_line_fraction"),
    _above("repeated_line_characters", "repeated_line_character_fraction"),
    *(_above(f"top_{words}gram", f"top_{words}gram_fraction") for words in TOP_WORDS),
    *(_above(f"repeated_{words}grams", f"repeated_{words}gram_fraction") for words in REPEATED_WORDS),
    _above("boilerplate", "boilerplate_word_fraction"),
    _below("few_stop_words", "stop_words"),
)
"""In the order in which they are asked: what a document is comes before how it repeats itself."""


INSTRUCTION_RULES = tuple(rule for rule in RULES if rule.name in ("digits", "no_words", "foreign_language"))
"""Those that make sense for a conversation: a question of ten words may repeat a name, and lacks stop words."""


def failures(signals: pl.DataFrame, quality: Quality, rules: Sequence[Rule] = RULES) -> pl.DataFrame:
    """One Boolean column for each rule, whether a document breaks it; a threshold itself is still allowed."""
    return signals.select(rule.fails(quality).alias(rule.name) for rule in rules)


def reasons(signals: pl.DataFrame, quality: Quality, rules: Sequence[Rule] = RULES) -> pl.DataFrame:
    """`reason`, the name of the first rule that each document breaks, and `detail`, what was measured; null where none.

    Args:
        signals: result of the function `signals`.
        quality: the section.
        rules: in this order.
    """
    broken = failures(signals, quality, rules)
    names = [pl.when(pl.col(rule.name)).then(pl.lit(rule.name)) for rule in rules]
    shown = [
        pl.when(pl.col(rule.name)).then(pl.format(f"{rule.signal} {{}}", signals[rule.signal].round(4)))
        for rule in rules
    ]
    return broken.select(pl.coalesce(names).alias("reason"), pl.coalesce(shown).alias("detail"))
