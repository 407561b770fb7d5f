"""Zero-shot: the question alone."""

from collections.abc import Sequence

import polars as pl

from osler.evaluation.protocols import AnswerProtocol
from osler.evaluation.questions import Item, predictions
from osler.evaluation.strategies import StrategySettings
from osler.inference.interface import Model


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
