"""Train a causal language model on packed rows: one loop for pretraining, continued pretraining, SFT and NEFTune.

Documents in a row do not see each other: position ids restart at each segment, from which transformers builds the mask
(`use_cache=False` and no attention mask of our own, or it silently does not), and a segment's first token is no label.
Data order and noise are pure functions of the seed and the step, so that a checkpoint of weights, optimizer state and step
is the complete state: a run that was killed and resumed ends with the same bytes. The language-model head is computed
where there is a label only, which is most of the cost of SFT with a loss on responses.

Distribution is accelerate's. Each process takes every k-th row of the same global batch, and the loss is the sum over the
labels of all processes divided by their number, as if one process had seen them all.

Shape legend: B rows of a batch, T tokens in a row, N rows of the run, D embedding width.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from stages.lib.cross_entropy import linear_cross_entropy
from stages.lib.noise import neftune_noise
from stages.lib.numerics import Numerics
from stages.lib.progress import progress
from stages.lib.recipe import Recipe, learning_rate
from stages.lib.router import router_coefficient, router_loss
from stages.lib.section import BuildError
from stages.lib.shards import PackedRows

IGNORED = -100
LOG_POINTS = 200


@dataclass(frozen=True)
class Batch:
    """Rows as tensors; `lengths` holds each row's segment lengths."""

    tokens_BT: Tensor
    positions_BT: Tensor
    labels_BT: Tensor  # the next token, IGNORED at segment ends, in padding and where nothing is learned
    kept_BT: Tensor  # bool, False in padding
    lengths: list[list[int]]


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


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    others = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.epsilon, fused=True)


@dataclass
class State:
    """Where a run is, besides weights and optimizer."""

    step: int  # steps done
    tokens: int
    log: list[tuple[int, int, float, float, float]]  # step, tokens, loss, learning rate, router loss (0: dense)
    pending_loss: list[tuple[float, float]]  # language-model and router loss of steps since the last log row
    codes: list[str]  # fingerprints of the code that trained, in order


