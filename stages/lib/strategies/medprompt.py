"""A strategy after Medprompt (arXiv 2311.16452): similar exemplars and an ensemble over prompts of the same question.

Medprompt shows the k training questions nearest to the test question, with chains of thought that the model wrote,
and averages over orders of the options. Kept here: the nearest neighbors, by the model's own embeddings, and the
ensemble. Left
out: chains of thought, since options are scored and nothing is generated.

What differs between the members of the ensemble depends on `evaluate.prompt`. With `options` the prompt lists the
options, so members list them in different orders, as in Medprompt, all after the same exemplars. With `question` no
prompt lists them and their order cannot matter: members then differ in their exemplars, of which each takes `shots`
from the `shots x ensemble` nearest. The prompts stay in the form that fine-tuning used, rather than list options to a
model that has never seen a list.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from pydantic import Field

from stages.lib.exemplars import checked_pool, nearest
from stages.lib.prompts import Item, Model, averaged, in_item_order, limited, predictions, seeded_rank
from stages.lib.protocols import AnswerProtocol
from stages.lib.section import Section


class Medprompt(Section):
    """Settings of `strategies.medprompt`."""

    shots: int = Field(gt=0, description="nearest solved questions before the one to answer; 5 in the source")
    ensemble: int = Field(gt=0, description="prompts per question, whose scores are averaged; 5 in the source")
    limit_items: int | None = Field(gt=0, description="items per benchmark; null is all")


def option_orders(item: Item, ensemble: int, seed: int) -> list[list[int]]:
    """One order of the options a member: their own and its rotations, then those of a seeded permutation, and so on.

    With an ensemble of a multiple of the number of options each option stands in each place equally often, so that a
    preference for a place cancels out.
    """
    count = len(item.options)
    orders = []
    for member in range(ensemble):
        cycle, shift = divmod(member, count)
        base = list(range(count))
        if cycle:
            rank = seeded_rank(seed, "options", item.item_id, str(cycle))
            base = np.random.default_rng(rank).permutation(count).tolist()
        orders.append(base[shift:] + base[:shift])
    return orders


def answered(
    model: Model, items: Sequence[Item], pool: Sequence[Item], settings: Medprompt, protocol: AnswerProtocol, seed: int
) -> pl.DataFrame:
    """Predictions for `items` from `ensemble` prompts each. The nearest exemplar stands last, next to the question.

    Raises:
        BuildError: see `checked_pool`; with the form `question` the pool must hold `shots x ensemble` items.
    """
    shots, ensemble = settings.shots, settings.ensemble
    neighbors = shots if protocol.lists_options else shots * ensemble
    pool = checked_pool(items, pool, neighbors, "medprompt")
    items = limited(items, settings.limit_items, seed)
    if not items:
        return predictions([], [], protocol.name, seed)
    ranked = nearest(
        model.embeddings([item.question for item in items]),
        model.embeddings([item.question for item in pool]),
        neighbors,
    )
    orders, prompts = [], []
    for item, row in zip(items, ranked, strict=True):
        own = (
            [list(range(len(item.options)))] * ensemble
            if not protocol.lists_options
            else option_orders(item, ensemble, seed)
        )
        orders.append(own)
        for member, order in enumerate(own):
            # Ranks member, member + ensemble, ...: every member gets its share of the nearest.
            chosen = row if protocol.lists_options else row[member::ensemble]
            prompts.append(protocol.prompt(item, [pool[index] for index in chosen[::-1]], order))
    answers = protocol.answers(model, prompts)
    members = [answers[start : start + ensemble] for start in range(0, len(answers), ensemble)]
    together = [
        averaged([in_item_order(answer, order) for answer, order in zip(group, own, strict=True)])
        for group, own in zip(members, orders, strict=True)
    ]
    return predictions(items, together, protocol.name, seed)
