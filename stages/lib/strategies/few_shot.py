"""Few-shot: the same solved questions of the development split before every question, in several draws.

A score under one draw says little: Meditron reports 15 to 51 points between draws (arXiv 2311.16079). So each item is
answered once a draw, and the spread over draws is reported beside the mean. All items of a benchmark share a draw's
exemplars, which are then read once (stages/lib/scoring.py).
"""

from collections.abc import Sequence

import polars as pl
from pydantic import Field

from stages.lib.exemplars import checked_pool, drawn_exemplars
from stages.lib.prompts import Item, Model, predictions
from stages.lib.protocols import AnswerProtocol
from stages.lib.strategies import StrategySettings


class FewShot(StrategySettings):
    """Settings of `strategies.few_shot`."""

    shots: int = Field(gt=0, description="solved questions before the one to answer")
    draws: int = Field(gt=0, description="sets of exemplars, each of which answers all items")


def answered(
    model: Model, items: Sequence[Item], pool: Sequence[Item], settings: FewShot, protocol: AnswerProtocol, seed: int
) -> pl.DataFrame:
    """Predictions for `items`, one an item and draw, with `shots` exemplars from `pool` each.

    Raises:
        BuildError: see `checked_pool`.
    """
    pool = checked_pool(items, pool, settings.shots, "few_shot")
    frames = []
    for draw in range(settings.draws):
        shown = drawn_exemplars(pool, settings.shots, seed, draw)
        answers = protocol.answers(model, [protocol.prompt(item, shown) for item in items])
        frames.append(predictions(items, answers, protocol.name, seed, draw))
    return pl.concat(frames)
