"""Steps whose loss or gradient is not finite: they change nothing, are recorded, and end a run when they are many."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from osler.build.section import BuildError
from osler.tokens.mixture import seen
from osler.training import optimization
from osler.training.batches import IGNORED
from osler.training.skipped_rows import token_ledger
from tests.support.bad_rows import bad_run, spoiled, trained
from tests.support.runs import KilledAt, a_run, rows_of, same


@pytest.fixture(params=[float("nan"), float("inf")], ids=str)
def _spoiled(request: pytest.FixtureRequest) -> Any:
    """Rows of marks have a loss that is not finite; their gradient alone would be."""
    patch = spoiled(request.param)
    yield
    patch.undo()


@pytest.mark.usefixtures("_spoiled")
@pytest.mark.parametrize("changes", [{}, {"micro_batch_rows": 1}], ids=str)
def test_a_bad_step_changes_no_weight_and_no_moment(tmp_path: Path, changes: dict[str, Any]) -> None:
    """The run ends with the bits of one from which the same step was left out by a decision."""
    state, weights = trained(tmp_path / "bad", bad_run(4), **changes)
    left_out = [{"skip_steps": [4, 4]}]
    decided, expected = trained(tmp_path / "out", bad_run(4, amendments=left_out), **changes)
    assert same(weights, expected)
    assert all(bool(value.isfinite().all()) for value in weights.values())
    assert state.log == decided.log
    assert [row.step for row in state.log] == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert (state.step, state.idle_steps, decided.idle_steps) == (10, 1, 1)


@pytest.mark.usefixtures("_spoiled")
def test_a_bad_step_is_recorded_with_its_rows(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Step, loss, norm and rows stand in the state; the warning names run and step; the ledger has its tokens apart."""
    run = bad_run(4)
    state, _ = trained(tmp_path, run)
    (entry,) = state.skipped
    assert entry["step"] == 4
    assert entry["rows"] == {"x": run.order_N2[6:8, 1].tolist()}
    assert entry["norm"] == "nan"
    assert entry["loss"] in ("nan", "inf")
    assert "warning: test seed 3: step 4: the loss is" in capfd.readouterr().err
    ledger = token_ledger(run, state)
    assert sum(one["tokens"] for one in ledger) == sum(one["tokens"] for one in seen(run, 20)) == state.tokens
    assert [one["tokens"] for one in ledger if one.get("skipped")] == [
        sum(sum(run.sources["x"].segment_lengths(row)) for row in entry["rows"]["x"])
    ]


@pytest.mark.usefixtures("_spoiled")
@pytest.mark.parametrize("last_step", [4, 7])
def test_a_resumed_run_with_a_bad_step_ends_with_the_same_bits(tmp_path: Path, last_step: int) -> None:
    """Killed after the bad step, before and after the next checkpoint: weights, log and record are the uninterrupted run's."""
    state, weights = trained(tmp_path / "whole", bad_run(4))
    with KilledAt(last_step):
        trained(tmp_path / "part", bad_run(4))
    again, resumed = trained(tmp_path / "part", bad_run(4))
    assert same(weights, resumed)
    assert vars(again) == vars(state)


@pytest.mark.usefixtures("_spoiled")
def test_three_bad_steps_in_a_row_end_a_run(tmp_path: Path) -> None:
    """The line names run, step and ways on; the checkpoint that is left is from before, and a decision goes on from it."""
    with pytest.raises(
        BuildError, match=r"test seed 3: step 7: .* 3rd such step in a row; lower .*skip_steps: \[5, 7\]"
    ):
        trained(tmp_path, bad_run(5, 6, 7, amendments=[]))
    assert [path.name for path in tmp_path.glob("step-*")] == ["step-00000003"]
    state, weights = trained(tmp_path, bad_run(5, 6, 7, amendments=[{"skip_steps": [5, 7]}]))
    assert (state.step, state.idle_steps, state.skipped) == (10, 3, [])
    assert all(bool(value.isfinite().all()) for value in weights.values())


@pytest.mark.usefixtures("_spoiled")
def test_many_bad_steps_end_a_run_without_being_neighbors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pairs are borne, the fifth one is not; another way than a lower rate is named only where the section has one."""
    monkeypatch.setattr(optimization, "SKIPPED_IN_ALL", 5)
    trained(tmp_path / "four", bad_run(2, 3, 5, 6))
    with pytest.raises(BuildError, match=r"step 8: .* 5th such step in all; lower the learning rate: the last"):
        trained(tmp_path / "five", bad_run(2, 3, 5, 6, 8))


@pytest.mark.usefixtures("_spoiled")
def test_a_run_that_learned_from_no_step_is_no_model(tmp_path: Path) -> None:
    """One of two steps, both bad."""
    with pytest.raises(BuildError, match="none of its steps changed the model"):
        trained(tmp_path, bad_run(1, 2, rows=4))


@pytest.mark.parametrize("micro", [None, 1])
def test_sums_are_read_only_where_they_are_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, micro: int | None
) -> None:
    """With reads as far apart as on a GPU a bad step is found later, and nothing else is different."""
    patch = spoiled(float("nan"))
    state, weights = trained(tmp_path / "each", bad_run(4), micro_batch_rows=micro)
    reads: list[int] = []
    original, read = optimization.Optimization.__post_init__, optimization.Optimization._read

    def rare(self: optimization.Optimization) -> None:
        original(self)
        self.read_every, self.log_every = 100, 100

    def counted(self: optimization.Optimization) -> None:
        reads.append(self.state.step)
        read(self)

    monkeypatch.setattr(optimization.Optimization, "__post_init__", rare)
    monkeypatch.setattr(optimization.Optimization, "_read", counted)
    later, again = trained(tmp_path / "later", bad_run(4), micro_batch_rows=micro, checkpoint_every_steps=4)
    patch.undo()
    assert reads == [4, 8, 10]
    assert same(weights, again)
    assert later.skipped == state.skipped
    assert later.log[-1].loss == pytest.approx(sum(row.loss for row in state.log) / 9, abs=1e-6)


@pytest.mark.parametrize("learned", [False, True])
def test_each_process_counts_what_all_have(learned: bool) -> None:
    """Labels and tokens of a step are those of its tensors, however rows are divided, masked and padded."""
    run = replace(a_run(), sources={"x": rows_of([[9, 4], [16], [1, 1, 3], [2, 2], [16]] * 2, learned=learned)})
    for step in range(run.steps()):
        parts = [part for rank in range(3) for part in run.micro_batches(step, rank, 3, 1, 8)]
        prepared = run.prepared(step, 2, 3, 1, 8)
        assert prepared.labels == sum(int((part.labels_BT != IGNORED).sum()) for part in parts) > 0
        assert prepared.tokens == sum(int(part.kept_BT.sum()) for part in parts)
