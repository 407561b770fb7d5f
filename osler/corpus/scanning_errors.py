"""Which characters follow each other in English.

By that sign scanning errors are told from rare words.

Characters fall into the 31 classes of ALPHABET: white space, the 26 letters without case, digits, symbols, common
punctuation, and letters of other alphabets. Of the 24,986 trigrams with one of the 26 letters in the middle trigrams.txt
lists 6,644, those with a share of at least 1e-6 in English: a line for each first two characters, all thirds on it.

On the odd-numbered documents the 95th percentile of the share that is not listed is 0.4 % for notes, 1.0 % for abstracts and
1.3 % for articles; pages with 5 % of their characters misread have 3.6 % in the middle. Unlike a word list of any size it
lets the next drug's name pass. It says nothing about text in another language.

Source of the list: bench/common_trigrams.py, over the even-numbered documents of the sources in profiles/real-small.yaml
(articles, notes, abstracts, drug labels, two textbooks, encyclopedia), each source with the same weight.
"""

import unicodedata
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ALPHABET = "_abcdefghijklmnopqrstuvwxyz0~.é"
SPACE, LAST_LETTER, DIGIT, SYMBOL, PUNCTUATION, OTHER_LETTER = 0, 26, 27, 28, 29, 30
TRIGRAMS = Path(__file__).with_name("trigrams.txt")


def _class(code: int) -> int:
    character = chr(code)
    if character.isascii() and character.isalpha():
        return ALPHABET.index(character.lower())
    if character.isspace():
        return SPACE
    if character in ".,;:'\"()-/[]%&?!’‘“”–—":
        return PUNCTUATION
    match unicodedata.category(character)[0]:
        case "L" | "M":
            return OTHER_LETTER
        case "N":
            return DIGIT
        case _:
            return SYMBOL


@lru_cache(maxsize=1)
def character_classes() -> NDArray[np.uint8]:
    """The class of each code point below U+10000.

    An index into ALPHABET. Those above count as the last, a symbol.
    """
    return np.array([_class(code) for code in range(1 << 16)], np.uint8)


def trigram_numbers(classes_C: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """(C - 2,) numbers of trigrams, below 31 cubed.

    They are those around all characters but the first and the last.
    """
    numbers = classes_C[:-2].astype(np.uint16)
    for following in (classes_C[1:-1], classes_C[2:]):
        numbers *= np.uint16(len(ALPHABET))
        numbers += following
    return numbers


@lru_cache(maxsize=1)
def rare_trigrams() -> NDArray[np.bool_]:
    """(29791,) which trigrams are rare.

    They have a letter in the middle and are not listed.
    """
    classes = np.arange(len(ALPHABET))
    rare = np.zeros((len(ALPHABET),) * 3, np.bool_)
    rare[:, (classes > SPACE) & (classes <= LAST_LETTER), :] = True
    for line in TRIGRAMS.read_text(encoding="utf-8").splitlines():
        first, middle, *thirds = (ALPHABET.index(character) for character in line)
        rare[first, middle, thirds] = False
    return rare.ravel()
