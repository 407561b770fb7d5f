"""Engines: two real processes train what one trains, and each goes on where another stopped.

One torchrun runs all of them (engine_worker.py), once for this file; what they wrote is compared here with one process.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from osler.build.files import file_hash
from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.training.checkpoints import Checkpoint, Logged, State
from osler.training.engines import started_engine
from osler.training.loop import Weights, train
from osler.training.packed_loss import PackedLoss
from tests.support.bad_rows import bad_run, spoiled, trained
from tests.support.engine_worker import (
    ENGINES,
    FLOAT64,
    LAST_STEP,
    RESUMED,
    SEGMENTED,
    SKIPPING,
    STEPS,
    model_for,
    run,
    train_segments,
)
from tests.support.runs import VOCABULARY, KilledAt, recipe
from tests.support.tiny import NUMERICS, launch, tiny_model

Result = tuple[State, Weights]


def one_process(engine: str, folder: Path, **changes: int | bool) -> Result:
    asked = launch(checkpoint_every_steps=20, **changes)
    return train(model_for(engine), run(), NUMERICS, Checkpoint(folder, "x", False), asked)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """One process, all rows at once: in float64 for the engines that can, in float32 for the others."""
    folder = tmp_path_factory.mktemp("alone")
    kinds = {name: one_process(name, folder / name) for name in ("ddp", "zero2")}
    return {name: kinds["ddp" if name in FLOAT64 else "zero2"] for name in ENGINES}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes wrote, each engine's checkpoints going on from one process's of step 20."""
    folder = tmp_path_factory.mktemp("together")
    for name in ENGINES:
        with KilledAt(30):
            one_process(name, folder / name)
    train_segments(folder, "one", launch(checkpoint_every_steps=100))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*torchrun, "tests/support/engine_worker.py", str(folder)],
        cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    (folder / "output").write_text(done.stdout)
    return folder


