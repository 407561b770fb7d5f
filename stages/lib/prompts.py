"""Benchmark items, the prompts made from them, and what a model answers to a prompt.

A prompt is a list of chat turns, never a string: the tokenizer's chat template writes it, so that every model, tuned
or not, reads the text that fine-tuning used. How an answer is read off a prompt is a protocol's business
(stages/lib/protocols.py), what stands before the question a strategy's (stages/lib/strategies). Nothing here imports
torch.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

PREDICTIONS = pl.Schema(
    [
        ("item_id", pl.String),
        ("benchmark", pl.String),
        ("group", pl.String),
        ("protocol", pl.String),
        ("seed", pl.Int64),
        ("draw", pl.Int64),  # of the exemplars, from 0: a strategy may answer an item several times
        ("prediction", pl.Int64),  # null: no answer could be read, which counts as wrong
        ("gold", pl.Int64),
        ("correct", pl.Boolean),
        ("scores", pl.List(pl.Float64)),  # of the options in item order, in the protocol's unit
        ("prompt_tokens", pl.Int64),  # read, summed over all prompts that the answer took
        ("generated_tokens", pl.Int64),
        ("truncated", pl.Boolean),  # a prompt lost its left end to fit the model
        ("texts", pl.List(pl.String)),  # what was generated, in order
    ]
)


@dataclass(frozen=True)
class Item:
    """One multiple-choice question. `group` is the fact or document it is about: its items are not independent."""

    item_id: str
    benchmark: str
    group: str
    split: str
    question: str
    context: str
    options: tuple[str, ...]
    answer: int


@dataclass(frozen=True)
class Prompt:
    """Chat turns as (role, content), the last of them the user's, and the answers to score after them.

    `begun` is what the assistant has said already (a chain of thought and `The answer is`), before the answer.
    """

    turns: tuple[tuple[str, str], ...]
    options: tuple[str, ...]
    begun: str = ""


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
    """How text is generated: temperature 0 takes the likeliest token, and `seed` then changes nothing."""

    limit_tokens: int
    temperature: float


@dataclass(frozen=True)
class Written:
    """What a model wrote after a prompt, without the end token; `tokens` counts what was generated, that one too."""

    text: str
    tokens: int
    prompt_tokens: int
    truncated: bool


class Model(Protocol):
    """What protocols and strategies ask of a model. No result depends on what else is asked in the same call."""

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Scored]:
        """Score the options of each prompt."""
        ...

    def texts(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Written]:
        """Continue each prompt (its options are not looked at); a seed for each."""
        ...

    def embeddings(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector a text, (texts, hidden size)."""
        ...


@dataclass(frozen=True)
class Answer:
    """What was read off a prompt, options in the prompt's order; `choice` None when there was nothing to read."""

    choice: int | None
    scores: tuple[float, ...]
    prompt_tokens: int
    generated_tokens: int
    truncated: bool
    texts: tuple[str, ...] = ()


def items_of(frame: pl.DataFrame) -> list[Item]:
    """The rows of a `data/items` frame, by item_id."""
    return [Item(**row | {"options": tuple(row["options"])}) for row in frame.sort("item_id").iter_rows(named=True)]


def seeded_rank(seed: int, *names: str) -> int:
    """A 64-bit number that looks random and depends on nothing but the arguments: the seed of an item's own choices."""
    text = "\0".join([str(seed), *names])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def limited(items: Sequence[Item], limit_items: int | None, seed: int) -> list[Item]:
    """At most `limit_items` items of each benchmark, those of lowest seeded rank, in the order given.

    Whether an item is in depends on the seed and on the items of its own benchmark only; a larger limit keeps the
    items of a smaller one. So strategies with different limits can still be compared on the items they share.
    """
    if limit_items is None:
        return list(items)
    chosen: set[str] = set()
    for benchmark in {item.benchmark for item in items}:
        ranked = sorted(
            (seeded_rank(seed, "limit", item.item_id), item.item_id) for item in items if item.benchmark == benchmark
        )
        chosen.update(item_id for _, item_id in ranked[:limit_items])
    return [item for item in items if item.item_id in chosen]


def user_turn(item: Item, listed: bool, order: Sequence[int], instruction: str = "") -> str:
    """What the user says: the context if there is one, the question, the options if `listed`, and the instruction."""
    lines = [item.context] if item.context else []
    lines.append(item.question)
    if listed:
        lines += [f"{letter}. {item.options[index]}" for letter, index in zip(LETTERS, order, strict=False)]
    return "\n".join([*lines, *filter(None, [instruction])])


def softmax(scores: Sequence[float]) -> tuple[float, ...]:
    """Probabilities of options from their log-likelihoods, taken as the only possible answers."""
    shifted = np.exp(np.asarray(scores) - max(scores))
    return tuple((shifted / shifted.sum()).tolist())


def likeliest(scores: Sequence[float]) -> int:
    """The first option of the highest score."""
    return max(range(len(scores)), key=lambda index: scores[index])


def in_item_order(answer: Answer, order: Sequence[int]) -> Answer:
    """An answer to options listed in `order`, as one to the options as the item has them."""
    scores = [0.0] * len(order)
    for place, index in enumerate(order):
        scores[index] = answer.scores[place]
    choice = None if answer.choice is None else order[answer.choice]
    return Answer(choice, tuple(scores), answer.prompt_tokens, answer.generated_tokens, answer.truncated, answer.texts)


def voted(answers: Sequence[Answer]) -> Answer:
    """One answer from several to the same item (in item order): the option most of them chose.

    Scores are shares of the votes; an answer without choice is no vote. Of equally many the option listed first in the
    item wins. Tokens add up, what the strategy costs.
    """
    counts = [0] * len(answers[0].scores)
    for answer in answers:
        if answer.choice is not None:
            counts[answer.choice] += 1
    return _together(answers, [count / len(answers) for count in counts])


def averaged(answers: Sequence[Answer]) -> Answer:
    """One answer from several to the same item (in item order): the option of the highest mean probability.

    Probabilities are the softmax of log-likelihoods; answers that were generated have none, so use `voted` for them.
    """
    return _together(answers, np.mean([softmax(answer.scores) for answer in answers], axis=0).tolist())


def _together(answers: Sequence[Answer], scores: Sequence[float]) -> Answer:
    return Answer(
        likeliest(scores) if any(scores) else None,
        tuple(scores),
        sum(answer.prompt_tokens for answer in answers),
        sum(answer.generated_tokens for answer in answers),
        any(answer.truncated for answer in answers),
        tuple(text for answer in answers for text in answer.texts),
    )


def predictions(
    items: Sequence[Item], answers: Iterable[Answer], protocol: str, seed: int, draw: int = 0
) -> pl.DataFrame:
    """One row an item; the answers are in item order."""
    rows = [
        (
            *(item.item_id, item.benchmark, item.group, protocol, seed, draw),
            *(answer.choice, item.answer, answer.choice == item.answer, list(answer.scores)),
            *(answer.prompt_tokens, answer.generated_tokens, answer.truncated, list(answer.texts)),
        )
        for item, answer in zip(items, answers, strict=True)
    ]
    return pl.DataFrame(rows, schema=PREDICTIONS, orient="row")
