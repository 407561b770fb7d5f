"""How an answer is read off a prompt.

By the likelihood of a letter or of the option's text, or from generated text.

The same model reads 56 or 88 on one benchmark by protocol alone, so a number without its protocol says little. One is
the headline (`evaluate.protocol`), in which all strategies answer; zero-shot answers in those of `evaluate.compared`
too, on the same items.

* `letter`: options are listed, and the letters' log-likelihoods compared (the way of MMLU).
* `full_answer`: log-likelihood of the option's whole text (Med42-v2, arXiv 2408.06142). Long options are handicapped.
* `per_token`, `per_byte`: the same divided by the option's tokens, or by the UTF-8 bytes of its text, which takes the
  handicap away (per_byte is what lm-evaluation-harness calls acc_norm, up to characters beyond ASCII).
* `generation`: options are listed, the model writes, and the answer is extracted (answer_extraction.py). What cannot
  be read is no answer and counts as wrong.
* `lm_eval`, `med42`, `meditron`: as their authors published them, with prompts of their own (osler/evaluation/published).

The three ways of reading an option's text take the same forward pass; the model keeps it (`LanguageModel.likelihoods`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from osler.evaluation.answer_extraction import extracted
from osler.evaluation.exemplars import checked_pool
from osler.evaluation.probabilities import likeliest
from osler.evaluation.published import PUBLISHED
from osler.evaluation.published.form import PublishedProtocol
from osler.evaluation.questions import LETTERS, Answer, Item, user_turn
from osler.inference.interface import Model, Prompt, Sampling

GENERATION = "generation"  # the protocol that reads what is written
ProtocolName = Literal["letter", "full_answer", "per_token", "per_byte", "generation", "lm_eval", "med42", "meditron"]


@dataclass(frozen=True)
class AnswerProtocol:
    """One protocol with its settings.

    Args:
        name: which of them.
        listed: whether full-answer prompts list the options; `letter` and `generation` always do.
        instruction: last line of a user's turn under `generation`, "" for none.
        limit_tokens: of a generated answer.
        formats: pairs of a benchmark and its format, which published protocols go by.
        is_shown: whether solved questions stand before the item, which tells those how to read.
    """

    name: ProtocolName
    listed: bool
    instruction: str
    limit_tokens: int
    formats: tuple[tuple[str, str], ...] = ()
    is_shown: bool = False

    @property
    def published(self) -> PublishedProtocol | None:
        return PUBLISHED.get(self.name)

    @property
    def lists_options(self) -> bool:
        return self.listed or self.name in ("letter", "generation")

    def spelled(self, item: Item, order: Sequence[int]) -> tuple[str, ...]:
        """What the assistant may answer: letters, or the options' texts in `order`."""
        if self.name == "letter":
            return tuple(LETTERS[: len(order)])
        return tuple(item.options[index] for index in order)

    def prompt(
        self,
        item: Item,
        exemplars: Iterable[Item] = (),
        order: Sequence[int] | None = None,
        instruction: str | None = None,
        begun: str = "",
    ) -> Prompt:
        """`item` after its exemplars.

        Each exemplar is a user's and an assistant's turn with the right answer.

        Args:
            item: the question to answer.
            exemplars: questions shown with their answers, in this order; their options stand as they are.
            order: of `item`'s options, as indices, both as listed and as scored; None is their own order.
            instruction: last line of the user's turns in place of the protocol's own.
            begun: see Prompt.

        A published protocol has a prompt of its own, whatever `order`, `instruction` and `begun` are (`check_published`).
        """
        if self.published:
            form = dict(self.formats)
            solved = [(exemplar, form[exemplar.benchmark]) for exemplar in exemplars]
            return self.published.prompt(item, form[item.benchmark], solved)
        if instruction is None:
            instruction = self.instruction if self.name == "generation" else ""
        order = range(len(item.options)) if order is None else order
        turns: list[tuple[str, str]] = []
        for exemplar in exemplars:
            own = range(len(exemplar.options))
            turns.append(("user", user_turn(exemplar, self.lists_options, own, instruction)))
            turns.append(("assistant", self.spelled(exemplar, own)[exemplar.answer]))
        turns.append(("user", user_turn(item, self.lists_options, order, instruction)))
        return Prompt(tuple(turns), self.spelled(item, order), begun)

    def fixes(self, item: Item) -> bool:
        """Whether `item` always comes after its `fixed_exemplars`."""
        return self.published is not None and dict(self.formats)[item.benchmark] in self.published.fixes

    def fixed_exemplars(self, item: Item, pool: Sequence[Item], shots: int) -> list[Item]:
        """The questions of `pool` that always stand before `item`.

        Raises:
            BuildError: there are fewer, or one of them is the same question.
        """
        assert self.published
        assert self.published.fixed
        shown = self.published.fixed(item, pool, shots)
        checked_pool([item], shown, shots, "few_shot")
        return shown

    def answers(self, model: Model, prompts: Sequence[Prompt]) -> list[Answer]:
        """Ask, and read an answer for each prompt.

        Answers are in the prompt's order of options.
        """
        if self.published and self.published.read:
            return _read_as_published(self.published, self.is_shown, model, prompts)
        if self.name == "generation":
            written = model.texts(prompts, Sampling(self.limit_tokens, temperature=0.0), [0] * len(prompts))
            return [
                read_answer(asked, text.text, text.prompt_tokens, text.tokens, text.truncated)
                for asked, text in zip(prompts, written, strict=True)
            ]
        results = []
        for asked, scored in zip(prompts, model.likelihoods(prompts), strict=True):
            units = [1] * len(asked.options)
            if self.name == "per_token":
                units = list(scored.tokens)
            elif self.name == "per_byte":
                units = [len(option.encode()) for option in asked.options]
            scores = tuple(total / unit for total, unit in zip(scored.sums, units, strict=True))
            read = Answer(likeliest(scores), scores, scored.prompt_tokens, 0, scored.truncated)
            results.append(replace(read, is_literal=self.published is not None))
        return results


def _read_as_published(
    published: PublishedProtocol, is_shown: bool, model: Model, prompts: Sequence[Prompt]
) -> list[Answer]:
    assert published.read
    sampling = Sampling(published.limits_tokens[is_shown], temperature=0.0)
    results = []
    for asked, written in zip(prompts, model.texts(prompts, sampling, [0] * len(prompts)), strict=True):
        choice = published.read(written.text, asked.options, is_shown)
        scores = tuple(float(index == choice) for index in range(len(asked.options)))
        cost = (written.prompt_tokens, written.tokens, written.truncated)
        results.append(Answer(choice, scores, *cost, (written.text,), is_literal=True))
    return results


def read_answer(asked: Prompt, text: str, prompt_tokens: int, tokens: int, truncated: bool) -> Answer:
    """The answer that generated text gives.

    The option that it names scores 1. Where it names none, no option does.
    """
    choice = extracted(text, asked.options)
    scores = tuple(float(index == choice) for index in range(len(asked.options)))
    return Answer(choice, scores, prompt_tokens, tokens, truncated, (text,))
