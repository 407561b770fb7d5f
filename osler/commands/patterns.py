"""Regular expressions of params, tried on the texts that they may take longest for.

Python's engine goes back and tries again: `(?:a|a)*b` takes twice as long for each letter more, and cannot be interrupted.
So each is tried in a process of its own (osler/build/bounded.py). One that takes time by the square of a text's length passes,
one that takes it by the third power does not. `split` of a source is the only one there is; the others of the code are its own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from re import _parser as parser  # type: ignore[attr-defined] # no part of the typed interface, and the same in 3.11 to 3.14
from typing import Any

from osler.build.bounded import LimitReached, bounded
from osler.build.section import BuildError
from osler.build.validation import PARAMS

CHARACTERS = 1000  # of each text that a pattern is tried on
SECONDS = 2.0  # for all of them: what a usual pattern needs is a hundredth
MOST_TEXTS = 200
USUAL = ("a", "0", " ", "\n", "\t", "_", "-", "=", "é", "a ", "a\n", " \n", "0.", "Aa ")
STRANGE = "\x01"  # that no pattern expects: what all but matches ends in it
CATEGORIES = {"DIGIT": "0", "SPACE": " ", "WORD": "a", "NOT_DIGIT": "a", "NOT_SPACE": "a", "NOT_WORD": " "}
ALTERNATIVES = 3  # of a choice that are tried
Nodes = Sequence[tuple[Any, Any]]  # of a pattern, as the engine's own parser has them


def _member(items: Nodes) -> str:
    """A character of a set such as [^a-z]."""
    (first, value), *rest = items
    if str(first) == "NEGATE":
        taken = {_member([one]) for one in rest}
        return next((character for character in "a0 b\n_" if character not in taken), STRANGE)
    if str(first) == "CATEGORY":
        return CATEGORIES.get(str(value).removeprefix("CATEGORY_"), "a")
    return chr(value[0] if str(first) == "RANGE" else value)


def sample(nodes: Nodes, choice: int = 0) -> str:
    """A text that `nodes` match, or nearly.

    Of alternatives it takes number `choice`, or the last.
    """
    text = ""
    for kind, value in nodes:
        match str(kind):
            case "LITERAL":
                text += chr(value)
            case "NOT_LITERAL":
                text += "b" if chr(value) == "a" else "a"
            case "ANY":
                text += "a"
            case "IN":
                text += _member(value)
            case "BRANCH":
                text += sample(value[1][min(choice, len(value[1]) - 1)], choice)
            case "SUBPATTERN":
                text += sample(value[-1], choice)
            case "ATOMIC_GROUP":
                text += sample(value, choice)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                text += sample(value[2], choice) * min(max(value[0], 1), CHARACTERS)
            case "ASSERT":
                text += sample(value[1], choice)
    return text[:CHARACTERS]


def repeated(nodes: Nodes, before: str = "") -> Iterator[tuple[str, str]]:
    """What the pattern repeats, each with what stands before it."""
    for place, (kind, value) in enumerate(nodes):
        here = before + sample(nodes[:place])
        match str(kind):
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                yield from ((here, sample(value[2], choice)) for choice in range(ALTERNATIVES))
                yield from repeated(value[2], here)
            case "BRANCH":
                for alternative in value[1]:
                    yield from repeated(alternative, here)
            case "SUBPATTERN":
                yield from repeated(value[-1], here)
            case "ATOMIC_GROUP":
                yield from repeated(value, here)
            case "ASSERT" | "ASSERT_NOT":
                yield from repeated(value[1], here)


def hard_texts(pattern: str) -> list[str]:
    """Texts that `pattern` nearly matches in many ways.

    What it repeats, repeated, and an end that does not fit.
    """
    own = [(before, unit) for before, unit in repeated(list(parser.parse(pattern))) if unit]
    units = dict.fromkeys([*own, *(("", unit) for unit in USUAL)])
    runs = [before + (unit * CHARACTERS)[:CHARACTERS] for before, unit in units]
    return [f"{run}{end}" for run in runs for end in ("", STRANGE)][:MOST_TEXTS]


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
                bounded(_split_all, section["split"], seconds=SECONDS)
            except LimitReached as limit:
                raise BuildError(
                    f"{PARAMS}: source.{name}.split: takes {limit} on {CHARACTERS} characters; write it so that a text"
                    " matches in one way only: no repetition inside of a repetition, no alternatives that begin alike"
                ) from None
