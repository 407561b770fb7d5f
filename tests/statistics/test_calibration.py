"""Calibration is measured as what it is, and a calibrated model is not called miscalibrated."""

import numpy as np
import polars as pl
import pytest

from osler.statistics.calibration import answer_probability, calibration_error, calibrations, reliability
from osler.statistics.intervals import Interval

SIMULATIONS = 250


def answered(
    generator: np.random.Generator, groups: int, over: float, shared: float = 0.6
) -> tuple[list[float], list[bool], list[str]]:
    """Answers in groups of 1 to 4 whose outcomes go together; a probability p is right with p - `over`."""
    index = np.repeat(np.arange(groups), generator.integers(1, 5, size=groups))
    probabilities = generator.uniform(0.3, 0.99, size=groups)[index]
    luck = np.where(
        generator.random(len(index)) < shared, generator.random(groups)[index], generator.random(len(index))
    )
    return probabilities.tolist(), (luck < probabilities - over).tolist(), [f"g{n}" for n in index]


def test_error_by_eye() -> None:
    """Four answers at 0.95 with three right and two at 0.35 with two right: (4 x 0.2 + 2 x 0.65) / 6."""
    probabilities, correct = [0.95] * 4 + [0.35] * 2, [True] * 3 + [False] + [True] * 2
    error = calibration_error(probabilities, correct, list("abcdef"), 0.95, 200, 1)
    assert error.estimate == pytest.approx((4 * 0.2 + 2 * 0.65) / 6)
    assert error.low <= error.estimate <= error.high
    low, high = reliability(probabilities, correct, list("abcdef"), 0.95)
    assert (low.low, low.high, low.items, low.probability) == pytest.approx((0.3, 0.4, 2, 0.35))
    assert (high.items, high.accuracy.estimate) == (4, 0.75)


def test_a_sure_answer_has_a_bin() -> None:
    """A probability of exactly 1 is in the last bin."""
    assert [own.low for own in reliability([1.0, 0.0], [True, False], ["a", "b"], 0.95)] == [0.0, 0.9]


def test_a_calibrated_model_has_no_error_where_answers_are_many() -> None:
    """Of 20,000 groups the error is under 1 point; with 40 it is many points by chance alone, and the interval holds 0."""
    generator = np.random.default_rng(2)
    assert calibration_error(*answered(generator, 20000, 0.0), 0.95, 100, 1).estimate < 0.01
    few = calibration_error(*answered(generator, 40, 0.0), 0.95, 400, 1)
    assert few.estimate > 0.05
    assert few.low == 0.0


@pytest.mark.parametrize("over", [0.0, 0.04, 0.15])
def test_intervals_hold_the_true_error(over: float) -> None:
    """Of a model that is too sure by 0, 4 or 15 points, in 94 % of simulations or more; ignoring groups it would not."""
    generator = np.random.default_rng(5)
    covered = naive = 0
    for number in range(SIMULATIONS):
        probabilities, correct, group = answered(generator, 100, over, shared=1.0)
        interval = calibration_error(probabilities, correct, group, 0.95, 200, number)
        covered += interval.low - 1e-9 <= over <= interval.high
        blind = calibration_error(probabilities, correct, [str(n) for n in range(len(group))], 0.95, 200, number)
        naive += blind.low - 1e-9 <= over <= blind.high
    assert covered / SIMULATIONS >= 0.94
    assert over != 0.0 or naive / SIMULATIONS < 0.9


def test_one_group_says_nothing_about_others() -> None:
    """The interval is all of [0, 1]."""
    assert calibration_error([0.75, 0.75], [True, True], ["a", "a"], 0.95, 100, 1) == Interval(0.25, 0.0, 1.0)


def test_probabilities_of_likelihoods_and_of_shares() -> None:
    """Log-likelihoods are made shares; mean probabilities of an ensemble are shares already."""
    assert answer_probability([np.log(0.2), np.log(0.1), np.log(0.1)]) == pytest.approx(0.5)
    assert answer_probability([0.25, 0.75]) == 0.75


def test_only_protocols_with_likelihoods_are_measured() -> None:
    """Generated answers have no probability; other strategies and models are apart."""
    rows = pl.DataFrame(
        [
            {
                "benchmark": "b",
                "group": f"g{number}",
                "item_id": f"b/{number}",
                "strategy": strategy,
                "protocol": protocol,
                "model": model,
                "seed": 1,
                "draw": 0,
                "correct": number < 6,
                "scores": [0.0, 1.0] if protocol == "generation" else [float(np.log(0.8)), float(np.log(0.2))],
            }
            for strategy in ("zero_shot", "few_shot")
            for protocol in ("letter", "generation", "full_answer")
            for model in ("base", "cpt")
            for number in range(10)
        ]
    )
    found = calibrations(rows, 0.95, 100, 1)
    assert list(found) == [(p, m) for p in ("full_answer", "letter") for m in ("base", "cpt")]
    own = found["letter", "base"]
    assert own.error.estimate == pytest.approx(0.2)
    assert [(one.items, one.accuracy.estimate) for one in own.bins] == [(10, 0.6)]


def test_answers_of_all_seeds_are_taken_together_in_their_groups() -> None:
    """Three seeds with the same answers: the error and the interval of one seed, and three times the answers in the bin."""
    one = pl.DataFrame(
        {
            "benchmark": "b",
            "group": [f"g{number}" for number in range(20)],
            "item_id": [f"b/{number:02}" for number in range(20)],
            "strategy": "zero_shot",
            "protocol": "letter",
            "model": "base",
            "seed": 1,
            "draw": 0,
            "correct": [number < 12 for number in range(20)],
            "scores": [[float(np.log(0.8)), float(np.log(0.2))]] * 20,
        }
    )
    three = pl.concat([one.with_columns(seed=pl.lit(seed, pl.Int64)) for seed in (1, 2, 3)])
    single, several = (calibrations(rows, 0.95, 100, 1)["letter", "base"] for rows in (one, three))
    assert several.error.estimate == pytest.approx(single.error.estimate)
    assert (several.error.low, several.error.high) == pytest.approx((single.error.low, single.error.high))
    assert (single.bins[0].items, several.bins[0].items) == (20, 60)
    assert several.bins[0].accuracy.low == pytest.approx(single.bins[0].accuracy.low)
