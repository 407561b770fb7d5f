"""Zero-shot: the question alone."""

from collections.abc import Sequence

import polars as pl
from pydantic import Field

from stages.lib.prompts import Item, PromptForm, Scorer, limited, predictions, prompt
from stages.lib.section import Section


class ZeroShot(Section):
    """Settings of `strategies.zero_shot`."""

    limit_items: int | None = Field(gt=0, description="items per benchmark; null is all")


def answered(
    model: Scorer,
    items: Sequence[Item],
    pool: Sequence[Item],  # noqa: ARG001 - all strategies are called the same way
    settings: ZeroShot,
    form: PromptForm,
    seed: int,
) -> pl.DataFrame:
    """Predictions for `items`, one forward pass each; `pool` is not looked at."""
    items = limited(items, settings.limit_items, seed)
    return predictions(items, model.scores([prompt(item, (), form) for item in items]), seed)
