"""Checkpoints: whole or passed over, two of them, without pickle, and of the code that goes on."""

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from osler.build.files import read_json, write_json
from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.build.shard_store import content_key
from osler.training.checkpoint_files import reader
from osler.training.checkpoints import Checkpoint, Logged, State, faults
from osler.training.engine import Engine
from osler.training.engines import started_engine
from osler.training.packed_loss import PackedLoss
from tests.support.damage import flip
from tests.support.durability import power_may_fail
from tests.support.runs import VOCABULARY, recipe
from tests.support.tiny import NUMERICS, launch, tiny_model


def engine() -> Engine:
    """A fresh model in a process of its own."""
    return started_engine(PackedLoss(tiny_model(VOCABULARY)), recipe(), NUMERICS, launch())


def state(step: int, code: str = "code") -> State:
    return State(step, 10 * step, [Logged(step, 10 * step, 0.5, 1e-3, 0.0, None)], [(0.25, 0.0)], [code])


def saved(folder: Path, *steps: int) -> dict[int, dict[str, dict[str, torch.Tensor]]]:
    """Checkpoints of these steps in `folder`, each with other weights and moments; what was in them."""
    one, checkpoint, written = engine(), Checkpoint(folder, "code", False), {}
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for name in one.parameters:
            values = {key: torch.rand(value.shape, generator=generator) for key, value in shapes(one, name).items()}
            one.scatter(name, values, step)
        written[step] = {name: one.gather(name) for name in one.parameters}
        written[step] = {
            name: {key: value.clone() for key, value in values.items()} for name, values in written[step].items()
        }
        checkpoint.save(one, state(step))
    checkpoint.settle(one)
    return written


def shapes(one: Engine, name: str) -> dict[str, torch.Tensor]:
    return dict.fromkeys(("weight", "exp_avg", "exp_avg_sq"), one.parameters[name])


def loaded(folder: Path) -> tuple[Engine, State]:
    one = engine()
    return one, Checkpoint(folder, "code", False).load(one)


def test_what_is_loaded_is_what_was_saved_and_two_are_kept(tmp_path: Path) -> None:
    """Of three checkpoints the last two lie there, and the last gives back every bit of weights, moments and state."""
    written = saved(tmp_path, 3, 6, 9)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000006", "step-00000009"]
    one, there = loaded(tmp_path)
    assert vars(there) == vars(state(9))
    for name, values in written[9].items():
        for key, value in one.gather(name).items():
            assert torch.equal(value, values[key]), (name, key)
        assert float(one.optimizer.state[one.parameters[name]]["step"]) == 9
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".json", ".safetensors"}


DAMAGE: dict[str, Any] = {
    "a flipped byte": lambda folder: flipped(folder / "part-00000.safetensors"),
    "a file cut short": lambda folder: (folder / "part-00000.safetensors").write_bytes(b"123"),
    "a missing file": lambda folder: (folder / "part-00000.safetensors").unlink(),
    "half an index": lambda folder: (folder / "index.json").write_text('{"state": {'),
    "no index": lambda folder: (folder / "index.json").unlink(),
}


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The warning names the file, and the run goes on from step 3."""
    written = saved(tmp_path, 3, 6)
    DAMAGE[kind](tmp_path / "step-00000006")
    one, there = loaded(tmp_path)
    assert there.step == 3
    name = next(iter(written[3]))
    assert torch.equal(one.gather(name)["weight"], written[3][name]["weight"])
    assert "warning: " in (told := capfd.readouterr().err)
    assert "step-00000006" in told


def test_each_bit_of_an_index_counts(tmp_path: Path) -> None:
    """Steps, tokens, losses and where a parameter lies: none is believed that was not written."""
    saved(tmp_path, 3)
    folder = tmp_path / "step-00000003"
    index = folder / "index.json"
    assert faults(folder) == []
    for bit in random.Random(7).sample(range(8 * index.stat().st_size), 400):
        flip(index, bit)
        assert faults(folder), bit
        flip(index, bit)


def test_a_power_cut_leaves_a_checkpoint_or_none(tmp_path: Path) -> None:
    """What has the name of a step is on the disk, and so is the name."""
    with power_may_fail(tmp_path) as named:
        saved(tmp_path, 3, 6)
    assert named == ["step-00000003", "step-00000006"]


def test_a_half_written_one_is_removed_and_counts_as_none(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A folder under its temporary name is what a kill during writing leaves."""
    saved(tmp_path, 3)
    (tmp_path / "step-00000003").rename(tmp_path / ".step-00000003.tmp")
    assert loaded(tmp_path)[1].step == 0
    assert list(tmp_path.iterdir()) == []
    assert "not finished" in capfd.readouterr().err


def test_a_snapshot_is_of_its_moment(tmp_path: Path) -> None:
    """What training changes while the file is being written is not in it."""
    one, checkpoint = engine(), Checkpoint(tmp_path, "code", False)
    for name in one.parameters:
        one.scatter(name, {key: torch.ones_like(value) for key, value in shapes(one, name).items()}, 1)
    before = state(1)
    checkpoint.save(one, before)
    with torch.no_grad():
        for parameter in one.parameters.values():
            parameter.zero_()
    before.step = 2
    checkpoint.settle(one)
    again, there = loaded(tmp_path)
    assert there.step == 1
    assert all(bool((parameter == 1).all()) for parameter in again.parameters.values())


def test_a_checkpoint_of_other_code_is_resumed_only_when_accepted(tmp_path: Path) -> None:
    """The refusal names launch.accept_code_change, and the accepted change is recorded."""
    saved(tmp_path, 3)
    with pytest.raises(BuildError, match="launch.accept_code_change"):
        Checkpoint(tmp_path, "new", False).load(engine())
    assert Checkpoint(tmp_path, "new", True).load(engine()).codes == ["code", "new"]


