"""Train a causal language model on packed rows: one loop for pretraining, continued pretraining, SFT and NEFTune.

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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from stages.lib.checkpoints import Checkpoint, Logged, State
from stages.lib.cross_entropy import linear_cross_entropy
from stages.lib.devices import known_device
from stages.lib.engines import WEIGHT, Engine, started_engine
from stages.lib.launching import Launch
from stages.lib.moments import restore_moments, write_moments
from stages.lib.noise import neftune_noise
from stages.lib.numerics import Numerics
from stages.lib.progress import progress
from stages.lib.recipe import Recipe, Schedule, learning_rate
from stages.lib.router import router_coefficient, router_loss
from stages.lib.section import BuildError
from stages.lib.shards import PackedRows
from stages.lib.throughput import training_flops, weights_per_token

IGNORED = -100
LOG_POINTS = 200
NOISE_FREE_STEPS = 100  # between points that under NEFTune also have the loss without noise, a forward pass more: 0.3 %
T = TypeVar("T")
Weights = dict[str, Tensor]


@dataclass
class Batch:
    """Rows as tensors; `lengths` holds each row's segment lengths."""

    tokens_BT: Tensor
    positions_BT: Tensor
    labels_BT: Tensor  # the next token, IGNORED at segment ends, in padding and where nothing is learned
    kept_BT: Tensor  # bool, False in padding
    lengths: list[list[int]]
    noise_BTD: Tensor | None = None

    def tensors(self) -> tuple[Tensor | None, ...]:
        """What the model is called with."""
        return self.tokens_BT, self.positions_BT, self.labels_BT, self.kept_BT, self.noise_BTD

    def flat(self) -> tuple[Tensor | None, ...]:
        """The same as one long row: FlashAttention keeps documents apart by their positions in a batch of one row only."""
        return tuple(None if value is None else value.flatten(0, 1)[None] for value in self.tensors())


def batch_of(rows: Sequence[tuple[PackedRows, int]]) -> Batch:
    """Build the tensors of `rows`. Padding is a segment of its own, so that it sees and teaches nothing."""
    tokens = np.stack([source.tokens_RT[row].astype(np.int64) for source, row in rows])
    positions = np.zeros_like(tokens)
    labels = np.full_like(tokens, IGNORED)
    kept = np.zeros(tokens.shape, bool)
    lengths = [source.segment_lengths(row) for source, row in rows]
    for index, (source, row) in enumerate(rows):
        ends = np.cumsum(lengths[index])
        for end, length in zip(ends, lengths[index], strict=True):
            positions[index, end - length : end] = np.arange(length)
            labels[index, end - length : end - 1] = tokens[index, end - length + 1 : end]
        filled = int(ends[-1])
        kept[index, :filled] = True
        positions[index, filled:] = np.arange(tokens.shape[1] - filled)
        if source.labels_RT is not None:
            labels[index, :-1][source.labels_RT[row][1:] == 0] = IGNORED
    return Batch(
        torch.from_numpy(tokens),
        torch.from_numpy(positions),
        torch.from_numpy(labels),
        torch.from_numpy(kept),
        lengths,
    )


def batch_noise(
    lengths: Sequence[Sequence[int]], width: int, hidden: int, alpha: float, seeds: Sequence[int]
) -> Tensor:
    """NEFTune noise (B, T, D) for rows of `width` tokens, zero in padding; row i depends on its own seed only."""
    noise_BTD = torch.zeros(len(lengths), width, hidden)
    for index, (row_lengths, seed) in enumerate(zip(lengths, seeds, strict=True)):
        generator = torch.Generator().manual_seed(seed)
        noise_TD = neftune_noise(torch.tensor(row_lengths), hidden, alpha, generator)
        noise_BTD[index, : len(noise_TD)] = noise_TD
    return noise_BTD


