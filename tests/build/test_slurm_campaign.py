"""Training as jobs of SLURM's real daemons, two nodes on this machine; skipped where they are not installed."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from osler.build.files import write_json
from osler.tokens.mixture import row_order
from tests.build.test_trunk import COLLECTIONS, RATES, ROWS, packed
from tests.support.kills import outcome
from tests.support.project import ENVIRONMENT, Project, copied
from tests.support.slurm import cluster, free_ports, missing
from tests.support.tiny import tiny_model, tiny_tokenizer

pytestmark = [pytest.mark.campaign, pytest.mark.skipif(bool(missing()), reason=missing() or "it is there")]

SUBMIT = "{partition: main, time: '60', poll_seconds: 0.5}"
TOKENS = 9600  # 600 steps of two rows
DRIVER = ["dvc", "repro", "--single-item", "--force", "cpt"]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """SLURM with all its files in a folder of its own."""
    with cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield {
            **ENVIRONMENT,
            **{key: environment[key] for key in ("SLURM_CONF",)},
            "PATH": f"{ENVIRONMENT['PATH']}:/usr/sbin",
        }


def inputs(folder: Path) -> None:
    """What cpt reads, made here and not by the stages before it: a tiny base, rows of eight tokens, a plan of them."""
    tokenizer = tiny_tokenizer()
    tiny_model(len(tokenizer)).save_pretrained(folder / "models/base")
    tokenizer.save_pretrained(folder / "models/base")
    for source, collection in COLLECTIONS.items():
        packed(folder / "data/packed" / collection / source, source, len(tokenizer))
    counts = np.bincount(row_order(RATES, ROWS, 1, TOKENS)[:, 0]).tolist()
    sources = {
        source: {
            "collection": COLLECTIONS[source],
            "rows": rows,
            "rows_per_token": RATES[source],
            "rows_there": ROWS[source],
        }
        for source, rows in zip(ROWS, counts, strict=True)
    }
    write_json(folder / "data/plan/plan.json", {"budget_tokens": TOKENS, "sources": sources})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, slurm: dict[str, str]) -> Project:
    """A project in which cpt can run: on two nodes, as a job."""
    folder = tmp_path_factory.mktemp("project")
    project = copied(folder, "micro", slurm)
    inputs(folder)
    project.edit("params.yaml", "\n- 1\n- 2\n", "\n- 1\n")
    project.edit("params.yaml", "cpt:\n  batch_tokens: 512", "cpt:\n  batch_tokens: 16")
    project.edit("params.yaml", "\n  engine: python", f"\n  engine: ddp\n  submit: {SUBMIT}")
    project.edit("params.yaml", "\n  nodes: 1", "\n  nodes: 2")
    project.edit("params.yaml", "\n  rendezvous: null", f"\n  rendezvous: localhost:{free_ports(1)[0]}")
    project.run("dvc", "repro", "code")
    return project


@pytest.fixture(scope="module")
def expected(project: Project) -> tuple[str, bytes]:
    """What a job leaves that nobody disturbs."""
    fresh(project)
    said = project.run(*DRIVER)
    assert "running on n[1-2]" in said, said
    assert "steps on 2 processes" in log(project)
    return outcome(project, "cpt")


def fresh(project: Project) -> None:
    for name in ("scratch/cpt", "scratch/trained/cpt", "models/cpt", "scratch/jobs/cpt"):
        shutil.rmtree(project.folder / name, ignore_errors=True)


def log(project: Project) -> str:
    return (project.folder / "scratch/jobs/cpt/log").read_text()


def jobs(project: Project) -> list[str]:
    return project.run("squeue", "--noheader", "--format=%i").split()


class Driver:
    """`dvc repro cpt` in the background, once the job has a checkpoint."""

    def __init__(self, project: Project) -> None:
        self.project = project
        fresh(project)
        self.output = project.folder / "scratch" / "driver.out"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                DRIVER,
                cwd=project.folder,
                env=project.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 300
        while not list((project.folder / "scratch/cpt").glob("*/step-*")):
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.02)
        (self.job,) = jobs(project)

    def end(self) -> tuple[int, str]:
        """Its exit code and what it said."""
        return self.process.wait(600), self.output.read_text()


def test_a_job_that_is_requeued_goes_on(project: Project, expected: tuple[str, bytes]) -> None:
    """Its driver keeps waiting; it is the same job, which resumes, and the bytes are those of an undisturbed one."""
    driver = Driver(project)
    project.run("scontrol", "requeue", driver.job)
    code, said = driver.end()
    assert code == 0, said + log(project)
    assert said.count("submitted as job") == 1
    assert "resumed at step" in log(project)
    assert outcome(project, "cpt") == expected


@pytest.mark.parametrize("option", ["--signal=TERM", "--signal=USR1", "--batch --signal=TERM"])
def test_a_job_that_is_signaled_stops_with_a_checkpoint(
    project: Project, expected: tuple[str, bytes], option: str
) -> None:
    """dvc fails, the job's exit code is 75, and the next `dvc repro` ends with the same bytes."""
    driver = Driver(project)
    project.run("scancel", *option.split(), driver.job)
    code, said = driver.end()
    assert code != 0, said
    assert re.search(r"stopped at step \d+ of \d+; run again to go on", said), said
    assert "ended FAILED, exit code 75" in said
    step = re.findall(r"stopped at step (\d+)", said)[-1]
    again = project.run(*DRIVER)
    assert f"resumed at step {step}" in log(project), again
    assert outcome(project, "cpt") == expected


