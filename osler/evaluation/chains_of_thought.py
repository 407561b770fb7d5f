"""Answers after a chain of thought: the model writes, the protocol reads.

Under likelihood protocols the options are scored as what follows the chain and an answer lead ("The answer is"), so
every chain gives an answer, also one that broke off; the price is a second pass over prompt and chain. Under
`generation` the answer is extracted from the chain itself, and one that names none counts as wrong. The papers behind these
strategies read the chain. `read_chains` does both on the same chains: what is read off them are rows of the protocol `chain`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import polars as pl
from pydantic import Field

from osler.build.section import Section, absent
from osler.evaluation.protocols import GENERATION, AnswerProtocol, read_answer
from osler.evaluation.questions import CHAIN, Answer, Item, predictions
from osler.evaluation.thoughts import after_thought
from osler.inference.interface import Model, Prompt, Sampling, Written


class ReasoningSettings(Section):
    """How a chain is asked for and ended."""

    instruction: str = Field(description="last line of the question, which asks for the chain")
    answer_lead: str = Field(min_length=1, description="words after the chain that the answer follows")
    limit_tokens: int = Field(gt=0, le=1 << 24, description="of a chain")
    read_chains: bool = absent(
        "under a likelihood protocol also rows of the protocol `chain`: what the chain itself says", default=False
    )


def begun(chain: str, answer_lead: str) -> str:
    """The chain up to its conclusion, ending in `answer_lead`.

    Where the chain itself says the lead, it ends there: what it goes on to say is the answer that is to be read, or,
    of a model that does not know when to stop, the next question. The first counts, spelled exactly (`what the answer
    is` inside a sentence is no `The answer is`). What a reasoning model thought before stays whole.
    """
    thought, chain = after_thought(chain)
    reasoning, found, _ = chain.partition(answer_lead)
    if not found and (thought + reasoning).strip():
        reasoning = f"{reasoning.rstrip()} "
    return f"{thought}{reasoning}".lstrip() + answer_lead


def paid(answer: Answer, written: Sequence[Written]) -> Answer:
    """`answer` with what was written before it counted in.

    Tokens, cuts and texts of `written` are added, so that a strategy's cost is whole.
    """
    return replace(
        answer,
        prompt_tokens=answer.prompt_tokens + sum(one.prompt_tokens for one in written),
        generated_tokens=answer.generated_tokens + sum(one.tokens for one in written),
        truncated=answer.truncated or any(one.truncated for one in written),
        texts=(*(one.text for one in written), *answer.texts),
    )


@dataclass(frozen=True)
class Reasoned:
    """Answers after chains, each in the prompt's order of options.

    `by_protocol` is as the protocol reads; `by_chain` as the chain says, None where the two are the same or are not asked for.
    """

    by_protocol: list[Answer]
    by_chain: list[Answer] | None

    def predictions(
        self, items: Sequence[Item], combine: Callable[[list[Answer], bool], list[Answer]], protocol: str, seed: int
    ) -> pl.DataFrame:
        """PREDICTIONS rows of what was asked for.

        Args:
            items: that were asked.
            combine: one answer an item, in item order, of answers that are generated or not.
            protocol: the name of the first ones.
            seed: of the rows.
        """
        frames = [predictions(items, combine(self.by_protocol, protocol == GENERATION), protocol, seed)]
        if self.by_chain is not None:
            frames.append(predictions(items, combine(self.by_chain, True), CHAIN, seed))
        return pl.concat(frames)


def reasoned(
    model: Model,
    protocol: AnswerProtocol,
    prompts: Sequence[Prompt],
    settings: ReasoningSettings,
    temperature: float,
    seeds: Sequence[int],
) -> Reasoned:
    """An answer for each prompt, after a chain of its own.

    `texts` of an answer is the chain.

    Args:
        model: asked twice under likelihood protocols, once under generation.
        protocol: which reads the answer.
        prompts: they ask for a chain already.
        settings: of these the lead and the chain's limit.
        temperature: 0 for the likeliest chain.
        seeds: one a prompt.
    """
    chains = model.texts(prompts, Sampling(settings.limit_tokens, temperature), seeds)
    said = [
        read_answer(asked, chain.text, chain.prompt_tokens, chain.tokens, chain.truncated)
        for asked, chain in zip(prompts, chains, strict=True)
    ]
    if protocol.name == GENERATION:
        return Reasoned(said, None)
    concluding = [
        replace(asked, begun=begun(chain.text, settings.answer_lead))
        for asked, chain in zip(prompts, chains, strict=True)
    ]
    answers = protocol.answers(model, concluding)
    read = [paid(answer, [chain]) for answer, chain in zip(answers, chains, strict=True)]
    return Reasoned(read, said if settings.read_chains else None)
