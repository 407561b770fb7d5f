"""Cross-entropy of a language-model head without ever holding all logits.

With 32,000 tokens in the vocabulary the logits of one small batch are half a gigabyte, written and read about six times;
that, not arithmetic, was most of a CPU training step. Here a slice of positions at a time goes through the head, and its
gradient is taken on the spot, so memory stays at one slice and the multiplications are the same three as usual.

Shape legend: L labeled positions, D hidden size, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor

# by device: on a CPU 16 MB in float32, small enough that the allocator reuses the memory; on a GPU 512 MB, thousands of
# positions, so that products are large enough for it
LOGITS_AT_ONCE = {"cpu": 1 << 22, "cuda": 1 << 27}


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_LD: Tensor, weight_VD: Tensor, labels_L: Tensor) -> Tensor:
        device = hidden_LD.device.type
        if torch.is_autocast_enabled(device):  # addmm_ is not among what it casts
            hidden_LD = hidden_LD.to(torch.get_autocast_dtype(device))
        weight = weight_VD.to(hidden_LD.dtype)
        loss = hidden_LD.new_zeros((), dtype=torch.float64 if hidden_LD.dtype == torch.float64 else torch.float32)
        grad_hidden = torch.empty_like(hidden_LD)
        # slices are added up in float32, whatever they are multiplied in
        grad_weight = torch.zeros_like(weight_VD, dtype=loss.dtype)
        step = max(1, LOGITS_AT_ONCE[device] // weight.shape[0])
        for start in range(0, len(hidden_LD), step):
            hidden, labels = hidden_LD[start : start + step], labels_L[start : start + step, None]
            logits = (hidden @ weight.T).to(loss.dtype)
            normalizer = torch.logsumexp(logits, dim=1, keepdim=True)
            loss += (normalizer - logits.gather(1, labels)).sum()
            slope = logits.sub_(normalizer).exp_()
            slope.scatter_add_(1, labels, slope.new_full(labels.shape, -1.0))
            slope = slope.to(hidden.dtype)
            grad_hidden[start : start + step] = slope @ weight
            if slope.dtype == grad_weight.dtype:
                grad_weight.addmm_(slope.T, hidden)
            else:
                grad_weight += slope.T @ hidden
        ctx.save_for_backward(grad_hidden, grad_weight.to(weight_VD.dtype))
        return loss

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grad_outputs[0].to(grad_hidden), grad_weight * grad_outputs[0].to(grad_weight), None


def linear_cross_entropy(hidden_LD: Tensor, weight_VD: Tensor, labels_L: Tensor) -> Tensor:
    """The summed cross-entropy, in nats, of predicting labels.

    `labels_L` are predicted from `hidden_LD` through the head `weight_VD`.

    Equals `cross_entropy(hidden @ weight.T, labels, reduction="sum")` and has its gradients; no second derivatives.

    Args:
        hidden_LD: any float type; the softmax is in float32 at least.
        weight_VD: the head, without bias.
        labels_L: int64 in [0, V).
    Returns:
        A scalar; 0 for no positions.
    """
    result: Tensor = _LinearCrossEntropy.apply(hidden_LD, weight_VD, labels_L)
    return result
