"""The files of a checkpoint: however a model is divided, what is read is what was written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from osler.training.checkpoint_files import Part, Snapshot, reader, write_parts
from osler.training.engine import MOMENTS
from osler.training.fsdp_engine import Fsdp

WHOLE = {
    "matrix": torch.arange(7 * 5).reshape(7, 5).float(),
    "experts": torch.arange(2 * 6 * 3).reshape(2, 6, 3).double(),
    "norm": torch.arange(5).to(torch.bfloat16),
}
LAYOUTS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {  # sizes of the mesh; how each tensor is divided
    "1 process": ((1,), {}),
    "3 processes": ((3,), {}),
    "more processes than rows": ((8,), {}),
    "experts by their rows": ((4,), {"experts": (Shard(1),)}),
    "two copies of three": ((2, 3), dict.fromkeys(WHOLE, (Replicate(), Shard(0)))),
}


@contextmanager
def process(rank: int, layout: str) -> Iterator[Fsdp]:
    """An FSDP engine's state in process `rank`, without the others: no value is sent."""
    sizes, placements = LAYOUTS[layout]
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=int(torch.tensor(sizes).prod()))
    try:
        # torch remembers for equal meshes what it did: those of other processes have other names
        mesh = init_device_mesh("cpu", sizes, mesh_dim_names=tuple(f"{rank} {place}" for place in range(len(sizes))))
        engine = object.__new__(Fsdp)

        def divided(value: torch.Tensor, name: str) -> DTensor:
            return distribute_tensor(value, mesh, placements.get(name, (Shard(0),)), src_data_rank=None)

        engine.parameters = {name: divided(value, name) for name, value in WHOLE.items()}
        state = {
            parameter: {moment: divided(WHOLE[name] + index + 1, name) for index, moment in enumerate(MOMENTS)}
            for name, parameter in engine.parameters.items()
        }
        engine.optimizer = SimpleNamespace(state=state)
        yield engine
    finally:
        dist.destroy_process_group()


def processes(layout: str) -> range:
    return range(int(torch.tensor(LAYOUTS[layout][0]).prod()))


def written(folder: Path, layout: str) -> list[Part]:
    """What all processes of a layout write to `folder`."""
    everything = []
    for rank in processes(layout):
        with process(rank, layout) as engine:
            parts = Snapshot().take(engine.parts())
            everything += parts
            if parts:
                write_parts(folder / f"part-{rank:05d}.safetensors", parts)
    return everything


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_divided_model_is_read_whole(layout: str, tmp_path: Path) -> None:
    """Each number is written once, by the processes that have it, and one process reads all."""
    parts = written(tmp_path, layout)
    assert sum(part.tensor.numel() for part in parts) == 3 * sum(value.numel() for value in WHOLE.values())
    found = {
        f"{kind}.{name}": torch.zeros_like(value) for name, value in WHOLE.items() for kind in ("weight", *MOMENTS)
    }
    reader(tmp_path)(found)
    for name, value in WHOLE.items():
        for index, kind in enumerate(("weight", *MOMENTS)):
            assert torch.equal(found[f"{kind}.{name}"], value + index), (kind, name)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_divided_model_is_read_by_any_other_division(layout: str, tmp_path: Path) -> None:
    """What three processes wrote: every process has its part of it, in weights and moments."""
    written(tmp_path, "3 processes")
    for rank in processes(layout):
        with process(rank, layout) as engine:
            expected = {part.name: part.tensor.clone() for part in engine.parts()}
            for parameter in engine.parameters.values():
                parameter.to_local().zero_()
            engine.restore(reader(tmp_path), 9)
            found = {part.name: part.tensor for part in engine.parts()}
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[name], value) for name, value in expected.items())
            assert {float(state["step"]) for state in engine.optimizer.state.values()} == {9}


def test_a_snapshot_keeps_its_memory() -> None:
    """The second has the new values in the first one's place; another shape gets a place of its own."""
    snapshot, value = Snapshot(), torch.zeros(4)
    (first,) = snapshot.take([Part("x", value, (0,))])
    value += 1
    (second,) = snapshot.take([Part("x", value, (0,))])
    assert second.tensor.data_ptr() == first.tensor.data_ptr() != value.data_ptr()
    assert torch.equal(second.tensor, torch.ones(4))
    (third,) = snapshot.take([Part("x", torch.ones(5), (0,))])
    assert third.tensor.shape == (5,)
