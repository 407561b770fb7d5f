"""A run that is told to stop writes a checkpoint of the step that it is at, on all processes, and ends with exit code 75."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from osler.build.pipeline import ROOT
from osler.training.checkpoints import faults
from osler.training.stopping import END, WHY, Stopping
from tests.support.slurm import free_ports
from tests.training.test_launch import alive

WORKER = "tests/support/stopping_worker.py"
KEPT = """
import sys
from pathlib import Path
from osler.commands.launch import kept
sys.exit(kept(sys.argv[2:], 0, Path(sys.argv[1])))
"""
TORCHRUN = ["-m", "osler.training.agent", "--standalone", "--nproc-per-node=2"]


def started(folder: Path, *options: str, processes: int = 2) -> subprocess.Popen[str]:
    """The worker alone, or two under their agent and its keeper."""
    folder.mkdir(exist_ok=True)
    stopped = folder / "stopped"
    stopped.unlink(missing_ok=True)
    (folder / "step").unlink(missing_ok=True)
    command = [sys.executable, *TORCHRUN, *options] if processes > 1 else [sys.executable]
    command += [WORKER, str(folder), "ddp" if processes > 1 else "python", str(processes)]
    if processes > 1:
        command = [sys.executable, "-c", KEPT, str(stopped), *command]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", WHY: str(stopped)}
    return begun(command, environment, start_new_session=True)


def begun(command: list[str], environment: dict[str, str], **options: Any) -> "subprocess.Popen[str]":
    """A process whose output is read as one text."""
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
    )


def to_step(process: "subprocess.Popen[str]", folder: Path, step: int) -> None:
    """Wait until the run is at `step`."""
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if int((folder / "step").read_text() or 0) >= step:
                return
        except FileNotFoundError:
            pass
        time.sleep(0.01)
    raise AssertionError(process.communicate()[0][-3000:] if process.poll() is not None else "it does not get there")


def group(process: "subprocess.Popen[str]") -> None:
    """SIGTERM to the whole group, as `kill -- -PID`."""
    os.killpg(process.pid, signal.SIGTERM)


def agent(number: int) -> Callable[["subprocess.Popen[str]"], None]:
    """A signal to the torchrun alone, not to what started it."""

    def send(process: "subprocess.Popen[str]") -> None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), number)

    return send


def to_all(number: int) -> Callable[["subprocess.Popen[str]"], None]:
    """A signal to what `osler launch` has become."""
    return lambda process: process.send_signal(number)


def ctrl_c(process: "subprocess.Popen[str]") -> None:
    """SIGINT to the whole group, as a terminal sends it."""
    os.killpg(process.pid, signal.SIGINT)


WAYS: dict[str, tuple[int, Callable[["subprocess.Popen[str]"], None]]] = {
    "SIGTERM": (1, to_all(signal.SIGTERM)),
    "SIGTERM to the group": (2, group),
    "SIGTERM to torchrun": (2, agent(signal.SIGTERM)),
    "SIGUSR1 to the launcher": (2, to_all(signal.SIGUSR1)),
    "Ctrl-C": (1, ctrl_c),
    "Ctrl-C under torchrun": (2, ctrl_c),
}

MARKS: dict[str, list[pytest.MarkDecorator]] = {"SIGTERM": [], "Ctrl-C under torchrun": []} | {
    way: [pytest.mark.builds] for way in ("SIGTERM to torchrun", "Ctrl-C")
}  # each takes 20 seconds


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, torch.Tensor]]:
    """The weights of runs that nobody stops, by number of processes."""
    found = {}
    for processes in (1, 2):
        folder = tmp_path_factory.mktemp(f"whole{processes}")
        with started(folder, processes=processes) as process:
            said = process.communicate(timeout=120)[0]
        assert process.returncode == 0, said[-3000:]
        found[processes] = load_file(folder / "weights.safetensors")
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the torchrun below /proc")
@pytest.mark.parametrize("way", [pytest.param(way, marks=MARKS.get(way, [pytest.mark.campaign])) for way in WAYS])
def test_a_signal_stops_all_processes_at_a_step(
    way: str, whole: dict[int, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    """The checkpoint is whole and of the step that is said; the exit code is 75; the next run ends with the same bytes."""
    processes, send = WAYS[way]
    with started(tmp_path, processes=processes) as process:
        to_step(process, tmp_path, 12)
        send(process)
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 75, said[-3000:]
    told = re.search(r"stopped at step (\d+) of 100; run again to go on", said)
    assert told, said
    last = tmp_path / "run" / f"step-{int(told[1]):08d}"
    assert 12 <= int(told[1]) < 100
    assert faults(last) == []
    assert "Traceback" not in said
    assert (tmp_path / "stopped").read_text() == f"signal {told[1]}\n"
    with started(tmp_path, processes=processes) as process:
        said = process.communicate(timeout=120)[0]
    assert process.returncode == 0, said[-3000:]
    assert f"resumed at step {told[1]} of 100" in said
    weights = load_file(tmp_path / "weights.safetensors")
    assert all(torch.equal(weights[name], value) for name, value in whole[processes].items())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks for what lives below /proc")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_second_ctrl_c_ends_at_once(processes: int, tmp_path: Path) -> None:
    """The first one says so. No checkpoint of that step is waited for, and no process is left."""
    (tmp_path / "slow").touch()
    with started(tmp_path, processes=processes) as process:
        to_step(process, tmp_path, 12)
        ctrl_c(process)
        time.sleep(1)
        assert process.poll() is None
        ctrl_c(process)
        said = process.communicate(timeout=45)[0]
    assert process.returncode == (1 if processes == 1 else 130), (
        said
    )  # 1: no stage is around the worker, which would make it 130
    assert "stopped at step" not in said
    assert "Ctrl-C again ends at once" in said or processes > 1  # torchrun's workers are in sessions of their own
    named = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False)
    assert not named.stdout, named.stdout


def test_a_run_that_ends_before_it_hears_has_not_failed(tmp_path: Path) -> None:
    """Ctrl-C after its last step: the trainer ends with 0, and so does what waits for it."""
    trainer = (
        "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('on', flush=True); time.sleep(2)"
    )
    command = [sys.executable, "-c", KEPT, str(tmp_path / "stopped"), sys.executable, "-c", trainer]
    with begun(command, os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "on\n"
        ctrl_c(process)
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 0, said


@pytest.mark.campaign
def test_a_worker_that_dies_starts_again(whole: dict[int, dict[str, torch.Tensor]], tmp_path: Path) -> None:
    """With --max-restarts=1 torchrun starts both again, from the checkpoint of step 5, and the run ends with the same bytes."""
    (tmp_path / "fail").touch()
    with started(tmp_path, "--max-restarts=1") as process:
        said = process.communicate(timeout=120)[0]
    assert process.returncode == 0, said[-3000:]
    assert "resumed at step 5 of 100" in said
    weights = load_file(tmp_path / "weights.safetensors")
    assert all(torch.equal(weights[name], value) for name, value in whole[2].items())


@pytest.mark.campaign
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes below /proc")
@pytest.mark.parametrize(
    ("gone", "number"), [(0, signal.SIGKILL), (1, signal.SIGKILL), (0, signal.SIGSTOP), (1, signal.SIGSTOP)]
)
def test_the_others_end_when_a_machine_is_gone(gone: int, number: int, tmp_path: Path) -> None:
    """Of two torchruns one is killed or stands still with its worker: the other one ends by itself within two minutes.

    A killed one closes its connections. One that stands still does not, as one without power: it is missed by its count.
    """
    rendezvous = ["--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{free_ports(1)[0]}", "--rdzv-id=x", "--nnodes=2"]
    command = [sys.executable, "-m", "osler.training.agent", "--nproc-per-node=1", *rendezvous]
    command += [WORKER, str(tmp_path), "ddp", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    machines: list[subprocess.Popen[str]] = []
    workers: list[str] = []
    for _ in range(2):
        machines.append(begun(command, environment))
        time.sleep(3 if len(machines) == 1 else 0)  # the first one has the store
    try:
        to_step(machines[1 - gone], tmp_path, 20)
        workers = Path(f"/proc/{machines[gone].pid}/task/{machines[gone].pid}/children").read_text().split()
        for process in (machines[gone].pid, *map(int, workers)):
            os.kill(process, number)
        started_at = time.monotonic()
        said = machines[1 - gone].communicate(timeout=120)[0]
        print(f"machine {gone}, signal {number}: the other one ended after {time.monotonic() - started_at:.1f} s")
        assert machines[1 - gone].returncode != 0, said
    finally:
        for one in machines:
            one.kill()
        for worker in filter(alive, map(int, workers)):
            os.kill(worker, signal.SIGKILL)


class One:
    """An engine of one process."""

    rank = 0
    calls = 0

    def summed(self, values: list[float]) -> list[float]:
        self.calls += 1
        return values


def test_the_end_of_a_job_stops_so_many_minutes_before(tmp_path: Path) -> None:
    """Of a job that ends in five minutes six minutes are asked for, but not four; without the key nothing is looked at."""
    environment = {END: str(time.time() + 300), WHY: str(tmp_path / "stopped")}
    assert not Stopping(One(), None, environment).is_asked()
    assert not Stopping(One(), 4, environment).is_asked()
    assert not Stopping(One(), 6, {}).is_asked()
    stopping = Stopping(One(), 6, environment)
    assert stopping.is_asked()
    error = stopping.error("cpt seed 1", 7, 9)
    assert str(error) == "cpt seed 1: stopped at step 7 of 9, before the job's time is over; run again to go on"
    assert error.code == 75
    assert (tmp_path / "stopped").read_text() == "time 7\n"


def test_processes_agree_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 10 ms are summed up over every hundredth time, steps of two seconds every time."""
    engine, now = One(), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stopping = Stopping(engine, None, {})
    for _ in range(4):  # at once after the start, which says nothing of the time of a step
        stopping.is_asked()
    assert engine.calls == 2
    for _ in range(1000):
        now[0] += 0.01
        stopping.is_asked()
    assert 10 <= engine.calls <= 18
    engine.calls = 0
    for _ in range(200):
        now[0] += 2.0
        stopping.is_asked()
    assert engine.calls >= 100


BEGINS = """
import os, signal, sys
from osler.training.stopping import SIGNALS
signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
os.kill(os.getpid(), signal.SIGTERM)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""
LISTENS = """
import os, signal
from osler.training import stopping
stopping.listen()
print(stopping._received)
stopping.listen_no_more()
os.kill(os.getpid(), signal.SIGTERM)
print("whole")
"""


def test_a_signal_waits_for_a_trainer_that_begins_and_is_passed_over_by_one_that_is_done() -> None:
    """The first would have removed the model of before, the second have made a finished one count as failed."""
    done = subprocess.run([sys.executable, "-c", BEGINS, LISTENS], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[15]\nwhole\n"
