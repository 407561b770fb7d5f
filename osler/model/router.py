"""The auxiliary loss that spreads tokens over a mixture's experts.

transformers computes that loss only when asked (`output_router_logits`, off by default: huggingface/transformers #44242)
and without an attention mask counts padding, so it is computed here from the router's logits, for the tokens that are no
padding. It costs a softmax over the experts a token and layer, nothing beside the experts themselves.

Shape legend: N tokens, E experts, K experts a token.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def router_coefficient(config: Any) -> float:
    """The weight of the auxiliary loss in the training loss.

    It is 0 for a dense model.
    """
    return float(getattr(config, "router_aux_loss_coef", 0.0) or 0.0)


def assignments(logits_NE: Tensor, experts_per_token: int, kept_N: Tensor) -> Tensor:
    """How many kept tokens go to each expert of a layer.

    The shape is (E,); the sum is K times the kept tokens.
    """
    chosen_NK = torch.topk(logits_NE, experts_per_token, dim=-1).indices
    # one-hot, not histc or scatter_add: those have no deterministic form on CUDA
    chosen_NE = torch.nn.functional.one_hot(chosen_NK, logits_NE.shape[-1]).sum(1)
    return (chosen_NE * kept_N[:, None]).sum(0)


def router_loss(logits: Sequence[Tensor], experts_per_token: int, kept_N: Tensor) -> Tensor:
    """The auxiliary loss of the kept tokens.

    It is E times the sum over experts of f_e P_e.

    f_e is the number of assignments to expert e a token, P_e the mean probability of e, both over the kept tokens of all
    layers; the gradient is P's. It is K when tokens are spread evenly and grows to E when K experts take them all. Since
    layers are averaged before the product, as in transformers (whose checkpoints expect it), they may make up for each
    other. Equals `load_balancing_loss_func(logits, E, K, mask)` of transformers 5.

    Args:
        logits: one (N, E) a layer.
        experts_per_token: K.
        kept_N: bool, False for padding.
    Returns:
        A float32 scalar; 0 without kept tokens.
    Source:
        Fedus et al. 2021, Switch Transformers, equations 4 to 6, arXiv 2101.03961; K > 1 as in transformers.
    """
    total = kept_N.sum().clamp(min=1) * len(logits)
    counts_E = torch.stack([assignments(layer_NE.detach(), experts_per_token, kept_N) for layer_NE in logits]).sum(0)
    probabilities_E = torch.stack(
        [(torch.softmax(layer_NE.float(), dim=-1) * kept_N[:, None]).sum(0) for layer_NE in logits]
    ).sum(0)
    return logits[0].shape[-1] * (counts_E / total * probabilities_E / total).sum()
