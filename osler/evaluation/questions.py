"""Benchmark items, and what a model's answers to them amount to.

A prompt is a list of chat turns, never a string: the tokenizer's chat template writes it, so that every model, tuned
or not, reads the text that fine-tuning used. How an answer is read off a prompt is a protocol's business
(osler/evaluation/protocols.py), what stands before the question a strategy's (osler/evaluation/strategies). Nothing here imports
torch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from osler.evaluation.probabilities import SCORE_DIGITS, likeliest, softmax
from osler.inference.interface import seeded_rank

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CHAIN = "chain"  # in place of a protocol's name: answers read off a chain of thought beside those of the protocol

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
    """One multiple-choice question.

    `group` is the fact or document it is about: items of one group are not independent.
    """

    item_id: str
    benchmark: str
    group: str
    split: str
    question: str
    context: str
    options: tuple[str, ...]
    answer: int

    def read(self, choice: int | None) -> int | None:
        """`choice`, or the answer where its option has the same text.

        MedMCQA lists some options twice; to name the other one is no error.
        """
        same = choice is not None and self.options[choice].split() == self.options[self.answer].split()
        return self.answer if same else choice


@dataclass(frozen=True)
class Answer:
    """What was read off a prompt, in its order of options.

    `choice` is None when there was nothing to read. With `is_literal` it is right as the one option alone, without `Item.read`.
    """

    choice: int | None
    scores: tuple[float, ...]
    prompt_tokens: int
    generated_tokens: int
    truncated: bool
    texts: tuple[str, ...] = ()
    is_literal: bool = False

    def choice_of(self, item: Item) -> int | None:
        """The option of `item` that counts as chosen."""
        return self.choice if self.is_literal else item.read(self.choice)


def items_of(frame: pl.DataFrame) -> list[Item]:
    """The rows of a `data/items` frame, by item_id."""
    return [Item(**row | {"options": tuple(row["options"])}) for row in frame.sort("item_id").iter_rows(named=True)]


def limited(items: Sequence[Item], limit_items: int | None, seed: int) -> list[Item]:
    """At most `limit_items` items of each benchmark, in the order given.

    Those of lowest seeded rank are taken. Whether an item is in depends on the seed and on the items of its own
    benchmark only; a larger limit keeps the items of a smaller one. So strategies with different limits can still be
    compared on the items they share.
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
    """What the user says: context, question, options and instruction.

    The context and the instruction stand there if there are any, the options if `listed`.
    """
    lines = [item.context] if item.context else []
    lines.append(item.question)
    if listed:
        lines += [f"{letter}. {item.options[index]}" for letter, index in zip(LETTERS, order, strict=False)]
    return "\n".join([*lines, *filter(None, [instruction])])


def in_item_order(answer: Answer, order: Sequence[int]) -> Answer:
    """An answer with its options put back into the item's order.

    `order` is how they were listed.
    """
    scores = [0.0] * len(order)
    for place, index in enumerate(order):
        scores[index] = answer.scores[place]
    choice = None if answer.choice is None else order[answer.choice]
    return Answer(choice, tuple(scores), answer.prompt_tokens, answer.generated_tokens, answer.truncated, answer.texts)


def voted(answers: Sequence[Answer], item_id: str) -> Answer:
    """One answer from several to the same item, by vote.

    All are in item order. The option that most of them chose is taken. Scores are shares of the votes; an answer
    without choice is no vote. Of equally many a lot decides, which hangs on the item alone: by their order the first
    options would win all ties. Tokens add up, what the strategy costs.
    """
    counts = [0] * len(answers[0].scores)
    for answer in answers:
        if answer.choice is not None:
            counts[answer.choice] += 1
    leading = [index for index, count in enumerate(counts) if count == max(counts)]
    choice = min(leading, key=lambda index: seeded_rank(0, "tie", item_id, str(index)))
    return _together(answers, [count / len(answers) for count in counts], choice if any(counts) else None)


def averaged(answers: Sequence[Answer]) -> Answer:
    """One answer from several to the same item, by mean probability.

    All are in item order. The option of the highest mean probability is taken. Probabilities are the softmax of
    log-likelihoods; answers that were generated have none, so use `voted` for them.
    """
    scores = np.mean([softmax(answer.scores) for answer in answers], axis=0).tolist()
    return _together(answers, scores, likeliest(scores))


def _together(answers: Sequence[Answer], scores: Sequence[float], choice: int | None) -> Answer:
    return Answer(
        choice,
        tuple(scores),
        sum(answer.prompt_tokens for answer in answers),
        sum(answer.generated_tokens for answer in answers),
        any(answer.truncated for answer in answers),
        tuple(text for answer in answers for text in answer.texts),
    )


def predictions(
    items: Sequence[Item], answers: Iterable[Answer], protocol: str, seed: int, draw: int = 0
) -> pl.DataFrame:
    """One row of predictions for each item.

    The answers are in item order. Scores are rounded to what does not depend on the machine.
    """
    rows = [
        (
            *(item.item_id, item.benchmark, item.group, protocol, seed, draw),
            *(
                answer.choice_of(item),
                item.answer,
                answer.choice_of(item) == item.answer,
                [round(score, SCORE_DIGITS) for score in answer.scores],
            ),
            *(answer.prompt_tokens, answer.generated_tokens, answer.truncated, list(answer.texts)),
        )
        for item, answer in zip(items, answers, strict=True)
    ]
    return pl.DataFrame(rows, schema=PREDICTIONS, orient="row")
