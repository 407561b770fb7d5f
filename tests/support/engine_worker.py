"""What each of two processes does for test_engines.py: every engine in turn, since starting takes longer than running.

For each engine: an uninterrupted run in micro-batches of one row, and one that goes on from a checkpoint of one process and
is killed later. `python -m torch.distributed.run --nproc-per-node=2 tests/support/engine_worker.py FOLDER`.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from osler.build.section import BuildError
from osler.training.checkpoints import Checkpoint
from osler.training.engines import started_engine
from osler.training.launch import Launch
from osler.training.loop import train
from osler.training.packed_loss import PackedLoss
from osler.training.recipe import Schedule
from osler.training.run import Past, Run
from tests.support.bad_rows import train_with_a_bad_row
from tests.support.families import without_positions
from tests.support.runs import VOCABULARY, KilledAt, a_run, recipe
from tests.support.tiny import NUMERICS, launch, tiny_model

ENGINES: dict[str, dict[str, Any]] = {
    "ddp": {"engine": "ddp"},
    "fsdp": {"engine": "fsdp"},
    "zero1": {"engine": "deepspeed", "zero_stage": 1},
    "zero2": {"engine": "deepspeed", "zero_stage": 2},
    "zero3": {"engine": "deepspeed", "zero_stage": 3},
}
SEGMENTED = ("ddp", "fsdp", "zero3")  # starting a DeepSpeed takes seconds; 1 and 2 gather moments as 3 does
RESUMED = ("ddp", "fsdp")  # by as many processes, to the same bytes
FLOAT64 = ("ddp", "fsdp")  # DeepSpeed keeps float32 weights
SKIPPING = ("ddp", "fsdp", "zero3")
STEPS, LAST_STEP = 50, 45


def model_for(engine: str) -> Any:
    """The same model for all; in float64 where the engine can, so that nothing but a fault makes a difference.

    But under ddp the second process has it without weights, as `trainable_model` gives it.
    """
    model = tiny_model(VOCABULARY).double() if engine in FLOAT64 else tiny_model(VOCABULARY)
    return model.to("meta") if engine != "ddp" and os.environ.get("RANK") == "1" else model


def run() -> Run:
    """50 steps of four rows, the last one of three, with noise; a rate at which rounding does not grow.

    An epsilon of the gradient's size and a rare clip, or a gradient of the wrong length would change nothing.
    """
    changes = {
        "batch_tokens": 64,
        "learning_rate": 1e-3,
        "epsilon": 1e-2,
        "gradient_clip": 5.0,
    }
    return a_run(5.0, rows=4 * STEPS - 1, **changes)


def train_segments(folder: Path, name: str, asked: Launch) -> None:
    """Two segments of 5 steps, the second from what `one` process left; `<name>-<segment>.*` are moments and weights."""
    run = a_run(rows=40, batch_tokens=64, learning_rate=1e-3)
    whole = replace(run, schedule=Schedule(2, None))
    later = replace(whole, past=Past(folder / "one-early.moments", 5, 0))
    for segment, part in (("early", replace(whole, order_N2=whole.order_N2[:20])), ("late", later)):
        model, place = tiny_model(VOCABULARY), folder / f"{name}-{segment}"
        if segment == "late":
            model.load_state_dict(load_file(folder / "one-early.weights"))
        moments = place.with_suffix(".moments")
        _, weights = train(model, part, NUMERICS, Checkpoint(place, "x", False), asked, moments)
        if weights:
            save_file({key: value.contiguous() for key, value in weights.items()}, place.with_suffix(".weights"))


def refuse_wrong_packing(folder: Path, name: str, asked: Launch) -> None:
    """What each process is told of a model that takes no position ids."""
    try:
        train(without_positions(model_for(name)), run(), NUMERICS, Checkpoint(folder / f"{name}-w", "x", False), asked)
    except BuildError as error:
        (folder / f"{name}-packing-{os.environ['RANK']}").write_text(str(error))


def main(folder: Path) -> None:
    """Write, for each engine, `<engine>.json` with the log, and the weights."""
    NUMERICS.apply()
    for name, settings in ENGINES.items():
        if name in SEGMENTED:
            train_segments(folder, name, launch(processes=2, checkpoint_every_steps=100, **settings))
            refuse_wrong_packing(folder, name, launch(processes=2, **settings))
        if name in SKIPPING:
            train_with_a_bad_row(folder, name, processes=2, **settings)
        every = {"processes": 2, "checkpoint_every_steps": 20} | settings
        asked = launch(micro_batch_rows=1, activation_checkpointing=name == "fsdp", **every)
        state, weights = train(model_for(name), run(), NUMERICS, Checkpoint(folder / f"{name}-u", "x", False), asked)
        if weights:
            save_file({key: value.contiguous() for key, value in weights.items()}, folder / f"{name}.safetensors")
            (folder / f"{name}.json").write_text(json.dumps(state.log))
        with KilledAt(LAST_STEP):
            train(model_for(name), run(), NUMERICS, Checkpoint(folder / name, "x", False), launch(**every))
        if name in RESUMED:
            with KilledAt(LAST_STEP):
                train(model_for(name), run(), NUMERICS, Checkpoint(folder / f"{name}-k", "x", False), asked)
            _, weights = train(model_for(name), run(), NUMERICS, Checkpoint(folder / f"{name}-k", "x", False), asked)
            if weights:
                save_file({key: value.contiguous() for key, value in weights.items()}, folder / f"{name}-k.safetensors")
    try:
        started_engine(PackedLoss(tiny_model(VOCABULARY)), recipe(), NUMERICS, launch(engine="ddp", processes=3))
    except BuildError as error:
        (folder / "refusal").write_text(str(error))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
