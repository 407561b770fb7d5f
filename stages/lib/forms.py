"""How an instruction asks and is answered: the question alone, with listed options, with a chain of thought, or with both.

These are the forms in which evaluation asks (`user_turn` of stages/lib/prompts.py; a test compares them), so that a
strategy is not judged by words that the model has never seen.
"""

import random
from collections.abc import Collection, Sequence
from itertools import combinations

from stages.lib.renderings import sentence
from stages.lib.section import BuildError

OPTIONS = 4
LETTERS = "ABCD"
REASON = "Think step by step."


def asked(question: str, options: Sequence[str], reasoned: bool) -> str:
    """The user's words: the question, each option on a line after its letter, and the wish for a chain of thought."""
    listed = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([question, *listed, *([REASON] if reasoned else [])])


def reasoned_answer(statement: str, answer: str) -> str:
    """The assistant's words after a wish for a chain of thought: the fact, and what follows from it."""
    return f"{sentence(statement)} The answer is {answer}."


def fresh_options(
    gold: str, values: Sequence[str], taken: Collection[frozenset[str]], stream: random.Random
) -> list[str]:
    """`gold` and three other `values` in random order, such that `taken` does not hold the four.

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
    return stream.sample([gold, *stream.choice(free)], OPTIONS)


def spread(fraction: float, count: int, stream: random.Random) -> list[bool]:
    """`count` flags in random order, of which `fraction`, rounded, are set."""
    chosen = set(stream.sample(range(count), round(fraction * count)))
    return [index in chosen for index in range(count)]
