"""bench.training: which steps have noise, and what their times amount to."""

import numpy as np
import pytest

from bench.training import Paired, documents_rows, noisy, run_of, shares, twice
from osler.training.optimization import NOISE_FREE_STEPS


def test_a_pair_is_of_the_same_rows_once_with_noise() -> None:
    """And the noisy step comes first in every other pair."""
    run = run_of(documents_rows(2))
    pairs = Paired("pairs", run.sources, twice(run.order_N2), run.recipe, 1, 5.0)
    batches = [pairs.micro_batches(step, 0, 1, None, 8)[0] for step in range(4)]
    assert (
        [batch.noise_BTD is not None for batch in batches]
        == [noisy(step) for step in range(4)]
        == [True, False, False, True]
    )
    assert all(batches[first].tokens_BT.equal(batches[first + 1].tokens_BT) for first in (0, 2))
    assert not batches[1].tokens_BT.equal(batches[2].tokens_BT)
    assert len(pairs.started) == 4


def test_shares_of_planted_times() -> None:
    """A machine that slows down by half meanwhile, noise of 2 %, a pass of 40 % now and then: 2 and 0.4 %, whatever the drift."""
    rng = np.random.default_rng(3)
    passes = list(range(NOISE_FREE_STEPS - 1, 4 * NOISE_FREE_STEPS, NOISE_FREE_STEPS))
    steps = np.arange(4 * NOISE_FREE_STEPS - 1)
    seconds = np.array([1.02 if noisy(step) else 1.0 for step in range(len(steps))]) + 0.4 * np.isin(steps, passes)
    flat = shares(seconds, passes)
    assert flat["noise"] == pytest.approx({"share": np.log(1.02), "half": 0}, abs=1e-9)
    assert flat["passes"]["share"] == pytest.approx(0.4 / NOISE_FREE_STEPS, rel=0.06)
    assert flat["pairs"] == {"number": 2 * NOISE_FREE_STEPS - 4}
    found = shares(seconds * np.linspace(1, 1.5, len(steps)) * rng.normal(1, 0.01, len(steps)), passes)
    assert abs(found["noise"]["share"] - np.log(1.02)) < found["noise"]["half"] < 0.003
    assert found["both"]["half"] > found["noise"]["half"]
