"""Which rows a run reads, in which step and on which process."""

import pytest

from osler.build.section import BuildError
from osler.training.batches import IGNORED
from tests.support.runs import a_run


def test_a_batch_that_is_no_whole_number_of_rows_is_refused() -> None:
    """The message names both params."""
    with pytest.raises(BuildError, match=r"batch_tokens of test: 33 .* pack.sequence_length_tokens 16"):
        a_run(batch_tokens=33).steps()


def test_processes_share_the_rows_of_a_step_and_each_row_keeps_its_noise() -> None:
    """Two processes read what one reads, every second row each; the noise of a row is the same wherever it lies."""
    run = a_run(alpha=5.0)
    (whole,) = run.micro_batches(3, 0, 1, None, 8)
    assert whole.noise_BTD is not None
    for rank in (0, 1):
        (own,) = run.micro_batches(3, rank, 2, None, 8)
        assert own.noise_BTD is not None
        assert own.tokens_BT.tolist() == whole.tokens_BT[rank : rank + 1].tolist()
        assert own.noise_BTD.tolist() == whole.noise_BTD[rank : rank + 1].tolist()


def test_a_process_without_a_row_learns_nothing() -> None:
    """Of a step with 2 rows the third of three processes gets as many micro-batches, without a label."""
    assert len(a_run().micro_batches(0, 0, 3, 1, 8)) == len(a_run().micro_batches(0, 2, 3, 1, 8)) == 1
    (idle,) = a_run().micro_batches(0, 2, 3, 1, 8)
    assert (idle.labels_BT == IGNORED).all()
    assert not idle.kept_BT.any()
    assert not idle.lengths


def test_rows_read_are_all_rows_of_the_order() -> None:
    """20 rows in steps of two are 10 steps; from row 6 on 14 are left, all of the one source."""
    assert a_run().steps() == 10
    assert a_run().rows_read(0) == {"x": 20}
    assert a_run().rows_read(6) == {"x": 14}
