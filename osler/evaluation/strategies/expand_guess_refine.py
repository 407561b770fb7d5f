"""Expand, guess, refine: background first, then a guess, then the answer.

The model writes background to the question, guesses with it, and answers seeing both.

Three calls an item, in one conversation. Every turn repeats the question, so that a conversation cut on the left to fit
the model still ends in a whole one, and a model tuned on single questions sees one; the price is its tokens twice more.
The answer that counts is read by the protocol in the last turn; the guess is only shown.

Of the source the abstract was read, which names the three steps and not their wording: that of the turns is params.yaml's.
The last answer is read by the protocol, also by likelihood.

Source: Manathunga and Hettigoda, arXiv 2309.02884.
"""

from collections.abc import Sequence

import polars as pl
from pydantic import Field

from osler.evaluation.chains_of_thought import paid
from osler.evaluation.protocols import AnswerProtocol
from osler.evaluation.questions import Item, predictions
from osler.evaluation.strategies import StrategySettings
from osler.evaluation.thoughts import said
from osler.inference.interface import Model, Prompt, Sampling


class ExpandGuessRefine(StrategySettings):
    """Settings of `strategies.expand_guess_refine`."""

    expand: str = Field(description="last line of the turn that asks for background")
    guess: str = Field(description="last line of the turn that asks for a first answer; empty for the question alone")
    refine: str = Field(description="last line of the turn whose answer counts; empty for the question alone")
    limit_tokens: int = Field(gt=0, le=1 << 24, description="of the background, and of the guess")


def answered(
    model: Model, items: Sequence[Item], settings: ExpandGuessRefine, protocol: AnswerProtocol, seed: int
) -> pl.DataFrame:
    """Predictions for `items`, after background and a guess.

    `texts` are these two, and the last answer where it is generated.
    """
    sampling = Sampling(settings.limit_tokens, temperature=0.0)
    seeds = [0] * len(items)

    def turn(instruction: str) -> list[Prompt]:
        return [protocol.prompt(item, instruction=instruction) for item in items]

    def following(before: Sequence[Prompt], spoken: Sequence[str], asked: Sequence[Prompt]) -> list[Prompt]:
        return [
            Prompt((*first.turns, ("assistant", text), *then.turns), then.options)
            for first, text, then in zip(before, spoken, asked, strict=True)
        ]

    expanding = turn(settings.expand)
    expanded = model.texts(expanding, sampling, seeds)
    guessing = following(expanding, [said(one.text) for one in expanded], turn(settings.guess))
    guessed = model.texts(guessing, sampling, seeds)
    refining = following(guessing, [said(one.text) for one in guessed], turn(settings.refine))
    answers = [
        paid(answer, [background, guess])
        for answer, background, guess in zip(protocol.answers(model, refining), expanded, guessed, strict=True)
    ]
    return predictions(items, answers, protocol.name, seed)
