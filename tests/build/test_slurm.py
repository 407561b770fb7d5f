"""A stage that is a SLURM job: who submits it, finds it again, waits for it, and what is said. SLURM is a fake one here."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from osler.build import slurm
from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.build.slurm import Job, asked, finished, of_stage
from osler.build.submission import Submit
from tests.support.fake_slurm import install

RUNS = [["PENDING", "", 0], ["RUNNING", "n[1-2]", 0, "step 1 of 9"], ["COMPLETED", "n[1-2]", 0, "cpt: 9 steps"]]
FAILS = [["RUNNING", "n1", 0, "first", "CUDA out of memory"], ["FAILED", "n1", 3], ["FAILED", "n1", 3]]
QUICK = Submit(poll_seconds=0.01, partition="gpu", time="1-00:00:00", gpus_per_node="h100:8", arguments=("--qos=high",))


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with SLURM's commands on PATH; jobs complete."""
    folder = tmp_path / "fake"
    install(folder)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    plan(folder, RUNS)
    return folder


def plan(folder: Path, states: list[list[Any]]) -> None:
    """What the next job goes through: state, nodes, exit code, lines of its log."""
    (folder / "plan.json").write_text(json.dumps(states))


def jobs(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "jobs.json").read_text())
    return found


def job(folder: Path, key: str = "key", project: str = "osler-here") -> Job:
    return Job("cpt", "osler-cpt", project, key, folder.parent / "scratch/jobs/cpt")


