"""Best-fit packing: nothing cut that fits, nothing lost, rows as full as the textbook algorithm makes them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.packing import packed

LENGTHS = st.lists(st.integers(0, 60), max_size=60)


def textbook_rooms(pieces: list[int], capacity: int) -> list[int]:
    """Room left in each bin when pieces are placed longest first, each into the fullest bin that holds it."""
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
    """Segments cover each document once, without overlap, and a document that fits is one segment."""
    layout = packed(lengths, capacity, 0)
    seen = [np.zeros(length, int) for length in lengths]
    for document, start, length in zip(layout.document, layout.start, layout.length, strict=True):
        seen[document][start : start + length] += 1
    assert all((tokens == 1).all() for tokens in seen)
    segments = np.bincount(layout.document, minlength=len(lengths))
    assert all(segments[d] == -(-length // capacity) for d, length in enumerate(lengths))


def test_the_seed_permutes_rows_and_nothing_else() -> None:
    """Two seeds give the same rows in another order; one seed gives the same bytes."""
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
    """Best fit fills rows longest first; without the permutation training would see long documents first."""
    layout = packed(np.arange(1, 400), 400, 3)
    first = [int(layout.length[start]) for start in [0, *layout.row_ends[:-1].tolist()]]
    assert first != sorted(first, reverse=True)


def test_impossible_arguments_are_refused() -> None:
    """A capacity of 0 or a negative length is a caller's mistake."""
    for lengths, capacity in (([1], 0), ([-1], 4)):
        with pytest.raises(ValueError, match="at least"):
            packed(lengths, capacity, 0)
