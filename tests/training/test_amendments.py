"""Decisions taken as a run goes on: it ends as if they had been in force from its beginning, or says why it cannot."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.build.validation import validated
from osler.model.folder import provenance_of
from osler.training import trained_model
from osler.training.amendments import Amendment, in_force, objection, without_effect
from osler.training.checkpoints import Checkpoint
from osler.training.continued_pretraining import Branch, Cpt, Segment, _segment_of
from osler.training.launch import LAUNCH
from osler.training.live import lines
from osler.training.loop import train
from osler.training.optimizer_state import FILE
from osler.training.recipe import Schedule
from osler.training.run import Past, Run
from osler.training.trained_model import Trainer, Training
from tests.support.bad_rows import bad_run, spoiled, trained
from tests.support.runs import VOCABULARY, KilledAt, same
from tests.support.tiny import NUMERICS, launch, tiny_model, tiny_tokenizer

SLOWER: dict[str, Any] = {"from_step": 8, "learning_rate": 2e-3}
LATER: dict[str, Any] = {"skip_steps": [8, 9]}
EARLIER: dict[str, Any] = {"skip_steps": [5, 5]}


def stopped(monkeypatch: pytest.MonkeyPatch, folder: Path, step: int, run: Run) -> None:
    """Leave the checkpoints of a run that was killed before it had done `step`; it writes one every three steps."""
    save = Checkpoint.save

    def saved(self: Checkpoint, engine: Any, *rest: Any) -> None:
        save(self, engine, *rest)
        self.settle(engine)  # else the last one may not be finished when the run ends

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", saved)
        with KilledAt(step - 1):
            trained(folder, run)


@pytest.mark.parametrize("decided", [[SLOWER], [LATER], [SLOWER, LATER], [{**SLOWER, "from_step": 7}]], ids=str)
def test_a_run_that_was_amended_midway_is_one_that_was_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decided: list[dict[str, Any]]
) -> None:
    """Weights, log and state are equal to the bit, and other than without; it went on from step 6."""
    state, weights = trained(tmp_path / "start", bad_run(amendments=decided))
    _, without = trained(tmp_path / "without", bad_run(amendments=[]))
    stopped(monkeypatch, tmp_path / "midway", 8, bad_run(amendments=[]))
    before = Checkpoint.load
    loaded: list[int] = []

    def load(self: Checkpoint, *rest: Any) -> Any:
        loaded.append((found := before(self, *rest)).step)
        return found

    monkeypatch.setattr(Checkpoint, "load", load)
    again, amended = trained(tmp_path / "midway", bad_run(amendments=decided))
    assert loaded == [6]
    assert same(weights, amended)
    assert not same(weights, without)
    assert again.log == state.log
    assert again.idle_steps == state.idle_steps == sum(2 for one in decided if "skip_steps" in one)


def test_the_schedule_keeps_its_shape_under_another_peak() -> None:
    """From step 8 on each rate is a fifth of what it was, up to its last digits; of two that begin together the later counts."""
    plain, other = bad_run(), bad_run(amendments=[SLOWER | {"learning_rate": 5e-3}, SLOWER])
    ratios = [other.rate(step) / plain.rate(step) for step in range(10)]
    assert ratios == pytest.approx([1.0] * 7 + [0.2] * 3)
    assert ratios[:7] == [1.0] * 7


def test_an_older_checkpoint_is_used_where_the_newest_is_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Steps 3 and 6 are there and step 5 is to be left out: it goes on from 3; the other one is set aside and not lost."""
    _, weights = trained(tmp_path / "start", bad_run(amendments=[EARLIER]))
    folder = tmp_path / "midway"
    stopped(monkeypatch, folder, 8, bad_run(amendments=[]))
    assert sorted(path.name for path in folder.glob("step-*")) == ["step-00000003", "step-00000006"]
    stopped(monkeypatch, folder, 5, bad_run(amendments=[EARLIER]))
    told = capfd.readouterr()
    assert "step-00000006: step 5 was learned, which cpt.amendments now leave out; going on from step 3" in told.err
    assert sorted(path.name for path in folder.iterdir()) == ["aside-step-00000006", "step-00000003"]
    _, amended = trained(folder, bad_run(amendments=[EARLIER]))
    assert same(weights, amended)


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        ([], [{"skip_steps": [2, 2]}], "step 2 was learned, which cpt.amendments now leave out"),
        ([{"skip_steps": [2, 2]}], [], "step 2 was left out, which cpt.amendments now learn"),
        (
            [],
            [{"from_step": 3, "learning_rate": 1e-3}],
            "step 3 had another learning rate than cpt.amendments now give",
        ),
    ],
    ids=["new", "taken back", "rate"],
)
def test_a_decision_before_all_checkpoints_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: Any, now: Any, why: str
) -> None:
    """Never does a run start from zero by itself: the line names the checkpoint, the step and the folder to delete."""
    stopped(monkeypatch, tmp_path, 8, bad_run(amendments=before))
    with pytest.raises(BuildError, match=rf"step-00000003: {why}.*delete .* to start over"):
        trained(tmp_path, bad_run(amendments=now))
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-00000003", "step-00000006"]


