"""`osler ablate`: what is run, what is summed up, and that the workspace is what it was."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from osler.build.pipeline import ROOT, Declaration, declarations, read_params
from osler.build.section import BuildError
from osler.commands import ablate
from osler.statistics.sweeps import (
    Combination,
    Scores,
    combinations,
    experiment_name,
    mean_over_seeds,
    overridden,
    summary,
    sweeps,
    value_of,
)
from tests.support.command import osler
from tests.support.project import ENVIRONMENT, Project
from tests.support.small import small_project

PARAMS = {"seeds": [1], "neftune": {"alpha": 5, "deep": {"alpha": 1}}, "evaluated": ["base"]}
COMMAND = (
    sys.executable,
    "-c",
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pathlib import Path; from osler.commands import ablate, main;"
    " ablate.ROOT = Path.cwd(); main.run(['ablate', *sys.argv[1:]])",
)


def test_every_value_meets_every_other() -> None:
    """2 x 3 combinations, the seed fastest, named after the last part of their keys."""
    found = combinations(sweeps(["neftune.alpha=0,10", "seeds=1,2,3"], PARAMS))
    assert [experiment_name(one) for one in found][:4] == [
        "alpha-0-seeds-1", "alpha-0-seeds-2", "alpha-0-seeds-3", "alpha-10-seeds-1",
    ]  # fmt: skip
    assert len(found) == 6
    both = combinations(sweeps(["neftune.alpha=0", "neftune.deep.alpha=1e-3"], PARAMS))
    assert [experiment_name(one) for one in both] == ["neftune-alpha-0-neftune-deep-alpha-0.001"]


@pytest.mark.parametrize(
    ("text", "value"), [("5", 5), ("1e-3", 0.001), ("true", True), ("null", None), ("letter", "letter"), ("-2", -2)]
)
def test_values_are_read_as_dvc_reads_them(text: str, value: Any) -> None:
    """1e-3 is a number, whatever YAML says."""
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "nothing to vary"),
        (["neftune.alfa=1"], "neftune.alfa: no such key in params.yaml, did you mean alpha"),
        (["neftune=1"], "neftune: a section or a list"),
        (["evaluated=base"], "evaluated: a section or a list"),
        (["seeds"], "seeds: write KEY=VALUE"),
        (["seeds=1,,2"], "seeds=1,,2: write KEY=VALUE"),
        (["seeds=[1,2]"], "write KEY=VALUE"),
        (["seeds=1,2,1"], "a key or a value twice"),
        (["seeds=1", "seeds=2"], "a key or a value twice"),
    ],
)
def test_what_cannot_be_varied_is_named(pairs: list[str], message: str) -> None:
    """Before anything runs."""
    with pytest.raises(BuildError, match=message):
        sweeps(pairs, PARAMS)


def test_a_combination_replaces_its_keys_and_nothing_else() -> None:
    """The params it is made from stay."""
    found = overridden(PARAMS, (("neftune.deep.alpha", 7), ("seeds", 2)))
    assert found == {"seeds": [2], "neftune": {"alpha": 5, "deep": {"alpha": 7}}, "evaluated": ["base"]}
    assert PARAMS["seeds"] == [1]


def test_an_interval_over_seeds_by_hand() -> None:
    """0.1, 0.2, 0.3: mean 0.2, deviation 0.1, t of 2 degrees of freedom 4.303: +- 4.303 x 0.1 / sqrt 3. Two seeds give none."""
    found = mean_over_seeds([0.1, 0.2, 0.3], 0.95)
    assert found.low is not None
    assert found.high is not None
    assert (found.mean, found.low, found.high) == pytest.approx((0.2, 0.2 - 0.24841, 0.2 + 0.24841), abs=1e-4)
    assert mean_over_seeds([0.1, 0.2], 0.95).low is None


def test_effects_are_paired_within_the_seed() -> None:
    """Seeds 10 points apart and a setting that adds 2 to each: accuracies over +- 25 points, the effect 2 to 2."""
    runs: dict[Combination, Scores] = {
        (("alpha", alpha), ("seeds", seed)): {"zero_shot": {"cpt": 0.1 * seed + 0.02 * (alpha > 0)}}
        for alpha in (0, 5)
        for seed in (1, 2, 3)
    }
    del runs[("alpha", 0), ("seeds", 3)]  # failed
    first, second = summary({**runs, (("alpha", 0), ("seeds", 4)): {"zero_shot": {"cpt": 0.9}}}, 0.95)
    assert (first.setting, first.effect, first.accuracy.seeds) == ((("alpha", 0),), None, 3)
    assert second.effect
    assert second.effect.seeds == 2
    assert second.effect.mean == pytest.approx(0.02)
    runs[("alpha", 0), ("seeds", 3)] = {"zero_shot": {"cpt": 0.3}}
    _, whole = sorted(summary(runs, 0.95), key=lambda cell: cell.setting)
    assert whole.effect
    assert whole.effect.low == pytest.approx(0.02)
    assert whole.effect.high == pytest.approx(0.02)
    assert whole.accuracy.high == pytest.approx(0.22 + 0.24841, abs=1e-4)
    assert whole.accuracy.low == 0


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project, committed."""
    return small_project(tmp_path_factory.mktemp("small"))