class PackedLoss(nn.Module):
    """A causal language model whose forward pass is the summed loss of packed rows (what DDP and its kin wrap)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.router_coefficient = router_coefficient(model.config)

    def hidden(
        self, tokens_BT: Tensor, positions_BT: Tensor, noise_BTD: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Last hidden states (B, T, D) of rows whose segments do not see each other, and each router's logits (BT, E)."""
        embeddings_BTD = self.model.get_input_embeddings()(tokens_BT)
        if noise_BTD is not None:
            embeddings_BTD = embeddings_BTD + noise_BTD.to(embeddings_BTD)
        asked = {"output_router_logits": True} if self.router_coefficient else {}
        output = self.model.base_model(
            inputs_embeds=embeddings_BTD, position_ids=positions_BT, use_cache=False, **asked
        )
        return output.last_hidden_state, getattr(output, "router_logits", None) or ()

    def forward(
        self, tokens_BT: Tensor, positions_BT: Tensor, labels_BT: Tensor, kept_BT: Tensor, noise_BTD: Tensor | None
    ) -> Tensor:
        """Two sums (2,), which several processes and parts of a batch add up: nats over the labels that are not IGNORED,
        and the auxiliary loss of the routers times the tokens that are no padding (0 for a dense model).

        Over all tokens of a step the second is the mean of each part's own auxiliary loss, weighted by its tokens: every
        part spreads its tokens evenly, which is a little stricter than spreading those of the whole batch.

        Raises:
            BuildError: the auxiliary loss has a coefficient, and the model gives no router logits to learn from.
        """
        learned_BT = labels_BT != IGNORED
        hidden_BTD, logits = self.hidden(tokens_BT, positions_BT, noise_BTD)
        head = self.model.get_output_embeddings()
        loss = linear_cross_entropy(hidden_BTD[learned_BT], head.weight, labels_BT[learned_BT])
        if not self.router_coefficient:
            return torch.stack([loss, loss.new_zeros(())])
        if not logits or (torch.is_grad_enabled() and not all(layer_NE.requires_grad for layer_NE in logits)):
            raise BuildError(
                f"{type(self.model).__name__}: router_aux_loss_coef is {self.router_coefficient:g}, but no router loss is"
                " produced: it would silently be off; set it to 0 in the base model's config.json, or fix the model"
            )
        kept_N = kept_BT.flatten()
        spread = router_loss(logits, self.model.config.num_experts_per_tok, kept_N)
        return torch.stack([loss, spread * kept_N.sum()])


@dataclass(frozen=True)
class Past:
    """What a run goes on from besides a model's weights: its place in the order, which is whole steps, and AdamW's moments."""

    moments: Path
    steps: int
    tokens: int


