"""Choice shuffle: one answer from several orders of the options.

A preference for the first or the last place cancels out, since every option visits every place equally often. What it
costs is `cycles` prompts an option. The options are listed whatever the protocol: where they stand is all that is
varied.

As in the source options move through all rotations, and probabilities are averaged (`combine: probabilities`). Not as there:
what is scored is the protocol's, not always the letter; further `cycles` rotate a permutation that is drawn; votes are offered
too, ties broken by lot. The source's cheaper estimate of the bias beforehand (PriDe) is not here.

Source: Zheng et al., arXiv 2309.03882 (selection bias, and cyclic permutations against it).
"""

from collections.abc import Sequence

import polars as pl
from pydantic import Field

from osler.evaluation.option_orders import Combine, combined, listing, option_orders
from osler.evaluation.protocols import GENERATION, AnswerProtocol
from osler.evaluation.questions import Item, predictions
from osler.evaluation.strategies import StrategySettings
from osler.inference.interface import Model


class ChoiceShuffle(StrategySettings):
    """Settings of `strategies.choice_shuffle`."""

    cycles: int = Field(
        gt=0, le=1000, description="rounds of all rotations; from the second on of permutations that are drawn"
    )
    combine: Combine = Field(description="votes of the orders, or the mean of their probabilities")


def answered(
    model: Model, items: Sequence[Item], settings: ChoiceShuffle, protocol: AnswerProtocol, seed: int
) -> pl.DataFrame:
    """Predictions for `items`, each asked with its options in several orders.

    There are `cycles` times as many prompts as an item has options.
    """
    protocol = listing(protocol)
    orders = [option_orders(item, settings.cycles * len(item.options), seed) for item in items]
    prompts = [protocol.prompt(item, order=order) for item, own in zip(items, orders, strict=True) for order in own]
    answers = protocol.answers(model, prompts)
    votes = combined(answers, items, orders, settings.combine, protocol.name == GENERATION)
    return predictions(items, votes, protocol.name, seed)
