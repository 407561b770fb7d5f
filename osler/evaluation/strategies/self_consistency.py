"""Self-consistency: the answer of most of several sampled chains of thought.

Each chain is read for its answer.

Costs as much as `samples` times `cot`. A sample's random numbers are a function of seed, item and sample, whatever is
generated beside it.

As in the source chains are sampled and their answers vote, each as much as another. Not as there: no exemplars with chains
stand before the question, and under a likelihood protocol each chain has an answer, which the source reads off its words
(`read_chains` does both). Tokens are drawn from all of the vocabulary, and ties broken by lot (`voted`).

Source: Wang et al., arXiv 2203.11171.
"""

from collections.abc import Sequence

import polars as pl
from pydantic import Field

from osler.evaluation.chains_of_thought import ReasoningSettings, reasoned
from osler.evaluation.protocols import AnswerProtocol
from osler.evaluation.questions import Answer, Item, voted
from osler.evaluation.strategies import StrategySettings
from osler.inference.interface import Model, seeded_rank


class SelfConsistency(ReasoningSettings, StrategySettings):
    """Settings of `strategies.self_consistency`."""

    samples: int = Field(gt=0, le=1000, description="chains per question")
    temperature: float = Field(ge=0.01, le=10, description="divides the logits of the tokens that are drawn")


def answered(
    model: Model, items: Sequence[Item], settings: SelfConsistency, protocol: AnswerProtocol, seed: int
) -> pl.DataFrame:
    """Predictions for `items`, one vote for each chain.

    Scores are shares of all chains, also of those without an answer.
    """
    samples = settings.samples
    asked = [protocol.prompt(item, instruction=settings.instruction) for item in items]
    prompts = [prompt for prompt in asked for _ in range(samples)]
    seeds = [
        seeded_rank(seed, "self_consistency", item.item_id, str(sample)) for item in items for sample in range(samples)
    ]
    answers = reasoned(model, protocol, prompts, settings, settings.temperature, seeds)

    def votes(own: list[Answer], is_generated: bool) -> list[Answer]:  # noqa: ARG001 - all of them vote
        return [voted(own[samples * n : samples * (n + 1)], item.item_id) for n, item in enumerate(items)]

    return answers.predictions(items, votes, protocol.name, seed)
