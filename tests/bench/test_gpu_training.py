"""bench.gpu_training: the same rows for all sides, what is timed, and what the numbers say."""

import subprocess
import sys

import pytest
import torch

from bench import gpu_training
from bench.gpu_training import SKIPPED, TINY, Clock, Setting, bare, ours, rates, summary
from bench.measure import REPOSITORY
from tests.support.tiny import NUMERICS


def test_rows_are_full_and_the_model_is_of_a_billion() -> None:
    """Documents fill every row to the end; the full setting has 1.0 to 1.2 billion parameters."""
    packed = TINY.packed()
    assert packed.tokens_RT.shape == (TINY.rows * TINY.steps, TINY.width)
    assert packed.lengths_S.sum() == TINY.rows * TINY.steps * TINY.width
    assert all(sum(packed.segment_lengths(row)) == TINY.width for row in range(len(packed.row_ends_R)))
    assert len(packed.lengths_S) > 3 * len(packed.row_ends_R)
    with torch.device("meta"):
        assert 1.0e9 < sum(parameter.numel() for parameter in Setting().model().parameters()) < 1.2e9


@pytest.mark.parametrize("side", [ours, bare])
def test_a_side_is_timed_from_a_step_to_the_last(side: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both marks are set, in order, and the seconds are theirs."""
    made: list[Clock] = []

    def clock(steps: int) -> Clock:
        made.append(Clock(steps))
        return made[-1]

    monkeypatch.setattr(gpu_training, "Clock", clock)
    seconds = side(TINY, NUMERICS, "selective")  # type: ignore[operator]
    assert list(made[0].marks) == [SKIPPED, TINY.steps - 1]
    assert seconds == made[0].seconds() > 0
    assert rates(TINY, 2.0)["tokens_per_second"] == (TINY.steps - 1 - SKIPPED) * TINY.rows * TINY.width / 2


def test_mfu_of_a_known_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """An H100 that takes a second for what it can do in half of one is used to a half."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 7)
    one = rates(TINY, 1.0)["mfu"]
    assert one == pytest.approx(2 * rates(TINY, 2.0)["mfu"])
    per_token = one * 989e12 / ((TINY.steps - 1 - SKIPPED) * TINY.rows * TINY.width)
    weights = 2 * (64 * (64 + 32 + 32 + 64) + 3 * 64 * 128) + 512 * 64
    assert 6 * weights < per_token < 6 * weights * 1.3  # and some attention


def test_bars() -> None:
    """Half of the card, a tenth faster than the peer; what was not measured is neither met nor missed."""
    side = {"mfu": 0.5, "tokens_per_second": 11.0}
    assert summary({"ours": side, "bare": side, "trl": {"tokens_per_second": 10.0}}) == {
        "ours_over": {"bare": 1.0, "trl": 1.1}, "mfu_met": True, "peers_met": True,
    }  # fmt: skip
    nothing = summary({"ours": side | {"mfu": None}, "trl": {"failed": ["no"]}})
    assert nothing == {"ours_over": {}, "mfu_met": None, "peers_met": None}


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_it_says_so_in_one_line() -> None:
    """And measures nothing."""
    command = [sys.executable, "-m", "bench.gpu_training"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "bench.gpu_training: no GPU here, and nothing was measured; --tiny runs the code without one"
    )
