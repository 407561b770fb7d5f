"""What torch keeps for a backward pass."""

import torch
from torch import Tensor, nn


def sums_and_saved_bytes(module: nn.Module) -> tuple[Tensor, int]:
    """The sums of a loss over four rows of 128 tokens, and bytes saved for its backward pass, but for weights."""
    weights = {value.untyped_storage().data_ptr() for value in module.parameters()}
    saved: dict[int, torch.Tensor] = {}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    tokens_BT = torch.randint(0, 256, (4, 128), generator=torch.Generator().manual_seed(1))
    positions_BT = torch.arange(128).expand(4, 128)
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        sums = module(tokens_BT, positions_BT, tokens_BT, torch.ones_like(tokens_BT, dtype=torch.bool), None)
    kept = sum(one.untyped_storage().nbytes() for place, one in saved.items() if place not in weights)
    return sums, kept
