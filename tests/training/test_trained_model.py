"""What a finished training is known by, and which run an unfinished one goes on as."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from osler.build.files import read_json
from osler.build.pipeline import ROOT
from osler.model.numerics import Numerics
from osler.training import trained_model
from osler.training.checkpoint_folders import CURRENT, LEFT, MILESTONES, run_folders
from osler.training.launch import LAUNCH
from osler.training.run import Run
from osler.training.trained_model import Trainer, Training, _settings, run_key
from stages.pretrain import Pretrain
from tests.support.runs import VOCABULARY, Killed, a_run, recipe
from tests.support.tiny import NUMERICS, launch, tiny_model


def settings(**changes: Any) -> dict[str, Any]:
    """Of a pretraining on the same rows."""
    section = {"tokens": 20, "maximum_epochs": 2.0, "weights": {"x": 1.0}} | recipe().model_dump() | changes
    run = replace(a_run(), recipe=Pretrain.model_validate(section))
    return _settings(Training(tiny_model(VOCABULARY), run, {}, Path()), NUMERICS)


def test_a_limit_that_was_not_reached_is_no_part_of_a_result() -> None:
    """Nor are shares and tokens, but by the rows they come to; the learning rate is."""
    assert settings() == settings(maximum_epochs=9.0) == settings(weights={"x": 2.0}, tokens=19)
    assert settings() != settings(learning_rate=2e-3)


@pytest.mark.parametrize(
    "change", [{"threads": 2}, {"attention": "flash_attention_2"}, {"compile": True}, {"liger": True}], ids=str
)
def test_kernels_are_no_part_of_what_a_run_is(change: dict[str, Any]) -> None:
    """Its checkpoints lie in the same folder; under another dtype, or other inputs, they do not."""
    one = settings()
    other = one | {"numerics": NUMERICS.model_copy(update=change).model_dump()}
    assert one != other
    assert run_key(one, {"x": "1"}) == run_key(other, {"x": "1"})
    assert run_key(one, {"x": "1"}) != run_key(one, {"x": "2"})
    half = one | {"numerics": NUMERICS.model_copy(update={"dtype": "bfloat16"}).model_dump()}
    assert run_key(one, {}) != run_key(half, {})


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Trains 10 steps of a tiny model, with a checkpoint of each third, or dies at one; gives the finished folder."""
    monkeypatch.setattr(trained_model, "SCRATCH", tmp_path / "scratch")
    original = Run.global_batch

    def train(numerics: Numerics = NUMERICS, killed_at: int = -1, rate: float = 1e-2, **asked: Any) -> Path:
        monkeypatch.setenv(LAUNCH, launch(**asked).model_dump_json())

        def batch(run: Run, step: int) -> Any:
            if step == killed_at:
                raise Killed
            return original(run, step)

        def training(seed: int) -> Training:
            run = replace(a_run(), seed=seed, recipe=recipe(learning_rate=rate))
            return Training(tiny_model(VOCABULARY), run, {}, tmp_path)

        monkeypatch.setattr(Run, "global_batch", batch)
        return Trainer(ROOT / "stages/cpt.py", numerics, training).finished(3)

    return train


def test_a_run_goes_on_with_other_kernels_and_says_so(
    finished: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed at step 9 with one thread it goes on at 6 with two, and its provenance has both.

    A model that was finished with one thread is not one that was with two.
    """
    two = NUMERICS.model_copy(update={"threads": 2})
    with pytest.raises(Killed):
        finished(killed_at=9)
    entry = finished(two)
    told = capsys.readouterr().out
    assert "going on with other numerics: threads 1 -> 2" in told
    assert "resumed at step 6 of 10" in told
    record = read_json(entry / "provenance.json")
    assert [(fact["from_step"], fact["numerics"]["threads"]) for fact in record["numerics"]] == [(0, 1), (6, 2)]
    alone = finished()
    assert alone.parent != entry.parent
    assert "numerics" not in read_json(alone / "provenance.json")
    assert "reused" not in capsys.readouterr().out
    assert finished(two) == entry
    assert "reused" in capsys.readouterr().out


def test_folders_of_other_params_are_told_and_stay(
    finished: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run with another learning rate begins anew with a line; the first one's checkpoints are there when it comes back."""
    with pytest.raises(Killed):
        finished(killed_at=9)
    assert "begins anew" not in capsys.readouterr().out
    with pytest.raises(Killed):
        finished(killed_at=6, rate=2e-2)
    assert "test seed 3: begins anew; the checkpoints of 1 runs of other params" in capsys.readouterr().out
    kinds = {run.steps[-1]: run.kind for run in run_folders(tmp_path / "scratch")}
    assert kinds == {3: CURRENT, 6: LEFT}
    finished(keep_every_steps=6)
    assert "resumed at step 6" in capsys.readouterr().out
    kinds = {run.steps[-1]: run.kind for run in run_folders(tmp_path / "scratch")}
    assert kinds == {3: LEFT, 6: MILESTONES}