def differences(one: Result, log: list[Logged], weights: Weights) -> tuple[float, float]:
    """The largest differences in the losses of the steps and in the final weights; steps, tokens and rates must be equal."""
    state, expected = one
    assert len(state.log) == len(log) == STEPS
    assert [(row[0], row[1], row[3]) for row in state.log] == [(row[0], row[1], row[3]) for row in log]
    assert expected.keys() == weights.keys()
    return (
        max(abs(ours[2] - theirs[2]) for ours, theirs in zip(state.log, log, strict=True)),
        max(float((expected[name] - weights[name]).abs().max()) for name in expected),
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_two_processes_train_the_same_model_as_one(engine: str, alone: dict[str, Result], together: Path) -> None:
    """Losses of 50 steps and final weights agree to 1e-5 (float64: losses to their last digit, weights to 1e-9).

    In micro-batches of one row, with noise and a last step with fewer rows than places; fsdp computes activations twice.
    """
    log = [Logged(*row) for row in json.loads((together / f"{engine}.json").read_text())]
    loss, weight = differences(alone[engine], log, load_file(together / f"{engine}.safetensors"))
    assert loss <= (1.1e-6 if engine in FLOAT64 else 1e-5)
    assert weight <= (1e-9 if engine in FLOAT64 else 1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_goes_on_with_another_engine_and_number_of_processes(
    engine: str, alone: dict[str, Result], together: Path, tmp_path: Path
) -> None:
    """20 steps by one process, 20 or more by two, the rest by one: the losses and weights of an uninterrupted run."""
    shutil.copytree(together / engine, tmp_path / engine)
    last = max(tmp_path.glob(f"{engine}/step-*"))
    assert last.name == "step-00000040"
    assert len(list(last.glob("*.safetensors"))) == 2
    loss, weight = differences(alone[engine], *one_process_log(engine, tmp_path / engine))
    assert loss <= (1.1e-6 if engine in FLOAT64 else 1e-5)
    assert weight <= (1e-9 if engine in FLOAT64 else 1e-5)
    assert LAST_STEP > 40


@pytest.mark.parametrize("engine", RESUMED)
def test_two_processes_that_were_killed_end_with_the_same_bytes(engine: str, together: Path) -> None:
    """Killed at step 45 and resumed at 40 by two again: each bit of an uninterrupted run of two."""
    assert file_hash(together / f"{engine}-k.safetensors") == file_hash(together / f"{engine}.safetensors")


@pytest.mark.parametrize("engine", SEGMENTED)
def test_a_segment_of_a_trunk_goes_on_with_any_engine(engine: str, together: Path) -> None:
    """Moments (up to 0.03) and weights of two processes are one's to 1e-6, after a segment and after one that goes on from it."""
    for file in ("early.moments", "early.weights", "late.moments", "late.weights"):
        one, two = (load_file(together / f"{name}-{file}") for name in ("one", engine))
        assert one.keys() == two.keys()
        assert all(torch.allclose(one[name], two[name], rtol=0, atol=1e-6) for name in one), file


def one_process_log(engine: str, folder: Path) -> tuple[list[Logged], Weights]:
    state, weights = one_process(engine, folder)
    return state.log, weights


def test_the_runs_of_two_processes_were_resumed(together: Path) -> None:
    """Each engine went on at step 20 of one process's run."""
    output = (together / "output").read_text()
    assert len(re.findall(r"resumed at step 20 of 50", output)) == len(ENGINES)
    assert len(re.findall(r"resumed at step 40 of 50", output)) == len(RESUMED)


def test_accumulation_does_not_change_the_result(alone: dict[str, Result], tmp_path: Path) -> None:
    """One process in micro-batches of one and of three of the four rows."""
    for rows in (1, 3):
        state, weights = one_process("ddp", tmp_path / str(rows), micro_batch_rows=rows)
        loss, weight = differences(alone["ddp"], state.log, weights)
        assert loss <= 1.1e-6
        assert weight <= 1e-9


def test_activation_checkpointing_changes_no_bit(alone: dict[str, Result], tmp_path: Path) -> None:
    """What is computed twice is the same twice."""
    _, weights = one_process("zero2", tmp_path, activation_checkpointing=True)
    assert all(torch.equal(weights[name], value) for name, value in alone["zero2"][1].items())


def test_fewer_processes_than_asked_for_are_refused(together: Path) -> None:
    """What a launcher that silently starts too few gives; so is an engine that turns out to be another."""
    assert "3 processes were asked for and 2 run together" in (together / "refusal").read_text()
    module = PackedLoss(tiny_model(VOCABULARY))
    with pytest.raises(BuildError, match="launch.engine: ddp was asked for and python runs"):
        started_engine(module, recipe(), NUMERICS, launch(engine="ddp"))


@pytest.mark.parametrize("engine", SEGMENTED)
def test_all_processes_refuse_a_model_that_packs_wrongly(engine: str, together: Path) -> None:
    """Whole or divided, with weights on the first process alone: none waits for another."""
    for rank in (0, 1):
        assert "documents of a packed row see each other" in (together / f"{engine}-packing-{rank}").read_text()


def test_a_model_with_dropout_is_refused() -> None:
    """Its forward pass would be another after a resume; the message names the key."""
    model = tiny_model(VOCABULARY)
    model.config.attention_dropout = 0.1
    with pytest.raises(BuildError, match="attention_dropout"):
        started_engine(PackedLoss(model), recipe(), NUMERICS, launch())


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize(
    "change", [{"attention": "flash_attention_2"}, {"attention": "flex_attention"}, {"liger": True}], ids=str
)
def test_what_a_cpu_cannot_train_is_refused(change: dict[str, object]) -> None:
    """The message names the key of `numerics`."""
    with pytest.raises(BuildError, match=f"numerics.{next(iter(change))}"):
        started_engine(PackedLoss(tiny_model(VOCABULARY)), recipe(), NUMERICS.model_copy(update=change), launch())


@pytest.mark.parametrize("engine", SKIPPING)
def test_a_bad_row_of_one_process_is_a_bad_step_of_all(engine: str, together: Path, tmp_path: Path) -> None:
    """The row is the second process's: both leave step 4 out, and end with the weights of one process, to 1e-4."""
    patch = spoiled(float("nan"))
    state, expected = trained(tmp_path, bad_run(4))
    patch.undo()
    for rank in (0, 1):
        skipped = json.loads((together / f"{engine}-bad-{rank}.json").read_text())
        assert [entry["step"] for entry in skipped] == [entry["step"] for entry in state.skipped] == [4]
    weights = load_file(together / f"{engine}-bad.safetensors")
    assert all(torch.allclose(weights[name], value, rtol=0, atol=1e-4) for name, value in expected.items())
