"""What is asked of a model and what it answers.

Imports neither torch nor a tokenizer.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Prompt:
    """Chat turns, and the answers to score after them.

    A turn is (role, content), and the last one is the user's. `begun` is what the assistant has said already (a chain
    of thought and `The answer is`), before the answer. With `is_plain` there is one turn, whose text stands without a chat
    template, and options go on after it as they are spelled, blanks included.
    """

    turns: tuple[tuple[str, str], ...]
    options: tuple[str, ...]
    begun: str = ""
    is_plain: bool = False


@dataclass(frozen=True)
class Scored:
    """How likely each option is after a prompt.

    `sums` are natural log-probabilities of the whole option, in the prompt's order; `tokens` how many tokens each is.
    """

    sums: tuple[float, ...]
    tokens: tuple[int, ...]
    prompt_tokens: int
    truncated: bool


@dataclass(frozen=True)
class Sampling:
    """How text is generated.

    Temperature 0 takes the likeliest token, and `seed` then changes nothing. Below 1, `top_p` leaves to be drawn only the
    likeliest tokens that have that probability together.
    """

    limit_tokens: int
    temperature: float
    top_p: float = 1.0


@dataclass(frozen=True)
class Written:
    """What a model wrote after a prompt, without the end token.

    `tokens` counts what was generated, the end token too.
    """

    text: str
    tokens: int
    prompt_tokens: int
    truncated: bool


class Model(Protocol):
    """What protocols and strategies ask of a model.

    No result depends on what else is asked in the same call.
    """

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Scored]:
        """Score the options of each prompt."""
        ...

    def texts(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Written]:
        """Continue each prompt with its seed, without looking at its options."""
        ...

    def embeddings(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector a text, (texts, hidden size)."""
        ...


def seeded_rank(seed: int, *names: str) -> int:
    """A 64-bit number that looks random.

    It depends on nothing but the arguments, and is the seed of an item's own choices.
    """
    text = "\0".join([str(seed), *names])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
