"""Adapters of tasks in sequence: what each starts from, what is found again, and that bytes are the same."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from osler.build.files import folder_hash
from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.model.adapter_weights import adapter_weights, moved, start_from
from osler.model.adapters import WEIGHTS, adapt
from osler.model.seeds import model_hash
from osler.statistics.settings import Statistics
from osler.training import task_adapters, trained_model
from osler.training.launch import LAUNCH
from osler.training.task_adapters import Learner, task_training
from stages import continual as stage
from stages import evaluate_continual
from tests.support.task_sequence import project, write_rows
from tests.support.tiny import NUMERICS, launch, tiny_model

SETTINGS = Statistics(
    confidence=0.95, bootstrap_samples=100, bootstrap_seed=1, little_points=5.0, equivalence_points=2.0
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trains_here: None) -> Path:  # noqa: ARG001
    """A project with rows, whose scratch is its own."""
    project(tmp_path)
    for module in (trained_model, task_adapters):
        monkeypatch.setattr(module, "SCRATCH", tmp_path / "scratch")
    monkeypatch.setenv(LAUNCH, launch().model_dump_json())
    return tmp_path


def learned(folder: Path, asked: Any, name: str = "continual-x", seeds: tuple[int, ...] = (1,)) -> Path:
    """The stage `continual`; its folder."""
    out = folder / "models" / name
    paths = (folder / "models/base", folder / "rows", folder / "template.jinja", out, folder / "losses.csv")
    stage.main(*paths, "x", asked, NUMERICS, seeds)
    return out


def entry(folder: Path, title: str) -> Path:
    """The one finished adapter of a title."""
    (found,) = (folder / "scratch/trained" / f"continual-x.{title}").glob("*/*")
    return found


def begun_from(folder: Path) -> str | None:
    """The hash of the adapter that one started from."""
    found: str | None = json.loads((folder / "provenance.json").read_text())["inputs"].get("adapter")
    return found


def test_every_adapter_is_in_the_folder_and_the_base_is_untouched(folder: Path) -> None:
    """Of each task, in turn after each task, at once and shared; the first two in turn are the tasks' own."""
    before = folder_hash(folder / "models/base")
    asked = write_rows(folder)
    out = learned(folder, asked)
    there = {path.parent.relative_to(out).as_posix() for path in out.rglob(WEIGHTS)}
    assert there == {"tasks/herbs", "tasks/tests", "in_turn/herbs", "in_turn/tests", "at_once", "shared"}
    assert folder_hash(folder / "models/base") == before
    own = {place: (out / place / WEIGHTS).read_bytes() for place in there}
    assert [own[f"tasks/{task}"] for task in asked.tasks] == [own[f"in_turn/{task}"] for task in asked.tasks]
    assert len(set(own.values())) == 4
    assert set(pl.read_csv(folder / "losses.csv")["adapter"]) == {"tasks/herbs", "tasks/tests", "at_once"}


def test_a_later_task_starts_from_the_shared_adapter(folder: Path) -> None:
    """To the bit; the one in turn starts from itself, and a step of 0.5 is half way between both tasks' adapters."""
    asked = write_rows(folder)
    out = learned(folder, asked)
    begun = task_training(
        folder / "models/base", folder / "rows", ("tests",), asked, "continual-x.tasks.tests", out / "tasks/herbs", 1
    )
    started = {name: value for name, value in begun.model.named_parameters() if value.requires_grad}
    first = adapter_weights(out / "tasks/herbs")
    assert begun_from(out / "tasks/tests") == model_hash(entry(folder, "tasks.herbs"))
    assert begun_from(out / "tasks/herbs") is begun_from(out / "at_once") is None
    assert begun.inputs["adapter"] == out / "tasks/herbs"
    for name, value in started.items():
        assert torch.equal(value, first[f"base_model.model.{name.replace('.default', '')}"])
    second, shared = adapter_weights(out / "tasks/tests"), adapter_weights(out / "shared")
    for name in first:
        assert torch.allclose(shared[name], (first[name] + second[name]) / 2, atol=1e-7)
        assert not torch.equal(first[name], second[name])


def test_the_shared_adapter_stays_the_first_or_follows(folder: Path) -> None:
    """Step 0 keeps the first task's to the bit, step 1 takes the last one's, which then is the one in turn."""
    stays = learned(folder, write_rows(folder, shared_step=0.0))
    follows = learned(folder, asked := _again(folder, shared_step=1.0), "continual-y")
    assert (stays / "shared" / WEIGHTS).read_bytes() == (stays / "tasks/herbs" / WEIGHTS).read_bytes()
    assert (follows / "shared" / WEIGHTS).read_bytes() == (follows / "tasks/tests" / WEIGHTS).read_bytes()
    assert (follows / "in_turn/tests" / WEIGHTS).read_bytes() == (follows / "tasks/tests" / WEIGHTS).read_bytes()
    assert asked.shared_step == 1.0


