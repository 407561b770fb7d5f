"""Engines: libraries that turn the gradient of a batch into a step.

They do it on one process, or divided among several.

The loop (loop.py) owns data order, noise, loss and log, and knows an engine by six verbs: loss, backward, step, gather,
scatter, summed. Each engine is a library's: accelerate for one process and for DDP, torch's `fully_shard` for FSDP,
DeepSpeed for ZeRO 1 to 3. gather and scatter give and take whole parameters with AdamW's two moments, one at a time, which
makes a checkpoint independent of the engine and of the number of processes that wrote it.

What silently does something else is refused here: accelerate's launcher without MPI runs one process, its FSDP on a CPU is
DDP; so an engine compares what it got with what `launch` asked.
DeepSpeed on a CPU runs without a compiler: the shared-memory collectives that it would build at first use are switched off.

Two processes on two cores, tiny models: losses of every engine equal one process's to 1e-5 (tests/training/test_engines.py).
"""

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from osler.build.section import BuildError
from osler.model.numerics import Numerics
from osler.training.launch import Launch
from osler.training.recipe import Recipe

WEIGHT, MOMENTS = "weight", ("exp_avg", "exp_avg_sq")


class Engine:
    """Training in one process, or several with a whole copy each.

    It uses accelerate, which for several is DDP. The other engines differ where they override.

    Args:
        module: what is called for a loss; its attribute `model` is the language model, trained in place.
        recipe: of the optimizer.
        numerics: of the run.
        launch: what was asked for.
    Raises:
        BuildError: what runs is not what was asked for.
    """

    def __init__(self, module: nn.Module, recipe: Recipe, numerics: Numerics, launch: Launch) -> None:
        self.bfloat16 = numerics.dtype == "bfloat16"
        self.accelerator = Accelerator(
            cpu=not torch.cuda.is_available(), mixed_precision="bf16" if self.bfloat16 else "no"
        )
        self.device = self.accelerator.device
        self.rank, self.processes = self.accelerator.process_index, self.accelerator.num_processes
        if self.processes != launch.world():
            raise BuildError(
                f"params.yaml: launch: {launch.world()} processes were asked for and {self.processes} run together"
            )
        self.recipe, self.launch = recipe, launch
        self.parameters = dict(module.model.named_parameters())
        self.module = self._wrapped(module)
        got = self._name()
        if got != launch.engine:
            raise BuildError(f"params.yaml: launch.engine: {launch.engine} was asked for and {got} runs")

    def _wrapped(self, module: nn.Module) -> Any:
        module.to(self.device)
        self.optimizer = adamw(self.parameters.values(), self.recipe)
        return self.accelerator.prepare_model(module)

    def _name(self) -> str:
        return "ddp" if isinstance(self.module, nn.parallel.DistributedDataParallel) else "python"

    def loss(self, *batch: Tensor | None) -> Tensor:
        """The sums that the model returns for this process's rows."""
        with self.accelerator.autocast():
            result: Tensor = self.module(*batch)
        return result

    def backward(self, loss: Tensor, last: bool) -> None:
        """Add the gradient of `loss`.

        With the `last` micro-batch of a step, sum over the processes.
        """
        # every engine averages gradients over processes: times their number is the sum
        with nullcontext() if last else self.accelerator.no_sync(self.module):
            (loss * self.processes).backward()

    def step(self, rate: float) -> None:
        """Clip the gradient, update the weights, and forget the gradient.

        The update is at learning rate `rate`.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        nn.utils.clip_grad_norm_(self.parameters.values(), self.recipe.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def gather(self, name: str) -> dict[str, Tensor]:
        """Weight and moments of a parameter, whole, on the CPU.

        All processes call it together.
        """
        parameter = self.parameters[name]
        state = self.optimizer.state[parameter]
        tensors = {WEIGHT: parameter.detach(), **{moment: state[moment] for moment in MOMENTS if moment in state}}
        return {key: self._whole(value).cpu() for key, value in tensors.items()}

    def scatter(self, name: str, tensors: Mapping[str, Tensor], steps: int) -> None:
        """Set what `gather` gave, after `steps` steps.

        All processes call it together, with the same values.
        """
        parameter = self.parameters[name]
        with torch.no_grad():
            parameter.copy_(self._part(tensors[WEIGHT], parameter))
        self.optimizer.state[parameter] = {
            "step": torch.tensor(float(steps), device=self.device),
            **{moment: self._part(tensors[moment], parameter).clone() for moment in MOMENTS},
        }

    def _whole(self, value: Tensor) -> Tensor:
        return value

    def _part(self, value: Tensor, parameter: Tensor) -> Tensor:  # noqa: ARG002 - FSDP needs it
        return value.to(self.device)

    def summed(self, values: Sequence[float]) -> list[float]:
        """Each value summed over the processes."""
        if self.processes == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(tensor)
        return [float(value) for value in tensor]


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


class DeepSpeed(Engine):
    """Optimizer, gradients and weights divided as `launch.zero_stage` says: DeepSpeed's ZeRO."""

    def _wrapped(self, module: nn.Module) -> Any:
        if self.device.type == "cpu":
            os.environ.setdefault("DS_ACCELERATOR", "cpu")
        import deepspeed

        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        if self.device.type == "cpu":
            deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # needs a compiler; gloo does not
        self.optimizer = adamw(self.parameters.values(), self.recipe)
        engine, *_ = deepspeed.initialize(
            model=module, optimizer=self.optimizer, config=self._config(), dist_init_required=False
        )
        self._start_moments(engine.optimizer)
        return engine

    def _config(self) -> dict[str, Any]:
        elements = sum(parameter.numel() for parameter in self.parameters.values())
        return {
            "train_micro_batch_size_per_gpu": 1,  # of no consequence: batches, their number and their mean are the loop's
            "gradient_accumulation_steps": 1,
            "gradient_clipping": self.recipe.gradient_clip,
            "zero_optimization": {
                "stage": self.launch.zero_stage,
                "reduce_bucket_size": min(elements, 500_000_000),  # allocated whole, 2 GB by default
            },
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
            self.optimizer.state[parameter] = {"step": torch.zeros((), device=self.device), **zeros}
        if self.launch.zero_stage != 3:
            divided._lazy_init_hp_params_optimizer_state()

    def _name(self) -> str:
        stage = self.module.zero_optimization_stage()
        return "deepspeed" if stage == self.launch.zero_stage else f"deepspeed with ZeRO {stage}"

    def loss(self, *batch: Tensor | None) -> Tensor:
        """The sums that the model returns for this process's rows.

        DeepSpeed sees to the precision.
        """
        result: Tensor = self.module(*batch)
        return result

    def backward(self, loss: Tensor, last: bool) -> None:
        """Add the gradient of `loss`.

        With the `last` micro-batch of a step, sum over the processes.
        """
        self.module.set_gradient_accumulation_boundary(last)
        self.module.backward(loss * self.processes)
        if not last:
            self.module.step()  # counts the micro-batch

    def step(self, rate: float) -> None:
        """Clip the gradient, update the weights, and forget the gradient.

        The update is at learning rate `rate`.
        """
        for group in self.module.optimizer.param_groups:
            group["lr"] = rate
        self.module.step()

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
            state["step"] = torch.tensor(float(steps), device=self.device)


def started_engine(module: nn.Module, recipe: Recipe, numerics: Numerics, launch: Launch) -> Engine:
    """The engine that `launch` names, with `module` in it, ready to train.

    Raises:
        BuildError: this machine cannot do it, or the model draws random numbers of its own.
    """
    language_model: Any = module.model
    refuse_dropout(language_model)
    numerics.fit(language_model)
    if launch.activation_checkpointing:
        language_model.gradient_checkpointing_enable({"use_reentrant": False})
    kinds: dict[str, type[Engine]] = {"python": Engine, "ddp": Engine, "fsdp": Fsdp, "deepspeed": DeepSpeed}
    return kinds[launch.engine](module, recipe, numerics, launch)


def adamw(parameters: Any, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    parameters = list(parameters)
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.epsilon, fused=True)


def refuse_dropout(model: Any) -> None:
    """Refuse a model whose forward pass is random.

    It would not be the same on other processes, or after a resume.

    Raises:
        BuildError: names what is random.
    """
    found = [
        f"{name} ({module.p})" for name, module in model.named_modules() if isinstance(module, nn.Dropout) and module.p
    ]
    settings = model.config.to_dict()
    found += [key for key in ("attention_dropout", "router_jitter_noise") if settings.get(key)]
    if found:
        raise BuildError(
            f"the base model's config.json has dropout or jitter ({', '.join(found[:3])}); set it to 0: a run could not be"
            " resumed, nor divided, with the same result"
        )