@pytest.fixture
def project(built: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The small project, in which the command works; afterwards it must be as it was."""
    monkeypatch.setattr(ablate, "ROOT", built.folder)
    before = {path: (built.folder / path).read_bytes() for path in ("params.yaml", "dvc.lock", "metrics/eval.json")}
    yield built
    assert built.run("git", "status", "--porcelain") == ""
    assert before == {path: (built.folder / path).read_bytes() for path in before}
    assert "up to date" in built.run("dvc", "status")


def test_a_failing_combination_does_not_keep_the_others_and_a_second_run_does_nothing(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 2 x 2 combinations the 2 of alpha -1 fail; then nothing is left but those; an edit of the code makes all due again."""
    sets = ("neftune.alpha=-1,5", "seeds=1,2")
    output = project.run(*COMMAND, *sets, fails=True)
    assert "osler: 2 of 4 failed: alpha--1-seeds-1, alpha--1-seeds-2; the same command tries them again" in output
    assert [line for line in output.splitlines() if line.startswith("---")] == [
        f"--- {number} of 4: {name}"
        for number, name in enumerate(("alpha--1-seeds-1", "alpha--1-seeds-2", "alpha-5-seeds-1", "alpha-5-seeds-2"), 1)
    ]
    found = json.loads((project.folder / "results/ablation.json").read_text())
    assert list(found["experiments"]) == ["alpha-5-seeds-1", "alpha-5-seeds-2"]
    accuracy = {(cell["strategy"], cell["model"]): cell["accuracy"]["mean"] for cell in found["cells"]}
    assert accuracy["zero_shot", "tuned"] == pytest.approx((16 + 17) / 2 / 40)
    assert accuracy["zero_shot", "base"] == 0.25
    capsys.readouterr()
    osler("ablate", "neftune.alpha=5", "seeds=1,2")
    assert capsys.readouterr().out.startswith("2 combinations, 2 of them done\nstrategy")
    source = project.folder / "build.py"
    text = source.read_text()
    source.write_text(text + "# edited\n")
    params = read_params(project.folder / "params.yaml")
    workspace = ablate.Workspace(project.folder, params, declarations(project.folder, params))
    assert workspace.done(combinations({"neftune.alpha": [5], "seeds": [1]})) == {}
    source.write_text(text)
    assert list(workspace.done(combinations({"neftune.alpha": [5], "seeds": [1, 3]})).values()) == ["alpha-5-seeds-1"]


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_stop_leaves_the_workspace_as_it_was(project: Project, is_killed: bool) -> None:
    """SIGINT while a stage runs, or DVC and the stage killed: params, lock, metrics and branch are those of before."""
    command = (*COMMAND, "pause_seconds=600", "seeds=3")
    with subprocess.Popen(command, cwd=project.folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert "building" in (line.strip() for line in running.stdout)
        if is_killed:
            child = subprocess.run(["pgrep", "-P", str(running.pid)], capture_output=True, text=True, check=True).stdout
            os.killpg(int(child), signal.SIGKILL)
        else:
            running.send_signal(signal.SIGINT)
        assert "building" not in running.communicate(timeout=120)[0]
    assert running.returncode == (1 if is_killed else 128 + signal.SIGINT)
    assert project.run("git", "symbolic-ref", "HEAD").strip() == "refs/heads/main"
    assert "seeds-3" not in project.run("dvc", "exp", "list", "--name-only")


def test_what_would_be_lost_or_could_not_be_built_again_is_refused(project: Project) -> None:
    """A param that is not committed; the message says what to do. And a new file among those that stages read."""
    project.edit("params.yaml", "alpha: 0", "alpha: 3")
    with pytest.raises(SystemExit, match="params.yaml: not as in HEAD, where experiments start from; commit, or"):
        osler("ablate", "seeds=1")
    project.edit("params.yaml", "alpha: 3", "alpha: 0")
    params = read_params(project.folder / "params.yaml")
    stages = declarations(project.folder, params)
    reads = {"build": Declaration("build", ("build.py", "more"), stages["build"].outs, {}), "report": stages["report"]}
    (project.folder / "more").mkdir()
    (project.folder / "more/new.py").touch()
    with pytest.raises(BuildError, match="more/new.py: unknown to Git"):
        ablate.Workspace(project.folder, params, reads)
    shutil.rmtree(project.folder / "more")


@pytest.mark.campaign
def test_a_queue_with_one_worker_ends_with_what_the_loop_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dvc exp run --queue` and `dvc queue start`: the metrics of the loop, which then finds nothing left to do."""
    folders = tmp_path / "queue", tmp_path / "loop"
    results = []
    for folder in folders:
        folder.mkdir()
        project = small_project(folder)
        if folder.name == "queue":
            project.run("dvc", "exp", "run", "--queue", "-S", "neftune.alpha=0,5", "-S", "seeds=[1],[2]")
            project.run("dvc", "queue", "start")
            deadline = time.monotonic() + 600
            while re.search("Queued|Running", status := project.run("dvc", "queue", "status")):
                assert time.monotonic() < deadline, status
                time.sleep(2)
            assert status.count("Success") == 4, status
            assert project.run("git", "status", "--porcelain") == ""
        else:
            project.run(*COMMAND, "neftune.alpha=0,5", "seeds=1,2")
        monkeypatch.setattr(ablate, "ROOT", folder)
        monkeypatch.setattr(ablate.Workspace, "run", lambda *_: pytest.fail("it ran"))
        osler("ablate", "neftune.alpha=0,5", "seeds=1,2")
        results.append(json.loads((folder / "results/ablation.json").read_text()))
    queue, loop = results
    assert queue["cells"] == loop["cells"]
    assert len(queue["experiments"]) == len(loop["experiments"]) == 4
