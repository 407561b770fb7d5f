"""Best-fit packing: nothing cut that fits, and nothing lost.

Rows are as full as the textbook algorithm makes them.
"""

import itertools
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osler.tokens.packing import (
    COUNTS,
    Packing,
    Subset,
    _stable_order,
    best,
    fill,
    packed,
    packed_apart,
    packing_metrics,
    shares,
)

LENGTHS = st.lists(st.integers(0, 60), max_size=60)


def textbook_rooms(pieces: list[int], capacity: int) -> list[int]:
    """Room left in each bin by the textbook's best fit.

    Pieces are placed longest first, each into the fullest bin that holds it.
    """
    rooms: list[int] = []
    for piece in sorted(pieces, reverse=True):
        fitting = [(room, index) for index, room in enumerate(rooms) if room >= piece]
        if fitting:
            rooms[min(fitting)[1]] -= piece
        else:
            rooms.append(capacity - piece)
    return sorted(rooms)


@given(LENGTHS, st.integers(1, 25), st.integers(0, 3))
def test_rows_are_as_full_as_best_fit_decreasing_makes_them(lengths: list[int], capacity: int, seed: int) -> None:
    """The multiset of row loads equals that of the one-piece-at-a-time algorithm."""
    layout = packed(lengths, capacity, seed)
    loads = np.diff(np.concatenate([[0], np.cumsum(layout.length)])[np.concatenate([[0], layout.row_ends])])
    pieces = [min(capacity, length - start) for length in lengths for start in range(0, length, capacity)]
    assert sorted((capacity - loads).tolist()) == textbook_rooms(pieces, capacity)


@given(LENGTHS, st.integers(1, 25))
def test_every_token_lies_in_exactly_one_row(lengths: list[int], capacity: int) -> None:
    """Segments cover each document once, without overlap.

    A document that fits is one segment.
    """
    layout = packed(lengths, capacity, 0)
    seen = [np.zeros(length, int) for length in lengths]
    for document, start, length in zip(layout.document, layout.start, layout.length, strict=True):
        seen[document][start : start + length] += 1
    assert all((tokens == 1).all() for tokens in seen)
    segments = np.bincount(layout.document, minlength=len(lengths))
    assert all(segments[d] == -(-length // capacity) for d, length in enumerate(lengths))


def test_the_seed_permutes_rows_and_nothing_else() -> None:
    """Two seeds give the same rows in another order.

    One seed gives the same bytes.
    """
    lengths = np.random.default_rng(0).integers(1, 50, 500)

    def rows(seed: int) -> list[tuple[tuple[int, int, int], ...]]:
        layout = packed(lengths, 64, seed)
        segments = list(zip(layout.document.tolist(), layout.start.tolist(), layout.length.tolist(), strict=True))
        ends = [0, *layout.row_ends.tolist()]
        return [tuple(segments[a:b]) for a, b in itertools.pairwise(ends)]

    assert rows(1) == rows(1)
    assert rows(1) != rows(2)
    assert sorted(rows(1)) == sorted(rows(2))


def test_rows_do_not_come_ordered_by_document_length() -> None:
    """Best fit fills rows longest first.

    Without the permutation training would see long documents first.
    """
    layout = packed(np.arange(1, 400), 400, 3)
    first = [int(layout.length[start]) for start in [0, *layout.row_ends[:-1].tolist()]]
    assert first != sorted(first, reverse=True)


def test_impossible_arguments_are_refused() -> None:
    """A capacity of 0 or a negative length is a caller's mistake."""
    for lengths, capacity in (([1], 0), ([-1], 4)):
        with pytest.raises(ValueError, match="at least"):
            packed(lengths, capacity, 0)


@given(st.lists(st.integers(0, 1 << 40), max_size=50))
def test_sorting_by_16_bits_at_a_time_is_sorting(keys: list[int]) -> None:
    """The order of any keys is that of a stable sort."""
    array = np.array(keys, np.int64)
    assert _stable_order(array).tolist() == np.argsort(array, kind="stable").tolist()


def test_fill_counts_tokens_and_not_padding() -> None:
    """10, 3, 8 and 0 tokens make three rows of 8.

    They are 8 + 2, 3 and 8: 24 places, 21 tokens, one split.
    """
    lengths = [10, 3, 8, 0]
    counts = fill(packed(lengths, 8, 0), lengths, 8)
    assert counts == {
        "documents": 3, "documents_cut": 0, "documents_split": 1, "padding_tokens": 3, "rows": 3, "tokens": 21,
        "truncated_tokens": 0,
    }  # fmt: skip
    assert shares(counts) == {"fill_fraction": 0.875, "padding_fraction": 0.125}


def test_a_packing_that_cuts_or_drops_is_told() -> None:
    """Two documents of 5 tokens chopped into rows of 8 are told.

    The second is cut; without its rest two tokens are lost.
    """
    chopped = Packing(*(np.array(column) for column in ([0, 1, 1], [0, 0, 3], [5, 3, 2], [2, 3])))
    assert fill(chopped, [5, 5], 8)["documents_cut"] == 1
    cropped = Packing(*(np.array(column) for column in ([0, 1], [0, 0], [5, 3], [2])))
    counts = fill(cropped, [5, 5], 8)
    assert (counts["truncated_tokens"], counts["documents_cut"], counts["padding_tokens"]) == (2, 0, 0)


def test_metrics_sum_over_sources_before_they_divide() -> None:
    """90 full places and 10 half empty are 95 % full.

    Not 75.
    """
    full = dict.fromkeys(COUNTS, 0) | {"tokens": 90, "documents": 1}
    half = dict.fromkeys(COUNTS, 0) | {"tokens": 5, "padding_tokens": 5, "documents": 1}
    metrics = packing_metrics({"b": half, "a": full})
    assert metrics["fill_fraction"] == 0.95
    assert isinstance(metrics["sources"], list)
    assert [entry["fill_fraction"] for entry in metrics["sources"]] == [1.0, 0.5]


@pytest.mark.parametrize(
    ("prefer", "fraction", "chosen"),
    [("high", 0.2, [1]), ("high", 0.21, [1, 2]), ("low", 0.3, [0, 3]), ("high", 0.99, [0, 1, 2, 3])],
)
def test_the_subset_is_the_best_documents_up_to_a_share_of_the_tokens(
    prefer: Literal["high", "low"], fraction: float, chosen: list[int]
) -> None:
    """The best documents by signal, until their share of tokens is reached.

    Of 10, 20, 30 and 40 tokens with signals 1, 9, 5 and 2; what has no signal comes last at either end.
    """
    subset = Subset(signal="s", prefer=prefer, fraction=fraction)
    found = best(np.array([1.0, 9.0, 5.0, 2.0]), np.array([10, 20, 30, 40]), subset)
    assert np.flatnonzero(found).tolist() == chosen
    last = best(np.array([np.nan, 9.0]), np.array([10, 10]), subset)
    assert last[1]


def test_rows_of_the_subset_come_first_and_hold_nothing_else() -> None:
    """Documents 1 and 3 fill the first rows.

    Every token is still in one row.
    """
    lengths = [7, 9, 4, 3, 20]
    layout = packed_apart(lengths, np.array([False, True, False, True, False]), 8, 5)
    assert set(layout.document[: layout.row_ends[1]].tolist()) == {1, 3}
    assert layout.length[: layout.row_ends[1]].sum() == 12
    assert set(layout.document[layout.row_ends[1] :].tolist()) == {0, 2, 4}
    counts = fill(layout, lengths, 8)
    assert (counts["tokens"], counts["truncated_tokens"], counts["documents_cut"]) == (43, 0, 0)
