"""The learning rate of each step."""

import pytest

from osler.training.recipe import Schedule, learning_rate
from tests.support.runs import recipe


def test_the_rate_warms_up_and_falls_to_its_floor() -> None:
    """10 of 100 steps up to the peak, cosine down to a tenth of it."""
    rates = [learning_rate(recipe(), step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(1e-3)
    assert max(rates) == rates[9] == pytest.approx(1e-2)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(1e-3)


def test_a_branch_leaves_the_trunk_at_the_peak_and_ends_at_the_floor() -> None:
    """A trunk stays at its peak; a branch of it from step 6 on falls at once, and its last step has the final rate."""
    trunk, branch = Schedule(4, None), Schedule(4, 6)
    assert [trunk.rate(recipe(), step, 10) for step in (0, 1, 3, 9)] == pytest.approx([0.0025, 0.005, 0.01, 0.01])
    rates = [branch.rate(recipe(), step, 10) for step in range(6, 10)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] < trunk.rate(recipe(), 6, 10)
    assert rates[-1] == pytest.approx(1e-3)
