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
of links, stubs, and lists of abbreviations. Of planted junk (tests/support/junk.py) are found 99 % of the pages with 5 to 35 % of
the characters misread (96 % of those with 5 %), all tables of numbers, all boilerplate (98 % where its own phrases are not
on the list), and 99 % of the foreign text (two or three sentences of Russian are too little for CLD2 to be sure).

Source: Rae et al. 2021, Scaling Language Models, table A1, arXiv 2112.11446.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from osler.build.section import EACH_ONCE, Section
from osler.corpus.language import LANGUAGES, UNKNOWN, languages
from osler.corpus.text_counts import REPEATED_WORDS, STOP_WORDS, TOP_WORDS, counts
from osler.corpus.word_hashes import I64


def ratio(part_D: I64, whole_D: I64) -> NDArray[np.float32]:
    """Their ratio, 0 where there is nothing to divide by."""
    fractions: NDArray[np.float32] = (part_D / np.maximum(whole_D, 1)).astype(np.float32)
    return fractions


def signals(texts: pl.Series) -> pl.DataFrame:
    """The signals of each text, one row each.

    Shares are of 1, and 0 where there is nothing to divide by.

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
        replacement_character_fraction, digit_fraction: of characters that are not white space; the first are U+FFFD.
        rare_trigram_fraction: of the trigrams around the letters a to z, not in osler/corpus/trigrams.txt; words longer than
            ADDRESS_CHARACTERS do not count.
        boilerplate_word_fraction: of words, in one of the phrases BOILERPLATE.
        bullet_line_fraction, ellipsis_line_fraction: of lines, beginning with one of BULLETS, ending in an ellipsis.
        repeated_line_fraction: of lines, those that stood earlier in the text.
        repeated_line_character_fraction: of characters of words, those in such lines.
        top_2gram_fraction, top_3gram_, top_4gram_: of characters of words, those in the occurrences of the n-gram that
            covers most, unless it occurs once.
        repeated_5gram_fraction, repeated_10gram_: of characters of words, those in n-grams that stood earlier.
        language, language_fraction: as in osler/corpus/language.py.
    """
    of = counts(texts)
    unread = texts.str.count_matches("\ufffd", literal=True).to_numpy().astype(np.int64)
    fractions = {
        "mean_word_characters": (of["characters"], of["words"]),
        "alphabetic_word_fraction": (of["alphabetic_words"], of["words"]),
        "symbol_word_ratio": (of["symbols"], of["words"]),
        "replacement_character_fraction": (unread, of["characters"]),
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
    """The section `quality`: what a document may look like.

    Fractions are those of `signals`.
    """

    maximum_replacement_character_fraction: float = Field(
        ge=0, le=1, description="U+FFFD among characters: what an earlier reader could not decode"
    )
    maximum_digit_fraction: float = Field(ge=0, le=1, description="digits among characters")
    minimum_alphabetic_word_fraction: float = Field(ge=0, le=1, description="words with a letter")
    languages: Annotated[tuple[str, ...], EACH_ONCE] = Field(
        min_length=1, description="ISO 639-1 codes of the languages to keep, as CLD2 has them"
    )
    foreign_language_fraction: float = Field(
        gt=0, le=1, description="share of the text in another language from which on a document is dropped"
    )
    maximum_rare_trigram_fraction: float = Field(ge=0, le=1, description="trigrams that English does not have")
    minimum_mean_word_characters: float = Field(ge=0, le=1000, description="characters in a word, mean")
    maximum_mean_word_characters: float = Field(gt=0, le=1000, description="characters in a word, mean")
    maximum_symbol_word_ratio: float = Field(ge=0, le=1000, description="number signs and ellipses for each word")
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

    @field_validator("languages")
    @classmethod
    def _known(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [language for language in languages if language not in LANGUAGES]:
            raise ValueError(f"{unknown[0]} is no language that CLD2 finds; it finds {', '.join(sorted(LANGUAGES))}")
        return languages

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum_mean_word_characters > self.maximum_mean_word_characters:
            raise ValueError(
                "minimum_mean_word_characters is above maximum_mean_word_characters, so no document is left"
            )
        return self


class Rule(NamedTuple):
    """A reason to drop a document.

    `fails` gives an expression over the signals, `signal` the one to show; `key` is the threshold's, in the section.
    """

    name: str
    signal: str
    key: str
    fails: Callable[[Quality], pl.Expr]


def _above(name: str, signal: str) -> Rule:
    key = f"maximum_{signal}"
    return Rule(name, signal, key, lambda quality: pl.col(signal) > getattr(quality, key))


def _below(name: str, signal: str) -> Rule:
    key = f"minimum_{signal}"
    return Rule(name, signal, key, lambda quality: pl.col(signal) < getattr(quality, key))


RULES = (
    _above("replacement_characters", "replacement_character_fraction"),
    _above("digits", "digit_fraction"),
    _below("no_words", "alphabetic_word_fraction"),
    Rule(
        "foreign_language",
        "language_fraction",
        "languages",
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


INSTRUCTION_RULES = tuple(
    rule for rule in RULES if rule.name in ("replacement_characters", "digits", "no_words", "foreign_language")
)
"""Those that make sense for a conversation: a question of ten words may repeat a name, and lacks stop words."""


def failures(signals: pl.DataFrame, quality: Quality, rules: Sequence[Rule] = RULES) -> pl.DataFrame:
    """One Boolean column for each rule: who breaks it.

    A threshold itself is still allowed.
    """
    return signals.select(rule.fails(quality).alias(rule.name) for rule in rules)


def reasons(signals: pl.DataFrame, quality: Quality, rules: Sequence[Rule] = RULES) -> pl.DataFrame:
    """The first rule that each document breaks; null where none.

    `reason` is its name, and `detail` what was measured.

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
