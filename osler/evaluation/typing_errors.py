"""Questions with typing errors: what accuracy is when somebody types in a hurry.

A share of the words of a test item's question and context gets one error each: two neighboring letters change places, one is
left out, typed twice, or hit on the key beside it. Words of fewer than four letters, numbers, words with a digit and options
stay as they are: a dose or an option with an error would be another question. The first letter stays too.

The kinds are those of synthetic noise in Belinkov & Bisk 2018, arXiv 1711.02173 (swaps and keyboard), with two more.
"""

import random
import re
from dataclasses import replace

from osler.evaluation.benchmark_formats import RawItem

WORD = re.compile(r"\w+")
SHORTEST = 4  # letters of a word that may get an error
ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
BESIDE = {
    key: "".join(row[at] for at in (place - 1, place + 1) if 0 <= at < len(row))
    for row in ROWS
    for place, key in enumerate(row)
}
"""Keys left and right of a key, on a US keyboard."""


def _mistyped(word: str, stream: random.Random) -> str:
    """The word with one error; another word than before where its letters allow it."""
    place = stream.randrange(1, len(word))
    kind = stream.choice(("swapped", "left out", "twice", "beside"))
    letter = word[place]
    if kind == "swapped":
        last = min(place, len(word) - 2)  # of the two that change places, the first
        return word[:last] + word[last + 1] + word[last] + word[last + 2 :]
    if kind == "left out":
        return word[:place] + word[place + 1 :]
    if kind == "twice" or letter.lower() not in BESIDE:
        return word[:place] + letter + word[place:]
    hit = stream.choice(BESIDE[letter.lower()])
    return word[:place] + (hit.upper() if letter.isupper() else hit) + word[place + 1 :]


def with_errors(text: str, share: float, key: str) -> str:
    """The text in which each long word has an error by chance.

    Args:
        share: probability of each word of at least four letters and no digit.
        key: of the draws: the same key, the same errors.
    """
    stream = random.Random(f"typing errors/{key}")

    def typed(found: re.Match[str]) -> str:
        word = found[0]
        if len(word) < SHORTEST or not word.isalpha() or stream.random() >= share:
            return word
        return _mistyped(word, stream)

    return WORD.sub(typed, text)


def mistyped(item: RawItem, share: float) -> RawItem:
    """A test item with errors; one of dev as it is."""
    if item.split != "test":
        return item
    question, context = (
        with_errors(text, share, f"{item.id}/{part}")
        for part, text in (("question", item.question), ("context", item.context))
    )
    return replace(item, question=question, context=context)
