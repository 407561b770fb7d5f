"""Benchmark items, the prompts made from them, and what a model answers to a prompt.

A prompt is a list of chat turns, never a string: the tokenizer's chat template writes it, so that every model, tuned
or not, reads the text that fine-tuning used. Options are scored as the assistant's turn, by the log-probability of
their *text*. Nothing here imports torch.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

PromptForm = Literal["question", "options"]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

PREDICTIONS = pl.Schema(
    [
        ("item_id", pl.String),
        ("benchmark", pl.String),
        ("group", pl.String),
        ("seed", pl.Int64),
        ("prediction", pl.Int64),
        ("gold", pl.Int64),
        ("correct", pl.Boolean),
        ("scores", pl.List(pl.Float64)),
        ("prompt_tokens", pl.Int64),
        ("truncated", pl.Boolean),
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
    """Chat turns as (role, content), the last of them the user's, and the answers to score after them."""

    turns: tuple[tuple[str, str], ...]
    options: tuple[str, ...]


@dataclass(frozen=True)
class Scored:
    """One score an option in the prompt's order, the prompt's tokens, and whether its left end was cut to fit."""

    scores: tuple[float, ...]
    prompt_tokens: int
    truncated: bool


class Scorer(Protocol):
    """What a strategy asks of a model."""

    def scores(self, prompts: Sequence[Prompt]) -> list[Scored]:
        """Score the options of each prompt."""
        ...

    def embeddings(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector a text, (texts, hidden size)."""
        ...


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


def user_turn(item: Item, form: PromptForm, order: Sequence[int]) -> str:
    """What the user says: the context if there is one, the question, and if `form` says so the options in `order`."""
    lines = [item.context] if item.context else []
    lines.append(item.question)
    if form == "options":
        lines += [f"{letter}. {item.options[index]}" for letter, index in zip(LETTERS, order, strict=False)]
    return "\n".join(lines)


def prompt(item: Item, exemplars: Iterable[Item], form: PromptForm, order: Sequence[int] | None = None) -> Prompt:
    """`item` after its exemplars, each of them a user's and an assistant's turn.

    Args:
        item: the question to answer.
        exemplars: questions shown with their answers, in this order; their options stand as they are.
        form: whether the user's turns list the options.
        order: of `item`'s options, as indices, both as listed and as scored; None is their own order.
    """
    order = range(len(item.options)) if order is None else order
    turns: list[tuple[str, str]] = []
    for exemplar in exemplars:
        turns.append(("user", user_turn(exemplar, form, range(len(exemplar.options)))))
        turns.append(("assistant", exemplar.options[exemplar.answer]))
    turns.append(("user", user_turn(item, form, order)))
    return Prompt(tuple(turns), tuple(item.options[index] for index in order))


def predictions(items: Sequence[Item], scored: Sequence[Scored], seed: int) -> pl.DataFrame:
    """One row an item, its scores in item order; the prediction is the first option of the highest score."""
    rows = []
    for item, answer in zip(items, scored, strict=True):
        choice = max(range(len(item.options)), key=lambda index: answer.scores[index])
        rows.append(
            (
                *(item.item_id, item.benchmark, item.group, seed, choice, item.answer, choice == item.answer),
                *(list(answer.scores), answer.prompt_tokens, answer.truncated),
            )
        )
    return pl.DataFrame(rows, schema=PREDICTIONS, orient="row")