class Checkpoint:
    """One file, replaced as a whole: parameters, AdamW's moments, and the state as metadata. safetensors, no pickle."""

    def __init__(self, folder: Path, code: str, accept_code_change: bool) -> None:
        self.path = folder / "checkpoint.safetensors"
        self.code = code
        self.accept_code_change = accept_code_change

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, state: State) -> None:
        """Write under a temporary name and rename."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in model.named_parameters():
            tensors[f"parameter.{name}"] = parameter.detach()
            for key, value in optimizer.state[parameter].items():
                tensors[f"{key}.{name}"] = torch.as_tensor(value)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        save_file(
            {key: value.contiguous() for key, value in tensors.items()}, temporary, {"state": json.dumps(vars(state))}
        )
        os.replace(temporary, self.path)

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> State:
        """Fill `model` and `optimizer` from the file and return its state; a fresh state where there is no file.

        Raises:
            BuildError: the file was written by other code and that is not accepted.
        """
        if not self.path.is_file():
            return State(0, 0, [], [], [self.code])
        with safe_open(self.path, framework="pt") as file:
            state = State(**json.loads(file.metadata()["state"]))
            state.log = [(int(step), int(tokens), loss, rate, router) for step, tokens, loss, rate, router in state.log]
            if state.codes[-1] != self.code:
                if not self.accept_code_change:
                    raise BuildError(
                        f"{self.path}: step {state.step} was trained by other code; set launch.accept_code_change: true"
                        " in params.yaml to go on from it, or delete that folder to start over"
                    )
                state.codes.append(self.code)
            keys = set(file.keys())
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.copy_(file.get_tensor(f"parameter.{name}"))
                    optimizer.state[parameter] = {
                        key: file.get_tensor(f"{key}.{name}").to(parameter.device if key != "step" else "cpu")
                        for key in ("step", "exp_avg", "exp_avg_sq")
                        if f"{key}.{name}" in keys
                    }
        return state


@dataclass(frozen=True)
class Run:
    """What to train on: `order_N2` gives, for each row of the run, the place of its source among the sorted names of
    `sources`, and its row there."""

    title: str
    sources: Mapping[str, PackedRows]
    order_N2: npt.NDArray[np.int64]
    recipe: Recipe
    seed: int
    alpha: float  # NEFTune's; 0 trains without noise

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

    def rows_read(self) -> dict[str, int]:
        """Rows of the run by source, epochs counted."""
        counts = np.bincount(self.order_N2[:, 0], minlength=len(self.sources)).tolist()
        return dict(zip(sorted(self.sources), counts, strict=True))

    def steps(self) -> int:
        """Steps of the run; the last one may be smaller."""
        return -(-len(self.order_N2) // self.rows_per_step())

    def global_batch(self, step: int) -> list[tuple[PackedRows, int]]:
        """The rows of step `step`."""
        rows = self.rows_per_step()
        sources = [self.sources[name] for name in sorted(self.sources)]
        return [(sources[int(index)], int(row)) for index, row in self.order_N2[step * rows : (step + 1) * rows]]


def train(model: Any, run: Run, numerics: Numerics, checkpoint: Checkpoint) -> State:
    """Train `model` in place, from the checkpoint if there is one, and return the final state (on every process).

    Raises:
        BuildError: the loss is not finite, the batch does not fit, or the checkpoint is another code's.
    """
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(), mixed_precision="bf16" if numerics.dtype == "bfloat16" else "no"
    )
    model.train()
    optimizer = _optimizer(model, run.recipe)
    model.to(accelerator.device)
    state = checkpoint.load(model, optimizer)
    steps, rank, processes = run.steps(), accelerator.process_index, accelerator.num_processes
    if run.rows_per_step() % processes:
        raise BuildError(
            f"params.yaml: launch.processes {processes} does not divide the {run.rows_per_step()} rows of a step"
        )
    if state.step and accelerator.is_main_process:
        print(f"{run.title}: resumed at step {state.step} of {steps}", flush=True)
    module = accelerator.prepare_model(PackedLoss(model))
    hidden, width, coefficient = model.config.hidden_size, run.row_tokens(), router_coefficient(model.config)
    log_every = max(1, steps // LOG_POINTS)
    started, tokens_before = time.monotonic(), state.tokens

    def status() -> str:
        rate = (state.tokens - tokens_before) / max(1e-9, time.monotonic() - started)
        return f"loss {state.log[-1][2] if state.log else float('nan'):.3f}, {rate:,.0f} tokens/s"

    remaining = range(state.step, steps)
    shown = (
        progress(remaining, len(remaining), run.title, "steps", status) if accelerator.is_main_process else remaining
    )
    for step in shown:
        rows = run.global_batch(step)
        mine = range(rank, len(rows), processes)
        rate = learning_rate(run.recipe, step, steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = batch_of([rows[index] for index in mine] or rows[:1])
        if not mine:  # a last step with fewer rows than processes: take part in it without learning anything
            batch.labels_BT.fill_(IGNORED)
            batch.kept_BT.fill_(False)
            batch.lengths.clear()
        noise = None
        if run.alpha and mine:
            seeds = [noise_seed(run.seed, step, index) for index in mine]
            noise = batch_noise(batch.lengths, width, hidden, run.alpha, seeds).to(accelerator.device)
        total = _summed(accelerator, [int((batch.labels_BT != IGNORED).sum()), sum(map(sum, batch.lengths))])
        with accelerator.autocast():
            sums = module(
                batch.tokens_BT.to(accelerator.device),
                batch.positions_BT.to(accelerator.device),
                batch.labels_BT.to(accelerator.device),
                batch.kept_BT.to(accelerator.device),
                noise,
            )
        # DDP averages gradients over processes: times their number gives the sum over all labels of the step
        objective = sums[0] * (processes / max(1, total[0]))
        if coefficient:
            objective = objective + sums[1] * (coefficient * processes / total[1])
        accelerator.backward(objective)
        accelerator.clip_grad_norm_(module.parameters(), run.recipe.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        loss_sum, router_sum = _summed(accelerator, sums.tolist())
        loss, router = loss_sum / max(1, total[0]), router_sum / total[1]
        if not np.isfinite(loss + router):
            raise BuildError(f"{run.title}: the loss is {loss} at step {step}; lower the learning rate")
        state.step, state.tokens = step + 1, state.tokens + int(total[1])
        state.pending_loss.append((loss, router))
        if state.step % log_every == 0 or state.step == steps:
            mean, router = (round(float(np.mean(values)), 6) for values in zip(*state.pending_loss, strict=True))
            state.log.append((state.step, state.tokens, mean, float(f"{rate:.6g}"), router))
            state.pending_loss.clear()
        if state.step % run.recipe.checkpoint_every_steps == 0 and state.step < steps and accelerator.is_main_process:
            checkpoint.save(model, optimizer, state)
    accelerator.wait_for_everyone()
    return state


def noise_seed(seed: int, step: int, row: int) -> int:
    """The seed of the noise of row `row` of the global batch of step `step`, on whichever process it lies."""
    return int(np.random.SeedSequence([seed, step, row, 0x0EF7]).generate_state(1)[0])


def _summed(accelerator: Accelerator, values: list[float]) -> list[float]:
    """Each value summed over the processes."""
    if accelerator.num_processes == 1:
        return values
    tensor = torch.tensor(values, dtype=torch.float64, device=accelerator.device)
    return [float(value) for value in accelerator.reduce(tensor, "sum")]
