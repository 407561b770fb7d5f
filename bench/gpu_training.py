"""MFU and tokens a second of training on one GPU: ours beside a bare loop and TRL's SFTTrainer, on the same rows.

    pip install flash-attn trl liger-kernel && python -m bench.gpu_training --out results/bench/gpu_training.json

A Mistral of 1.1 billion parameters with random weights, rows of 8192 tokens of whole documents that do not see each other,
bfloat16 products, float32 weights, AdamW. Each side is a process of its own, one after another, on the same card: `ours` is
osler.training.loop.train as a stage calls it, `bare` the shortest loop that is right (the same model and attention, autocast,
the library's own loss over all logits, clip, fused AdamW), `trl` TRL's SFTTrainer with best-fit packing and FlashAttention.
The first steps are not timed: the clock runs, after a wait for the device, from the start of step SKIPPED to that of the last.

The bar is an MFU of 0.5 for ours, and 1.1 times the tokens a second of each peer. Nothing here has been run on a GPU yet; with
`--tiny` all but `trl` runs on a CPU in seconds, to test the code and not the speed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.measure import REPOSITORY
from osler.build.files import write_json
from osler.model.devices import known_device
from osler.model.numerics import Numerics
from osler.model.throughput import packed_flops, weights_per_token
from osler.tokens.shards import PackedRows
from osler.training.batches import IGNORED
from osler.training.checkpoints import Checkpoint
from osler.training.launch import Launch
from osler.training.loop import train
from osler.training.recipe import Recipe
from osler.training.run import Run

SKIPPED = 5  # steps before the clock starts: compilation, first allocations
BARS = {"mfu": 0.5, "peer": 1.1}


@dataclass(frozen=True)
class Setting:
    """What all sides train: sizes as in a Mistral's config.json, tokens a row, rows a step and at once, steps."""

    hidden: int = 2048
    layers: int = 16
    heads: int = 16
    key_value_heads: int = 8
    intermediate: int = 8192
    vocabulary: int = 32_000
    width: int = 8192
    rows: int = 8
    at_once: int = 1
    steps: int = 30

    def model(self) -> Any:
        """The same random weights for each side, in float32."""
        from transformers import MistralConfig, MistralForCausalLM

        torch.manual_seed(1)
        return MistralForCausalLM(MistralConfig(
            vocab_size=self.vocabulary, hidden_size=self.hidden, num_hidden_layers=self.layers,
            num_attention_heads=self.heads, num_key_value_heads=self.key_value_heads, intermediate_size=self.intermediate,
            max_position_embeddings=self.width, sliding_window=None, bos_token_id=1, eos_token_id=2, pad_token_id=None,
        ))  # fmt: skip

    def packed(self) -> PackedRows:
        """Rows filled to the end by documents whose lengths differ by a factor of ten: the last of a row is cut."""
        rng = np.random.default_rng(1)
        rows = [self._lengths(rng) for _ in range(self.rows * self.steps)]
        tokens = rng.integers(3, self.vocabulary, (len(rows), self.width)).astype(np.uint16)
        return PackedRows(tokens, np.cumsum([len(row) for row in rows]), np.concatenate(rows).astype(np.int32), None)

    def _lengths(self, rng: np.random.Generator) -> list[int]:
        lengths: list[int] = []
        while (left := self.width - sum(lengths)) > 0:
            lengths.append(min(left, max(8, round(rng.lognormal(np.log(self.width / 10), 0.8)))))
        return lengths

    def recipe(self) -> Recipe:
        """Plain AdamW."""
        return Recipe(
            batch_tokens=self.rows * self.width, learning_rate=1e-4, final_learning_rate_fraction=0.1, warmup_fraction=0.1,
            weight_decay=0.1, betas=(0.9, 0.95), epsilon=1e-8, gradient_clip=1.0,
        )  # fmt: skip


TINY = Setting(64, 2, 4, 2, 128, 512, 128, 2, 1, SKIPPED + 3)