def test_a_stage_is_submitted_and_waited_for(fake: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """sbatch gets what the section says; states, nodes and the log's last line are shown; the exit code is the job's."""
    assert finished(job(fake), QUICK, 2, ["python", "-m", "o'sler"]) == 0
    (made,) = jobs(fake).values()
    assert made["script"] == "#!/bin/sh\nexec 'python' '-m' 'o'\\''sler'\n"
    wanted = {"partition": "gpu", "time": "1-00:00:00", "gpus-per-node": "h100:8", "nodes": "2", "qos": "high"}
    assert wanted.items() <= made.items()
    assert {"requeue", "parsable"} <= made.keys()
    assert made["comment"] == "osler-here key"
    assert "account" not in made
    said = capfd.readouterr()
    assert "cpt: submitted as job 1" in said.out
    assert "cpt: 9 steps" in said.out
    assert "job 1 pending\n" in said.err
    assert "job 1 running on n[1-2]: step 1 of 9" in said.err


def test_a_failed_job_says_its_last_lines_in_one_place(fake: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Its exit code is the stage's."""
    plan(fake, FAILS)
    assert finished(job(fake), QUICK, 1, ["x"]) == 3
    said = capfd.readouterr().err
    assert said.index("CUDA out of memory") < said.index("osler: cpt: job 1 ended FAILED, exit code 3")


def test_a_job_that_runs_is_found(fake: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It is waited for, not submitted again; that of another clone is none of ours, that of other inputs is named."""
    (fake / "jobs.json").write_text(
        json.dumps(
            {"7": {"job-name": "osler-cpt", "comment": "osler-here key", "states": RUNS[1:], "output": os.devnull}}
        )
    )
    with pytest.raises(BuildError, match=r"job 7 still runs cpt with params, code or inputs of before; .*`scancel 7`"):
        finished(job(fake, key="other"), QUICK, 1, ["x"])
    assert finished(job(fake), QUICK, 1, ["x"]) == 0
    assert list(jobs(fake)) == ["7"]
    assert "job 7 is running since an earlier run" in capfd.readouterr().out
    assert finished(job(fake, project="osler-there"), QUICK, 1, ["x"]) == 0
    assert list(jobs(fake)) == ["7", "2"]


@pytest.mark.parametrize("between", ["PREEMPTED", "NODE_FAIL", "REQUEUED", "COMPLETING"])
def test_a_job_that_is_put_back_is_waited_for(fake: Path, between: str) -> None:
    """A state that it only passes through is no end."""
    plan(fake, [RUNS[1], [between, "n1", 0], *RUNS])
    assert finished(job(fake), QUICK, 1, ["x"]) == 0
    assert len(jobs(fake)) == 1


def test_a_job_whose_time_was_over_is_followed_by_another(fake: Path) -> None:
    """As long as they get on: one that stops at the step of the one before is the end, and so is one that was signaled."""
    this = job(fake)
    this.folder.mkdir(parents=True)
    this.stopped.write_text("time 7\n")
    plan(fake, [["FAILED", "n1", 75], ["FAILED", "n1", 75]])
    assert finished(this, QUICK, 1, ["x"]) == 75
    assert len(jobs(fake)) == 2
    this.stopped.write_text("signal 8\n")
    assert finished(this, QUICK, 1, ["x"]) == 75
    assert len(jobs(fake)) == 3


def test_a_controller_that_is_away_is_waited_for(fake: Path) -> None:
    """A job goes on without it; what it has forgotten meanwhile, sacct knows."""
    plan(fake, [])
    (fake / "sacct").write_text("TIMEOUT|0:15\n")
    this = job(fake)
    number = slurm.submitted(this, QUICK, 1, ["x"])
    (fake / "down").touch()
    threading.Timer(0.5, (fake / "down").unlink).start()
    started = time.monotonic()
    assert slurm.waited(this, number, 0.05) == 128 + 15
    assert time.monotonic() - started > 0.4


def test_what_sbatch_refuses_is_one_line(fake: Path) -> None:
    """It names the section."""
    (fake / "refuse").touch()
    with pytest.raises(BuildError, match=r"sbatch: sbatch: error: invalid partition specified: gpu; see launch.submit"):
        finished(job(fake), QUICK, 1, ["x"])


WAIT = """
import sys
from pathlib import Path
from osler.build.slurm import Job, finished
from osler.build.submission import Submit
job = Job("cpt", "osler-cpt", "osler-here", "key", Path(sys.argv[1]))
sys.exit(finished(job, Submit(poll_seconds=0.05), 1, ["x"]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_the_job_alone(fake: Path, tmp_path: Path, number: int) -> None:
    """It says how to wait for it again and how to end it."""
    plan(fake, [["RUNNING", "n1", 0]])
    command = [sys.executable, "-c", WAIT, str(tmp_path / "jobs/cpt")]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
        assert waiting.stdout
        assert waiting.stderr
        assert waiting.stdout.readline().startswith("cpt: submitted as job 1")
        assert "running on n1" in waiting.stderr.readline()
        waiting.send_signal(number)
        said = waiting.communicate(timeout=30)[1]
    assert waiting.returncode == 130
    assert "job 1 goes on; run again to wait for it, or end it with `scancel 1`" in said
    assert not any("scancel" in line for line in (fake / "calls").read_text().splitlines())


def test_the_section_of_a_stage_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of launch.stages come before those of launch; inside an allocation nothing is submitted."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    launch = {"submit": {"partition": "a"}, "jobs": 1, "stages": {"sft": {"submit": None}, "evaluate": {"jobs": 3}}}
    assert of_stage(launch, "evaluate@base") == {"submit": {"partition": "a"}, "jobs": 3}
    assert asked(launch, "cpt") == Submit(partition="a")
    of_adapters = {"stages": {"evaluate_adapter": {"jobs": 2, "submit": None}}}
    assert of_stage(launch | of_adapters, "evaluate_adapter@thin") == {"submit": None, "jobs": 2}
    assert asked(launch | of_adapters, "evaluate_adapter@thin") is None
    assert asked(launch, "sft@base") is None
    assert asked({"jobs": 1}, "cpt") is None
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    assert asked(launch, "cpt") is None


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"partitions": "a"}, "launch.submit.partitions: unknown key"),
        ({"time": "tomorrow"}, "launch.submit.time: "),
        ({"arguments": ["-N2"]}, "launch.submit.arguments.0: "),
        ({"arguments": ["--comment=x"]}, "launch.submit.arguments: --comment=x: osler sets --comment itself"),
    ],
)
def test_a_section_that_is_not_whole_is_one_line(
    section: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the key."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(BuildError, match=message):
        asked({"submit": section}, "cpt")
