"""Signals of document quality, and the thresholds on them.

`signals` looks at the text, `reasons` only at its numbers, so that changing a threshold reads no text again. The rules are
those of Gopher and of its repetition filter, on words between white space: splitting off punctuation, as datatrove does,
counts "(p = 0.03)" as several words of which one is alphabetic, and its defaults drop 45 % of biomedical text. Two signals
are added: letters in an order that English does not have (scanning errors), and phrases of website furniture. Left out
are 6- to 9-grams and paragraphs (what they repeat, 5-grams and lines repeat too, and 5 and 10 bracket their thresholds),
and the word count, which is `select.minimum_words`.

60 MB/s on one core without the language; with it 17 MB/s on abstracts, 49 on articles. In compiled loops over code points,
n-grams in a hash table: in numpy, by sorting, it was 16 to 21 MB/s.

With the thresholds of profiles/real-small.yaml 1.0 % of the abstracts, 1.2 % of the articles, 0.1 % of the notes and 3.7 %
of the drug labels go (documents that the trigrams were not taken from), and 13 % of a wiki in Markdown: style sheets, lists
of links, stubs, and lists of abbreviations. Of planted junk (tests/junk.py) are found 99 % of the pages with 5 to 35 % of
the characters misread (96 % of those with 5 %), all tables of numbers, all boilerplate (98 % where its own phrases are not
on the list), and 99 % of the foreign text (two or three sentences of Russian are too little for CLD2 to be sure).

Source: Rae et al. 2021, Scaling Language Models, table A1, arXiv 2112.11446.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from stages.lib.compiled import compiled, inlined
from stages.lib.keys import Keys, find, keys
from stages.lib.language import UNKNOWN, languages
from stages.lib.section import Section
from stages.lib.shingles import BASE, I64, NO_WORDS, U64, Runs, characters, mix, mixed, run_hashes
from stages.lib.trigrams import (
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
(
    WORDS, CHARACTERS, ALPHABETIC_WORDS, STOPS, BOILERPLATE_WORDS, SYMBOLS, DIGITS, LETTERS,
    RARE_TRIGRAMS, LINES, BULLET_LINES, ELLIPSIS_LINES, REPEATED_LINES, REPEATED_LINE_CHARACTERS, FIRST_NGRAM,
) = range(15)  # fmt: skip
_NGRAMS = np.array(TOP_WORDS + REPEATED_WORDS)

_ELLIPSIS, _FULL_STOP, _NUMBER_SIGN, _LINE_END = (np.uint32(ord(character)) for character in "….#\n")
_BULLET_CODES = np.array([ord(bullet) for bullet in BULLETS], np.uint32)


@lru_cache(maxsize=1)
def _letter_values() -> U64:
    """A random value for each character below U+10000, one for both cases, 0 for all but letters and digits."""
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


class Table(NamedTuple):
    """A hash table with open addressing, of which a part as large as its entries need is used; a key of 0 is a free place."""

    keys: U64
    sums: I64
    firsts: I64


@inlined
def _place(keys: U64, key: np.uint64, mask: int) -> int:
    """Where `key` is in a table, or the free place where it belongs."""
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
    """Fill `words`, and the counts of characters, from one document, which a line end precedes and follows."""
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
def _read_lines(codes: NDArray[np.uint32], words: Words, table: Table, mask: int, counts: I64) -> None:
    """Count the lines that have a word, and those of them that stood earlier."""
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
def _read_ngrams(words: Words, table: Table, mask: int, repeated: NDArray[np.uint8], counts: I64) -> None:
    """For each length of n-gram, the characters of the top one, or of those that stood earlier.

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
    """Count the different stop words, and the words in one of the `phrases`.

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
    table = Table(np.empty(size, np.uint64), np.empty(size, np.int64), np.empty(size, np.int64))
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
    """Of BOILERPLATE: the first words, the phrases, and the number of words in the longest."""
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


def ratio(part_D: I64, whole_D: I64) -> NDArray[np.float32]:
    """Their ratio, 0 where there is nothing to divide by."""
    fractions: NDArray[np.float32] = (part_D / np.maximum(whole_D, 1)).astype(np.float32)
    return fractions


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
    of = counts(texts)
    fractions = {
        "mean_word_characters": (of["characters"], of["words"]),
        "alphabetic_word_fraction": (of["alphabetic_words"], of["words"]),
        "symbol_word_ratio": (of["symbols"], of["words"]),
        "digit_fraction": (of["digits"], of["characters"]),
        "rare_trigram_fraction": (of["rare_trigrams"], of["letters"]),
        "boilerplate_word_fraction": (of["boilerplate_words"], of["words"]),
        **{f"{kind}_line_fraction": (of[f"{kind}_lines"], of["lines"]) for kind in ("bullet", "ellipsis", "repeated")},
        "repeated_line_character_fraction": (of["repeated_line_characters"], of["characters"]),
        **{
            f"top_{words}gram_fraction": (np.minimum(of[f"top_{words}gram"], of["characters"]), of["characters"])
            for words in TOP_WORDS
        },
        **{
            f"repeated_{words}gram_fraction": (of[f"repeated_{words}gram"], of["characters"])
            for words in REPEATED_WORDS
        },
    }
    columns = {
        "whitespace_words": of["words"].astype(np.uint32),
        "stop_words": of["stop_words"].astype(np.uint8),
        **{name: ratio(part, whole) for name, (part, whole) in fractions.items()},
    }
    return pl.concat([pl.DataFrame(columns), languages(texts)], how="horizontal")


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
