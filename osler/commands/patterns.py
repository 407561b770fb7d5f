"""Regular expressions of params, tried on the texts that they may take longest for.

Python's engine goes back and tries again: `(?:a|a)*b` takes twice as long for each letter more, and cannot be interrupted.
So each is tried in a process of its own (osler/build/bounded.py). One that takes time by the square of a text's length passes,
one that takes it by the third power does not.
"""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from osler.build.bounded import LimitReached, bounded
from osler.build.section import BuildError
from osler.build.validation import PARAMS

CHARACTERS = 1000  # of each text that a pattern is tried on
MOST_CHARACTERS = 24  # of a pattern, that texts are made of
USUAL = ("a", "0", " ", "\n", "\t", "_", "-", "é", "a ", "a\n", "0.", "Aa ")
STRANGE = "\x01"  # that no pattern expects: what all but matches ends in it


def hard_texts(pattern: str) -> list[str]:
    """Texts that `pattern` nearly matches in many ways.

    Runs of each of its characters, of each two neighbors, and of its plain text, with and without an end that does not fit.
    """
    own = list(dict.fromkeys(pattern))[:MOST_CHARACTERS]
    plain = re.sub(r"\\.|[^\w\s=]", "", pattern)
    twos = list(dict.fromkeys(first + second for first, second in pairwise(plain)))[:MOST_CHARACTERS]
    units = dict.fromkeys((*USUAL, *own, *twos, *filter(None, (plain, plain[:-1], plain[1:]))))
    runs = [(unit * CHARACTERS)[:CHARACTERS] for unit in units]
    return [f"{run}{end}" for run in runs for end in ("", STRANGE)]


def _split_all(pattern: str) -> None:
    for text in hard_texts(pattern):
        re.split(pattern, text)


def check_patterns(params: Mapping[str, Any]) -> None:
    """A `split` must come to an end on any text.

    Raises:
        BuildError: names the source.
    """
    for name, section in params["source"].items():
        if section["format"] == "txt" and section["split"] is not None:
            try:
                bounded(_split_all, section["split"])
            except LimitReached as limit:
                raise BuildError(
                    f"{PARAMS}: source.{name}.split: takes {limit} on {CHARACTERS} characters; write it so that a text"
                    " matches in one way only: no repetition inside of a repetition, no alternatives that begin alike"
                ) from None
