"""The steps of a run: gradients of its batches, updates, the log, and checkpoints.

The loop (loop.py) calls it with the micro-batches of each step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from osler.build.section import BuildError
from osler.model.numerics import Numerics
from osler.training.batches import IGNORED, Batch
from osler.training.checkpoints import Checkpoint, Logged, State
from osler.training.engine import Engine
from osler.training.run import Run

LOG_POINTS = 200
NOISE_FREE_STEPS = 100  # between points that under NEFTune also have the loss without noise, a forward pass more: 0.3 %


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
        tensors = part.flat() if self.numerics.by_bounds() else part.tensors()
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
