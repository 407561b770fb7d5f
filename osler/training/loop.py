"""The loop that trains a causal language model on packed rows.

There is one for pretraining, continued pretraining, SFT and NEFTune. `Trainer.finished` (trained_model.py) calls `train`, which
starts an engine (engines.py), takes batches from the run (run.py), and saves checkpoints (checkpoints.py).

Documents in a row do not see each other: position ids restart at each segment, from which transformers builds the mask
(`use_cache=False` and no attention mask of our own, or it silently does not), and a segment's first token is no label.
Data order and noise are pure functions of the seed and the step, so that a checkpoint of weights, optimizer state and step
is the complete state: a run that was killed and resumed ends with the same bytes. The language-model head is computed
where there is a label only, which is most of the cost of SFT with a loss on responses.

Distribution is a library's (engines.py). Each process takes every k-th row of the same global batch, a few at a time if asked,
and the loss is the sum over the labels of all processes divided by their number, as if one process had seen them all.

Shape legend: B rows of a batch, T tokens in a row, N rows of the run, D embedding width.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from osler.build.progress import progress
from osler.build.section import BuildError
from osler.model.devices import known_device
from osler.model.numerics import Numerics
from osler.model.router import router_coefficient
from osler.model.throughput import packed_flops, weights_per_token
from osler.training.batches import IGNORED, Batch
from osler.training.checkpoints import Checkpoint, Logged, State
from osler.training.engines import WEIGHT, Engine, started_engine
from osler.training.launch import Launch
from osler.training.optimizer_state import restore_moments, write_moments
from osler.training.packed_loss import PackedLoss
from osler.training.run import Run

LOG_POINTS = 200
NOISE_FREE_STEPS = 100  # between points that under NEFTune also have the loss without noise, a forward pass more: 0.3 %
T = TypeVar("T")
Weights = dict[str, Tensor]


def train(
    model: Any, run: Run, numerics: Numerics, checkpoint: Checkpoint, launch: Launch, moments: Path | None = None
) -> tuple[State, Weights]:
    """Train `model`, from the last checkpoint if there is one.

    The optimizer's moments are written to the file `moments`, if one is given.

    Returns:
        The final state, on every process, and the trained weights, whole and on the CPU, on the first one. Where the
        engine keeps the model whole, it is `model` that was trained.
    Raises:
        BuildError: the loss is not finite, the batch does not fit, the checkpoint is another code's, or the engine cannot
            run here.
    """
    model.train()
    weights_used = weights_per_token(model)  # an engine may divide them
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    engine = started_engine(PackedLoss(model), run.recipe, numerics, launch)
    if run.rows_per_step() % engine.processes:
        raise BuildError(
            f"params.yaml: launch.processes {engine.processes} does not divide the {run.rows_per_step()} rows of a step"
        )
    state = begun_state(run, engine, checkpoint)
    optimization = Optimization(
        run, numerics, engine, checkpoint, launch.checkpoint_every_steps, state, router_coefficient(model.config)
    )
    speed = Speed(model.config, weights_used, engine, state.tokens)

    def micro_batches(step: int) -> list[Batch]:
        return run.micro_batches(step, engine.rank, engine.processes, launch.micro_batch_rows, model.config.hidden_size)

    remaining = range(state.step, run.steps())
    batches = ahead(micro_batches, remaining) if engine.device.type == "cuda" else map(micro_batches, remaining)
    shown = progress(remaining, len(remaining), run.label(), "steps", lambda: speed.status(state))
    for step, parts in zip(shown if engine.rank == 0 else remaining, batches, strict=True):
        optimization.step(step, parts)
        speed.count(part.lengths for part in parts)
    checkpoint.settle(engine)
    if moments:
        write_moments(moments, engine, shapes)
    return state, whole_weights(engine)


def begun_state(run: Run, engine: Engine, checkpoint: Checkpoint) -> State:
    """Where the run stands.

    It is at its last checkpoint, at the end of what it continues, or at the beginning.
    """
    state = checkpoint.load(engine)
    if state.step and engine.rank == 0:
        print(f"{run.label()}: resumed at step {state.step} of {run.steps()}", flush=True)
    elif run.past and not state.step:
        restore_moments(run.past.moments, engine, run.past.steps)
        state.step, state.tokens = run.past.steps, run.past.tokens
    return state


def whole_weights(engine: Engine) -> Weights:
    """The trained weights on the first process; nothing on the others.

    They are gathered from all processes, one parameter at a time.
    """
    weights = {}
    for name in engine.parameters:
        weight = engine.gather(name)[WEIGHT]
        if engine.rank == 0:
            weights[name] = weight
    return weights


@dataclass
class Optimization:
    """The steps of a run.

    These are gradients of its batches, updates, the log, and checkpoints.

    `router_coefficient`: weight of the routers' auxiliary loss, 0 for a dense model.
    """

    run: Run
    numerics: Numerics
    engine: Engine
    checkpoint: Checkpoint
    checkpoint_every_steps: int
    state: State
    router_coefficient: float

    def __post_init__(self) -> None:
        self.steps = self.run.steps()
        self.log_every = max(1, (self.steps - self.run.first_step()) // LOG_POINTS)
        self.noise_free_every = self.log_every * -(-NOISE_FREE_STEPS // self.log_every)

    def step(self, step: int, parts: Sequence[Batch]) -> None:
        """Learn from the batch of `step`.

        `parts` are this process's micro-batches of it.

        Raises:
            BuildError: the loss is not finite.
        """
        rate = self.run.rate(step)
        labels = sum(int((part.labels_BT != IGNORED).sum()) for part in parts)
        tokens = sum(sum(map(sum, part.lengths)) for part in parts)
        total_labels, total_tokens, written = self.engine.summed([labels, tokens, self.checkpoint.written()])
        if written == self.engine.processes:
            self.checkpoint.complete(self.engine)
        noise_free = self._noise_free_loss(step, parts, total_labels)
        loss_sum, router_sum = self._backward(parts, total_labels, total_tokens)
        self.engine.step(rate)
        loss, router = loss_sum / max(1, total_labels), router_sum / total_tokens
        if not np.isfinite(loss + router):
            raise BuildError(f"{self.run.label()}: the loss is {loss} at step {step}; lower the learning rate")
        self.state.step, self.state.tokens = step + 1, self.state.tokens + int(total_tokens)
        self.state.pending_loss.append((loss, router))
        self._log(rate, noise_free)
        if self.state.step % self.checkpoint_every_steps == 0 and self.state.step < self.steps:
            self.checkpoint.save(self.engine, self.state)

    def _sums(self, part: Batch) -> Tensor:
        """The two sums of PackedLoss, (2,)."""
        tensors = part.flat() if self.numerics.attention == "flash_attention_2" else part.tensors()
        return self.engine.loss(*(None if value is None else value.to(self.engine.device) for value in tensors))

    def _noise_free_loss(self, step: int, parts: Sequence[Batch], total_labels: float) -> float | None:
        """Now and then under NEFTune the loss that the batch has without noise, in nats a label."""
        if not self.run.alpha or ((step + 1) % self.noise_free_every and step + 1 != self.steps):
            return None
        with torch.no_grad():
            clean = [float(self._sums(replace(part, noise_BTD=None))[0]) for part in parts]
        return round(self.engine.summed([sum(clean)])[0] / max(1, total_labels), 6)

    def _backward(self, parts: Sequence[Batch], total_labels: float, total_tokens: float) -> tuple[float, float]:
        """Gradients of the whole batch's loss; its two sums over all processes."""
        done = [0.0, 0.0]
        for part in parts:
            sums = self._sums(part)
            objective = sums[0] * (1 / max(1, total_labels))
            if self.router_coefficient:
                objective = objective + sums[1] * (self.router_coefficient / total_tokens)
            self.engine.backward(objective, last=part is parts[-1])
            done = [before + now for before, now in zip(done, sums.tolist(), strict=True)]
        loss_sum, router_sum = self.engine.summed(done)
        return loss_sum, router_sum

    def _log(self, rate: float, noise_free: float | None) -> None:
        """A row of the log for every `log_every` steps: means since the last."""
        state = self.state
        if state.step % self.log_every == 0 or state.step == self.steps:
            mean, router = (round(float(np.mean(values)), 6) for values in zip(*state.pending_loss, strict=True))
            state.log.append(Logged(state.step, state.tokens, mean, float(f"{rate:.6g}"), router, noise_free))
            state.pending_loss.clear()


