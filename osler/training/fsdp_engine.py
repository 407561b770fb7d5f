"""The engine of torch's FSDP."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from osler.model.sharding import cut_dimension
from osler.training.checkpoint_files import Part
from osler.training.engine import Engine, adamw, trainable


class Fsdp(Engine):
    """Weights, gradients and optimizer divided, a layer at a time: torch's `fully_shard`.

    Only the first process needs the weights (`osler.model.folder.trainable_model`): the others' model may be without storage,
    on the device `meta`, and is filled one parameter at a time. So a machine holds one whole model and not one a process.

    With `launch.shard_processes` that many processes divide a copy of the model, and the copies' gradients are summed once a
    step. With `launch.offload` what a process has lies in the machine's memory, and comes to its device a layer at a time.
    """

    def _wrapped(self, module: nn.Module) -> Any:
        from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy

        policies: dict[str, Any] = {}
        if self.bfloat16:
            policies["mp_policy"] = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        if self.launch.offload:
            policies["offload_policy"] = CPUOffloadPolicy(pin_memory=self.device.type != "cpu")
        language_model: Any = module.model
        whole_model = [*language_model.named_parameters(), *language_model.named_buffers()]
        given = {name: value.detach() for name, value in whole_model}
        language_model.to("meta")
        language_model.tie_weights()
        divide(module, mesh(self.device.type, self.processes, self.launch.shard_processes), **policies)
        module.to_empty(device=self.home)
        language_model.tie_weights()
        self.parameters = trainable(language_model)
        self.optimizer = adamw(self.parameters.values(), self.recipe)
        divided = dict(language_model.named_parameters())
        with torch.no_grad():
            for name, place in [*divided.items(), *language_model.named_buffers()]:
                whole = (
                    given[name].to(self.device)
                    if self.rank == 0
                    else torch.empty(place.shape, dtype=place.dtype, device=self.device)
                )
                torch.distributed.broadcast(whole, 0)
                if name in divided:
                    place.copy_(self._part(whole, place))
                else:  # on the device that computes, wherever weights are
                    owner, _, own = name.rpartition(".")
                    setattr(language_model.get_submodule(owner), own, whole)
        return module

    def _name(self) -> str:
        from torch.distributed.tensor import DTensor

        divided = all(isinstance(parameter, DTensor) for parameter in self.parameters.values())
        return "fsdp" if divided else "an undivided model"

    def loss(self, *batch: Any) -> Any:
        """The sums that the model returns for this process's rows.

        `fully_shard` sees to the precision.
        """
        return self.module(*batch)

    def backward(self, loss: Tensor, last: bool) -> None:
        """Add the gradient of `loss`, summed over the processes.

        Each process adds to its part of it, each micro-batch: to wait for the `last` one would keep the whole gradient of the
        model on each process. What copies of the model have is summed with the last.
        """
        self.module.set_requires_all_reduce(last)
        (loss * self.processes).backward()

    def _whole(self, value: Any) -> Tensor:
        whole: Tensor = value.full_tensor()
        return whole

    def _part(self, value: Tensor, parameter: Any) -> Any:
        from torch.distributed.tensor import distribute_tensor

        # no process sends: all have the value and keep their part of it
        part = distribute_tensor(value.to(self.device), parameter.device_mesh, parameter.placements, src_data_rank=None)
        return part.to(self.home)

    def parts(self) -> Iterator[Part]:
        """This process's parts of weights and moments, as they are divided.

        Of what several processes have, the first of them has it. torch.distributed.checkpoint says where a part lies.
        """
        from torch.distributed.checkpoint.default_planner import create_default_local_save_plan

        for name in self.parameters:
            kept = self._kept(name)
            for item in create_default_local_save_plan(kept, is_coordinator=True).items:
                value, offsets = kept[item.index.fqn], item.index.offset
                places = zip(value.placements, value.device_mesh.get_coordinate(), strict=True)
                copied = any(placement.is_replicate() and place for placement, place in places)
                if offsets is not None and value.to_local().numel() and not copied:
                    yield Part(item.index.fqn, value.to_local(), tuple(offsets))


def mesh(device: str, processes: int, parts: int | None) -> Any:
    """A DeviceMesh of all processes.

    Of these `parts` divide a copy of the model; None: all.
    """
    sizes = (processes // parts, parts) if parts and parts < processes else (processes,)
    names = ("copies", "parts")[-len(sizes) :]
    return torch.distributed.device_mesh.init_device_mesh(device, sizes, mesh_dim_names=names)


def divide(module: Any, mesh: Any, **policies: Any) -> None:
    """Cut the parameters of `module` among the processes of `mesh`.

    The rule is that of osler/model/sharding.py.

    Args:
        module: a PackedLoss; each layer of its model is a unit, and all else another.
        mesh: a DeviceMesh, whose last dimension divides and whose first, if there are two, copies.
        policies: of `fully_shard`.
    """
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import Shard

    parts = mesh.size(mesh.ndim - 1)

    def placement(parameter: nn.Parameter) -> Shard:
        return Shard(cut_dimension(parameter.shape, parts))

    for unit in (*module.model.base_model.layers, module):
        fully_shard(unit, mesh=mesh, shard_placement_fn=placement, **policies)
