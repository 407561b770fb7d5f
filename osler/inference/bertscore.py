"""BERTScore of two texts, from the states of their tokens. Pure functions.

Each token of a text takes the best cosine among the tokens of the other. The mean over the text's tokens is precision,
over its target's recall. As in the authors' package, special tokens may be matched but do not count.

Numbers compare under the same model and layer only. States of most models point much the same way, so that texts of no
relation score far above 0: `shuffled` says how far. Rescaling by a baseline of random sentences is not done, since that is
known for some models of the Hub only.

Source: Zhang et al., arXiv 1904.09675.

Shapes: S tokens of a text, T of the other, D hidden size.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class TokenStates(NamedTuple):
    """A text as an encoder has read it."""

    ids_S: Tensor  # int64
    own_S: Tensor  # bool, false for special tokens
    states_SD: Tensor  # float32


class BertScore(NamedTuple):
    """Each 0 to 1.

    `shuffled` is F1 against another item's target, None where there is no other item.
    """

    precision: float
    recall: float
    f1: float
    shuffled: float | None


def rarities(targets: Iterable[Iterable[int]]) -> Mapping[int, float]:
    """Weight of each token id, its inverse document frequency.

    It is ln((N + 1) / (n + 1)) for n of N targets that have it.
    An id that no target has weighs ln(N + 1); one that all have weighs nothing.
    """
    sets = [set(ids) for ids in targets]
    found = Counter(one for ids in sets for one in ids)
    weights = {one: math.log((len(sets) + 1) / (count + 1)) for one, count in found.items()}
    return defaultdict(lambda: math.log(len(sets) + 1), weights)


def matched(text: TokenStates, target: TokenStates, rarity: Mapping[int, float] | None) -> tuple[float, float, float]:
    """Precision, recall and F1.

    All are 0 where no token of one of the two counts.

    Args:
        rarity: weight of each token id; None: all weigh the same.
    """
    ours_S, theirs_T = _weights(text, rarity), _weights(target, rarity)
    if not ours_S.any() or not theirs_T.any():
        return 0.0, 0.0, 0.0
    normalize = torch.nn.functional.normalize
    cosine_ST = normalize(text.states_SD, dim=1) @ normalize(target.states_SD, dim=1).T
    precision = float(cosine_ST.max(dim=1).values @ ours_S / ours_S.sum())
    recall = float(cosine_ST.max(dim=0).values @ theirs_T / theirs_T.sum())
    if precision + recall <= 0:
        return 0.0, 0.0, 0.0
    f1 = 2 * precision * recall / (precision + recall)
    bounded = [min(1.0, max(0.0, one)) for one in (precision, recall, f1)]
    return bounded[0], bounded[1], bounded[2]


def _weights(text: TokenStates, rarity: Mapping[int, float] | None) -> Tensor:
    """(S,), float32; 0 for special tokens."""
    if rarity is None:
        return text.own_S.float()
    ids: Sequence[int] = text.ids_S.tolist()
    return text.own_S.float() * torch.tensor([rarity[one] for one in ids])
