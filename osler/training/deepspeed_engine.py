"""The engine of DeepSpeed's ZeRO.

On a CPU it runs without a compiler: the shared-memory collectives that it would build at first use are switched off.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from osler.model.sharding import DEEPSPEED_BUCKET
from osler.training.checkpoint_files import Part
from osler.training.engine import MOMENTS, WEIGHT, Engine, adamw


class DeepSpeed(Engine):
    """Optimizer, gradients and weights divided as `launch.zero_stage` says: DeepSpeed's ZeRO.

    Only the first process needs the weights: the others' model may be on the device `meta`. They come to the devices one
    parameter at a time, in the dtype that is computed with, and in stage 3 each is divided before the next one comes.
    """

    def _wrapped(self, module: nn.Module) -> Any:
        if self.device.type == "cpu":
            os.environ.setdefault("DS_ACCELERATOR", "cpu")
        import deepspeed

        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        if self.device.type == "cpu":
            deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # needs a compiler; gloo does not
        self.language_model = language_model = module.model
        self._bring_buffers(language_model)
        if self.launch.zero_stage == 3:
            one_by_one = nn.Module()  # `Init` divides each of a module's parameters before it asks for the next
            one_by_one.parameters = lambda recurse: self.arriving()  # noqa: ARG005 - torch's signature
            deepspeed.zero.Init(
                module=one_by_one,
                dtype=torch.bfloat16 if self.bfloat16 else torch.float32,
                remote_device="cpu" if self.launch.offload == "all" else None,
                pin_memory=self.device.type != "cpu",
            )
        else:
            list(self.arriving())  # `initialize` sends the first process's values
        language_model.tie_weights()
        self.parameters = dict(language_model.named_parameters())
        self.optimizer = adamw(self.parameters.values(), self.recipe)
        engine, *_ = deepspeed.initialize(
            model=module, optimizer=self.optimizer, config=self._config(language_model), dist_init_required=False
        )
        self._start_moments(engine.optimizer)
        return engine

    def _bring_buffers(self, language_model: Any) -> None:
        """Give all processes the first one's buffers, on their devices."""
        for owner in language_model.modules():
            for name, buffer in list(owner.named_buffers(recurse=False)):
                whole = torch.empty_like(buffer, device=self.device) if buffer.is_meta else buffer.to(self.device)
                torch.distributed.broadcast(whole, 0)
                setattr(owner, name, whole)

    def arriving(self) -> Iterator[nn.Parameter]:
        """The parameters, one after another, with room on the device.

        On the first process each has its value. A caller that divides one before it takes the next never has two of them whole.
        """
        dtype = torch.bfloat16 if self.bfloat16 else torch.float32
        for name in list(self.parameters):
            owner, _, own = name.rpartition(".")
            parameter = self.parameters[name]
            if parameter.is_meta:
                shape = parameter.shape
                parameter = nn.Parameter(torch.empty(shape, dtype=dtype, device=self.device))
                setattr(self.language_model.get_submodule(owner), own, parameter)
            else:
                parameter.data = parameter.data.to(self.device, dtype)
            yield parameter

    def _config(self, language_model: Any) -> dict[str, Any]:
        sizes = {name: getattr(one, "ds_numel", one.numel()) for name, one in self.parameters.items()}
        layer = sum(size for name, size in sizes.items() if ".layers.0." in name)
        bucket = min(sum(sizes.values()), DEEPSPEED_BUCKET)
        pinned = {"device": "cpu", "pin_memory": self.device.type != "cpu"}
        zero: dict[str, Any] = {
            "stage": self.launch.zero_stage,
            "overlap_comm": True,
            "contiguous_gradients": True,
            "reduce_bucket_size": bucket,  # elements, allocated whole; with overlap twice
            "allgather_bucket_size": bucket,
        }
        if self.launch.zero_stage == 3:
            zero |= {
                "stage3_prefetch_bucket_size": min(layer, DEEPSPEED_BUCKET),
                "stage3_param_persistence_threshold": 10 * language_model.config.hidden_size,  # norms stay whole
                "stage3_max_live_parameters": 2 * layer,  # the one at work and the next one, as under FSDP
                "stage3_max_reuse_distance": 2 * layer,
            }
        if self.launch.offload:
            zero["offload_optimizer"] = pinned
        if self.launch.offload == "all":
            zero["offload_param"] = pinned
        return {
            "train_micro_batch_size_per_gpu": 1,  # of no consequence: batches, their number and their mean are the loop's
            "gradient_accumulation_steps": 1,
            "gradient_clipping": self.recipe.gradient_clip,
            "zero_optimization": zero,
            "zero_allow_untested_optimizer": True,  # torch's AdamW
            "zero_force_ds_cpu_optimizer": False,
            "bf16": {"enabled": self.bfloat16},
            "communication_data_type": "fp32",
            "steps_per_print": 1 << 60,
        }

    def _start_moments(self, divided: Any) -> None:
        """Zeros for the moments, before the first step: DeepSpeed finds them then and not later, if groups are several."""
        if self.launch.zero_stage == 3:
            flat = divided.fp32_partitioned_groups_flat
        else:
            flat = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        for parameter in flat:
            zeros = {moment: torch.zeros_like(parameter) for moment in MOMENTS}
            self.optimizer.state[parameter] = {"step": torch.zeros((), device=self.home), **zeros}
        if self.launch.zero_stage != 3:
            divided._lazy_init_hp_params_optimizer_state()

    def _name(self) -> str:
        stage = self.module.zero_optimization_stage()
        return "deepspeed" if stage == self.launch.zero_stage else f"deepspeed with ZeRO {stage}"

    def loss(self, *batch: Any) -> Any:
        """The sums that the model returns for this process's rows.

        DeepSpeed sees to the precision.
        """
        return self.module(*batch)

    def backward(self, loss: Tensor, last: bool) -> None:
        """Add the gradient of `loss`.

        With the `last` micro-batch of a step, sum over the processes.
        """
        self.module.set_gradient_accumulation_boundary(last)
        self.module.backward(loss * self.processes)
        if not last:
            self.module.step()  # counts the micro-batch

    def step(self, rate: float) -> Tensor:
        """Clip the gradient, update the weights, and forget the gradient.

        The update is at learning rate `rate`. DeepSpeed compares the norm before it updates: where it is not finite
        nothing is updated.

        Returns:
            the gradient's L2 norm before it was clipped; infinite also where it is not a number.
        """
        for group in self.module.optimizer.param_groups:
            group["lr"] = rate
        self.module.step()
        return torch.as_tensor(float(self.module.get_global_grad_norm()), device=self.device)

    def gather(self, name: str) -> dict[str, Tensor]:
        """Weight and moments of a parameter, whole, on the CPU.

        All processes call it together.
        """
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        parameter = self.parameters[name]
        moments = {moment: safe_get_full_optimizer_state(parameter, moment).cpu() for moment in MOMENTS}
        return {WEIGHT: safe_get_full_fp32_param(parameter).detach().cpu(), **moments}

    def scatter(self, name: str, tensors: Mapping[str, Tensor], steps: int) -> None:
        """Set what `gather` gave, after `steps` steps.

        All processes call it together, with the same values.
        """
        import deepspeed
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        parameter = self.parameters[name]
        weight = tensors[WEIGHT].to(self.device)
        safe_set_full_fp32_param(parameter, weight)
        for moment in MOMENTS:
            safe_set_full_optimizer_state(parameter, tensors[moment].to(self.device), moment)
        with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0), torch.no_grad():
            parameter.data.copy_(weight)  # the copy that the next forward pass uses
        for state in self.optimizer.state.values():
            state["step"] = torch.tensor(float(steps), device=self.home)

    def parts(self) -> Iterator[Part]:
        """Every n-th parameter and its moments, which are gathered one by one.

        DeepSpeed lays parameters end to end and divides them anywhere. All processes call it together, and to its end.
        """
        for number, name in enumerate(self.parameters):
            tensors = self.gather(name)
            if number % self.processes == self.rank:
                for key, value in tensors.items():
                    yield Part(f"{key}.{name}", value, (0,) * value.ndim)

    def restore(self, read: Callable[[dict[str, Tensor]], None], steps: int) -> None:
        """Set weights and moments to what `read` fills in.

        That is one parameter at a time, after `steps` steps. All processes call it together.
        """
        for name, parameter in self.parameters.items():
            shape = getattr(parameter, "ds_shape", parameter.shape)
            whole = {key: torch.empty(shape, dtype=torch.float32) for key in (WEIGHT, *MOMENTS)}
            read({f"{key}.{name}": value for key, value in whole.items()})
            self.scatter(name, whole, steps)
