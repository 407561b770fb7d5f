"""Pack documents into rows of one length.

Best fit decreasing, on the histogram of lengths.

A document longer than a row is split into full rows and a remainder, and the remainder is packed like a short document, so
no token is dropped and no document that fits is cut. Working on counts per length rather than per document makes the cost
grow with the number of distinct lengths: a million documents in rows of 8192 take a fifth of a second and leave
0.001 % of padding (bench/packing.py, which runs TRL's packing beside it).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from osler.build.section import Section, Seed

Ints = npt.NDArray[np.int64]


class Subset(Section):
    """Section `pack.subset`: the best documents of each source.

    By one signal of `screen`.
    """

    signal: str = Field(min_length=1, description="a column of data/screens, such as rare_trigram_fraction or words")
    prefer: Literal["high", "low"] = Field(description="the end of the signal that is better")
    fraction: float = Field(gt=0, lt=1, description="of the source's kept tokens")


class Pack(Section):
    """Section `pack`."""

    sequence_length_tokens: int = Field(ge=8, le=1 << 24, description="tokens per row")
    seed: Seed = Field(description="of the order of rows, since best fit leaves them ordered by length")
    subset: Subset | None = Field(
        default=None, description="documents whose rows come first, so that `mix` can read these alone"
    )


@dataclass(frozen=True)
class Packing:
    """Segments in row order.

    Segment s is `length[s]` tokens of document `document[s]` from its token `start[s]`.

    Row r consists of segments row_ends[r - 1] .. row_ends[r] and is padded to the row length at its end.
    """

    document: Ints  # (S,)
    start: Ints  # (S,)
    length: Ints  # (S,)
    row_ends: Ints  # (R,)


def _stable_order(keys: Ints) -> Ints:
    """The order that sorts keys of at least 0.

    Ties as they come. numpy sorts 16 bits by radix, seven times as fast.
    """
    order = np.argsort((keys & 0xFFFF).astype(np.uint16), kind="stable")
    high = keys >> 16
    while len(high) and high.max():
        order = order[np.argsort((high[order] & 0xFFFF).astype(np.uint16), kind="stable")]
        high = high >> 16
    return order


def _best_fit(sizes: Ints, capacity: int) -> Ints:
    """The bin of each item, the longest item first.

    Each is placed into the fullest bin that holds it.

    Items of one length are interchangeable, and so are bins with the same room left, so both are handled as groups: the
    tightest bins with room r take r // length items each before any looser bin is touched.

    Args:
        sizes: (capacity + 1,), how many items have each length; none has length 0.
        capacity: of a bin.
    """
    bins = np.empty(int(sizes.sum()), np.int64)
    lengths = np.flatnonzero(sizes)[::-1]
    rooms: list[list[Ints]] = [[] for _ in range(capacity + 1)]  # bins with this much room left, in chunks
    occupied = (
        0  # bit r is set where there are bins with room r: the tightest that fit are found in a third of a microsecond
    )
    opened = 0
    placed = end = 0
    for length, count in zip(lengths.tolist(), sizes[lengths].tolist(), strict=True):
        end += count
        while placed < end:
            fitting = occupied >> length
            if not fitting:
                per_bin = capacity // length
                needed = -(-(end - placed) // per_bin)
                candidates, room = np.arange(opened, opened + needed), capacity
                opened += needed
            else:
                room = length + (fitting & -fitting).bit_length() - 1
                chunks, rooms[room] = rooms[room], []
                candidates = np.concatenate(chunks) if len(chunks) > 1 else chunks[0]
                occupied ^= 1 << room
                per_bin = room // length
            used = min(len(candidates), -(-(end - placed) // per_bin))
            taken = min(end - placed, used * per_bin)
            chosen = candidates[:used]
            bins[placed : placed + taken] = chosen if per_bin == 1 else np.repeat(chosen, per_bin)[:taken]
            placed += taken
            full = taken // per_bin
            leftovers = (
                (room - per_bin * length, candidates[:full]),
                (room - (taken - full * per_bin) * length, candidates[full:used]),
                (room, candidates[used:]),
            )
            for left, chunk in leftovers:
                if left > 0 and len(chunk):
                    rooms[left].append(chunk)
                    occupied |= 1 << left
    return bins


def packed(lengths: npt.ArrayLike, capacity: int, seed: int) -> Packing:
    """Assign every token of every document to a row.

    Args:
        lengths: (D,) tokens per document, in document order; zeros are skipped.
        capacity: tokens per row, at least 1.
        seed: permutes the rows, since best fit leaves them ordered by document length.
    Returns:
        `Packing`; within a row, segments lie longest first.
    Raises:
        ValueError: a negative length, or a capacity below 1.
    Source:
        Ding et al. 2024, Fewer Truncations Improve Language Modeling, arXiv 2404.10830 (best fit decreasing on counts).
    """
    lengths_D = np.asarray(lengths, np.int64)
    if capacity < 1 or (len(lengths_D) and lengths_D.min() < 0):
        raise ValueError("capacity must be at least 1 and lengths at least 0")
    pieces_D = -(-lengths_D // capacity)
    document = np.repeat(np.arange(len(lengths_D)), pieces_D)
    piece = np.arange(len(document)) - np.repeat(np.cumsum(pieces_D) - pieces_D, pieces_D)
    start = piece * capacity
    length = np.minimum(lengths_D[document] - start, capacity)
    row = _best_fit(np.bincount(length, minlength=capacity + 1), capacity)  # of the pieces, longest first
    rows = int(row.max()) + 1 if len(row) else 0
    row = np.random.default_rng([seed, 0x9AC4]).permutation(rows)[row]
    order = _stable_order(capacity - length)[_stable_order(row)]
    return Packing(document[order], start[order], length[order], np.cumsum(np.bincount(row, minlength=rows)))


def best(signal_D: npt.NDArray[np.floating], tokens_D: Ints, subset: Subset) -> npt.NDArray[np.bool_]:
    """Which documents are the subset; at least one.

    From the best on until their tokens reach its fraction of all.

    Args:
        signal_D: (D,) the signal of each document; NaN is worst. Of equal ones the first comes first.
        tokens_D: (D,).
        subset: which end is better, and how much of it.
    """
    order = np.argsort(-signal_D if subset.prefer == "high" else signal_D, kind="stable")
    before = np.cumsum(tokens_D[order]) - tokens_D[order]
    chosen = np.zeros(len(order), np.bool_)
    chosen[order[before < subset.fraction * tokens_D.sum()]] = True
    return chosen


def packed_apart(lengths: npt.ArrayLike, first_D: npt.NDArray[np.bool_], capacity: int, seed: int) -> Packing:
    """`packed`, with the documents in `first_D` in rows of their own.

    These rows come first.
    """
    lengths_D = np.asarray(lengths, np.int64)
    one, two = (packed(np.where(chosen_D, lengths_D, 0), capacity, seed) for chosen_D in (first_D, ~first_D))
    return Packing(
        np.concatenate([one.document, two.document]),
        np.concatenate([one.start, two.start]),
        np.concatenate([one.length, two.length]),
        np.concatenate([one.row_ends, len(one.length) + two.row_ends]),
    )


def fill(layout: Packing, lengths: npt.ArrayLike, capacity: int) -> dict[str, int]:
    """What a packing made of documents, in tokens and documents.

    Args:
        layout: of the documents.
        lengths: (D,) tokens per document.
        capacity: tokens per row.
    Returns:
        documents: with at least one token; documents_split: those in more than one piece, longer than a row or not;
        documents_cut: those in more pieces than their length asks for, 0 for a packing that cuts nothing that fits;
        rows; tokens in rows; truncated_tokens: of the documents, in no row; padding_tokens: places of rows without one.
    """
    lengths_D = np.asarray(lengths, np.int64)
    pieces_D = np.bincount(layout.document, minlength=len(lengths_D))
    tokens, rows = int(layout.length.sum()), len(layout.row_ends)
    return {
        "documents": int((lengths_D > 0).sum()),
        "documents_cut": int((pieces_D > -(-lengths_D // capacity)).sum()),
        "documents_split": int((pieces_D > 1).sum()),
        "padding_tokens": rows * capacity - tokens,
        "rows": rows,
        "tokens": tokens,
        "truncated_tokens": int(lengths_D.sum()) - tokens,
    }


COUNTS = ("documents", "documents_cut", "documents_split", "padding_tokens", "rows", "tokens", "truncated_tokens")


def shares(counts: Mapping[str, int]) -> dict[str, float]:
    """The shares of tokens and of padding in all places.

    As `fill` counts them, of one source or summed over several.
    """
    places = counts["tokens"] + counts["padding_tokens"]
    return {
        "fill_fraction": round(counts["tokens"] / places, 6),
        "padding_fraction": round(counts["padding_tokens"] / places, 6),
    }


def packing_metrics(sources: Mapping[str, Mapping[str, int]]) -> dict[str, object]:
    """Counts and fractions over all sources, and of each.

    The sources are a list, which `dvc metrics` leaves out of its tables.
    """
    total = {name: sum(counts[name] for counts in sources.values()) for name in COUNTS}
    each = [
        {"source": source} | {name: counts[name] for name in COUNTS} | shares(counts)
        for source, counts in sorted(sources.items())
    ]
    return total | shares(total) | {"sources": each}
