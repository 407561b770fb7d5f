"""Faults planted in a corpus: copies, near copies, leaks.

By them the stages that look for them can be graded.

What is planted is known exactly: near copies are accepted only after counting the word 5-grams that they share.
"""

import random
import re
from collections.abc import Sequence

SHINGLE_WORDS = 5

_FILLERS = ("indeed", "again", "clearly", "moreover", "likewise", "also", "overall", "further", "today", "still")
_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words of `text` in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def word_shingles(text: str) -> frozenset[tuple[str, ...]]:
    """The distinct word 5-grams of `text`; a shorter text is one shingle."""
    tokens = words(text)
    count = max(1, len(tokens) - SHINGLE_WORDS + 1)
    return frozenset(tuple(tokens[start : start + SHINGLE_WORDS]) for start in range(count))


def jaccard(one: str, other: str) -> float:
    """Shared over all distinct word 5-grams of two texts, 0 to 1."""
    left, right = word_shingles(one), word_shingles(other)
    return len(left & right) / len(left | right)


def disguised(text: str, stream: random.Random) -> str:
    """A copy of `text` that is equal, or nearly so.

    It differs in case only, in white space only or in punctuation only.
    """
    how = stream.choice(("same", "case", "space", "punctuation"))
    if how == "case":
        return text.lower()
    if how == "space":
        return text.replace(" ", "  ").replace("\n", "\n ") + "\n"
    if how == "punctuation":
        return text.replace(".", "!").replace(":", " -")
    return text


def near_copy(text: str, minimum_jaccard: float, stream: random.Random) -> str | None:
    """`text` with one or two of its words changed.

    Lower-case ones become fillers. It still shares at least `minimum_jaccard`.

    Args:
        text: at least 70 words, or the two rarely share enough.
        minimum_jaccard: of the word 5-grams, below 1.
        stream: source of randomness.
    Returns:
        The changed text, or None if 50 attempts found none that is similar enough.
    """
    places = list(re.finditer(r"\b[a-z]+\b", text))
    for _ in range(50):
        changed = text
        for place in sorted(stream.sample(places, stream.choice((1, 2))), key=lambda match: -match.start()):
            changed = changed[: place.start()] + stream.choice(_FILLERS) + changed[place.end() :]
        if minimum_jaccard <= jaccard(text, changed) < 1.0:
            return changed
    return None


def leak(
    text: str, question: str, options: Sequence[str], answer: int, show_options: bool, stream: random.Random
) -> str:
    """`text` with a benchmark question and its correct option inside.

    They stand between two of its sentences.
    """
    listed = f" Choices: {', '.join(options)}." if show_options else ""
    inserted = f" From an exam: {question}{listed} Correct: {options[answer]}."
    stops = [match.end() for match in re.finditer(r"\.(?= )", text)]
    place = stream.choice(stops)
    return text[:place] + inserted + text[place:]
