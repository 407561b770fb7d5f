"""An engine: a library that turns the gradient of a batch into a step.

The loop (loop.py) owns data order, noise, loss and log, and knows an engine by eight verbs: loss, backward, step, gather,
scatter, summed, parts, restore. gather and scatter give and take whole parameters with AdamW's two moments, one at a time;
parts and restore do so for what each process has, wherever it lies in the whole, which makes a checkpoint independent of the
engine and of the number of processes that wrote it. The engine here is accelerate's, of one process and of DDP; others inherit
from it (fsdp_engine.py, deepspeed_engine.py), and engines.py starts what is asked for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor, nn

from osler.build.section import BuildError
from osler.model.numerics import Numerics
from osler.training.checkpoint_files import Part
from osler.training.launch import Launch
from osler.training.recipe import Recipe

TIMEOUT = timedelta(
    hours=1
)  # of a collective: slow disks take minutes, and machines that are gone are found by heartbeat.py
WEIGHT, MOMENTS = "weight", ("exp_avg", "exp_avg_sq")


class Engine:
    """Training in one process, or several with a whole copy each.

    It uses accelerate, which for several is DDP. The other engines differ where they override.

    Args:
        module: what is called for a loss; its attribute `model` is the language model, trained in place. Of its parameters
            only those that require a gradient are trained, kept and checkpointed.
        recipe: of the optimizer.
        numerics: of the run.
        launch: what was asked for.
    Raises:
        BuildError: what runs is not what was asked for.
    """

    def __init__(self, module: nn.Module, recipe: Recipe, numerics: Numerics, launch: Launch) -> None:
        self.bfloat16 = numerics.dtype == "bfloat16"
        self.accelerator = Accelerator(
            cpu=not torch.cuda.is_available(),
            mixed_precision="bf16" if self.bfloat16 else "no",
            kwargs_handlers=[process_group(launch)],
        )
        self.device = self.accelerator.device
        self.home = torch.device("cpu") if launch.offload else self.device  # of the optimizer's state
        self.rank, self.processes = self.accelerator.process_index, self.accelerator.num_processes
        if self.processes != launch.world():
            raise BuildError(
                f"params.yaml: launch: {launch.world()} processes were asked for and {self.processes} run together"
            )
        self.recipe, self.launch = recipe, launch
        self.parameters = trainable(module.model)
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

    def loss(self, *batch: Any) -> Any:
        """The sums that the model returns for this process's rows (`PackedLoss.forward`)."""
        with self.accelerator.autocast():
            return self.module(*batch)

    def backward(self, loss: Tensor, last: bool) -> None:
        """Add the gradient of `loss`.

        With the `last` micro-batch of a step, sum over the processes.
        """
        # every engine averages gradients over processes: times their number is the sum
        with nullcontext() if last else self.accelerator.no_sync(self.module):
            (loss * self.processes).backward()

    def step(self, rate: float) -> Tensor:
        """Clip the gradient, update the weights, and forget the gradient.

        The update is at learning rate `rate`. Where the gradient is not finite nothing is updated.

        Returns:
            the gradient's L2 norm before it was clipped, a scalar on the device, equal on all processes.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        norm = self._whole(nn.utils.clip_grad_norm_(self.parameters.values(), self.recipe.gradient_clip))
        self.optimizer.found_inf = (~norm.isfinite()).float()  # fused AdamW leaves all as it is where this is 1
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm.to(self.device)

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
            "step": torch.tensor(float(steps), device=self.home),
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

    def parts(self) -> Iterator[Part]:
        """This process's parts of weights and moments, named `<kind>.<parameter>`.

        Where all have the whole model it is every n-th parameter. They are what training changes, not copies. All
        processes call it together, and to its end.
        """
        for name in list(self.parameters)[self.rank :: self.processes]:
            for key, value in self._kept(name).items():
                yield Part(key, value, (0,) * value.ndim)

    def restore(self, read: Callable[[dict[str, Tensor]], None], steps: int) -> None:
        """Set weights and moments to what `read` fills in.

        They have the names of `parts`; it is after `steps` steps. No process waits for another.
        """
        kept: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            moments = {moment: torch.zeros_like(parameter, requires_grad=False) for moment in MOMENTS}
            self.optimizer.state[parameter] = {"step": torch.tensor(float(steps), device=parameter.device), **moments}
            kept |= self._kept(name)
        read(kept)

    def _kept(self, name: str) -> dict[str, Any]:
        """Weight and moments of a parameter as they lie here; zeros before the first step."""
        parameter = self.parameters[name]
        state = self.optimizer.state[parameter]
        moments = {moment: state[moment] if moment in state else torch.zeros_like(parameter) for moment in MOMENTS}
        return {f"{key}.{name}": value.detach() for key, value in {WEIGHT: parameter, **moments}.items()}


def trainable(model: Any) -> dict[str, nn.Parameter]:
    """The parameters that get a gradient, by name.

    They are all of a model, or those of an adapter.
    """
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def process_group(launch: Launch) -> InitProcessGroupKwargs:
    """How processes find together.

    With offload they also add up what lies in the host's memory.
    """
    both = launch.offload and torch.cuda.is_available()
    return InitProcessGroupKwargs(timeout=TIMEOUT, backend="cuda:nccl,cpu:gloo" if both else None)


def adamw(parameters: Any, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    kinds: tuple[list[nn.Parameter], list[nn.Parameter]] = [], []
    for parameter in parameters:
        shape = getattr(parameter, "ds_shape", parameter.shape)  # DeepSpeed's, of one that it has divided
        kinds[len(shape) < 2].append(parameter)
    groups = [{"params": kinds[0], "weight_decay": recipe.weight_decay}, {"params": kinds[1], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.epsilon, fused=True)