def test_a_build_that_is_killed_finds_its_job(project: Project, expected: tuple[str, bytes]) -> None:
    """dvc and what it started are killed with -9; the job runs on; the next `dvc repro` waits for it and submits none."""
    driver = Driver(project)
    os.killpg(driver.process.pid, signal.SIGKILL)
    driver.process.wait()
    assert jobs(project) == [driver.job]
    said = project.run(*DRIVER)
    assert f"job {driver.job} is running since an earlier run" in said
    assert "submitted" not in said
    assert outcome(project, "cpt") == expected


def test_ctrl_c_leaves_the_job(project: Project, expected: tuple[str, bytes]) -> None:
    """The driver says how to end it; the job ends by itself with the same bytes."""
    driver = Driver(project)
    os.killpg(driver.process.pid, signal.SIGINT)
    code, said = driver.end()
    assert code != 0
    assert f"scancel {driver.job}" in said
    assert jobs(project) == [driver.job]
    project.run(*DRIVER)
    assert outcome(project, "cpt") == expected


def test_the_end_of_a_jobs_time_is_followed_by_another_job(project: Project, expected: tuple[str, bytes]) -> None:
    """A job that stops before its end, at 0.6 of what all takes, is followed by the next: one `dvc repro`."""
    fresh(project)
    started = time.monotonic()
    project.run(*DRIVER)
    minutes_before = 10 - 0.6 * (time.monotonic() - started) / 60
    params = (project.folder / "params.yaml").read_text()
    project.edit("params.yaml", "time: '60'", "time: '10'")
    project.edit("params.yaml", "\n  nodes: 2", f"\n  stop_minutes_before_end: {minutes_before:.2f}\n  nodes: 2")
    try:
        fresh(project)
        said = project.run(*DRIVER)
    finally:
        (project.folder / "params.yaml").write_text(params)
    print(said)
    assert "the next one goes on" in said
    assert outcome(project, "cpt") == expected


def files(folder: Path) -> dict[str, bytes]:
    """What is in it, by name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_evaluation_is_a_job_and_its_training_is_not(tmp_path: Path, slurm: dict[str, str]) -> None:
    """`launch.stages.evaluate` alone asks for jobs; predictions are the same bytes as without one."""
    project = copied(tmp_path, "micro", slurm)
    project.edit("params.yaml", "\nlaunch:", f"\nlaunch:\n  stages: {{evaluate: {{submit: {SUBMIT}}}}}")
    said = project.run("dvc", "repro", "evaluate@base")
    assert re.findall(r"(\S+): submitted as job", said) == ["evaluate@base"], said
    predictions = tmp_path / "results/predictions/base"
    as_job = files(predictions)
    assert len(as_job) > 1
    (log,) = (tmp_path / "scratch/jobs").glob("*/log")
    assert "n1" in said, log.read_text()

    project.edit("params.yaml", f"{{evaluate: {{submit: {SUBMIT}}}}}", "{}")
    for folder in (predictions, tmp_path / "scratch/predictions"):
        shutil.rmtree(folder)
    said = project.run("dvc", "repro", "--single-item", "--force", "evaluate@base")
    assert "submitted" not in said
    assert files(predictions) == as_job
