"""The steps of a run: gradients of its batches, updates, the log, and checkpoints.

The loop (loop.py) calls it with each step. A step whose loss or gradient is not finite changes nothing: the engine leaves
weights and moments as they are, and it is recorded here. Some are borne, as a rare one says little of a run; many end it.

Sums and norms stay on the device until they are read, as the device would have to stop for each: on a GPU every READ_EVERY
steps and where they are written down, on a CPU, where nothing waits, after each step. That changes no result.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from osler.build.section import BuildError
from osler.model.numerics import Numerics
from osler.training.amendments import in_force
from osler.training.batches import Batch
from osler.training.checkpoints import Checkpoint, Logged, State
from osler.training.consistency import Responses
from osler.training.engine import Engine
from osler.training.heldout_loss import probes
from osler.training.launch import Launch
from osler.training.live import Live, StepSeen
from osler.training.run import Prepared, Run

LOG_POINTS = 200
NOISE_FREE_STEPS = 100  # between points that under NEFTune also have the loss without noise, a forward pass more: 0.3 %
READ_EVERY = 10  # steps between reads of a GPU
SKIPPED_IN_A_ROW, SKIPPED_IN_ALL = 3, 10  # steps that are not finite, of which the last one ends a run


@dataclass
class Done:
    """A step that was done and not read."""

    step: int  # from 1
    rate: float
    labels: int
    tokens: int
    values: Tensor  # (3,) or (4,) float64: the sums of the loss over all processes, and the gradient's norm
    conversations: int = 0


@dataclass
class Optimization:
    """The steps of a run.

    These are gradients of its batches, updates, the log, and checkpoints.

    `router_coefficient`: weight of the routers' auxiliary loss, 0 for a dense model. `live` is the first process's.
    """

    run: Run
    numerics: Numerics
    engine: Engine
    checkpoint: Checkpoint
    launch: Launch
    state: State
    router_coefficient: float
    live: Live | None = None

    def __post_init__(self) -> None:
        self.steps = self.run.steps()
        self.log_every = max(1, (self.steps - self.run.first_step()) // LOG_POINTS)
        self.noise_free_every = self.log_every * -(-NOISE_FREE_STEPS // self.log_every)
        self.read_every = 1 if self.engine.device.type == "cpu" else READ_EVERY
        self._done: list[Done] = []

    def step(self, step: int, prepared: Prepared) -> None:
        """Learn from the batch of `step`.

        Raises:
            BuildError: too many steps were not finite, or a checkpoint could not be written.
        """
        rate = self.run.rate(step)
        is_read = (step + 1) % self.read_every == 0
        if is_read and self.engine.summed([self.checkpoint.written()])[0] == self.engine.processes:
            self.checkpoint.complete(self.engine)
        noise_free = None
        if prepared.parts:
            is_due = bool(self.run.alpha) and not ((step + 1) % self.noise_free_every and step + 1 != self.steps)
            clean = [self._clean(part, is_due) for part in prepared.parts] if is_due or self.run.consistency else []
            noise_free = self._noise_free_loss(clean, prepared) if is_due else None
            sums = self._backward(prepared, [responses for _, responses in clean])
            norm = self.engine.step(rate)
            values = torch.cat([sums, norm.detach().to(sums)[None]])
            done = Done(step + 1, rate, prepared.labels, prepared.tokens, values, prepared.conversations)
            self._done.append(done)
        else:
            self.state.idle_steps += 1
        self.state.step, self.state.tokens = step + 1, self.state.tokens + prepared.tokens
        is_logged = self.state.step % self.log_every == 0 or self.state.step == self.steps
        heldout = self._heldout_losses()
        if is_logged or is_read or heldout:
            self._read()
        if is_logged:
            self._log(rate, noise_free)
        if self.live and (is_logged or heldout or (is_read and self.live.is_due())):
            self.live.write(self.state, rate, noise_free, heldout)
        if self.state.step % self.launch.checkpoint_every_steps == 0 and self.state.step < self.steps:
            self.save()

    def save(self) -> None:
        """Write a checkpoint of the steps done so far.

        Raises:
            BuildError: too many of them were not finite.
        """
        self._read()
        self.state.amendments = in_force(self.run.amendments or (), self.state.step)
        self.checkpoint.save(self.engine, self.state)

    def _sums(self, part: Batch, responses: Responses | None = None) -> Any:
        """The sums of PackedLoss; of a clean pass of `responses` also their means."""
        given = part.called_with(self.numerics.by_bounds(), self.engine.device)
        return self.engine.loss(*given) if responses is None else self.engine.loss(*given, responses)

    def _clean(self, part: Batch, is_scored: bool) -> tuple[float, Responses | None]:
        """One pass without noise: its loss, 0 if it is not scored, and under consistency what the noisy one is pulled to."""
        part = replace(part, noise_BTD=None)
        with torch.no_grad():
            if not self.run.consistency:
                return float(self._sums(part)[0]), None
            responses = part.responses(is_scored).to(self.engine.device)
            sums, means_CD = self._sums(part, responses)
        return float(sums[0]) if is_scored else 0.0, replace(responses, clean_CD=means_CD)

    def _noise_free_loss(self, clean: Sequence[tuple[float, Any]], prepared: Prepared) -> float | None:
        """The loss that the batch has without noise, in nats a label."""
        loss = self.engine.summed([sum(loss for loss, _ in clean)])[0] / max(1, prepared.labels)
        return round(loss, 6) if isfinite(loss) else None

    def _heldout_losses(self) -> dict[str, float]:
        """Nats a token of the held-out documents of each domain, where they are to be looked at after this step."""
        asked = self.run.heldout
        if asked is None or not asked.is_due(self.state.step, self.steps):
            return {}
        engine = self.engine
        losses = {}
        with torch.no_grad():
            for domain, parts, labels in probes(
                self.run, asked, engine.rank, engine.processes, self.launch.micro_batch_rows
            ):
                sums = engine.summed([sum(float(self._sums(part)[0]) for part in parts)])
                if isfinite(sums[0]):
                    losses[domain] = sums[0] / max(1, labels)
        return losses

    def _backward(self, prepared: Prepared, clean: Sequence[Responses | None]) -> Tensor:
        """Gradients of the whole batch's loss.

        Its sums over all processes are returned, (2,) or under consistency (3,), float64 on the device.
        """
        consistency = self.run.consistency
        done = torch.zeros(3 if consistency else 2, dtype=torch.float64, device=self.engine.device)
        for index, part in enumerate(prepared.parts):
            sums = self._sums(part, clean[index] if consistency else None)
            objective = sums[0] * (1 / max(1, prepared.labels))
            if self.router_coefficient:
                objective = objective + sums[1] * (self.router_coefficient / prepared.tokens)
            if consistency:
                objective = objective + sums[2] * (consistency / max(1, prepared.conversations))
            # a loss that is not finite may have a gradient that is: here it has not, nor has the norm, on any process
            objective = objective * torch.where(objective.detach().isfinite(), 1.0, torch.nan)
            self.engine.backward(objective, last=part is prepared.parts[-1])
            done += sums.detach()
        if self.engine.processes > 1:
            torch.distributed.all_reduce(done)
        return done

    def _read(self) -> None:
        """Take the steps done so far into the state."""
        values = torch.stack([done.values for done in self._done]).tolist() if self._done else []
        for done, (loss_sum, router_sum, *distance_sum, norm) in zip(self._done, values, strict=True):
            loss, router = loss_sum / max(1, done.labels), router_sum / done.tokens
            distance = [value / max(1, done.conversations) for value in distance_sum]  # of one, or empty
            skipped = not isfinite(norm)
            if self.live:
                self.live.add(StepSeen(done.step, loss, router, norm, skipped, *distance))
            if skipped:
                total = loss + self.router_coefficient * router + self.run.consistency * sum(distance)
                self._skip(done.step, total, norm)
            else:
                self.state.pending_loss.append((loss, router, *distance))
        self._done.clear()
        if self.state.step == self.steps and not self.state.log and not self.state.pending_loss:
            raise BuildError(
                f"{self.run.label()}: none of its steps changed the model; read more, lower the learning rate, or leave"
                " fewer steps out (cpt.amendments)"
            )

    def _skip(self, step: int, loss: float, norm: float) -> None:
        """Record a step that changed nothing, and stop at too many."""
        state, label = self.state, self.run.label()
        state.idle_steps += 1
        state.skipped.append({"step": step, "norm": str(norm), "loss": str(loss), "rows": self.run.rows_of(step - 1)})
        told = f"{label}: step {step}: the loss is {loss} and the gradient's norm {norm}"
        last = [entry["step"] for entry in state.skipped[-SKIPPED_IN_A_ROW:]]
        in_a_row = last == list(range(step - SKIPPED_IN_A_ROW + 1, step + 1))
        if not in_a_row and len(state.skipped) < SKIPPED_IN_ALL:
            if self.engine.rank == 0:
                print(f"warning: {told}; it changed nothing", file=sys.stderr, flush=True)
            return
        many = (
            f"the {SKIPPED_IN_A_ROW}rd such step in a row" if in_a_row else f"the {SKIPPED_IN_ALL}th such step in all"
        )
        way = "lower the learning rate"
        if self.run.amendments is not None:
            way += f" or leave steps out in cpt.amendments (skip_steps: [{last[0]}, {step}])"
        raise BuildError(f"{told}, {many}; {way}: the last checkpoint is from before it")

    def _log(self, rate: float, noise_free: float | None) -> None:
        """A row of the log for every `log_every` steps: means since the last; none where all were left out."""
        state = self.state
        if state.pending_loss:
            means = [round(float(np.mean(values)), 6) for values in zip(*state.pending_loss, strict=True)]
            mean, router, *distance = means
            state.log.append(
                Logged(state.step, state.tokens, mean, float(f"{rate:.6g}"), router, noise_free, *distance)
            )
            state.pending_loss.clear()
