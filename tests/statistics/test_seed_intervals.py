"""What three training seeds say, and that two say too little."""

import numpy as np
import pytest
from scipy import stats

from osler.statistics.seed_intervals import seed_interval


def test_the_interval_is_scipy_s_t_interval() -> None:
    """Mean 0.5 of 0.4, 0.5 and 0.6, +- 4.303 x 0.1 / sqrt 3."""
    own = seed_interval([0.4, 0.5, 0.6], 0.95)
    low, high = stats.t.interval(0.95, 2, loc=0.5, scale=stats.sem([0.4, 0.5, 0.6]))
    assert (own.estimate, own.low, own.high) == pytest.approx((0.5, low, high))
    assert own.high - own.estimate == pytest.approx(4.302653 * 0.1 / 3**0.5)


def test_it_covers_95_percent_of_the_time_with_three_seeds() -> None:
    """95 +- 1 % of 4,000 simulations; with 1.96 in place of t it would be 81 %."""
    values = np.random.default_rng(1).normal(0.6, 0.05, size=(4000, 3))
    intervals = [seed_interval(own, 0.95) for own in values.tolist()]
    assert np.mean([own.low <= 0.6 <= own.high for own in intervals]) == pytest.approx(0.95, abs=0.01)


def test_two_seeds_are_too_few() -> None:
    """An error, not an interval."""
    with pytest.raises(ValueError, match="needs 3 of them, not 2"):
        seed_interval([0.4, 0.5], 0.95)
