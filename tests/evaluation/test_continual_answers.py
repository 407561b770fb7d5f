"""Answers of adapters of tasks, by a model that says what is written down here."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from osler.evaluation.continual_answers import Asking
from osler.evaluation.task_rows import ROWS
from osler.inference.interface import Prompt, Sampling, Scored, Written
from osler.inference.task_inference import Classes

LABELS = {"a": ["tea", "wrap"], "b": ["film", "swab"]}
TESTED = pl.DataFrame(
    [("a/1", "a", "g", "test", "one", "tea"), ("a/2", "a", "a/2", "test", "two", "wrap"),
     ("b/1", "b", "b/1", "test", "three", "film")],
    schema=ROWS,
    orient="row",
)  # fmt: skip
SAID = {"tea": -3.0, "wrap": -4.0, "film": -1.0, "swab": -2.0}
"""All adapters find a label of task b likelier than those of a."""
STATES = {"one": 0.0, "two": 9.0, "three": 9.0}
"""The second text of task a looks as one of b."""


@dataclass
class Told:
    """A model that has the same to say of every prompt, and remembers who was asked."""

    adapter: str
    asked: list[tuple[str, str]] = field(default_factory=list)

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Scored]:
        self.asked += [(self.adapter, prompt.turns[0][1]) for prompt in prompts]
        return [
            Scored(tuple(SAID[word] for word in prompt.options), (1,) * len(prompt.options), 3, False)
            for prompt in prompts
        ]

    def texts(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Written]:
        raise NotImplementedError

    def embeddings(self, texts: Sequence[str]) -> NDArray[np.float32]:
        assert self.adapter == "none", "tasks are inferred by the model without adapter"
        return np.array([[STATES[text], 0.0] for text in texts], np.float32)


def classes(place: float) -> Classes:
    """Two classes near a place."""
    return Classes(torch.tensor([[place, 0.0], [place, 1.0]]), torch.eye(2).expand(2, 2, 2), torch.tensor([5, 5]))


def asking(asked: list[tuple[str, str]]) -> Asking:
    """That of both tasks."""
    return Asking(TESTED, LABELS, lambda adapter: Told(adapter.as_posix() if adapter else "none", asked), Path("x"), 1)


def given(answers: pl.DataFrame, method: str, after: int) -> dict[str, str | None]:
    """item_id -> answer."""
    own = answers.filter(pl.col("method") == method, pl.col("after") == after)
    return dict(own.select("item_id", "answer").iter_rows())


def test_who_answers_what() -> None:
    """A text whose task is not inferred has no answer; one that is told chooses among its own labels, in turn among all so far."""
    asked: list[tuple[str, str]] = []
    own = asking(asked)
    kept = {"a": classes(0.0), "b": classes(9.0)}
    inferred = own.inferred(kept, 0.1, 50)
    last = inferred.filter(pl.col("after") == 2)
    assert last["distance"].to_list() == last["head"].to_list() == ["a", "b", "b"]
    assert inferred.filter(pl.col("after") == 1)["distance"].to_list() == ["a", "a"]
    answers = own.answers(inferred, "distance")
    assert given(answers, "own", 1) == {"a/1": "tea", "a/2": "tea"}
    assert given(answers, "own", 2) == {"a/1": "tea", "a/2": None, "b/1": "film"}
    assert given(answers, "own_told", 2) == {"a/1": "tea", "a/2": "tea", "b/1": "film"}
    assert given(answers, "in_turn", 1) == {"a/1": "tea", "a/2": "tea"}
    assert given(answers, "in_turn", 2) == given(answers, "at_once", 2) == dict.fromkeys(("a/1", "a/2", "b/1"), "film")
    for method in ("in_turn_told", "at_once_told"):
        assert given(answers, method, 2) == {"a/1": "tea", "a/2": "tea", "b/1": "film"}
    right = answers.filter(pl.col("method") == "own", pl.col("after") == 2)["correct"].to_list()
    assert right == [True, False, True]
    assert given(answers, "at_once", 1) == {}
    assert set(asked) == {
        *(("x/tasks/a", text) for text in ("one", "two")), ("x/tasks/b", "three"),
        *(("x/in_turn/a", text) for text in ("one", "two")),
        *((f"x/{place}", text) for place in ("in_turn/b", "at_once") for text in ("one", "two", "three")),
    }  # fmt: skip
