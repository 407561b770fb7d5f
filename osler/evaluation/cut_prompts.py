"""Prompts that are longer than a model reads, found before it answers any.

Each strategy is run with a model that answers nothing: it tokenizes what it is asked and says a mark in place of words. A prompt
with that mark depends on an answer, and is known only once there is one; so are all prompts of strategies whose exemplars the model
answers first. Near questions are found by the embeddings that the evaluation has.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osler.build.section import BuildError
from osler.evaluation.questions import Item, limited
from osler.evaluation.quizzes import quizzes_of
from osler.evaluation.settings import STRATEGIES, Questions, protocols
from osler.evaluation.task_predictions import asked
from osler.evaluation.task_texts import prompts_of
from osler.evaluation.tasks import DEV
from osler.inference.interface import Prompt, Sampling, Scored, Written
from osler.inference.prompt_tokens import Tree, prompt_rows, trees

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
ANSWERED = "\ufdd0"  # no character of any text
ITEM_SEED = 0  # of which items are asked where there is a limit: the same ones under every training seed


class CutPrompts(NamedTuple):
    """How many prompts lose their left end, and an item with one."""

    what: str
    cut: int
    prompts: int
    item_id: str

    def refused(self, model: str) -> BuildError:
        """That `model` is not asked so."""
        return BuildError(
            f"{model}: {self.cut:,} of {self.prompts:,} prompts of {self.what} are longer than the model reads, such as that of"
            f" {self.item_id}; show less before it, or set evaluate.refuse_cut to false"
        )


@dataclass
class PromptReader:
    """A model that reads and answers nothing, of `maximum_positions`.

    `read` has the prompts that do not depend on an answer, and whether they were cut.
    """

    tokenizer: Any
    maximum_positions: int
    system: str
    embed: Embed
    read: list[tuple[Prompt, bool]] = field(default_factory=list)

    def _note(self, prompts: Sequence[Prompt], rows: Sequence[Tree]) -> None:
        for prompt, row in zip(prompts, rows, strict=True):
            if not any(ANSWERED in text for text in (prompt.begun, *(content for _, content in prompt.turns))):
                self.read.append((prompt, row.truncated))

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Scored]:
        """All options alike."""
        rows = trees(self.tokenizer, prompts, self.maximum_positions, self.system)
        self._note(prompts, rows)
        return [Scored((0.0,) * len(row.options), (1,) * len(row.options), len(row.prompt), False) for row in rows]

    def texts(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Written]:  # noqa: ARG002
        """The mark."""
        rows = prompt_rows(self.tokenizer, prompts, self.maximum_positions, sampling.limit_tokens, self.system)
        self._note(prompts, rows)
        return [Written(ANSWERED, 1, len(row.prompt), False) for row in rows]

    def embeddings(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Model`."""
        return self.embed(texts)


def reader_of(
    folder: Path, below: Path, chat_template: str, questions: Questions, embed: Callable[[], Embed]
) -> Callable[[], PromptReader]:
    """Makes readers of what the model in `folder` would read.

    Weights are loaded only where texts are embedded.

    Args:
        folder: with the tokenizer.
        below: of the model that an adapter in `folder` belongs to, else the same.
        chat_template: of the build.
        questions: say what is said first.
        embed: gives what embeds texts.
    """
    from transformers import AutoConfig

    from osler.inference.language_model import loaded_tokenizer

    positions = int(AutoConfig.from_pretrained(below).max_position_embeddings)
    tokenizer, system = loaded_tokenizer(folder, chat_template), questions.evaluate.system_prompt or ""
    return partial(PromptReader, tokenizer, positions, system, lambda texts: embed()(texts))


def known_cuts(
    reader: Callable[[], PromptReader], questions: Questions, items: Path, name: str, seed: int, is_first: bool
) -> Iterator[CutPrompts]:
    """Each strategy and protocol, and the tasks, with prompts that are cut.

    Args:
        reader: makes a reader that has read nothing.
        questions: what is asked.
        items: the folder of items.
        name: of the model.
        seed: that it was trained with.
        is_first: whether that is the build's first.
    """
    quizzes = quizzes_of(items, questions.benchmarks)
    for strategy, settings in questions.strategies.asked_of(name, is_first).items():
        known = STRATEGIES[strategy]
        for protocol in () if known.asks_first else protocols(questions, strategy, is_first):
            own, there = reader(), list[Item]()
            for quiz in quizzes.values():
                given: dict[str, Any] = {"settings": settings, "protocol": protocol}
                if known.uses_pool:
                    given["pool"] = quiz.shown(strategy, protocol)
                if known.prepared:
                    given["exemplars"] = known.prepared(own, **given)
                chosen = limited(quiz.items, settings.limit_items, ITEM_SEED)
                known.module.answered(own, items=chosen, seed=seed, **given)
                there += chosen
            yield from _found(strategy, own, partial(_item_of, there))
    for listed, task in sorted(questions.task.items()):
        if is_first or task.seeds == "all":
            everything, own = pl.read_parquet(items / "tasks" / f"{listed}.parquet"), reader()
            rows = asked(everything, task, 0 if task.seeds == "all" else seed)
            own.texts(prompts_of(rows, task, everything.filter(split=DEV), seed), Sampling(task.limit_tokens, 0.0), [])
            names = {id(prompt): item_id for (prompt, _), item_id in zip(own.read, rows["item_id"], strict=True)}
            yield from _found(f"task {listed}", own, partial(_named, names))


def _item_of(items: Sequence[Item], prompt: Prompt) -> str:
    """The item that a prompt asks, whose question stands in the last turn."""
    return next((item.item_id for item in items if item.question in prompt.turns[-1][1]), "an item")


def _named(names: Mapping[int, str], prompt: Prompt) -> str:
    return names[id(prompt)]


def _found(what: str, reader: PromptReader, item_of: Callable[[Prompt], str]) -> Iterator[CutPrompts]:
    cut = [prompt for prompt, is_cut in reader.read if is_cut]
    if cut:
        yield CutPrompts(what, len(cut), len(reader.read), item_of(cut[0]))
