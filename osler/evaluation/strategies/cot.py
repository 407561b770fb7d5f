"""Chain of thought: the model reasons in words before its answer.

It writes the likeliest token at each step, and its answer is read after that.

As in Kojima et al. there are no exemplars, and a second pass over prompt, chain and "The answer is" gives the answer. Not as there:
options are scored in that pass and not written, unless the protocol is `generation`; what the chain itself says is read too where
`read_chains` asks for it. Exemplars with chains, as in Wei et al., are Medprompt's here.

Source: Wei et al., arXiv 2201.11903; without exemplars Kojima et al., arXiv 2205.11916.
"""

from collections.abc import Sequence

import polars as pl

from osler.evaluation.chains_of_thought import ReasoningSettings, reasoned
from osler.evaluation.protocols import AnswerProtocol
from osler.evaluation.questions import Item
from osler.evaluation.strategies import StrategySettings
from osler.inference.interface import Model


class ChainOfThought(ReasoningSettings, StrategySettings):
    """Settings of `strategies.cot`."""


def answered(
    model: Model, items: Sequence[Item], settings: ChainOfThought, protocol: AnswerProtocol, seed: int
) -> pl.DataFrame:
    """Predictions for `items`, one chain each. The seed changes nothing."""
    prompts = [protocol.prompt(item, instruction=settings.instruction) for item in items]
    answers = reasoned(model, protocol, prompts, settings, temperature=0.0, seeds=[0] * len(prompts))
    return answers.predictions(items, lambda own, _: own, protocol.name, seed)
