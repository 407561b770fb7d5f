"""Tokens a second of the training loop: beside a bare PyTorch loop, with NEFTune's noise, and beside TRL's SFTTrainer.

    python -m bench.training --peer-python PEERS/bin/python --out results/bench/training.json

One model, one set of documents, one thread. `ours` is osler.training.loop.train as a stage calls it; `bare` the shortest
correct loop over the same batches: the model, cross-entropy, clip, AdamW; `trl` is TRL's SFTTrainer with its best-fit
packing (bench/trl_training.py, in the peer's interpreter, whose torch may be another). The first two run in turn, again and
again, and a ratio is the mean of the logarithms of neighbors' ratios with a 95 % interval (t).

NEFTune's part is found within one run of the loop, whose steps come in pairs on the same rows, one with noise and one
without, the noisy one first in every other pair: neighbors of half a second, so that little of what else the machine does
falls between them. The pass without noise, which every hundredth step of a run with noise makes for the log, is told apart
and added. Rates are tokens over CPU seconds, so they compare between runs of one machine only.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch.nn.functional import cross_entropy

from bench.measure import costs
from osler.build.files import write_json
from osler.model.numerics import Numerics
from osler.tokens.shards import PackedRows
from osler.training.batches import IGNORED, Batch
from osler.training.checkpoints import Checkpoint
from osler.training.launch import Launch
from osler.training.loop import train
from osler.training.optimization import NOISE_FREE_STEPS
from osler.training.recipe import Recipe, learning_rate
from osler.training.run import Run

VOCABULARY, WIDTH, ROWS = 4096, 512, 2  # tokens in the vocabulary and in a row, rows a step
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": WIDTH,
    "sliding_window": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}
NUMERICS = Numerics(portable=False, threads=1, dtype="float32", attention="sdpa", compile=False, liger=False)
LAUNCH = Launch(
    engine="python", zero_stage=None, processes=1, nodes=1, rendezvous=None, micro_batch_rows=None,
    activation_checkpointing=False, jobs=1, checkpoint_every_steps=1 << 30, accept_code_change=False,
)  # fmt: skip
RECIPE = Recipe(
    batch_tokens=ROWS * WIDTH, learning_rate=1e-3, final_learning_rate_fraction=0.1, warmup_fraction=0.1, weight_decay=0.1,
    betas=(0.9, 0.98), epsilon=1e-8, gradient_clip=1.0,
)  # fmt: skip


def documents_rows(steps: int) -> PackedRows:
    """Full rows of four documents of random lengths, one row for each place of the run."""
    rng = np.random.default_rng(1)
    cuts = np.sort(rng.choice(np.arange(16, WIDTH - 16), (steps * ROWS, 3)), axis=1)
    lengths = [[int(size) for size in np.diff([0, *row, WIDTH]) if size] for row in cuts]
    tokens = rng.integers(3, VOCABULARY, (steps * ROWS, WIDTH)).astype(np.uint16)
    ends = np.cumsum([len(row) for row in lengths])
    return PackedRows(tokens, ends, np.array([size for row in lengths for size in row], np.int32), None)


def fresh_model() -> Any:
    """The same random weights each time."""
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(1)
    return MistralForCausalLM(MistralConfig(**SIZES))


def run_of(rows: PackedRows) -> Run:
    """The rows in their order."""
    count = rows.tokens_RT.shape[0]
    order = np.column_stack([np.zeros(count, np.int64), np.arange(count)])
    return Run("bench", {"x": rows}, order, RECIPE, 1, alpha=0.0)


def ours(rows: PackedRows) -> float:
    """CPU seconds of the loop of osler.training.loop, engine, live files and all."""
    model = fresh_model()
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        checkpoint = Checkpoint(Path(folder), "bench", False)
        train(model, run_of(rows), NUMERICS, checkpoint, LAUNCH, live=Path(folder) / "live.jsonl")
        return time.process_time() - started


@dataclass(frozen=True)
class Paired(Run):
    """A run of pairs of steps on the same rows, of which one has noise; `started` gets the CPU time at each step's start."""

    started: list[float] = field(default_factory=list)

    def micro_batches(self, step: int, rank: int, processes: int, limit: int | None, hidden: int) -> list[Batch]:
        self.started.append(time.process_time())
        own = Run("own", self.sources, self.order_N2, self.recipe, self.seed, self.alpha if noisy(step) else 0.0)
        return own.micro_batches(step, rank, processes, limit, hidden)


def noisy(step: int) -> bool:
    """Whether a step of a paired run has noise: the first of a pair and the second, in turn."""
    return step % 4 in (0, 3)


