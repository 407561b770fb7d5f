"""Solved questions to show before the one to answer.

Where they come from, and which are taken.
"""

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osler.build.section import BuildError
from osler.evaluation.questions import Answer, Item
from osler.inference.interface import Model, seeded_rank

EXEMPLARS = pl.Schema(
    [
        ("item_id", pl.String),
        ("embedding", pl.List(pl.Float32)),
        ("chain", pl.String),  # null where the strategy needs none, as all that follows
        ("reached_gold", pl.Boolean),
        ("prompt_tokens", pl.Int64),
        ("generated_tokens", pl.Int64),
        ("truncated", pl.Boolean),
    ]
)

SIMILARITY_DIGITS = 5  # of a cosine and of an embedding; further ones depend on the machine


def exemplar_pool(items: Sequence[Item], benchmark: str) -> list[Item]:
    """The `dev` items of `benchmark`, without `leaked` ones.

    Where it has none (as MedMCQA as we get it), they are those of all benchmarks.
    """
    left_out = {item.item_id for item in leaked(items)}
    development = [item for item in items if item.split == "dev" and item.item_id not in left_out]
    return [item for item in development if item.benchmark == benchmark] or development


def _solved(item: Item) -> str:
    fields = (item.context, item.question, item.options[item.answer])
    return "\0".join(" ".join(field.casefold().split()) for field in fields)


def leaked(items: Sequence[Item]) -> list[Item]:
    """The `dev` items that are `test` items too.

    MMLU repeats some across subjects. As exemplars they would show the answer.
    """
    asked = {_solved(item) for item in items if item.split == "test"}
    return [item for item in items if item.split == "dev" and _solved(item) in asked]


def checked_pool(items: Sequence[Item], pool: Sequence[Item], exemplars: int, strategy: str) -> list[Item]:
    """`pool` by item_id, after a check that it is fit.

    It has to be large enough and to hold none of `items`. Two items are the same when context, question and correct
    answer are, whatever their case and spaces. The answer counts because `Which of these is true?` is many questions.

    Raises:
        BuildError: fewer than `exemplars` items, or one of them is among `items`: it would show the answer.
    """
    if len(pool) < exemplars:
        raise BuildError(
            f"strategies.{strategy}: needs {exemplars} exemplars and the benchmarks have {len(pool)} dev items; "
            "give items the split `dev`, ask for fewer, or set the strategy to null"
        )
    asked = {_solved(item): item.item_id for item in items}
    for exemplar in pool:
        if (twin := asked.get(_solved(exemplar))) is not None:
            raise BuildError(
                f"data/items: dev item {exemplar.item_id} is the same question as {twin}, which {strategy} is to "
                "answer; drop one of the two"
            )
    return sorted(pool, key=lambda item: item.item_id)


def drawn_exemplars(pool: Sequence[Item], shots: int, seed: int, draw: int, balanced: bool = False) -> list[Item]:
    """`shots` items of `pool` at random.

    They are a function of the seed, the draw and the pool only. Unless they are balanced, which they are and in what order hangs
    on no answer.

    Args:
        balanced: answers stand in each place equally often, or one time more, as far as the pool has them; the order is drawn
            apart, so that it says nothing of the answer to come.
    """
    generator = np.random.default_rng(seeded_rank(seed, "exemplars", str(draw)))
    if not balanced:
        return [pool[index] for index in generator.choice(len(pool), size=shots, replace=False)]
    by_place: dict[int, list[Item]] = {}
    for index in generator.permutation(len(pool)):
        by_place.setdefault(pool[index].answer, []).append(pool[index])
    rounds = zip_longest(*(by_place[place] for place in generator.permutation(sorted(by_place)).tolist()))
    chosen = [item for one in rounds for item in one if item is not None][:shots]
    return [chosen[index] for index in generator.permutation(shots)]


def nearest(queries: NDArray[np.float32], keys: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The `count` keys of highest cosine similarity to each query.

    The nearest comes first; of equally near ones, the one that is first in `keys`.

    Args:
        queries: (Q, D); a zero vector is equally near to all.
        keys: (K, D), K at least `count`.
    Returns:
        int64 (Q, count), indices into `keys`.
    """

    def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        units: NDArray[np.float32] = vectors / np.where(norms == 0, np.float32(1), norms)
        return units

    similarity = np.round(unit(queries) @ unit(keys).T, SIMILARITY_DIGITS)  # last bits depend on the machine
    return np.argsort(-similarity, axis=1, kind="stable")[:, :count].astype(np.int64)


def exemplar_rows(
    pool: Sequence[Item], embeddings: NDArray[np.float32], answers: Sequence[Answer] | None = None
) -> pl.DataFrame:
    """What a strategy knows of its pool before any item is asked.

    There is one EXEMPLARS row for each question.

    Args:
        pool: solved questions.
        embeddings: (pool, D).
        answers: to them, each after a chain of thought.
    """
    columns = {
        "item_id": [item.item_id for item in pool],
        "embedding": np.round(embeddings, SIMILARITY_DIGITS).tolist(),
    }
    if answers is None:
        columns |= {name: [None] * len(pool) for name in list(EXEMPLARS)[2:]}
    else:
        columns |= {
            "chain": [answer.texts[0] for answer in answers],
            "reached_gold": [
                item.read(answer.choice) == item.answer for item, answer in zip(pool, answers, strict=True)
            ],
            "prompt_tokens": [answer.prompt_tokens for answer in answers],
            "generated_tokens": [answer.generated_tokens for answer in answers],
            "truncated": [answer.truncated for answer in answers],
        }
    return pl.DataFrame(columns, schema=EXEMPLARS)


def neighbors(model: Model, items: Sequence[Item], prepared: pl.DataFrame, count: int) -> list[list[str]]:
    """For each item the ids of the `count` nearest of `prepared`.

    The nearest stands first. All are taken where there are fewer.
    """
    if not items or prepared.is_empty():
        return [[] for _ in items]
    names = prepared["item_id"].to_list()
    keys = np.array(prepared["embedding"].to_list(), dtype=np.float32)
    ranked = nearest(model.embeddings([item.question for item in items]), keys, min(count, len(names)))
    return [[names[index] for index in row] for row in ranked]
