"""Answers after a chain of thought: the model writes, the protocol reads.

Under likelihood protocols the options are scored as what follows the chain and an answer lead ("The answer is"), so
every chain gives an answer, also one that broke off; the price is a second pass over prompt and chain. Under
`generation` the answer is extracted from the chain itself, and one that names none counts as wrong.
"""

from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from osler.build.section import Section
from osler.evaluation.protocols import AnswerProtocol, read_answer
from osler.evaluation.questions import Answer
from osler.evaluation.thoughts import after_thought
from osler.inference.interface import Model, Prompt, Sampling, Written


class ReasoningSettings(Section):
    """How a chain is asked for and ended."""

    instruction: str = Field(description="last line of the question, which asks for the chain")
    answer_lead: str = Field(min_length=1, description="words after the chain that the answer follows")
    limit_tokens: int = Field(gt=0, le=1 << 24, description="of a chain")


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


def reasoned(
    model: Model,
    protocol: AnswerProtocol,
    prompts: Sequence[Prompt],
    settings: ReasoningSettings,
    temperature: float,
    seeds: Sequence[int],
) -> list[Answer]:
    """An answer for each prompt, after a chain of its own.

    Answers are in the prompt's order of options; `texts` is the chain.

    Args:
        model: asked twice under likelihood protocols, once under generation.
        protocol: which reads the answer.
        prompts: they ask for a chain already.
        settings: of these the lead and the chain's limit.
        temperature: 0 for the likeliest chain.
        seeds: one a prompt.
    """
    chains = model.texts(prompts, Sampling(settings.limit_tokens, temperature), seeds)
    if protocol.name == "generation":
        return [
            read_answer(asked, chain.text, chain.prompt_tokens, chain.tokens, chain.truncated)
            for asked, chain in zip(prompts, chains, strict=True)
        ]
    concluding = [
        replace(asked, begun=begun(chain.text, settings.answer_lead))
        for asked, chain in zip(prompts, chains, strict=True)
    ]
    answers = protocol.answers(model, concluding)
    return [paid(answer, [chain]) for answer, chain in zip(answers, chains, strict=True)]
