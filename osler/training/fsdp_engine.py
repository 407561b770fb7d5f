"""The engine of torch's FSDP."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from osler.training.checkpoint_files import Part
from osler.training.engine import Engine, adamw


class Fsdp(Engine):
    """Weights, gradients and optimizer divided, a layer at a time: torch's `fully_shard`.

    Only the first process needs the weights (`osler.model.folder.trainable_model`): the others' model may be without storage,
    on the device `meta`, and is filled one parameter at a time. So a machine holds one whole model and not one a process.
    """

    def _wrapped(self, module: nn.Module) -> Any:
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        policy = MixedPrecisionPolicy()
        if self.bfloat16:
            policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        mesh = torch.distributed.device_mesh.init_device_mesh(self.device.type, (self.processes,))
        language_model: Any = module.model
        given = {name: value.detach() for name, value in [*self.parameters.items(), *language_model.named_buffers()]}
        language_model.to("meta")
        language_model.tie_weights()
        for layer in language_model.base_model.layers:
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(module, mesh=mesh, mp_policy=policy)
        module.to_empty(device=self.device)
        language_model.tie_weights()
        self.parameters = dict(language_model.named_parameters())
        self.optimizer = adamw(self.parameters.values(), self.recipe)
        with torch.no_grad():
            for name, place in [*self.parameters.items(), *language_model.named_buffers()]:
                whole = (
                    given[name].to(self.device)
                    if self.rank == 0
                    else torch.empty(place.shape, dtype=place.dtype, device=self.device)
                )
                torch.distributed.broadcast(whole, 0)
                place.copy_(self._part(whole, place) if name in self.parameters else whole)
        return module

    def _name(self) -> str:
        from torch.distributed.tensor import DTensor

        divided = all(isinstance(parameter, DTensor) for parameter in self.parameters.values())
        return "fsdp" if divided else "an undivided model"

    def loss(self, *batch: Tensor | None) -> Tensor:
        """The sums that the model returns for this process's rows.

        `fully_shard` sees to the precision.
        """
        result: Tensor = self.module(*batch)
        return result

    def backward(self, loss: Tensor, last: bool) -> None:
        """Add the gradient of `loss`.

        With the `last` micro-batch of a step, sum over the processes.
        """
        self.module.set_requires_gradient_sync(last)
        (loss * self.processes).backward()

    def _whole(self, value: Any) -> Tensor:
        whole: Tensor = value.full_tensor()
        return whole

    def _part(self, value: Tensor, parameter: Any) -> Any:
        from torch.distributed.tensor import distribute_tensor

        # no process sends: all have the value and keep their part of it
        return distribute_tensor(value.to(self.device), parameter.device_mesh, parameter.placements, src_data_rank=None)

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
