"""What `osler launch` looks at, starts, waits for, and ends with."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from osler.build import stage
from osler.build.pipeline import ROOT, read_params
from osler.build.slurm import LEFT, job_of
from osler.commands import launch as command

KEEPER = """
import sys
from pathlib import Path
from osler.commands.launch import kept
print("up", flush=True)
sys.exit(kept([sys.executable, "-c", sys.argv[2]], 0, Path(sys.argv[1])))
"""
TRAINER = """
import pathlib, signal, time
def stop(*_):
    pathlib.Path({stopped!r}).touch()
    raise SystemExit(0)
signal.signal(signal.SIGUSR1, stop)
print("trains", flush=True)
time.sleep(60)
"""


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stages whose outs of the last run were put back."""
    found: list[str] = []
    monkeypatch.setattr(command, "_restore", found.append)
    monkeypatch.setenv("DVC_STAGE", "cpt")
    return found


def with_launch(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    params = read_params(ROOT / "params.yaml")
    monkeypatch.setattr(command, "read_params", lambda _: params | {"launch": params["launch"] | changes})


def test_a_fault_of_a_later_stage_stops_the_first(restored: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """cpt does not start where sft could not, days later; the model of the last run is put back."""
    with_launch(monkeypatch, stages={"sft": {"engine": "ddp"}})
    with pytest.raises(SystemExit, match=r"osler: cpt: params.yaml: launch.stages.sft.processes: 1, but engine ddp"):
        command.become_trainer("cpt")
    assert restored == ["cpt"]


@pytest.mark.parametrize(("code", "puts_back"), [(0, False), (75, True), (1, True), (LEFT, False)])
def test_a_jobs_exit_code_is_the_stages(
    code: int, puts_back: bool, restored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it failed the model of the last run is put back; not while the job goes on."""
    asked: list[Any] = []

    def job(_root: Path, _params: Any, stage: str, nodes: int, words: list[str]) -> int:
        asked.extend((stage, nodes, words))
        return code

    monkeypatch.setattr(command, "as_job", job)
    with_launch(monkeypatch, stages={"cpt": {"engine": "fsdp", "processes": 8, "nodes": 4}})
    with pytest.raises(SystemExit) as ended:
        command.become_trainer("cpt")
    assert ended.value.code == code
    assert asked == ["cpt", 4, [sys.executable, "-m", "osler", "launch", "cpt"]]
    assert restored == ["cpt"] * puts_back


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_the_keeper_hands_on_the_wish_to_stop(number: int, tmp_path: Path) -> None:
    """As SIGUSR1, which srun hands on too; what has stopped ends with 0 and the keeper with 75."""
    stopped = tmp_path / "stopped"
    trainer = TRAINER.format(stopped=str(stopped))
    with subprocess.Popen(
        [sys.executable, "-c", KEEPER, str(stopped), trainer], cwd=ROOT, text=True, stdout=subprocess.PIPE
    ) as keeper:
        assert keeper.stdout
        assert [keeper.stdout.readline() for _ in range(2)] == ["up\n", "trains\n"]
        keeper.send_signal(number)
        assert keeper.wait(30) == 75


@pytest.mark.parametrize(
    ("program", "code"), [("raise SystemExit(3)", 3), ("pass", 0), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_the_keeper_ends_as_the_trainer(program: str, code: int, tmp_path: Path) -> None:
    """Nobody has asked it to stop."""
    done = subprocess.run([sys.executable, "-c", KEEPER, str(tmp_path / "stopped"), program], cwd=ROOT, check=False)
    assert done.returncode == code


def test_a_job_is_of_the_params_code_and_inputs_that_it_was_submitted_with(tmp_path: Path) -> None:
    """A changed param of the stage is another key, one of another stage is not; `launch` is no part of it."""
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\nno_scm = true\n")
    (tmp_path / "dvc.lock").write_text("stages:\n  mix:\n    outs:\n    - {path: data/plan, md5: a1}\n")
    params = read_params(tmp_path / "params.yaml")
    before = job_of(tmp_path, params, "cpt").key
    assert job_of(tmp_path, params | {"launch": {}, "sft": {}}, "cpt").key == before
    assert job_of(tmp_path, params | {"cpt": params["cpt"] | {"learning_rate": 1.0}}, "cpt").key != before
    (tmp_path / "fingerprints").mkdir()
    (tmp_path / "fingerprints/cpt.fp").write_text("new code")
    changed = job_of(tmp_path, params, "cpt").key
    assert changed != before
    (tmp_path / "dvc.lock").write_text("stages:\n  mix:\n    outs:\n    - {path: data/plan, md5: b2}\n")
    assert job_of(tmp_path, params, "cpt").key != changed
    assert os.sep not in job_of(tmp_path, params, "cpt").name


@pytest.mark.parametrize(("code", "puts_back"), [(0, False), (3, True), (LEFT, False)])
def test_an_evaluation_may_be_a_job_too(code: int, puts_back: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that DVC started builds nothing itself; a stage that may be no job does not ask."""
    monkeypatch.setenv("DVC_STAGE", "evaluate@base")
    asked: list[Any] = []
    restored: list[str] = []

    def job(_root: Path, _params: Any, address: str, nodes: int, words: list[str]) -> int:
        asked.extend((address, nodes, words))
        return code

    def main() -> None:
        raise AssertionError("built")

    monkeypatch.setattr(stage, "as_job", job)
    monkeypatch.setattr(stage, "_restore", restored.append)
    with pytest.raises(SystemExit) as ended:
        stage.run(main, may_be_job=True)
    assert ended.value.code == code
    assert asked == ["evaluate@base", 1, [sys.executable, "-m", "stages.evaluate"]]
    assert restored == ["evaluate@base"] * puts_back