@dataclass(frozen=True)
class Run:
    """What to train on: `order_N2` gives, for each row of the run and of its past, the place of its source among the sorted
    names of `sources`, and its row there."""

    title: str
    sources: Mapping[str, PackedRows]
    order_N2: npt.NDArray[np.int64]
    recipe: Recipe
    seed: int
    alpha: float  # NEFTune's; 0 trains without noise
    schedule: Schedule | None = None  # None: warm-up and cosine
    past: Past | None = None

    def first_step(self) -> int:
        """Steps of the past."""
        return self.past.steps if self.past else 0

    def rows_before(self) -> int:
        """Rows of the past."""
        return self.first_step() * self.rows_per_step()

    def rate(self, step: int) -> float:
        """The learning rate of step `step`."""
        if self.schedule:
            return self.schedule.rate(self.recipe, step, self.steps())
        return learning_rate(self.recipe, step, self.steps())

    def rows_per_step(self) -> int:
        """Rows in the global batch.

        Raises:
            BuildError: the batch is not a whole number of rows.
        """
        width = self.row_tokens()
        rows, rest = divmod(self.recipe.batch_tokens, width)
        if rest or not rows:
            raise BuildError(
                f"params.yaml: batch_tokens of {self.title}: {self.recipe.batch_tokens} is no multiple of"
                f" pack.sequence_length_tokens {width}"
            )
        return rows

    def row_tokens(self) -> int:
        """Tokens of a row; every source's are of one length."""
        return int(next(iter(self.sources.values())).tokens_RT.shape[1])

    def rows_read(self, start: int, stop: int | None = None) -> dict[str, int]:
        """Rows from place `start` of the order to `stop` or its end, by source, epochs counted."""
        counts = np.bincount(self.order_N2[start:stop, 0], minlength=len(self.sources)).tolist()
        return dict(zip(sorted(self.sources), counts, strict=True))

    def steps(self) -> int:
        """Steps of the run and its past; the last one may be smaller."""
        return -(-len(self.order_N2) // self.rows_per_step())

    def global_batch(self, step: int) -> list[tuple[PackedRows, int]]:
        """The rows of step `step`."""
        rows = self.rows_per_step()
        sources = [self.sources[name] for name in sorted(self.sources)]
        return [(sources[int(index)], int(row)) for index, row in self.order_N2[step * rows : (step + 1) * rows]]

    def micro_batches(self, step: int, rank: int, processes: int, limit: int | None, hidden: int) -> list[Batch]:
        """What process `rank` reads in step `step`: every `processes`-th row of the global batch, `limit` at a time.

        All processes get as many micro-batches as the one with most rows; one without a row takes part in it, so that
        it answers the others, and learns nothing.
        """
        rows = self.global_batch(step)
        mine = range(rank, len(rows), processes)
        most = -(-len(rows) // processes)
        batches = []
        for start in range(0, most, limit or most):
            part = mine[start : start + (limit or most)]
            batch = batch_of([rows[index] for index in part] or rows[:1])
            if not part:
                batch.labels_BT.fill_(IGNORED)
                batch.kept_BT.fill_(False)
                batch.lengths.clear()
            elif self.alpha:
                seeds = [noise_seed(self.seed, step, index) for index in part]
                batch.noise_BTD = batch_noise(batch.lengths, self.row_tokens(), hidden, self.alpha, seeds)
            batches.append(batch)
        return batches


def train(
    model: Any, run: Run, numerics: Numerics, checkpoint: Checkpoint, launch: Launch, moments: Path | None = None
) -> tuple[State, Weights]:
    """Train `model`, from the last checkpoint if there is one, and write the optimizer's moments to the file `moments`.

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
    steps, processes = run.steps(), engine.processes
    if run.rows_per_step() % processes:
        raise BuildError(
            f"params.yaml: launch.processes {processes} does not divide the {run.rows_per_step()} rows of a step"
        )
    state = checkpoint.load(engine)
    if state.step and engine.rank == 0:
        print(f"{run.title}: resumed at step {state.step} of {steps}", flush=True)
    elif run.past and not state.step:
        restore_moments(run.past.moments, engine, run.past.steps)
        state.step, state.tokens = run.past.steps, run.past.tokens
    coefficient = router_coefficient(model.config)
    log_every = max(1, (steps - run.first_step()) // LOG_POINTS)
    noise_free_every = log_every * -(-NOISE_FREE_STEPS // log_every)
    speed = Speed(model.config, weights_used, engine, state.tokens)

    def micro_batches(step: int) -> list[Batch]:
        return run.micro_batches(step, engine.rank, processes, launch.micro_batch_rows, model.config.hidden_size)

    def sums_of(part: Batch) -> Tensor:
        tensors = part.flat() if numerics.attention == "flash_attention_2" else part.tensors()
        return engine.loss(*(None if value is None else value.to(engine.device) for value in tensors))

    remaining = range(state.step, steps)
    batches = ahead(micro_batches, remaining) if engine.device.type == "cuda" else map(micro_batches, remaining)
    shown = progress(remaining, len(remaining), run.title, "steps", lambda: speed.status(state))
    for step, parts in zip(shown if engine.rank == 0 else remaining, batches, strict=True):
        rate = run.rate(step)
        labels = sum(int((part.labels_BT != IGNORED).sum()) for part in parts)
        tokens = sum(sum(map(sum, part.lengths)) for part in parts)
        total_labels, total_tokens, written = engine.summed([labels, tokens, checkpoint.written()])
        if written == processes:
            checkpoint.complete(engine)
        noise_free = None
        if run.alpha and ((step + 1) % noise_free_every == 0 or step + 1 == steps):
            with torch.no_grad():
                clean = [float(sums_of(replace(part, noise_BTD=None))[0]) for part in parts]
            noise_free = round(engine.summed([sum(clean)])[0] / max(1, total_labels), 6)
        done = [0.0, 0.0]
        for part in parts:
            sums = sums_of(part)
            objective = sums[0] * (1 / max(1, total_labels))
            if coefficient:
                objective = objective + sums[1] * (coefficient / total_tokens)
            engine.backward(objective, last=part is parts[-1])
            done = [before + now for before, now in zip(done, sums.tolist(), strict=True)]
        engine.step(rate)
        loss_sum, router_sum = engine.summed(done)
        loss, router = loss_sum / max(1, total_labels), router_sum / total_tokens
        if not np.isfinite(loss + router):
            raise BuildError(f"{run.title}: the loss is {loss} at step {step}; lower the learning rate")
        state.step, state.tokens = step + 1, state.tokens + int(total_tokens)
        speed.count(part.lengths for part in parts)
        state.pending_loss.append((loss, router))
        if state.step % log_every == 0 or state.step == steps:
            mean, router = (round(float(np.mean(values)), 6) for values in zip(*state.pending_loss, strict=True))
            state.log.append(Logged(state.step, state.tokens, mean, float(f"{rate:.6g}"), router, noise_free))
            state.pending_loss.clear()
        if state.step % run.recipe.checkpoint_every_steps == 0 and state.step < steps:
            checkpoint.save(engine, state)
    checkpoint.settle(engine)
    if moments:
        write_moments(moments, engine, shapes)
    weights = {}
    for name in engine.parameters:
        weight = engine.gather(name)[WEIGHT]  # of all processes, one parameter at a time
        if engine.rank == 0:
            weights[name] = weight
    return state, weights


def noise_seed(seed: int, step: int, row: int) -> int:
    """The seed of the noise of row `row` of the global batch of step `step`, on whichever process it lies."""
    return int(np.random.SeedSequence([seed, step, row, 0x0EF7]).generate_state(1)[0])


def ahead(value: Callable[[int], T], steps: Sequence[int]) -> Iterator[T]:
    """`value` of each step, the next one computed by a thread while the caller is busy with this one."""
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
        """Add a step: segment lengths of this process's rows. Only where the device is known."""
        if self._peak:
            self._flops += training_flops(*self._sizes, (one for part in lengths for row in part for one in row))

    def status(self, state: State) -> str:
        """Loss, learning rate, tokens a second of all processes and, of a known device, MFU."""
        seconds = max(1e-9, time.monotonic() - self._started)
        loss, rate = state.log[-1][2:4] if state.log else (float("nan"), float("nan"))
        text = f"loss {loss:.3f}, rate {rate:.2g}, {(state.tokens - self._tokens_before) / seconds:,.0f} tokens/s"
        return f"{text}, MFU {self._flops / seconds / self._peak:.1%}" if self._peak else text