def twice(order_N2: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order with the rows of each step repeated in a step of their own."""
    return np.repeat(order_N2.reshape(-1, ROWS, 2), 2, axis=0).reshape(-1, 2)


def paired(rows: PackedRows) -> dict[str, dict[str, float]]:
    """What NEFTune adds to a step, in shares of its CPU time, from twice as many steps as the rows make."""
    plain = run_of(rows)
    run = Paired("pairs", plain.sources, twice(plain.order_N2), RECIPE, 1, 5.0)
    with tempfile.TemporaryDirectory() as folder:
        state, _ = train(fresh_model(), run, NUMERICS, Checkpoint(Path(folder), "pairs", False), LAUNCH)
    passes = [entry.step - 1 for entry in state.log if entry.noise_free_loss is not None]
    return shares(np.diff(run.started), passes)


def shares(seconds: NDArray[np.float64], passes: Sequence[int]) -> dict[str, dict[str, float]]:
    """The share of the noise, from pairs in which no pass was made; of the passes, one in NOISE_FREE_STEPS; and of both.

    Args:
        seconds: of each step.
        passes: the steps that made one besides.
    """
    pairs = [(first, first + 1) if noisy(first) else (first + 1, first) for first in range(0, len(seconds) - 1, 2)]
    whole = [pair for pair in pairs if not set(pair) & set(passes)]
    noise = mean_of([math.log(seconds[one] / seconds[other]) for one, other in whole])
    step = float(np.mean([seconds[other] for _, other in whole]))
    made = [place for place in passes if place < len(seconds)]
    passed = mean_of([(seconds[place] - step) / step / NOISE_FREE_STEPS for place in made])
    both = {"share": noise["share"] + passed["share"], "half": math.hypot(noise["half"], passed["half"])}
    return {"noise": noise, "passes": passed, "both": both, "pairs": {"number": len(whole)}}


def mean_of(values: Sequence[float]) -> dict[str, float]:
    """The mean, and half of its 95 % interval (t)."""
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return {"share": float(np.mean(values)), "half": float(stats.t.ppf(0.975, len(values) - 1)) * error}


def bare(rows: PackedRows) -> float:
    """CPU seconds of the shortest loop that is right, over the same batches."""
    model, run = fresh_model().train(), run_of(rows)
    started = time.process_time()
    optimizer = torch.optim.AdamW(model.parameters(), betas=RECIPE.betas, weight_decay=RECIPE.weight_decay, fused=True)
    for step in range(run.steps()):
        (batch,) = run.micro_batches(step, 0, 1, None, SIZES["hidden_size"])
        logits = model(input_ids=batch.tokens_BT, position_ids=batch.positions_BT, use_cache=False).logits
        loss = cross_entropy(logits.flatten(0, 1), batch.labels_BT.flatten(), ignore_index=IGNORED)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), RECIPE.gradient_clip)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(RECIPE, step, run.steps())
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
    return time.process_time() - started


def ratio(seconds: Sequence[float], of: Sequence[float]) -> dict[str, float]:
    """How many times as fast the first is as the second, with a 95 % interval, from pairs measured side by side."""
    logs = mean_of(np.log(np.array(of) / np.array(seconds)).tolist())
    mean, half = logs["share"], logs["half"]
    return {"ratio": math.exp(mean), "low": math.exp(mean - half), "high": math.exp(mean + half)}


def peer(rows: PackedRows, interpreter: str, folder: Path) -> dict[str, Any]:
    """What bench/trl_training.py measured on the same documents and weights."""
    from tests.support.tiny import tiny_tokenizer

    fresh_model().save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    tokens, start = np.concatenate([rows.tokens_RT[row] for row in range(rows.tokens_RT.shape[0])]).tolist(), 0
    with (folder / "documents.jsonl").open("w", encoding="utf-8") as stream:
        for size in rows.lengths_S.tolist():
            stream.write(json.dumps({"input_ids": tokens[start : start + size]}) + "\n")
            start += size
    script = str(Path(__file__).with_name("trl_training.py"))
    command = [interpreter, "-P", script, str(folder), str(WIDTH), str(ROWS), str(rows.tokens_RT.shape[0] // ROWS)]
    return costs(command, folder / "report.json", folder / "log")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repetitions", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=800, help="of steps with and without noise, a second each")
    parser.add_argument("--peer-python")
    parser.add_argument("--out", type=Path, default=Path("results/bench/training.json"))
    options = parser.parse_args(arguments)
    if options.pairs < 2 * NOISE_FREE_STEPS:
        parser.error(
            f"--pairs {options.pairs}: too few for the passes of the log, of which two are needed; {2 * NOISE_FREE_STEPS} or more"
        )
    NUMERICS.apply()
    rows = documents_rows(options.steps)
    tokens = rows.tokens_RT.shape[0] * rows.tokens_RT.shape[1]
    ours(documents_rows(2))  # imports and first allocations
    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    for repetition in range(options.repetitions):
        for name in list(seconds)[:: 1 if repetition % 2 else -1]:
            seconds[name].append(bare(rows) if name == "bare" else ours(rows))
    found: dict[str, Any] = {
        "tokens_per_cpu_second": {name: tokens / float(np.median(values)) for name, values in seconds.items()},
        "ours_over_bare": ratio(seconds["ours"], seconds["bare"]),
        "neftune": paired(documents_rows(options.pairs)),
        "torch": torch.__version__,
    }
    if options.peer_python:
        with tempfile.TemporaryDirectory() as folder:
            found["trl"] = peer(rows, options.peer_python, Path(folder))
        found["tokens_per_cpu_second"]["trl"] = found["trl"]["tokens"] / found["trl"]["cpu_seconds"]
    print(json.dumps(found, indent=2))
    write_json(options.out, found)


if __name__ == "__main__":
    main()
