"""Zero-shot: the question alone."""

from collections.abc import Sequence

import polars as pl
from pydantic import Field

from stages.lib.prompts import Item, Model, limited, predictions
from stages.lib.protocols import AnswerProtocol
from stages.lib.section import Section


class ZeroShot(Section):
    """Settings of `strategies.zero_shot`."""

    limit_items: int | None = Field(gt=0, description="items per benchmark; null is all")


def answered(
    model: Model,
    items: Sequence[Item],
    pool: Sequence[Item],  # noqa: ARG001 - all strategies are called the same way
    settings: ZeroShot,
    protocol: AnswerProtocol,
    seed: int,
) -> pl.DataFrame:
    """Predictions for `items`, one forward pass each; `pool` is not looked at."""
    items = limited(items, settings.limit_items, seed)
    return predictions(items, protocol.answers(model, [protocol.prompt(item) for item in items]), protocol.name, seed)
