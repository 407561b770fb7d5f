"""Planned rows, their order, and the ledger of what was read."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from osler.build.section import BuildError
from osler.tokens.mixture import Available, Mix, mixture_rates, planned_rows, row_order, seen
from osler.tokens.shards import Origin, PackedRows

AVAILABLE = {"a": Available(100, 1000), "b": Available(10, 50)}


def test_a_source_gets_its_share_of_tokens_not_of_rows() -> None:
    """Weights 3 to 1 over 800 tokens give 600 and 200.

    a has 10 a row and b 5.
    """
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
    """Each error of a plan names its key.

    An unknown source, no weight at all, too many epochs.
    """
    with pytest.raises(BuildError, match=message):
        planned_rows(AVAILABLE, weights, tokens, 10.0, "mix")


def test_a_source_of_weight_zero_is_not_read() -> None:
    """Zero switches a source off without removing it."""
    assert planned_rows(AVAILABLE, {"a": 1.0, "b": 0.0}, 100, 10.0, "mix") == {"a": 10}


def test_each_epoch_reads_every_row_once_before_the_next_begins() -> None:
    """25 rows of a source of 10.

    Each row twice, five of them three times, in three different orders.
    """
    order = row_order({"b": 25}, {"b": 10}, seed=1)[:, 1]
    assert sorted(order[:10]) == sorted(order[10:20]) == list(range(10))
    assert len(set(order[20:])) == 5
    assert list(order[:10]) != list(order[10:20])


def test_the_mixture_is_the_same_at_every_moment() -> None:
    """Every tenth of a run holds a tenth of each source.

    Of 1000 rows of a and 100 of b: 100 and 10, within 3.
    """
    order = row_order({"a": 1000, "b": 100}, {"a": 1000, "b": 100}, seed=5)
    for part in np.array_split(order[:, 0], 10):
        assert abs(int(part.sum()) - 10) <= 3


def test_the_order_is_a_function_of_the_seed() -> None:
    """The same seed gives the same order, another seed another."""
    first, again, other = (row_order({"a": 50, "b": 20}, {"a": 30, "b": 20}, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_longer_run_begins_with_a_shorter_one(seed: int) -> None:
    """The order of N tokens begins that of 2 N.

    With rates that hardly a number of tokens makes whole.
    """
    rates, there = {"a": 0.0731, "b": 0.0207, "c": 0.0013}, {"a": 30, "b": 5, "c": 2}
    for tokens in range(1, 400, 7):
        short, long = (row_order(rates, there, seed, until) for until in (tokens, 2 * tokens))
        assert (long[: len(short)] == short).all()
        assert np.abs(np.bincount(long[:, 0], minlength=3) - 2 * tokens * np.array([*rates.values()])).max() <= 1


COLLECTIONS = {"a": "clinical", "b": "general", "c": "clinical"}
PACKED = {"a": Available(100, 1000), "b": Available(10, 50), "c": Available(20, 400)}


def mix(**changes: Any) -> Mix:
    values: dict[str, Any] = {
        "tokens": 1000,
        "replay_fraction": 0.1,
        "clinical_documents": "all",
        "epochs": {},
        "weights": {"a": 3.0, "b": 7.0, "c": 1.0},
        "maximum_epochs": 10.0,
        "seed": 1,
    }
    return Mix(**values | changes)


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({}, {"a": 67.5, "b": 20, "c": 11.25}),  # 900 clinical tokens 3 to 1 are 675 and 225; 100 general ones
        ({"tokens": 500}, {"a": 67.5, "b": 20, "c": 11.25}),  # as much in a thousand
        ({"replay_fraction": 0.25}, {"a": 56.25, "b": 50, "c": 9.375}),  # 750 as 562.5 and 187.5; 250
        ({"replay_fraction": 0.0}, {"a": 75, "c": 12.5}),  # 750 and 250 clinical, and b is not read
        ({"epochs": {"c": 2.0}, "weights": {"a": 1.0, "b": 1.0}}, {"a": 10, "b": 20, "c": 40}),  # 800 of c leave 100
        ({"epochs": {"c": 2.25, "b": 2.0}, "weights": {}}, {"b": 20, "c": 45}),  # exactly 900 and 100
    ],
)
def test_replay_epochs_and_weights_share_out_the_tokens(changes: dict[str, Any], rows: dict[str, float]) -> None:
    """Rows per thousand tokens, worked out by hand.

    Rows of a hold 10 tokens, of b 5 and of c 20.
    """
    rates = mixture_rates(PACKED, COLLECTIONS, mix(**changes))
    assert {source: 1000 * rate for source, rate in rates.items()} == pytest.approx(rows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {"x": 1.0}}, "mix.weights: x: not a packed source"),
        ({"epochs": {"x": 1.0}}, "mix.epochs: x: not a packed source"),
        ({"epochs": {"c": 11.0}, "weights": {"b": 1.0}}, "mix.epochs.c: above maximum_epochs 10"),
        ({"epochs": {"c": 3.0}, "weights": {"a": 1.0, "b": 1.0}}, "900 clinical tokens, .* make 1,200; lower an epoch"),
        ({"epochs": {"c": 2.0}, "weights": {"b": 1.0}}, "900 clinical tokens, .* make 800; lower an epoch or change"),
        ({"weights": {"a": 1.0}}, "100 general tokens, .* make 0; give a general source a weight"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    """Unknown or repeated sources, and epochs that do not fit.

    These overfill their part or leave a hole nobody fills.
    """
    with pytest.raises(BuildError, match=message):
        mixture_rates(PACKED, COLLECTIONS, mix(**changes))


class Plan(NamedTuple):
    sources: dict[str, PackedRows]
    order_N2: npt.NDArray[np.int64]


def two_sources() -> dict[str, PackedRows]:
    """Two sources, n and t, with rows of known tokens.

    n: rows of 3 + 2 tokens and of 4, the 2 under another license; t: one row of 7.
    """
    notes = PackedRows(
        np.zeros((2, 8), np.uint16), np.array([2, 3]), np.array([3, 2, 4], np.int32), None, np.array([0, 1, 0]),
        (Origin("n", "x"), Origin("n", "y")),
    )  # fmt: skip
    towns = PackedRows(
        np.zeros((1, 8), np.uint16), np.array([1]), np.array([7], np.int32), None, np.array([0]), (Origin("t", "x"),)
    )
    return {"t": towns, "n": notes}


def test_the_ledger_by_hand() -> None:
    """Rows n0 t0 n1 n1 n0 t0, counted by hand.

    After three every token once, after five those of n twice; y is 2 tokens a time.
    """
    plan = Plan(two_sources(), np.array([[0, 0], [1, 0], [0, 1], [0, 1], [0, 0], [1, 0]]))

    def rows(count: int) -> list[tuple[Any, ...]]:
        return [tuple(entry.values()) for entry in seen(plan, count)]

    assert rows(0) == []
    assert rows(1) == [("n", "x", 1, 3), ("n", "y", 1, 2)]
    assert rows(3) == [("n", "x", 1, 7), ("n", "y", 1, 2), ("t", "x", 1, 7)]
    assert rows(4) == [("n", "x", 1, 7), ("n", "x", 2, 4), ("n", "y", 1, 2), ("t", "x", 1, 7)]
    assert rows(5) == [("n", "x", 1, 7), ("n", "x", 2, 7), ("n", "y", 1, 2), ("n", "y", 2, 2), ("t", "x", 1, 7)]
    assert [tuple(entry.values()) for entry in seen(plan, 5, after=2)] == [
        ("n", "x", 1, 4),
        ("n", "x", 2, 7),
        ("n", "y", 2, 2),
    ]
    assert list(seen(plan, 1)[0]) == ["source", "license", "epoch", "tokens"]


def test_the_ledger_of_a_planned_run_adds_up_at_every_row() -> None:
    """After each row the ledger has grown by that row's tokens.

    No epoch begins before the one before it is whole.
    """
    sources = two_sources()
    order = row_order({"n": 7, "t": 3}, {"n": 2, "t": 1}, seed=4)
    before = 0
    for count, (source, row) in enumerate(order.tolist(), start=1):
        ledger = seen(Plan(sources, order), count)
        total = sum(entry["tokens"] for entry in ledger)
        assert total - before == sum(sources["nt"[source]].segment_lengths(row))
        before = total
        for epoch in range(1, max(entry["epoch"] for entry in ledger)):
            whole = sum(entry["tokens"] for entry in ledger if (entry["source"], entry["epoch"]) == ("n", epoch))
            later = any(entry["source"] == "n" and entry["epoch"] > epoch for entry in ledger)
            assert whole == 9 or not later
    last = int(order[order[:, 0] == 0][-1, 1])  # of n: three epochs of 9 tokens and this row
    assert before == 3 * 9 + sum(sources["n"].segment_lengths(last)) + 3 * 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": {"a": 3.0}, "weights": {"a": 1.0}}, "a: stands in `epochs` and in `weights`"),
        ({"epochs": {}, "weights": {"a": 0.0, "b": 0.0}}, "weights: none is above 0"),
    ],
)
def test_a_section_that_cannot_be_is_refused_before_anything_is_packed(changes: dict[str, Any], message: str) -> None:
    """By the check, which knows no rows."""
    section: dict[str, Any] = {
        "tokens": 100,
        "replay_fraction": 0.0,
        "clinical_documents": "all",
        "maximum_epochs": 9.0,
        "seed": 1,
    }
    with pytest.raises(ValidationError, match=message):
        Mix(**section | changes)
