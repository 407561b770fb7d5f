"""Which activations the backward pass finds kept, and which it computes again.

Kept whole they are most of the memory of a training step; computed again from each layer's input they cost a third more time.
`selective` lies between: of a layer it keeps what attention returned, and of its matrix products every second one, and computes
the rest again. Of a Mistral layer these are its input, keys, attention, the projection after it and `up` of the feed-forward
network: 0.3 of what is kept without it, and a third of the products are computed twice, where `true` computes three quarters
again. The last product of a layer is needed by neither and is never computed again.

Results do not change by a bit: what is computed twice is the same twice.

Source:
    Korthikanti et al. 2022, arXiv 2205.05198, section 5; every second product as in torchtitan (arXiv 2410.06511, section 2.2).
"""

from collections import Counter
from functools import partial
from typing import Any

from osler.model.devices import Recomputed

PRODUCTS = ("aten::mm", "aten::addmm", "aten::_grouped_mm", "aten::_scaled_mm")  # not bmm: scores of T x T are one
ATTENTION = (
    "attention",
    "flash_attn",
)  # parts of the names of its kernels: torch's own, FlashAttention's, FlexAttention


def recompute(model: Any, asked: Recomputed) -> None:
    """Have `model` keep for the backward pass what `asked` says."""
    if not asked:
        return
    selective = {"context_fn": selective_contexts} if asked == "selective" else {}
    model.activation_checkpointing_enable({"use_reentrant": False, **selective})


def selective_contexts() -> Any:
    """Contexts for `torch.utils.checkpoint`: of one layer's forward pass, and of its second."""
    from torch.utils.checkpoint import create_selective_checkpoint_contexts

    return create_selective_checkpoint_contexts(partial(policy, Counter()))


def policy(products: Counter[bool], context: Any, operation: Any, *_: Any, **__: Any) -> Any:
    """Whether the result of `operation` is kept.

    Args:
        products: of this layer so far, in the first pass and in the second; counted on.
        context: torch's, which tells the passes apart.
        operation: an overload of torch's or of a package's.
    """
    from torch.utils.checkpoint import CheckpointPolicy

    name = operation.name()
    if any(part in name for part in ATTENTION):
        return CheckpointPolicy.MUST_SAVE
    if name in PRODUCTS:
        products[context.is_recompute] += 1
        if products[context.is_recompute] % 2 == 0:
            return CheckpointPolicy.MUST_SAVE
    return CheckpointPolicy.PREFER_RECOMPUTE
