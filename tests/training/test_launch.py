"""How a trainer is started, and that there is never a second one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from osler.build.lock import held_lock
from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.build.submission import Submit
from osler.training.launch import LAUNCH, brings_weights, check_stages, command, started_launch
from tests.support.tiny import launch

HOLDER = """
import os, sys, time
from pathlib import Path
from osler.build.lock import held_lock
os.set_inheritable(held_lock(Path(sys.argv[1]), "cpt"), True)
os.execv(sys.executable, [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"])
"""
WORKER = """
import subprocess, sys, time
if sys.argv[1:]:
    from osler.training.launch import die_with_parent
    die_with_parent()
    print("up", flush=True)
    time.sleep(60)
else:
    worker = subprocess.Popen([sys.executable, "-c", sys.orig_argv[2], "worker"])
    print(worker.pid, flush=True)
    worker.wait()
"""


def test_a_second_trainer_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    """The lock passes from the launcher to the program it becomes; the refusal names that process; its death frees it."""
    lock = tmp_path / "locks" / "cpt"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "up\n"
        with pytest.raises(BuildError, match=rf"cpt is still being built by process {holder.pid}\b"):
            held_lock(lock, "cpt")
        holder.kill()
        holder.wait()
        os.close(held_lock(lock, "cpt"))


def test_a_file_where_locks_would_lie_is_one_line(tmp_path: Path) -> None:
    """Of a scratch/ that is no folder."""
    (tmp_path / "scratch").touch()
    with pytest.raises(BuildError, match=r"scratch/locks/cpt: cannot be made .*; a folder is needed there"):
        held_lock(tmp_path / "scratch/locks/cpt", "cpt")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's part in it is Linux's")
def test_workers_do_not_outlive_the_torchrun_that_started_them() -> None:
    """A worker whose parent is killed with -9 is gone within seconds, since it holds no lock that would tell of it."""
    with subprocess.Popen([sys.executable, "-c", WORKER], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        lines = {parent.stdout.readline().strip() for _ in range(2)}
        worker = int(next(line for line in lines if line != "up"))
        assert Path(f"/proc/{worker}").exists()
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 10
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(worker)


def alive(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


TORCHRUN = [sys.executable, "-m", "osler.training.agent", "--nproc-per-node=2"]
ALONE = ["--standalone", "-m", "stages.cpt"]
SRUN = ["srun", "--nodes=3", "--ntasks=3", "--ntasks-per-node=1", "--kill-on-bad-exit=1", *TORCHRUN, "--nnodes=3"]
COMMANDS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "one process": ({}, [sys.executable, "-m", "stages.cpt"]),
    "ddp": ({"engine": "ddp", "processes": 2}, [*TORCHRUN, "--standalone", "-m", "stages.cpt"]),
    "ZeRO": (
        {"engine": "deepspeed", "zero_stage": 3, "processes": 2},
        [*TORCHRUN, "--standalone", "-m", "stages.cpt"],
    ),
    "one process that divides": ({"engine": "fsdp", "offload": "all"}, [*TORCHRUN[:-1], "--nproc-per-node=1", *ALONE]),
    "ZeRO of one process": (
        {"engine": "deepspeed", "zero_stage": 2, "offload": "optimizer"},
        [*TORCHRUN[:-1], "--nproc-per-node=1", *ALONE],
    ),
    "three machines": (
        {"engine": "fsdp", "processes": 2, "nodes": 3},
        [*SRUN, "--rdzv-id=stages.cpt", "--rdzv-backend=c10d", "--rdzv-endpoint=node7:29400", "-m", "stages.cpt"],
    ),
    "three that meet elsewhere": (
        {"engine": "fsdp", "processes": 2, "nodes": 3, "rendezvous": "node1:4000"},
        [*SRUN, "--rdzv-id=stages.cpt", "--rdzv-backend=c10d", "--rdzv-endpoint=node1:4000", "-m", "stages.cpt"],
    ),
}


def test_a_stage_has_keys_of_its_own() -> None:
    """Those of launch.stages come before the others; instances of a stage have its own."""
    asked = launch(engine="fsdp", processes=8, nodes=4, stages={"sft": {"nodes": 2, "max_restarts": 3}})
    assert (asked.of("cpt").nodes, asked.of("sft@base").nodes, asked.of("sft").max_restarts) == (4, 2, 3)
    assert asked.of("cpt") == launch(engine="fsdp", processes=8, nodes=4)
    assert "--max-restarts=3" in command(asked.of("sft"), "stages.sft", "node7")


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"sft": {"nodez": 2}}, r"params.yaml: launch.stages.sft.nodez: unknown key"),
        ({"sft": {"nodes": "two"}}, r"params.yaml: launch.stages.sft.nodes: .*'two'"),
        ({"sft": {"engine": "ddp"}}, r"params.yaml: launch.stages.sft.processes: 1, but engine ddp is for several"),
        ({"neftune": {"processes": 2}}, r"launch.stages.neftune.processes: 2 on 1 nodes, but engine python runs 1"),
        ({"cpt": {"stages": {}}}, r"launch.stages.cpt.stages: a stage has none of its own"),
        (
            {"evaluate": {"nodes": 2}},
            r"launch.stages.evaluate.nodes: of an evaluation only jobs and submit can be others",
        ),
        (
            {"evaluate_adapter": {"nodes": 2}},
            r"launch.stages.evaluate_adapter.nodes: of an evaluation only jobs and submit can be others",
        ),
        ({"evaluate": {"submit": {"time": "x"}}}, r"launch.stages.evaluate.submit.time: "),
        (
            {"cpt": {"submit": {"arguments": ["--nodes=9"]}}},
            r"launch.stages.cpt.submit.arguments: --nodes=9: osler sets --nodes itself",
        ),
    ],
)
def test_a_fault_of_any_stage_is_found_before_the_first_starts(stages: dict[str, Any], message: str) -> None:
    """It is one line that names the key."""
    with pytest.raises(BuildError, match=message):
        check_stages(launch(stages=stages))


def test_a_stage_that_there_is_not_is_refused() -> None:
    """Of launch.stages."""
    with pytest.raises(ValidationError, match=r"stages.train\b"):
        launch(stages={"train": {}})


@pytest.mark.parametrize("case", COMMANDS)
def test_the_section_decides_the_command(case: str) -> None:
    """python runs the module; the others run torchrun, once a machine, and srun starts it on several."""
    changes, expected = COMMANDS[case]
    assert command(launch(**changes), "stages.cpt", "node7") == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"processes": 2}, r"launch.processes: 2 on 1 nodes, but engine python runs 1"),
        ({"engine": "ddp"}, r"launch.processes: 1, but engine ddp is for several"),
        ({"engine": "deepspeed", "processes": 2}, r"launch.zero_stage: null with engine deepspeed"),
        ({"engine": "fsdp", "processes": 2, "zero_stage": 2}, r"launch.zero_stage: 2 with engine fsdp"),
        ({"offload": "all"}, r"launch.offload: all with engine python; use null"),
        ({"max_restarts": 2}, r"launch.max_restarts: 2 with engine python, which starts no torchrun"),
        (
            {"stop_minutes_before_end": 30, "submit": {"time": "20:30"}},
            r"launch.stop_minutes_before_end: 30, and a job has 20.5 minutes in all \(submit.time: 20:30\)",
        ),
        ({"engine": "fsdp", "offload": "optimizer"}, r"launch.offload: optimizer with engine fsdp; use all or null"),
        (
            {"engine": "deepspeed", "zero_stage": 2, "offload": "all"},
            r"launch.offload: all with engine deepspeed with zero_stage 2; use optimizer or null",
        ),
        ({"engine": "fsdp", "processes": 6, "shard_processes": 4}, r"launch.shard_processes: 4 .* on 6 processes"),
        ({"engine": "ddp", "processes": 4, "shard_processes": 2}, r"launch.shard_processes: 2 with engine ddp"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], message: str) -> None:
    """The message names the key and what to set."""
    with pytest.raises(BuildError, match=message):
        command(launch(**changes), "stages.cpt", "node7")


@pytest.mark.parametrize(
    ("time", "minutes"),
    [
        ("30", 30),
        ("30:30", 30.5),
        ("2:00:00", 120),
        ("1-12", 2160),
        ("1-12:30", 2190),
        ("1-12:30:30", 2190.5),
        (None, None),
    ],
)
def test_the_limit_of_a_job_is_read_as_sbatch_reads_it(time: str | None, minutes: float | None) -> None:
    """Its manual has six forms."""
    assert Submit(time=time).minutes() == minutes


@pytest.mark.parametrize(
    ("port", "may_be"), [("1", True), ("64999", True), ("0", False), ("99999", False), ("", False)]
)
def test_a_rendezvous_has_a_port_that_there_is(port: str, may_be: bool) -> None:
    """Those of the highest 536 are given out by the system."""
    if may_be:
        assert launch(rendezvous=f"node1:{port}").rendezvous
    else:
        with pytest.raises(ValidationError, match="rendezvous"):
            launch(rendezvous=f"node1:{port}")


def test_the_trainer_knows_what_it_was_started_as() -> None:
    """The section comes through the environment whole; a trainer that nobody launched refuses."""
    asked = launch(engine="fsdp", processes=2, micro_batch_rows=3)
    assert started_launch({LAUNCH: asked.model_dump_json()}) == asked
    with pytest.raises(BuildError, match="osler launch"):
        started_launch({})


@pytest.mark.parametrize(("engine", "second"), [("ddp", True), ("fsdp", False), ("deepspeed", False)])
def test_the_first_process_alone_brings_weights_where_a_model_is_divided(engine: str, second: bool) -> None:
    """The others' come from it; under ddp each reads the model."""
    asked = launch(engine=engine, processes=2, zero_stage=3 if engine == "deepspeed" else None).model_dump_json()
    assert brings_weights({LAUNCH: asked, "RANK": "0"})
    assert brings_weights({LAUNCH: asked, "RANK": "1"}) == second


def test_milestones_are_checkpoints() -> None:
    """One at a step without a checkpoint would never be there."""
    assert launch(checkpoint_every_steps=3, keep_every_steps=6).keep_every_steps == 6
    with pytest.raises(ValidationError, match="keep_every_steps must be a multiple of checkpoint_every_steps"):
        launch(checkpoint_every_steps=3, keep_every_steps=5)


def test_evaluations_of_adapters_have_keys_of_their_own() -> None:
    """Beside those of other evaluations; an engine that no evaluation starts is none of their business."""
    asked = launch(
        engine="fsdp",
        processes=8,
        stages={"evaluate": {"jobs": 2}, "evaluate_adapter": {"jobs": 3, "submit": {"time": "1:00"}}},
    )
    check_stages(asked)
    assert (asked.of("evaluate@base").jobs, asked.of("evaluate_adapter@thin").jobs) == (2, 3)
    assert asked.of("evaluate").submit is None
    assert asked.of("evaluate_adapter").submit is not None