@pytest.mark.parametrize(
    ("before", "now", "steps", "is_one"),
    [
        ([SLOWER], [SLOWER], 10, False),
        ([], [SLOWER], 7, False),
        ([], [SLOWER], 8, True),
        ([{"skip_steps": [2, 9]}], [{"skip_steps": [2, 5]}, {"skip_steps": [6, 7]}], 7, False),
        ([{"skip_steps": [2, 9]}], [{"skip_steps": [2, 5]}, {"skip_steps": [6, 7]}], 8, True),
        ([SLOWER | {"seed": 3}], [SLOWER], 10, False),
    ],
)
def test_an_objection_is_to_steps_that_were_otherwise(before: Any, now: Any, steps: int, is_one: bool) -> None:
    """How decisions are written down does not count, nor what comes after the steps done."""
    amendments = tuple(Amendment.model_validate(one, strict=False) for one in now)
    assert bool(objection(amendments, before, steps)) == is_one
    assert in_force(amendments, 1) == []


@pytest.mark.parametrize("bad", [(), (3,)], ids=["decided", "decided and bad"])
def test_segments_with_steps_left_out_are_one_run(tmp_path: Path, bad: tuple[int, ...]) -> None:
    """AdamW goes on counting where the segment before stopped, without the steps that changed nothing."""
    patch = spoiled(float("nan"))
    whole = replace(bad_run(*bad, amendments=[{"skip_steps": [4, 4]}, SLOWER]), schedule=Schedule(2, None))
    expected, weights = trained(tmp_path / "whole", whole)
    model, moments = tiny_model(VOCABULARY), tmp_path / "moments"
    early = replace(whole, order_N2=whole.order_N2[:10])
    state, _ = train(model, early, NUMERICS, Checkpoint(tmp_path / "early", "x", False), launch(), moments)
    later = replace(whole, past=Past(moments, 5, state.tokens, state.idle_steps))
    again, late = train(model, later, NUMERICS, Checkpoint(tmp_path / "late", "x", False), launch())
    patch.undo()
    assert same(weights, late)
    assert again.idle_steps == expected.idle_steps == 1 + len(bad)


def test_a_branch_falls_from_the_peak_that_its_trunk_had(tmp_path: Path) -> None:
    """A rate decided for the trunk after the branch left it is none of the branch's; rows left out are."""
    (tmp_path / FILE).touch()
    facts = {"steps": 5, "continued_tokens": 145, "stream_tokens": 145, "idle_steps": 2}
    (tmp_path / "provenance.json").write_text(json.dumps(facts))
    decided = [{"from_step": 6, "learning_rate": 5e-3}, SLOWER, LATER]
    asked = {"from": "trunk-a", "tokens": 100, "maximum_epochs": 9.0}
    run = replace(bad_run(amendments=decided), title="anneal-a")
    branch = _segment_of(run, Branch.model_validate(asked), tmp_path, 2, True)
    assert [one.first() for one in branch.amendments or ()] == [6, 8]
    assert branch.past
    assert branch.past.idle_steps == 2
    assert branch.rate(9) == pytest.approx(0.1 * 5e-3)
    trunk = _segment_of(run, Segment.model_validate(asked), tmp_path, 2, False)
    assert trunk.rate(6) == pytest.approx(5e-3)
    assert trunk.rate(9) == pytest.approx(2e-3)


