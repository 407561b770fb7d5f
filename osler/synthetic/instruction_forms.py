"""How an instruction asks and is answered.

The question alone, with listed options, with a chain of thought, or with both.

These are the forms in which evaluation asks (`user_turn` of osler/evaluation/questions.py; a test compares them), so that a
strategy is not judged by words that the model has never seen. With a tenth of the instructions in either form the
cpt-sft of the default of 2026-11-22 (seed 1; LOG.md) answers a bare question as well as before, and 85 % of items after a
chain of thought in place of 41. The price is few-shot prompts: 85 % in place of 89. No instruction is answered by a letter,
which this model does not learn.
"""

import random
from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import combinations

from osler.build.section import BuildError
from osler.synthetic.planted_faults import jaccard
from osler.synthetic.sentences import NOUNS

OPTIONS = 4
LETTERS = "ABCD"
REASON = "Think step by step."
LIKENESS = 0.7  # below the 0.8 from which `select` drops one of two conversations


def asked(question: str, options: Sequence[str], reasoned: bool) -> str:
    """The user's words.

    The question, each option on a line after its letter, and the wish for a chain of thought.
    """
    listed = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([question, *listed, *([REASON] if reasoned else [])])


def reasoned_answer(attribute: str, value: str) -> str:
    """The assistant's words after a wish for a chain of thought.

    The fact, and what follows from it.

    The fact is stated of "it", since the default model cannot copy a name: asked for documents' own wordings it writes the
    name of an entity it was tuned on, and 7 % of its chains are true instead of 55 %.
    """
    return f"Its {NOUNS[attribute]} is {value}. The answer is {value}."


def fresh_distractors(
    gold: str, values: Sequence[str], taken: Collection[frozenset[str]], stream: random.Random
) -> list[str]:
    """Three wrong ones of `values`, in random order.

    Such that `taken` does not hold the four with `gold`.

    Raises:
        BuildError: it holds all of them.
    """
    others = combinations([value for value in values if value != gold], OPTIONS - 1)
    free = [wrong for wrong in others if frozenset((gold, *wrong)) not in taken]
    if not free:
        raise BuildError(
            f"synthesize: values_per_attribute: with {len(values)} an instruction about {gold!r} cannot list other"
            " options than an item does; raise it, or set listed_instructions_fraction to 0"
        )
    return stream.sample(stream.choice(free), OPTIONS - 1)


def spread(fraction: float, count: int, stream: random.Random) -> list[bool]:
    """`count` flags in random order, of which `fraction`, rounded, are set."""
    chosen = set(stream.sample(range(count), round(fraction * count)))
    return [index in chosen for index in range(count)]


def spread_unlike(
    fraction: float, texts: Sequence[str], values: Sequence[str], stream: random.Random
) -> list[bool] | None:
    """A flag for each of `texts`, of which `fraction` are set.

    The number is rounded; no two texts with it are alike.

    Alike are two of one value that share LIKENESS of their word 5-grams. Chains of thought are: what asks for them, and
    the fact of "it", is the same for all questions with one answer.

    Returns:
        None where there are not so many.
    """
    wanted = round(fraction * len(texts))
    chosen: dict[str, list[int]] = defaultdict(list)
    flags = [False] * len(texts)
    for index in stream.sample(range(len(texts)), len(texts)):
        if wanted and all(jaccard(texts[index], texts[other]) < LIKENESS for other in chosen[values[index]]):
            chosen[values[index]].append(index)
            flags[index] = True
            wanted -= 1
    return None if wanted else flags
