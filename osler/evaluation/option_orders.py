"""The same question with its options in several orders.

The answers to them become one.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from osler.evaluation.protocols import AnswerProtocol
from osler.evaluation.questions import Answer, Item, averaged, in_item_order, voted
from osler.inference.interface import seeded_rank

Combine = Literal["votes", "probabilities"]


def listing(protocol: AnswerProtocol) -> AnswerProtocol:
    """`protocol` with the options listed in the prompt.

    Without that their order is not seen.
    """
    return replace(protocol, listed=True)


def option_orders(item: Item, count: int, seed: int) -> list[list[int]]:
    """`count` orders of the options of an item.

    First come their own order and its rotations, then those of a seeded permutation, and so on. Where `count` is a
    multiple of the number of options each option stands in each place equally often. The seed changes nothing in the
    first round.
    """
    number = len(item.options)
    orders = []
    for place in range(count):
        cycle, shift = divmod(place, number)
        base = list(range(number))
        if cycle:
            rank = seeded_rank(seed, "options", item.item_id, str(cycle))
            base = np.random.default_rng(rank).permutation(number).tolist()
        orders.append(base[shift:] + base[:shift])
    return orders


def combined(
    answers: Sequence[Answer],
    items: Sequence[Item],
    orders: Sequence[Sequence[Sequence[int]]],
    combine: Combine,
    is_generated: bool,
) -> list[Answer]:
    """One answer an item, its options in item order.

    Args:
        answers: one an item and order, options in that order, items one after the other.
        items: that were asked.
        orders: of each item.
        combine: what of the answers counts.
        is_generated: such answers have no probabilities and always vote.
    """
    remaining = iter(answers)
    results = []
    for item, own in zip(items, orders, strict=True):
        members = [in_item_order(next(remaining), order) for order in own]
        is_mean = combine == "probabilities" and not is_generated
        results.append(averaged(members) if is_mean else voted(members, item.item_id))
    return results
