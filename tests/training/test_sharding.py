"""How a model is cut: the rule by hand, and both full profiles as torch cuts them, with `plan`'s memory beside it.

A process group that sends nothing (torch's own, of its tests) lets one process hold the first part of a model on 128.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import distributed, nn

from osler.model.cost_estimates import Placement, parameters, state_bytes
from osler.model.sharding import cut_dimension, largest_part, layer_shapes, other_shapes
from osler.training.fsdp_engine import divide, mesh
from osler.training.packed_loss import PackedLoss
from tests.model.test_cost_estimates import MIXTURE, TINY, built, profile

PROFILES = ("mistral-7b", "mixtral-8x7b")
LAYERS = 2  # of 32, which are all alike
Architecture = Any


@contextmanager
def first_of(processes: int) -> Iterator[None]:
    """This process is the first of so many, that only count."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    distributed.init_process_group("fake", rank=0, world_size=processes, store=FakeStore())
    try:
        yield
    finally:
        distributed.destroy_process_group()


def divided(architecture: Architecture, vocabulary: int, processes: int, parts: int | None = None) -> Any:
    """The model without storage, as the first of so many processes has it."""
    with torch.device("meta"):
        module = PackedLoss(built(architecture, vocabulary))
    divide(module, mesh("cpu", processes, parts))
    return module.model


def held(model: nn.Module) -> int:
    """Elements of this process's part."""
    return sum(value.to_local().untyped_storage().nbytes() // 4 for value in model.parameters())


@pytest.mark.parametrize(
    ("shape", "parts", "dimension", "largest"),
    [
        ((8, 28672, 4096), 8, 0, 28672 * 4096),
        ((8, 28672, 4096), 32, 1, 8 * 896 * 4096),
        ((8, 4096), 128, 1, 8 * 32),
        ((4096,), 128, 0, 32),
        ((32001, 4096), 8, 0, 4001 * 4096),  # 1.0002 of an even part
        ((9, 16), 4, 1, 9 * 4),
        ((8, 30, 50), 11, 0, 30 * 50),  # nothing divides
        ((3, 5), 1, 0, 15),
    ],
)
def test_what_is_cut_by_hand(shape: tuple[int, ...], parts: int, dimension: int, largest: int) -> None:
    """The first dimension, or where parts would differ by more than 5 % the first that divides evenly."""
    assert cut_dimension(shape, parts) == dimension
    assert largest_part(shape, parts) == largest


@pytest.mark.parametrize("experts", [None, MIXTURE])
@pytest.mark.parametrize("tied", [False, True])
def test_the_shapes_that_are_counted_are_those_of_the_model(experts: dict[str, Any] | None, tied: bool) -> None:
    """Under their names."""
    from osler.model.architecture import Architecture

    architecture = Architecture.model_validate(TINY | {"experts": experts, "tie_embeddings": tied})
    shapes = {name: tuple(value.shape) for name, value in built(architecture, 256).named_parameters()}
    layers = {
        f"model.layers.{layer}.{name}": shape
        for layer in range(architecture.layers)
        for name, shape in layer_shapes(architecture).items()
    }
    assert layers | other_shapes(architecture, 256) == shapes


@pytest.mark.parametrize("processes", [8, 32, 128])
@pytest.mark.parametrize("name", PROFILES)
def test_a_full_model_is_divided_evenly_and_as_planned(name: str, processes: int) -> None:
    """The first part, which is the largest, is at most 1.1 even ones; the planned 16 bytes for each of its elements are within
    10 %; and the largest layer is gathered with no more than 1.1 times its own bytes."""
    architecture, vocabulary = profile(name)
    architecture = architecture.model_copy(update={"layers": LAYERS})
    with first_of(processes):
        model = divided(architecture, vocabulary, processes)
        part = held(model)
        gathered = held(model.base_model.layers[0]) * processes
    counted = parameters(architecture, vocabulary)
    assert part <= 1.1 * counted.total / processes
    assert gathered <= 1.1 * counted.layer
    placement = Placement(engine="fsdp", processes=processes, nodes=1, activation_checkpointing=True)
    planned = state_bytes(architecture, vocabulary, "bfloat16", placement)
    assert planned.weights + planned.gradients + planned.optimizer == pytest.approx(16 * part, rel=0.1)
    assert planned.whole > 3 * 2 * counted.layer  # two layers and gradients in bfloat16
    assert planned.host == 0


def test_a_part_is_that_of_its_copy() -> None:
    """On 32 processes of which 8 divide a copy, each has an eighth."""
    architecture, vocabulary = profile("mixtral-8x7b")
    architecture = architecture.model_copy(update={"layers": LAYERS})
    with first_of(32):
        part = held(divided(architecture, vocabulary, 32, 8))
    placement = Placement(engine="fsdp", processes=8, nodes=4, activation_checkpointing=True, shard_processes=8)
    planned = state_bytes(architecture, vocabulary, "bfloat16", placement)
    assert part == pytest.approx(parameters(architecture, vocabulary).total / 8, rel=0.01)
    assert planned.optimizer == pytest.approx(8 * part, rel=0.01)


def test_what_cannot_be_cut_evenly_is_planned_as_it_lies() -> None:
    """Experts of 8 x 28672 x 4096 on 24 processes: eight hold one each, three times an even part, and the plan says it."""
    architecture, vocabulary = profile("mixtral-8x7b")
    architecture = architecture.model_copy(update={"layers": LAYERS})
    with first_of(24):
        part = held(divided(architecture, vocabulary, 24))
    placement = Placement(engine="fsdp", processes=8, nodes=3, activation_checkpointing=True)
    planned = state_bytes(architecture, vocabulary, "bfloat16", placement)
    assert part > 2 * parameters(architecture, vocabulary).total / 24
    assert planned.optimizer == 8 * part
