"""Few-shot: solved questions of the development split before the one to answer, drawn at random for each item."""

from collections.abc import Sequence

import polars as pl
from pydantic import Field

from stages.lib.exemplars import checked_pool, drawn_exemplars
from stages.lib.prompts import Item, PromptForm, Scorer, limited, predictions, prompt
from stages.lib.section import Section


class FewShot(Section):
    """Settings of `strategies.few_shot`."""

    shots: int = Field(gt=0, description="solved questions before the one to answer")
    limit_items: int | None = Field(gt=0, description="items per benchmark; null is all")


def answered(
    model: Scorer, items: Sequence[Item], pool: Sequence[Item], settings: FewShot, form: PromptForm, seed: int
) -> pl.DataFrame:
    """Predictions for `items`, with `shots` exemplars from `pool` each.

    Raises:
        BuildError: see `checked_pool`.
    """
    pool = checked_pool(items, pool, settings.shots, "few_shot")
    items = limited(items, settings.limit_items, seed)
    prompts = [prompt(item, drawn_exemplars(item, pool, settings.shots, seed), form) for item in items]
    return predictions(items, model.scores(prompts), seed)