def ahead(value: Callable[[int], T], steps: Sequence[int]) -> Iterator[T]:
    """`value` of each step, computed ahead.

    A thread computes the next one while the caller is busy with this one.
    """
    with ThreadPoolExecutor(1) as executor:
        following = executor.submit(value, steps[0]) if steps else None
        for step in [*steps[1:], None]:
            current, following = following, None if step is None else executor.submit(value, step)
            if current:
                yield current.result()


class Speed:
    """How fast the run is, for its status line."""

    def __init__(self, config: Any, weights_used: int, engine: Engine, tokens_before: int) -> None:
        self._sizes = (
            weights_used,
            config.num_hidden_layers,
            config.num_attention_heads
            * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads),
        )
        device = torch.cuda.get_device_name() if engine.device.type == "cuda" else ""
        known = known_device(device)
        self._peak = known.flops_per_second if known else None
        self._tokens_before, self._flops, self._started = tokens_before, 0.0, time.monotonic()

    def count(self, lengths: Iterable[list[list[int]]]) -> None:
        """Add a step: segment lengths of this process's rows.

        They count only where the device is known.
        """
        if self._peak:
            self._flops += packed_flops(*self._sizes, (one for part in lengths for row in part for one in row))

    def status(self, state: State) -> str:
        """Loss, learning rate and speed so far.

        Speed is tokens a second of all processes and, of a known device, MFU.
        """
        seconds = max(1e-9, time.monotonic() - self._started)
        loss, rate = state.log[-1][2:4] if state.log else (float("nan"), float("nan"))
        text = f"loss {loss:.3f}, rate {rate:.2g}, {(state.tokens - self._tokens_before) / seconds:,.0f} tokens/s"
        return f"{text}, MFU {self._flops / seconds / self._peak:.1%}" if self._peak else text
