"""Prompting strategies: what stands before the question.

Each is one module, with a settings Section and `answered`.

`answered(model, items, [pool,] settings, protocol, seed[, exemplars])` returns PREDICTIONS rows; those that look at
solved questions take `pool`, and those that make something of it once for all items (embeddings, chains of thought)
have `prepared(model, pool, settings, protocol)`, whose EXEMPLARS rows are `exemplars`. osler/evaluation/settings.py lists
them. This file imports none of them, so that the fingerprint of one strategy does not hold the code of the others.
"""

from typing import Annotated, Literal

from pydantic import Field

from osler.build.section import EACH_ONCE, Section


class StrategySettings(Section):
    """Settings of every strategy: whom it asks, and how many questions."""

    seeds: Literal["all", "first"] = Field(default="first", description="training seeds whose models are asked")
    limit_items: int | None = Field(default=None, gt=0, le=10_000_000, description="items per benchmark; null is all")
    models: Annotated[list[str] | None, EACH_ONCE] = Field(
        default=None, min_length=1, description="folders of models/ that it is asked of; null is all of `evaluated`"
    )
