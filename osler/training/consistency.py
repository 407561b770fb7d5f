"""Consistency beside noise: the noisy pass of a batch is pulled towards the clean one.

A step runs its rows twice (optimization.py): without noise and without a gradient, which gives the mean state of each
conversation's responses, then with noise; PackedLoss measures how far the noisy means are from the clean ones. It costs a forward
pass more without the head, about a third of a step.

Source:
    CEFTune, arXiv 2311.15876. Its text could not be read when this was written; what is known of it is that noisy and clean
    inputs shall have consistent embeddings. So these are choices made here, in which it may differ: the state that is compared
    (the last, mean over what predicts the responses), the distance (cosine), that no gradient flows through the clean
    pass, and that all conversations weigh the same, however long they are.

Shape legend: L labels, C conversations that have any, D embedding width.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Responses:
    """The responses of a micro-batch, conversation by conversation.

    What packed_loss.py is asked about them: with `clean_CD` how far their states are from it, without it what they are. No tuple,
    into which engines would look; they would round `clean_CD` to what is computed with.
    """

    labels_C: Tensor  # int64, labels of each conversation that has any, in the order of the rows; their sum is L
    clean_CD: Tensor | None = None  # None: this is the clean pass
    is_scored: bool = True  # of the clean pass: also its loss is wanted

    def to(self, *place: Any, **how: Any) -> "Responses":
        """The same with its tensors where `Tensor.to` puts them."""
        clean_CD = None if self.clean_CD is None else self.clean_CD.to(*place, **how)
        return replace(self, labels_C=self.labels_C.to(*place, **how), clean_CD=clean_CD)


def response_means(hidden_LD: Tensor, labels_C: Tensor) -> Tensor:
    """The mean state of each conversation's responses.

    It is over the states that predict a token of a response, so it does not depend on what else is in the row.

    Args:
        hidden_LD: the state at each label, in the order of the rows.
        labels_C: int64, at least 1, how many of these are each conversation's; their sum is L.
    Returns:
        (C, D) in float32, or float64 where the states are.
    """
    wide_LD = hidden_LD.to(torch.promote_types(hidden_LD.dtype, torch.float32))
    # its check would wait for a GPU, and fails for no conversations at all
    means_CD: Tensor = torch.segment_reduce(wide_LD, "mean", lengths=labels_C, axis=0, unsafe=True)
    return means_CD


def summed_distance(noisy_CD: Tensor, clean_CD: Tensor) -> Tensor:
    """The cosine distances of conversations from their clean means, summed.

    Each is 1 - cos, from 0 to 2. No gradient flows to `clean_CD`.

    Returns:
        A scalar; 0 for no conversations.
    """
    return (1 - torch.nn.functional.cosine_similarity(noisy_CD, clean_CD.detach(), dim=1)).sum()
