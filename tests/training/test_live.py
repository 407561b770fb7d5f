"""What can be seen of a run as it goes on: live files, the tracker, and `osler show training`."""

import csv
import json
import os
import xml.etree.ElementTree as ET
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.commands import show_training
from osler.commands.check import check_sections
from osler.report.live_curves import curve, marks, sparkline
from osler.training import live as live_module
from osler.training import tracker
from osler.training.checkpoints import Checkpoint, State
from osler.training.live import FIELDS, Live, StepSeen, lines
from osler.training.loop import Weights, train
from osler.training.optimization import Optimization
from osler.training.run import Run
from tests.support.bad_rows import bad_run, spoiled
from tests.support.command import osler
from tests.support.params import changed
from tests.support.runs import VOCABULARY, KilledAt, same
from tests.support.tiny import NUMERICS, launch, tiny_model


def trained(folder: Path, run: Run, path: Path | None, experts: int = 0, **changes: Any) -> tuple[State, Weights]:
    """The end of a run whose checkpoints lie in `folder` and whose live file is `path`."""
    model = tiny_model(VOCABULARY, experts=experts)
    return train(model, run, NUMERICS, Checkpoint(folder, "code", False), launch(**changes), live=path)


@pytest.mark.parametrize("experts", [0, 4])
def test_each_log_step_has_a_line_and_no_bit_depends_on_it(tmp_path: Path, experts: int) -> None:
    """Its losses and rate are the log's; the CSV has the same; weights are those of a run without live files."""
    path = tmp_path / "live" / "test-3.jsonl"
    state, weights = trained(tmp_path / "a", bad_run(), path, experts)
    plain, without = trained(tmp_path / "b", bad_run(), None, experts)
    assert same(weights, without)
    assert state.log == plain.log
    found = lines(path)
    assert [line["step"] for line in found] == list(range(1, 11))
    for line, row in zip(found, state.log, strict=True):
        assert tuple(line) == FIELDS
        assert line["loss"] == pytest.approx(row.loss, abs=1e-6)
        assert line["router_loss"] == (pytest.approx(row.router_loss, abs=1e-6) if experts else None)
        assert line["learning_rate"] == pytest.approx(row.learning_rate, rel=1e-5)
        assert line["tokens"] == row.tokens
        assert line["gradient_norm"] > 0
        assert line["tokens_per_second"] > 0
        assert line["peak_memory_bytes"] > 1 << 20
        assert (line["mfu"], line["skipped"], line["noise_free_loss"]) == (None, 0, None)
    with path.with_suffix(".csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [{key: str("" if value is None else value) for key, value in line.items()} for line in found] == rows


def test_a_resumed_run_writes_no_line_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed one wrote past its checkpoint of step 6 is dropped, half a line too; a run from the start begins anew."""
    path = tmp_path / "test-3.jsonl"
    save = Checkpoint.save

    def saved(self: Checkpoint, engine: Any, *rest: Any) -> None:
        save(self, engine, *rest)
        self.settle(engine)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", saved)
        with KilledAt(8):
            trained(tmp_path / "part", bad_run(), path)
    before = lines(path)
    assert [line["step"] for line in before] == list(range(1, 9))
    with path.open("a") as stream:
        stream.write('{"step": 9, "tok')
    trained(tmp_path / "part", bad_run(), path)
    after = lines(path)
    assert [line["step"] for line in after] == list(range(1, 11))
    assert after[:6] == before[:6]
    assert len(path.with_suffix(".csv").read_text().splitlines()) == 11
    assert all(json.loads(text) for text in path.read_text().splitlines())
    trained(tmp_path / "anew", bad_run(rows=4), path)
    assert [line["step"] for line in lines(path)] == [1, 2]


def test_a_skipped_step_is_in_its_line(tmp_path: Path) -> None:
    """Step 4 has no loss and no norm there, as JSON knows no NaN, and one skipped step."""
    path = tmp_path / "test-3.jsonl"
    patch = spoiled(float("nan"))
    trained(tmp_path / "run", bad_run(4), path)
    patch.undo()
    found = {line["step"]: line for line in lines(path)}
    assert [step for step, line in found.items() if line["skipped"]] == [4]
    assert (found[4]["loss"], found[4]["gradient_norm"], found[4]["skipped"]) == (None, None, 1)
    assert "NaN" not in path.read_text()


class Clock:
    """Stands for Speed."""

    def since_last(self, state: State) -> tuple[float, float | None]:
        """Tokens a second, and MFU."""
        return float(state.tokens), 0.5


def test_a_norm_that_stands_out_is_marked(tmp_path: Path) -> None:
    """A line has the largest norm of its steps and counts those above five times the median of the norms before."""
    live = Live(tmp_path / "x.jsonl", Clock(), 0, 29, False)  # type: ignore[arg-type]
    norms = [1.0] * 12 + [4.9, 1.0, 60.0, 1.0, 1.0]
    for step, norm in enumerate(norms, 1):
        live.add(StepSeen(step, 2.0, 0.0, norm, False))
        if step in (12, 14, 17):
            live.write(State(step, 10 * step, [], [], []), 1e-3, None, {})
    found = lines(live.path)
    assert [(line["gradient_norm"], line["spikes"]) for line in found] == [(1.0, 0), (4.9, 0), (60.0, 1)]
    assert found[-1]["mfu"] == 0.5
    again = Live(live.path, Clock(), 17, 29, False)  # type: ignore[arg-type]
    for step in range(18, 30):
        again.add(StepSeen(step, 2.0, 0.0, 1.0, False))
    again.write(State(29, 290, [], [], []), 1e-3, None, {})
    assert [line["step"] for line in lines(live.path)] == [12, 14, 17, 29]


def test_lines_come_by_the_clock_where_log_steps_are_far_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the log at the end alone a line is written at the end, and at each step once ten seconds are over."""
    original = Optimization.__post_init__

    def rare(self: Optimization) -> None:
        original(self)
        self.log_every = 100

    monkeypatch.setattr(Optimization, "__post_init__", rare)
    trained(tmp_path / "a", bad_run(), tmp_path / "slow.jsonl")
    monkeypatch.setattr(live_module, "EVERY_SECONDS", 0.0)
    trained(tmp_path / "b", bad_run(), tmp_path / "fast.jsonl")
    assert [line["step"] for line in lines(tmp_path / "slow.jsonl")] == [10]
    fast = lines(tmp_path / "fast.jsonl")
    assert [line["step"] for line in fast] == list(range(1, 11))
    (slow,) = lines(tmp_path / "slow.jsonl")
    assert slow["gradient_norm"] == max(line["gradient_norm"] for line in fast)
    assert slow["loss"] == pytest.approx(sum(line["loss"] for line in fast) / 10)


def test_a_full_disk_ends_the_lines_and_not_the_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It is told once."""
    live = Live(tmp_path / "x.jsonl", Clock(), 0, 29, False)  # type: ignore[arg-type]
    live.path.unlink()
    live.path.mkdir()  # in the way of the file
    for step in (1, 2):
        live.add(StepSeen(step, 2.0, 0.0, 1.0, False))
        live.write(State(step, 10, [], [], []), 1e-3, None, {})
    assert capfd.readouterr().err.count("x.jsonl: not written any more") == 1


class Fake:
    """A tracker of accelerate's kind; `made` has all that were."""

    made: list["Fake"] = []  # noqa: RUF012 - of all

    def __init__(self, run_name: str, **more: Any) -> None:
        self.run_name, self.more, self.logged, self.ended = run_name, more, dict[int, dict[str, Any]](), False
        Fake.made.append(self)

    def start(self) -> None:
        """Begin; without a log-in where it is asked for so."""
        if self.more["name"] == "test-4":
            raise PermissionError("log in first")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Take the run's parameters."""
        self.settings = values

    def log(self, values: dict[str, Any], step: int) -> None:
        """Take a step's values."""
        if step == 7:
            raise ConnectionError("the service is away")
        self.logged[step] = values

    def finish(self) -> None:
        """End."""
        self.ended = True


def test_a_tracker_gets_what_the_lines_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Under the run's name, with its recipe; a service that fails ends the tracking and not the run."""
    import accelerate.tracking

    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "wandb", Fake)
    monkeypatch.setattr(tracker, "find_spec", lambda name: name)
    path = tmp_path / "live" / "test-3.jsonl"
    _, weights = trained(tmp_path / "a", bad_run(), path, tracker="wandb")
    _, without = trained(tmp_path / "b", bad_run(), None)
    assert same(weights, without)
    fake = Fake.made.pop()
    assert (fake.run_name, fake.more["name"]) == ("osler", "test-3")
    assert fake.settings["learning_rate"] == 1e-2
    assert fake.settings["seed"] == 3
    assert list(fake.logged) == [1, 2, 3, 4, 5, 6]
    for line in lines(path)[:6]:
        assert fake.logged[line["step"]] == {k: v for k, v in line.items() if v is not None and k != "step"}
    assert capfd.readouterr().err.count("launch.tracker: the service is away") == 1


