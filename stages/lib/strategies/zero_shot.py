"""Zero-shot: the question alone."""

from collections.abc import Sequence

import polars as pl

from stages.lib.prompts import Item, Model, predictions
from stages.lib.protocols import AnswerProtocol
from stages.lib.strategies import StrategySettings


class ZeroShot(StrategySettings):
    """Settings of `strategies.zero_shot`."""


def answered(
    model: Model,
    items: Sequence[Item],
    settings: ZeroShot,  # noqa: ARG001 - all strategies are called the same way
    protocol: AnswerProtocol,
    seed: int,
) -> pl.DataFrame:
    """Predictions for `items`, one prompt each."""
    return predictions(items, protocol.answers(model, [protocol.prompt(item) for item in items]), protocol.name, seed)
