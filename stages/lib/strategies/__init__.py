"""Prompting strategies: what stands before the question. One module each, with a settings Section and `answered`.

`answered(model, items, [pool,] settings, protocol, seed[, exemplars])` returns PREDICTIONS rows; those that look at
solved questions take `pool`, and those that make something of it once for all items (embeddings, chains of thought)
have `prepared(model, pool, settings, protocol)`, whose EXEMPLARS rows are `exemplars`. stages/evaluate.py lists
them. This file imports none of them, so that the fingerprint of one strategy does not hold the code of the others.
"""

from pydantic import Field

from stages.lib.section import Section


class StrategySettings(Section):
    """What the section of every strategy says: whom it asks, and how many questions."""

    limit_items: int | None = Field(gt=0, description="items per benchmark; null is all")
    models: list[str] | None = Field(
        min_length=1, description="folders of models/ that it is asked of; null is all of `evaluated`"
    )