def test_a_tracker_that_cannot_start_stops_the_run_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked for it sees what the service said, in a line."""
    import accelerate.tracking

    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "wandb", Fake)
    monkeypatch.setattr(tracker, "find_spec", lambda name: name)
    with pytest.raises(BuildError, match=r"launch.tracker: wandb could not start: log in first"):
        trained(tmp_path / "a", replace(bad_run(), seed=4), tmp_path / "x.jsonl", tracker="wandb")
    Fake.made.clear()


def test_a_run_that_stops_ends_its_tracker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a service shows it as running for ever."""
    import accelerate.tracking

    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "wandb", Fake)
    monkeypatch.setattr(tracker, "find_spec", lambda name: name)
    patch = spoiled(float("nan"))
    with pytest.raises(BuildError, match="in a row"):
        trained(tmp_path / "a", bad_run(1, 2, 3), tmp_path / "x.jsonl", tracker="wandb")
    patch.undo()
    assert Fake.made.pop().ended


def test_a_tracker_that_is_not_installed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `osler check` and by a run that starts, in a line with what to install."""
    monkeypatch.setattr(tracker, "find_spec", lambda _: None)
    told = "launch.tracker: trackio: no such package here; pip install trackio"
    with pytest.raises(BuildError, match=told):
        check_sections(changed(("launch", "tracker"), "trackio"), ROOT)
    with pytest.raises(BuildError, match=told):
        trained(tmp_path / "a", bad_run(), tmp_path / "x.jsonl", tracker="trackio")
    with pytest.raises(BuildError, match=r"launch.tracker: .*'tensorboard', 'wandb', 'mlflow' or 'trackio'"):
        check_sections(changed(("launch", "tracker"), "dvclive"), ROOT)


@pytest.mark.skipif(not find_spec("tensorboard"), reason="tensorboard is not installed")
def test_tensorboard_reads_what_a_run_wrote(tmp_path: Path) -> None:
    """The real one: its event files have loss and norm of each step."""
    path = tmp_path / "live" / "test-3.jsonl"
    trained(tmp_path / "a", bad_run(), path, tracker="tensorboard")
    module = import_module("tensorboard.backend.event_processing.event_accumulator")
    events = module.EventAccumulator(str(path.parent / "tensorboard" / "test-3"))
    events.Reload()
    for key in ("loss", "gradient_norm"):
        read = {event.step: event.value for event in events.Scalars(key)}
        assert read == pytest.approx({line["step"]: line[key] for line in lines(path)})


def a_line(step: int, norm: float | None, spikes: int = 0, skipped: int = 0) -> dict[str, Any]:
    values = (
        step,
        31,
        10 * step,
        2.0 / step,
        None,
        None,
        None,
        None,
        None,
        norm,
        1e-3,
        100.0,
        0.4,
        1 << 30,
        skipped,
        spikes,
    )
    return dict(zip(FIELDS, values, strict=True))


def test_lines_from_before_a_field_are_read(tmp_path: Path) -> None:
    """A line without a distance has none; one without another field is no line."""
    line = a_line(1, 1.0)
    cut = [{key: value for key, value in line.items() if key != name} for name in ("consistency_loss", "loss")]
    (tmp_path / "x.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in cut))
    assert lines(tmp_path / "x.jsonl") == [line]


def test_a_peak_of_one_line_is_seen_where_many_share_a_block() -> None:
    """A hundred values in ten blocks: the one with the peak is full, the others are not, and blanks are none."""
    values: list[float | None] = [1.0] * 100
    values[57] = 9.0
    assert sparkline(values, 10) == "▁▁▁▁▁█▁▁▁▁"
    assert sparkline([None, 1.0, 2.0], 10) == " ▁█"
    assert sparkline([1.0, 1.0], 10) == "▁▁"
    assert sparkline([None], 10) == ""


def test_runs_are_shown_with_what_stands_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run that was written to last stands at the end of the terminal; the page has a dot for each step that stood out."""
    folder = tmp_path / "scratch/live"
    folder.mkdir(parents=True)
    monkeypatch.setattr(show_training, "ROOT", tmp_path)
    monkeypatch.setattr(show_training.say, "__defaults__", (tmp_path,))
    with pytest.raises(SystemExit, match="scratch/live: nothing was trained here yet"):
        osler("show", "training")
    found = [a_line(step, 1.0) for step in range(1, 30)] + [a_line(30, 80.0, spikes=1), a_line(31, None, skipped=1)]
    for number, name in enumerate(("zebra-1", "cpt-1")):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in found) + '{"step": 32, "to')
        os.utime(folder / f"{name}.jsonl", (1000 + number, 1000 + number))
    osler("show", "training")
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("zebra-1")
    assert shown[4].startswith(
        "cpt-1: step 31 of 31, ended, 310 tokens, loss 0.065, 100 tokens/s, rate 0.001, MFU 40.0%, 1.1 GB"
    )
    assert "█" in shown[6]
    assert shown[7] == "  ! the norm stood out by step 30; not finite and skipped by step 31"
    assert marks(found[:29]) == ""
    drawn = ET.fromstring(curve(found, "gradient_norm", "norm", is_logarithmic=True))
    assert [dot[0].text for dot in drawn.iter("circle")] == ["by step 30: 80"]
    assert (folder / "training.html").read_text().count("<svg") == 4