def test_a_full_disk_stops_the_run_with_a_line(tmp_path: Path) -> None:
    """What the writing thread could not do is told by the loop."""
    one, checkpoint = engine(), Checkpoint(tmp_path, "code", False)
    (tmp_path / ".step-00000001.tmp" / "part-00000.safetensors").mkdir(parents=True)  # in the way of the file
    for name in one.parameters:
        one.scatter(name, shapes(one, name), 1)
    checkpoint.save(one, state(1))
    with pytest.raises(BuildError, match="could not be written"):
        checkpoint.settle(one)


def test_milestones_stay_and_outlive_the_run(tmp_path: Path) -> None:
    """Of steps 3 to 15 the last two and every sixth; the end of the run moves 6 and 12 to where no run goes on from."""
    checkpoint, one = Checkpoint(tmp_path / "run", "code", False, keep_every_steps=6), engine()
    for step in (3, 6, 9, 12, 15):
        for name in one.parameters:
            one.scatter(name, shapes(one, name), step)
        checkpoint.save(one, state(step))
    checkpoint.settle(one)
    assert [int(path.name[5:]) for path in sorted((tmp_path / "run").iterdir())] == [6, 12, 15]
    checkpoint.retire(tmp_path / "run-finished-code")
    assert not (tmp_path / "run").exists()
    assert [int(path.name[5:]) for path in sorted((tmp_path / "run-finished-code").iterdir())] == [6, 12]
    assert faults(tmp_path / "run-finished-code/step-00000012") == []


def test_a_run_falls_back_on_a_milestone_where_the_last_two_are_damaged(tmp_path: Path) -> None:
    """Any that is whole is better than none."""
    checkpoint, one = Checkpoint(tmp_path, "code", False, keep_every_steps=6), engine()
    for step in (6, 9, 12, 15):
        for name in one.parameters:
            one.scatter(name, shapes(one, name), step)
        checkpoint.save(one, state(step))
    checkpoint.settle(one)
    for step in (12, 15):
        flipped(tmp_path / f"step-{step:08d}" / "part-00000.safetensors")
    assert loaded(tmp_path)[1].step == 6


def test_a_change_of_kernels_is_recorded_with_its_step(tmp_path: Path) -> None:
    """Steps 1 to 3 by one thread, those after by two; what does not change adds nothing."""
    one = engine()
    for step, threads in ((3, 1), (6, 1), (9, 2)):
        checkpoint = Checkpoint(tmp_path, "code", False, {"threads": threads})
        there = checkpoint.load(one)
        there.step = step
        checkpoint.save(one, there)
        checkpoint.settle(one)
    recorded = Checkpoint(tmp_path, "code", False, {"threads": 2}).load(one).numerics
    assert recorded == [{"from_step": 0, "numerics": {"threads": 1}}, {"from_step": 6, "numerics": {"threads": 2}}]


def test_a_checkpoint_of_another_format_is_passed_over(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One with whole parameters, of the time before; the warning says why."""
    saved(tmp_path, 3)
    index = read_json(tmp_path / "step-00000003/index.json")
    del index["hash"], index["format"]
    index["parameters"] = {"x": "part-00000.safetensors"}
    write_json(tmp_path / "step-00000003/index.json", index | {"hash": content_key(**index)})
    assert loaded(tmp_path)[1].step == 0
    assert "step-00000003/index.json: of another version of Osler" in capfd.readouterr().err


def test_the_files_are_those_of_torch(tmp_path: Path) -> None:
    """Its reader reads ours, and ours what its HuggingFaceStorageWriter wrote."""
    import torch.distributed.checkpoint as dcp

    written = saved(tmp_path, 3)[3]
    values = {f"{key}.{name}": value for name, tensors in written.items() for key, value in tensors.items()}
    there = {name: torch.zeros_like(value) for name, value in values.items()}
    dcp.load(there, storage_reader=dcp.HuggingFaceStorageReader(str(tmp_path / "step-00000003")), no_dist=True)
    assert all(torch.equal(there[name], value) for name, value in values.items())
    theirs = dcp.HuggingFaceStorageWriter(str(tmp_path / "theirs"), save_distributed=True)
    dcp.save(values, storage_writer=theirs, no_dist=True)
    again = {name: torch.zeros_like(value) for name, value in values.items()}
    reader(tmp_path / "theirs")(again)
    assert all(torch.equal(again[name], value) for name, value in values.items())


SLOW = """
import sys, time, warnings
from datetime import timedelta
from pathlib import Path
import torch
from torch import distributed as dist
from osler.training.patience import leave, summed_patiently
rank = int(sys.argv[1])
dist.init_process_group("gloo", timeout=timedelta(seconds=3), store=dist.FileStore(sys.argv[2], 2), rank=rank, world_size=2)
summed_patiently([0])
time.sleep(5 * rank)
print(summed_patiently([rank, 1]), flush=True)
leave()
time.sleep(5 * rank)
print(summed_patiently([7]), dist.is_initialized(), flush=True)
"""


def test_a_slow_disk_is_no_lost_process(tmp_path: Path) -> None:
    """One process is 5 s behind, where a collective gives up after 3; afterwards they part, and neither waits."""
    both = [
        subprocess.Popen(
            [sys.executable, "-c", SLOW, str(rank), str(tmp_path / "store")], cwd=ROOT, text=True, stdout=-1
        )
        for rank in range(2)
    ]
    assert [process.communicate(timeout=120)[0] for process in both] == ["[1.0, 2.0]\n[7] False\n"] * 2