@dataclass
class Clock:
    """Seconds between the starts of step SKIPPED and of the last, with nothing left to do on the device."""

    steps: int
    marks: dict[int, float] = field(default_factory=dict)

    def at(self, step: int) -> None:
        """Called at the start of `step`, once or more."""
        if step in (SKIPPED, self.steps - 1) and step not in self.marks:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.marks[step] = time.perf_counter()

    def seconds(self) -> float:
        """What it shows."""
        return self.marks[self.steps - 1] - self.marks[SKIPPED]


@dataclass(frozen=True)
class Timed(Run):
    """A run whose steps, asking for their learning rate, start and stop a clock."""

    clock: Clock = field(default_factory=lambda: Clock(0))

    def rate(self, step: int) -> float:
        """The learning rate, as ever."""
        self.clock.at(step)
        return super().rate(step)


def run_of(setting: Setting, clock: Clock) -> Timed:
    """All rows in their order."""
    rows = setting.packed()
    order = np.column_stack([np.zeros(len(rows.row_ends_R), np.int64), np.arange(len(rows.row_ends_R))])
    return Timed("bench", {"x": rows}, order, setting.recipe(), 1, clock=clock)


def ours(setting: Setting, numerics: Numerics, recomputed: Any) -> float:
    """Seconds of osler.training.loop."""
    launch = Launch(
        engine="python", processes=1, nodes=1, micro_batch_rows=setting.at_once, activation_checkpointing=recomputed,
        jobs=1, checkpoint_every_steps=1 << 30, accept_code_change=False,
    )  # fmt: skip
    clock = Clock(setting.steps)
    with tempfile.TemporaryDirectory() as folder:
        train(setting.model(), run_of(setting, clock), numerics, Checkpoint(Path(folder), "bench", False), launch)
    return clock.seconds()


def bare(setting: Setting, numerics: Numerics, recomputed: Any) -> float:
    """Seconds of the shortest loop that is right."""
    from torch.nn.functional import cross_entropy

    from osler.model.recomputation import recompute

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = setting.model().train()
    numerics.fit(model)
    recompute(model, recomputed)
    model.to(device)
    recipe, clock = setting.recipe(), Clock(setting.steps)
    optimizer = torch.optim.AdamW(model.parameters(), recipe.learning_rate, recipe.betas, fused=True)
    run = run_of(setting, Clock(0))
    for step in range(setting.steps):
        clock.at(step)
        for part in run.micro_batches(step, 0, 1, setting.at_once, setting.hidden):
            asked = part.flat() if numerics.by_bounds() else part.tensors()
            sent: list[Any] = [None if one is None else one.to(device) for one in asked]
            tokens, positions, labels, *_, segments = sent
            bounds = segments.arguments() if segments else {}
            with torch.autocast(device, torch.bfloat16, enabled=numerics.dtype == "bfloat16"):
                logits = model(input_ids=tokens, position_ids=positions, use_cache=False, **bounds).logits
                loss = cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED)
            (loss * setting.at_once / setting.rows).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
    return clock.seconds()