def finished(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a finished training, as the stage `cpt` has it."""
    tiny_tokenizer().save_pretrained(folder / "tokenizer")
    monkeypatch.setattr(trained_model, "SCRATCH", folder / "scratch")
    monkeypatch.setenv(LAUNCH, launch().model_dump_json())
    asked = Training(tiny_model(VOCABULARY), run, {}, folder / "tokenizer")
    return Trainer(ROOT / "stages/cpt.py", NUMERICS, lambda _: asked).finished(run.seed)


def test_a_finished_model_says_what_was_decided_and_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provenance lists decisions, bad steps and rows left out; only decisions about its own steps make another model."""
    patch = spoiled(float("nan"))
    plain = finished(tmp_path, bad_run(4, amendments=[]), monkeypatch)
    assert finished(tmp_path, bad_run(4, amendments=[{"skip_steps": [11, 12]}]), monkeypatch) == plain
    amended = finished(tmp_path, bad_run(4, amendments=[SLOWER, LATER]), monkeypatch)
    patch.undo()
    assert amended != plain
    before, after = provenance_of(plain), provenance_of(amended)
    assert "amendments" not in before
    assert after["amendments"] == [SLOWER, LATER]
    assert [entry["step"] for entry in after["skipped_steps"]] == [4]
    assert (before["idle_steps"], after["idle_steps"]) == (1, 3)
    assert before["settings"] == after["settings"]
    for facts in (before, after):
        assert sum(entry["tokens"] for entry in facts["token_ledger"]) == facts["tokens"]
    assert any(entry.get("skipped") for entry in after["token_ledger"])
    assert lines(tmp_path / "scratch/live/test-3.jsonl")[-1]["step"] == 10


def test_a_decision_that_changes_no_step_is_told() -> None:
    """Beyond the end, or in the past of a run that goes on from another; the first and the last step count."""
    past = Amendment(skip_steps=(1, 4))
    both = (past, Amendment(from_step=11, learning_rate=0.5), Amendment(from_step=10, learning_rate=0.5))
    assert without_effect(both, 1, 10) == ['{"from_step": 11, "learning_rate": 0.5}']
    assert without_effect((past,), 5, 10) == ['{"skip_steps": [1, 4]}']
    assert without_effect((past,), 4, 10) == []


def test_decisions_are_no_part_of_the_key_of_checkpoints() -> None:
    """Or a run would start from zero for each; nor does a build without any have the key in its params."""
    section = yaml.safe_load((ROOT / "params.yaml").read_text())["cpt"]
    assert "amendments" not in section
    settings = []
    for amendments in ([], [SLOWER]):
        cpt = validated("cpt", section | {"amendments": amendments}, Cpt)
        run = replace(bad_run(), recipe=cpt, amendments=cpt.amendments)
        settings.append(trained_model._settings(Training(tiny_model(VOCABULARY), run, {}, Path()), NUMERICS))
    assert settings[0] == settings[1]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"from_step": 3}, "give from_step and learning_rate, or skip_steps"),
        (SLOWER | LATER, "give from_step and learning_rate, or skip_steps"),
        ({}, "give from_step and learning_rate, or skip_steps"),
        ({"skip_steps": [4, 2]}, r"skip_steps: \[4, 2\]: the first one comes after the last"),
        ({"skip_steps": [0, 2]}, r"skip_steps.0: .* greater than or equal to 1"),
    ],
)
def test_what_is_no_decision_is_refused_in_a_line(entry: dict[str, Any], told: str) -> None:
    """The key is named with its place in the list."""
    section = yaml.safe_load((ROOT / "params.yaml").read_text())["cpt"]
    with pytest.raises(BuildError, match=rf"cpt.amendments.0.*{told}"):
        validated("cpt", section | {"amendments": [entry]}, Cpt)
