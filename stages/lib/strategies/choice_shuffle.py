"""Choice shuffle: the question with its options listed in several orders, and one answer from all of them.

A preference for the first or the last place cancels out, since every option visits every place equally often. What it
costs is `cycles` prompts an option. The options are listed whatever the protocol: where they stand is all that is
varied. Source: Zheng et al., arXiv 2309.03882 (selection bias, and cyclic permutations against it).
"""

from collections.abc import Sequence

import polars as pl
from pydantic import Field

from stages.lib.prompts import Item, Model, predictions
from stages.lib.protocols import AnswerProtocol
from stages.lib.shuffles import Combine, combined, listing, option_orders
from stages.lib.strategies import StrategySettings


class ChoiceShuffle(StrategySettings):
    """Settings of `strategies.choice_shuffle`."""

    cycles: int = Field(gt=0, description="rounds of all rotations; from the second on of permutations that are drawn")
    combine: Combine = Field(description="votes of the orders, or the mean of their probabilities")


def answered(
    model: Model, items: Sequence[Item], settings: ChoiceShuffle, protocol: AnswerProtocol, seed: int
) -> pl.DataFrame:
    """Predictions for `items`, from `cycles` times as many prompts as an item has options."""
    protocol = listing(protocol)
    orders = [option_orders(item, settings.cycles * len(item.options), seed) for item in items]
    prompts = [protocol.prompt(item, order=order) for item, own in zip(items, orders, strict=True) for order in own]
    answers = protocol.answers(model, prompts)
    return predictions(items, combined(answers, orders, settings.combine, protocol), protocol.name, seed)
