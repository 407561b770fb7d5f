"""Self-consistency: several sampled chains of thought, each read for its answer, and the answer of most of them.

Costs as much as `samples` times `cot`. A sample's random numbers are a function of seed, item and sample, whatever is
generated beside it. Source: Wang et al., arXiv 2203.11171.
"""

from collections.abc import Sequence

import polars as pl
from pydantic import Field

from stages.lib.prompts import Item, Model, predictions, seeded_rank, voted
from stages.lib.protocols import AnswerProtocol
from stages.lib.reasoning import ReasoningSettings, reasoned
from stages.lib.strategies import StrategySettings


class SelfConsistency(ReasoningSettings, StrategySettings):
    """Settings of `strategies.self_consistency`."""

    samples: int = Field(gt=0, description="chains per question")
    temperature: float = Field(gt=0, le=10, description="divides the logits of the tokens that are drawn")


def answered(
    model: Model, items: Sequence[Item], settings: SelfConsistency, protocol: AnswerProtocol, seed: int
) -> pl.DataFrame:
    """Predictions for `items`, one vote a chain; scores are shares of all chains, also of those without an answer."""
    samples = settings.samples
    asked = [protocol.prompt(item, instruction=settings.instruction) for item in items]
    prompts = [prompt for prompt in asked for _ in range(samples)]
    seeds = [
        seeded_rank(seed, "self_consistency", item.item_id, str(sample)) for item in items for sample in range(samples)
    ]
    answers = reasoned(model, protocol, prompts, settings, settings.temperature, seeds)
    votes = [voted(answers[start : start + samples]) for start in range(0, len(answers), samples)]
    return predictions(items, votes, protocol.name, seed)