def trl(setting: Setting, numerics: Numerics, recomputed: Any) -> float:
    """Seconds of TRL's SFTTrainer over the same documents, packed by itself."""
    import trl as library
    from datasets import Dataset
    from transformers import TrainerCallback

    from tests.support.tiny import tiny_tokenizer

    clock = Clock(setting.steps)

    class Marks(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
            clock.at(state.global_step)

    gpu = torch.cuda.is_available()
    model = setting.model()
    numerics.model_copy(update={"compile": False, "liger": False, "float8": False}).fit(model)
    packed = setting.packed()
    tokens = np.concatenate([packed.tokens_RT[row] for row in range(len(packed.row_ends_R))]).astype(np.int64)
    documents = np.split(tokens, np.cumsum(packed.lengths_S)[:-1])
    with tempfile.TemporaryDirectory() as folder:
        settings = library.SFTConfig(
            output_dir=folder, max_length=setting.width, packing=True, packing_strategy="bfd", use_cpu=not gpu,
            bf16=numerics.dtype == "bfloat16", per_device_train_batch_size=setting.at_once, max_steps=setting.steps,
            gradient_accumulation_steps=setting.rows // setting.at_once, learning_rate=1e-4, weight_decay=0.1,
            adam_beta2=0.95, max_grad_norm=1.0, optim="adamw_torch_fused", gradient_checkpointing=bool(recomputed),
            use_liger_kernel=numerics.liger, torch_compile=numerics.compile, report_to=[], save_strategy="no",
            logging_strategy="no", disable_tqdm=True,
        )  # fmt: skip
        trainer = library.SFTTrainer(
            model, args=settings, train_dataset=Dataset.from_list([{"input_ids": one.tolist()} for one in documents]),
            processing_class=tiny_tokenizer(), callbacks=[Marks()],
        )  # fmt: skip
        trainer.train()
    return clock.seconds()


SIDES: dict[str, Callable[[Setting, Numerics, Any], float]] = {"ours": ours, "bare": bare, "trl": trl}


def rates(setting: Setting, seconds: float) -> dict[str, Any]:
    """Tokens a second, and MFU where the device is known: attention is counted within documents only."""
    steps = setting.steps - 1 - SKIPPED
    with torch.device("meta"):
        weights = weights_per_token(setting.model())
    packed = setting.packed()
    flops = packed_flops(weights, setting.layers, setting.hidden, packed.lengths_S.tolist()) * steps / setting.steps
    device = known_device(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
    return {
        "tokens_per_second": steps * setting.rows * setting.width / seconds,
        "mfu": flops / seconds / device.flops_per_second if device else None,
        "peak_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
    }


def summary(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Ours over each other side, and whether the bars are met; a bar that could not be tried is None."""
    mfu = found["ours"]["mfu"]
    over = {
        name: found["ours"]["tokens_per_second"] / side["tokens_per_second"]
        for name, side in found.items()
        if name != "ours" and "tokens_per_second" in side
    }
    return {
        "ours_over": over,
        "mfu_met": None if mfu is None else mfu >= BARS["mfu"],
        "peers_met": over["trl"] >= BARS["peer"] if "trl" in over else None,
    }


def measured_apart(side: str, arguments: Sequence[str]) -> dict[str, Any]:
    """A side in a process of its own; why not, where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "bench.gpu_training", *arguments, "--only", side, "--out", str(report)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        if done.returncode:
            return {"failed": done.stderr.strip().splitlines()[-1:]}
        result: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a model of 0.1 million parameters, on any machine")
    parser.add_argument(
        "--attention", default=None, help="of numerics; unless given flash_attention_2, and sdpa if tiny"
    )
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--float8", action="store_true", help="of ours and the bare loop")
    parser.add_argument("--recomputed", choices=["false", "selective", "true"], default="selective")
    parser.add_argument("--only", choices=list(SIDES))
    parser.add_argument("--out", type=Path, default=Path("results/bench/gpu_training.json"))
    options = parser.parse_args(given)
    gpu = torch.cuda.is_available()
    if not (gpu or options.tiny):
        sys.exit("bench.gpu_training: no GPU here, and nothing was measured; --tiny runs the code without one")
    setting = TINY if options.tiny else Setting()
    numerics = Numerics(
        portable=False, threads=1, dtype="bfloat16" if gpu else "float32",
        attention=options.attention or ("sdpa" if options.tiny else "flash_attention_2"),
        compile=gpu and not options.no_compile, liger=gpu and find_spec("liger_kernel") is not None, float8=options.float8,
    )  # fmt: skip
    if options.only:
        numerics.apply()
        recomputed = {"false": False, "true": True}.get(options.recomputed, options.recomputed)
        write_json(options.out, rates(setting, SIDES[options.only](setting, numerics, recomputed)))
        return
    arguments_of_sides = [one for one in given if one != "--out" and one != str(options.out)]
    sides = {name: measured_apart(name, arguments_of_sides) for name in SIDES if name != "trl" or find_spec("trl")}
    if "failed" in sides["ours"]:
        sys.exit(f"bench.gpu_training: ours failed: {' '.join(sides['ours']['failed'])}")
    card = torch.cuda.get_device_name() if gpu else "no GPU"
    found = {
        "device": card,
        "torch": torch.__version__,
        "numerics": numerics.model_dump(),
        "sides": sides,
        **summary(sides),
    }
    print(json.dumps(found, indent=2))
    write_json(options.out, found)


if __name__ == "__main__":
    main()
