"""Activations kept and computed again: bytes between all and none, and not a bit of difference."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from osler.model.architecture import Architecture, Experts
from osler.model.cost_estimates import kept_bytes
from osler.model.devices import Recomputed
from osler.model.recomputation import recompute
from osler.training.batches import batch_of
from osler.training.packed_loss import PackedLoss
from tests.support.runs import VOCABULARY, rows_of
from tests.support.tiny import tiny_model

HOW: tuple[Recomputed, ...] = (False, "selective", True)


class Watched(TorchDispatchMode):  # type: ignore[misc]
    """Counts operations, and knows what they made that is still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[Any, int]] = {}
        self.operations: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **kwargs or {})
        self.operations.append(function.name())
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.made[storage.data_ptr()] = weakref.ref(storage), storage.nbytes()
        return result

    def held(self, without: set[int]) -> int:
        """Bytes that are alive, but for the storages at the places `without`."""
        return sum(size for place, (one, size) in self.made.items() if one() is not None and place not in without)


@contextmanager
def watched() -> Iterator[Watched]:
    mode = Watched()
    with mode:
        yield mode


def trained(how: Recomputed, experts: int) -> tuple[int, list[Any], int]:
    """Bytes kept after the forward pass, gradients, and products that the backward pass made."""
    module = PackedLoss(tiny_model(VOCABULARY, experts=experts).train())
    recompute(module.model, how)
    weights = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    tensors = batch_of([(rows_of([[5, 7, 4], [16]]), row) for row in (0, 1)]).tensors()
    with watched() as forward:
        sums = module(*tensors)
    kept = forward.held(weights)
    with watched() as backward:
        sums.sum().backward()
    products = sum(name in ("aten::mm", "aten::_grouped_mm") for name in backward.operations)
    return kept, [parameter.grad for parameter in module.parameters()], products


@pytest.mark.parametrize("experts", [0, 4])
def test_memory_lies_between_all_and_none(experts: int) -> None:
    """Bytes after the forward pass, those that `plan` counts, and gradients to the bit."""
    kept, gradients, products = zip(*(trained(how, experts) for how in HOW), strict=True)
    assert kept[2] < kept[1] < kept[0]
    architecture = Architecture(
        hidden_size=32, layers=2, heads=4, key_value_heads=2, intermediate_size=48, initializer_range=0.1,
        tie_embeddings=False, maximum_positions=128,
        experts=Experts(number=4, per_token=2, router_loss_coefficient=0.02) if experts else None,
    )  # fmt: skip
    counted = [32 * 2 * kept_bytes(architecture, "float32", how) for how in HOW]  # of 32 tokens and 2 layers
    assert kept[1] - kept[2] == pytest.approx(counted[1] - counted[2], rel=0.1)
    assert all(
        torch.equal(one, other) for again in gradients[1:] for one, other in zip(gradients[0], again, strict=True)
    )
    assert products[0] < products[1] < products[2]
    if not experts:  # q, v and gate of two layers; and all but `down`
        assert (products[1] - products[0], products[2] - products[0]) == (2 * 3, 2 * 6)
