"""Planned rows and the order they are read in."""

import numpy as np
import pytest

from stages.lib.mixture import Available, planned_rows, row_order
from stages.lib.section import BuildError

AVAILABLE = {"a": Available(100, 1000), "b": Available(10, 50)}


def test_a_source_gets_its_share_of_tokens_not_of_rows() -> None:
    """Weights 3 to 1 over 800 tokens give 600 tokens of a (10 a row) and 200 of b (5 a row)."""
    assert planned_rows(AVAILABLE, {"a": 3.0, "b": 1.0}, 800, 10.0, "mix") == {"a": 60, "b": 40}


@pytest.mark.parametrize(
    ("weights", "tokens", "message"),
    [
        ({"c": 1.0}, 100, "mix.weights: c: not a packed source"),
        ({"a": 0.0}, 100, "mix.weights: no weight above 0"),
        ({"b": 1.0}, 1000, "mix.weights.b: 20.0 epochs .* above maximum_epochs 10"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(weights: dict[str, float], tokens: int, message: str) -> None:
    """An unknown source, no weight at all and too many epochs each name their key."""
    with pytest.raises(BuildError, match=message):
        planned_rows(AVAILABLE, weights, tokens, 10.0, "mix")


def test_a_source_of_weight_zero_is_not_read() -> None:
    """Zero switches a source off without removing it."""
    assert planned_rows(AVAILABLE, {"a": 1.0, "b": 0.0}, 100, 10.0, "mix") == {"a": 10}


def test_each_epoch_reads_every_row_once_before_the_next_begins() -> None:
    """25 rows of a source of 10: each row twice, five of them three times, in three different orders."""
    order = row_order({"b": 25}, {"b": 10}, seed=1)[:, 1]
    assert sorted(order[:10]) == sorted(order[10:20]) == list(range(10))
    assert len(set(order[20:])) == 5
    assert list(order[:10]) != list(order[10:20])


def test_the_mixture_is_the_same_at_every_moment() -> None:
    """Of 1000 rows of a and 100 of b, every tenth of the run holds 100 and 10, within 3."""
    order = row_order({"a": 1000, "b": 100}, {"a": 1000, "b": 100}, seed=5)
    for part in np.array_split(order[:, 0], 10):
        assert abs(int(part.sum()) - 10) <= 3


def test_the_order_is_a_function_of_the_seed() -> None:
    """The same seed gives the same order, another seed another."""
    first, again, other = (row_order({"a": 50, "b": 20}, {"a": 30, "b": 20}, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
