"""How long training stands still for a checkpoint: ours beside plain torch.distributed.checkpoint, in one run.

    python -m bench.checkpoints --processes 4 --out results/bench/checkpoints.json

A Mistral of 125M parameters is divided by FSDP over processes on gloo (of one process: not divided), and both write its
weights and AdamW's moments, 1.5 GB, in turn. `dcp` is `async_save` with `HuggingFaceStorageWriter(save_distributed=True)`
and all else by default. In seconds, of the slowest process: `stall` is what the call takes; `gap` the longest time in which a
loop of small products stood still while the file was written, since a writer that holds Python's lock stops training, too;
`whole` until all is on the disk (ours: with hashes, index and name). Medians of the rounds after the first.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from bench.measure import ONE_THREAD, REPOSITORY
from osler.build.files import write_json
from osler.model.numerics import Numerics
from osler.training.checkpoints import Checkpoint, State
from osler.training.engine import MOMENTS, WEIGHT, Engine
from osler.training.engines import started_engine
from osler.training.launch import Launch
from osler.training.packed_loss import PackedLoss
from osler.training.recipe import Recipe

SIZES: dict[str, Any] = {  # 125M parameters
    "vocab_size": 32_000,
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 6,
    "tie_word_embeddings": False,
    "pad_token_id": None,
}
TINY = SIZES | {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
RECIPE = Recipe(
    batch_tokens=512, learning_rate=1e-3, final_learning_rate_fraction=0.1, warmup_fraction=0.1, weight_decay=0.1,
    betas=(0.9, 0.95), epsilon=1e-8, gradient_clip=1.0,
)  # fmt: skip
NUMERICS = Numerics(portable=False, threads=1, dtype="float32", attention="sdpa", compile=False, liger=False)
Save = Callable[[int], Callable[[], bool]]  # starts a checkpoint of a step; what it returns says whether it is whole


def engine_of(processes: int, sizes: dict[str, Any]) -> Engine:
    """A model with moments, as after a step."""
    from transformers import MistralConfig, MistralForCausalLM

    torch.set_num_threads(1)
    with torch.device("cpu" if os.environ.get("RANK", "0") == "0" else "meta"):
        model = MistralForCausalLM(MistralConfig(**sizes))
    launch = Launch(
        engine="fsdp" if processes > 1 else "python", zero_stage=None, processes=processes, nodes=1, rendezvous=None,
        micro_batch_rows=None, activation_checkpointing=False, jobs=1, checkpoint_every_steps=1, accept_code_change=False,
    )  # fmt: skip
    engine = started_engine(PackedLoss(model), RECIPE, NUMERICS, launch)
    for parameter in engine.parameters.values():
        moments = {moment: torch.zeros_like(parameter, requires_grad=False) for moment in MOMENTS}
        engine.optimizer.state[parameter] = {"step": torch.tensor(1.0), **moments}
    return engine


def ours(engine: Engine, folder: Path) -> Save:
    """Osler's."""
    checkpoint = Checkpoint(folder / "ours", "bench", False)

    def save(step: int) -> Callable[[], bool]:
        checkpoint.save(engine, State(step, 0, [], [], ["bench"]))
        done = False

        def is_whole() -> bool:
            nonlocal done
            if not done and engine.summed([checkpoint.written()])[0] == engine.processes:
                checkpoint.complete(engine)
                done = True
            return done

        return is_whole

    return save


def dcp(engine: Engine, folder: Path) -> Save:
    """Plain torch.distributed.checkpoint."""
    import torch.distributed.checkpoint as library

    # its thread's collectives would meet those of the loop in the default group
    group = torch.distributed.new_group(backend="gloo") if engine.processes > 1 else None

    def save(step: int) -> Callable[[], bool]:
        shutil.rmtree(folder / f"dcp-{step - 2}", ignore_errors=True)
        state: dict[str, Any] = {}
        for name, parameter in engine.parameters.items():
            kept = {WEIGHT: parameter.detach()} | {key: engine.optimizer.state[parameter][key] for key in MOMENTS}
            state |= {f"{key}.{name}": value for key, value in kept.items()}
        writer = library.HuggingFaceStorageWriter(str(folder / f"dcp-{step}"), save_distributed=True)
        response: Any = library.async_save(
            state, storage_writer=writer, process_group=group, no_dist=engine.processes == 1
        )
        return lambda: engine.summed([response.done()])[0] == engine.processes

    return save


def rounds(engine: Engine, folder: Path, count: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Seconds of each checkpoint, those of the two in turn."""
    both = {"ours": ours(engine, folder), "dcp": dcp(engine, folder)}
    product = torch.rand(64, 64)
    for step in range(1, count + 1):
        for name, save in both.items():
            engine.summed([0])
            start = time.perf_counter()
            is_whole = save(step)
            stall, gap = time.perf_counter() - start, 0.0
            while True:
                before = time.perf_counter()
                for _ in range(100):
                    product @ product
                gap = max(gap, time.perf_counter() - before)
                if is_whole():
                    break
            yield name, {"stall": stall, "gap": gap, "whole": time.perf_counter() - start}


def work(report: Path, processes: int, count: int, is_tiny: bool) -> None:
    """What each process does; the first one writes the report."""
    engine = engine_of(processes, TINY if is_tiny else SIZES)
    found: dict[str, list[list[float]]] = {}
    for name, seconds in rounds(engine, report.parent, count):
        table = [[0.0] * engine.processes for _ in seconds]
        for row, value in zip(table, seconds.values(), strict=True):
            row[engine.rank] = value
        slowest = [max(engine.summed(row)) for row in table]
        found.setdefault(name, []).append(slowest)
    if engine.rank == 0:
        medians = {
            name: dict(zip(("stall", "gap", "whole"), map(statistics.median, zip(*rows[1:], strict=True)), strict=True))
            for name, rows in found.items()
        }
        write_json(report, medians)
    if processes > 1:
        torch.distributed.destroy_process_group()


def main() -> None:
    """Print and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--tiny", action="store_true", help="a model of the default's size")
    parser.add_argument("--out", type=Path, help="a JSON file")
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)  # in a process that does the work
    asked = parser.parse_args()
    if asked.report:
        work(asked.report, asked.processes, asked.rounds, asked.tiny)
        return
    python = [sys.executable]
    if asked.processes > 1:
        python += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={asked.processes}"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [*python, "-m", "bench.checkpoints", "--processes", str(asked.processes), "--report", str(report)]
        command += ["--rounds", str(asked.rounds), *(["--tiny"] if asked.tiny else [])]
        subprocess.run(command, cwd=REPOSITORY, env=os.environ | ONE_THREAD, check=True)
        medians = json.loads(report.read_text(encoding="utf-8"))
    medians["stall, ours to dcp"] = medians["ours"]["stall"] / medians["dcp"]["stall"]
    print(json.dumps(medians, indent=2))
    if asked.out:
        write_json(asked.out, medians)


if __name__ == "__main__":
    main()