def _again(folder: Path, **changes: Any) -> Any:
    shutil.rmtree(folder / "rows")
    return write_rows(folder, **changes)


def test_a_second_run_trains_nothing_and_writes_the_same_bytes(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does another way to infer tasks; another rate trains all again, and what nobody needs is removed."""
    out = learned(folder, write_rows(folder))
    before, _ = folder_hash(out), capsys.readouterr()
    with monkeypatch.context() as patched:
        patched.setattr(trained_model, "train", None)
        again = learned(folder, _again(folder, infer_by="head"), "continual-z")
    assert folder_hash(again) == before
    assert capsys.readouterr().out.count("reused") == 3
    places = sorted((folder / "scratch/trained").glob("*/*"))
    learned(folder, _again(folder, learning_rate=2e-2), "continual-q")
    assert not set(places) & set((folder / "scratch/trained").glob("*/*"))


def test_a_task_more_costs_that_task(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tasks at the front keep their adapters to the bit; only what has the new one in it is trained."""
    from osler.build.files import write_parquet
    from tests.support import task_sequence

    out = learned(folder, write_rows(folder))
    task_sequence.LABELS["third"] = ("hot", "cold")
    write_parquet(folder / "items/tasks/third.parquet", task_sequence.items("third"))
    del task_sequence.LABELS["third"]
    capsys.readouterr()
    shared = shutil.copytree(entry(folder, "shared"), folder / "kept")
    more = learned(folder, _again(folder, tasks=["herbs", "tests", "third"]), "continual-more")
    assert capsys.readouterr().out.count("reused") == 2
    assert begun_from(more / "tasks/third") == model_hash(shared)
    assert begun_from(more / "in_turn/third") == model_hash(entry(folder, "tasks.tests"))
    for place in ("tasks/herbs", "tasks/tests", "in_turn/tests"):
        assert folder_hash(more / place) == folder_hash(out / place)


KILLED = """
import os, signal, sys
from pathlib import Path
from osler.training import task_adapters, trained_model
from tests.training.test_task_adapters import learned
from tests.support.task_sequence import section
folder = Path(sys.argv[1])
for module in (trained_model, task_adapters):
    module.SCRATCH = folder / "scratch"
real, steps = trained_model.train, []
def train(model, run, *others, **more):
    if run.title == "continual-x.tasks.tests":
        prepared = run.prepared
        def dying(step, *asked):
            if step == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            return prepared(step, *asked)
        object.__setattr__(run, "prepared", dying)
    return real(model, run, *others, **more)
trained_model.train = train
learned(folder, section())
"""


def test_killed_in_the_second_task_it_goes_on_there(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 at its fifth step: the first adapter is not trained again, the second from its checkpoint, bytes as without."""
    asked = write_rows(folder)
    monkeypatch.setenv(LAUNCH, launch(checkpoint_every_steps=1).model_dump_json())
    died = subprocess.run([sys.executable, "-c", KILLED, str(folder)], cwd=ROOT, env=os.environ | {"PYTHONPATH": "."})
    assert died.returncode == -signal.SIGKILL
    capsys.readouterr()
    out = learned(folder, asked)
    said = capsys.readouterr().out
    assert "continual-x.tasks.herbs seed 1: reused" in said
    assert re.search(r"continual-x\.tasks\.tests seed 1: resumed at step [34] of 6", said)
    killed = folder_hash(out)
    (folder / "scratch").rename(folder / "elsewhere")
    assert folder_hash(learned(folder, asked, "continual-whole")) == killed


@pytest.mark.parametrize(
    "method",
    [
        {"method": "dora"},
        {"method": "ia3", "target_modules": ["v_proj"]},
        {"method": "prompt_tuning"},
        {"method": "prefix_tuning"},
        {"method": "gated_residual"},
    ],
)
def test_other_methods_go_on_from_what_was_written(method: dict[str, Any], tmp_path: Path) -> None:
    """DoRA, IA3 and virtual tokens take the weights of a written adapter, and refuse one of another shape."""
    from osler.model.adapters import write_adapter

    settings = {
        "rank": 4,
        "alpha": 8.0,
        "target_modules": ["q_proj"],
        "feedforward_modules": [],
        "virtual_tokens": 3,
        "inner_width": 4,
    } | method
    model = tiny_model(50)
    adapter = adapt(model, settings, 1, "x", 16)
    own = {name: torch.randn_like(value) for name, value in model.named_parameters() if value.requires_grad}
    write_adapter(adapter, own, tmp_path, tmp_path / "written", {})
    other = tiny_model(50)
    start_from(adapt(other, settings, 2, "x", 16), other, tmp_path / "written")
    for name, value in other.named_parameters():
        assert not value.requires_grad or torch.equal(value, own[name])
    wider = tiny_model(50)
    changed = settings | {"rank": 2, "virtual_tokens": 2, "inner_width": 3, "target_modules": ["v_proj", "k_proj"]}
    with pytest.raises(BuildError, match="an adapter of another kind"):
        start_from(adapt(wider, changed, 2, "x", 16), wider, tmp_path / "written")


def test_moved_is_linear_and_exact_at_its_ends() -> None:
    """A share of 0 or 1 gives one of the two to the bit."""
    one, two = {"a": torch.tensor([1.0, 1e-8])}, {"a": torch.tensor([3.0, 1e8])}
    assert torch.equal(moved(one, two, 0.0)["a"], one["a"])
    assert torch.equal(moved(one, two, 1.0)["a"], two["a"])
    assert float(moved(one, two, 0.25)["a"][0]) == 1.5


def test_several_processes_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says what to write."""
    monkeypatch.setenv(LAUNCH, launch(engine="fsdp").model_dump_json())
    learner = Learner(Path(stage.__file__), folder / "models/base", folder / "rows", write_rows(folder), "x", NUMERICS)
    with pytest.raises(BuildError, match="launch.engine: fsdp; .*`stages: {continual: {engine: python"):
        learner.all_adapters((1,))


def test_the_evaluation_of_a_folder(folder: Path) -> None:
    """All rows are answered by all methods, twice the same; a method that is told is never worse than by a wrong task."""
    asked = write_rows(folder)
    out = learned(folder, asked)
    for run in ("one", "two"):
        paths = (folder / run / "answers", folder / run / "m.json", folder / run / "plot.csv")
        model = (folder / "models/base", out)
        evaluate_continual.main(
            model, folder / "rows", folder / "template.jinja", *paths, "x", asked, NUMERICS, (1,), SETTINGS
        )
    assert folder_hash(folder / "one") == folder_hash(folder / "two")
    answers = pl.read_parquet(folder / "one/answers/answers.parquet")
    tested = pl.read_parquet(folder / "rows/rows.parquet").filter(pl.col("split") == "test")
    last = answers.filter(pl.col("after") == 2)
    assert set(last["method"]) == {"own", "own_told", "in_turn", "in_turn_told", "at_once", "at_once_told"}
    for method in last["method"].unique():
        assert sorted(last.filter(pl.col("method") == method)["item_id"]) == sorted(tested["item_id"])
    own, told = (last.filter(pl.col("method") == name).sort("item_id") for name in ("own", "own_told"))
    inferred = pl.read_parquet(folder / "one/answers/inferred.parquet").filter(pl.col("after") == 2).sort("item_id")
    is_right = inferred["distance"] == inferred["task"]
    assert (own["correct"] == (told["correct"] & is_right)).all()
    assert own["answer"].is_null().to_list() == (~is_right).to_list()
    found = json.loads((folder / "one/m.json").read_text())
    assert found["chance"]["herbs"]["labels"] == 2
    assert found["methods"]["own"]["final_average"]["low"] <= found["methods"]["own"]["final_average"]["high"]
    assert "forgetting" in found["methods"]["in_turn"]
    assert "forgetting" not in found["methods"]["at_once"]


PARALLEL = KILLED.partition("real, steps")[0] + 'learned(folder, section(), "continual-forked", (1, 2))'


def test_seeds_by_two_processes_are_those_of_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forked before anything is computed; bytes are those of one seed after another, and seeds differ."""
    project(folder, (1, 2))
    asked = write_rows(folder)
    monkeypatch.setenv(LAUNCH, launch(jobs=2).model_dump_json())
    command = [sys.executable, "-c", PARALLEL, str(folder)]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": "."}, check=True, timeout=600)
    (folder / "scratch").rename(folder / "elsewhere")
    monkeypatch.setenv(LAUNCH, launch().model_dump_json())
    alone = learned(folder, asked, "continual-alone", (1, 2))
    assert folder_hash(folder / "models/continual-forked") == folder_hash(alone)
    first, second = (alone / place / "tasks/tests" / WEIGHTS for place in ("", "seeds/2"))
    assert first.read_bytes() != second.read_bytes()
