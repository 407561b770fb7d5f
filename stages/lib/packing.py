"""Pack documents into rows of one length: best fit decreasing, on the histogram of lengths.

A document longer than a row is split into full rows and a remainder, and the remainder is packed like a short document, so
no token is dropped and no document that fits is cut. Working on counts per length rather than per document makes the cost
grow with the number of distinct lengths: a million documents take about a fifth of a second.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from stages.lib.section import Section

Ints = npt.NDArray[np.int64]


class Pack(Section):
    """Section `pack`."""

    sequence_length_tokens: int = Field(ge=8, description="tokens per row")


@dataclass(frozen=True)
class Packing:
    """Segments in row order: segment s is `length[s]` tokens of document `document[s]` from its token `start[s]`.

    Row r consists of segments row_ends[r - 1] .. row_ends[r] and is padded to the row length at its end.
    """

    document: Ints  # (S,)
    start: Ints  # (S,)
    length: Ints  # (S,)
    row_ends: Ints  # (R,)


def _best_fit(lengths: Ints, capacity: int) -> Ints:
    """The bin of each item, when items are placed longest first, each into the fullest bin that holds it.

    Items of one length are interchangeable, and so are bins with the same room left, so both are handled as groups: the
    tightest bins with room r take r // length items each before any looser bin is touched.
    """
    bins = np.empty(len(lengths), np.int64)
    order = np.argsort(-lengths, kind="stable")
    values, first = np.unique(-lengths[order], return_index=True)
    groups = np.split(order, first[1:]) if len(order) else []
    rooms: list[list[Ints]] = [[] for _ in range(capacity + 1)]  # bins with this much room left, in chunks
    counts = np.zeros(capacity + 1, np.int64)
    opened = 0
    for length, items in zip((-values).tolist(), groups, strict=True):
        placed = 0
        while placed < len(items):
            roomy = int(np.argmax(counts[length:] > 0)) + length
            if counts[roomy] == 0:
                per_bin = capacity // length
                needed = -(-(len(items) - placed) // per_bin)
                candidates, room = np.arange(opened, opened + needed), capacity
                opened += needed
            else:
                candidates, room = np.concatenate(rooms[roomy]), roomy
                rooms[roomy], counts[roomy] = [], 0
                per_bin = room // length
            used = min(len(candidates), -(-(len(items) - placed) // per_bin))
            taken = items[placed : placed + used * per_bin]
            bins[taken] = np.repeat(candidates[:used], per_bin)[: len(taken)]
            placed += len(taken)
            full = len(taken) // per_bin
            leftovers = [(room - per_bin * length, candidates[:full]), (room, candidates[used:])]
            if full < used:
                leftovers.append((room - (len(taken) - full * per_bin) * length, candidates[full:used]))
            for left, chunk in leftovers:
                if left > 0 and len(chunk):
                    rooms[left].append(chunk)
                    counts[left] += len(chunk)
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
    row = _best_fit(length, capacity)
    rows = int(row.max()) + 1 if len(row) else 0
    row = np.random.default_rng([seed, 0x9AC4]).permutation(rows)[row]
    order = np.lexsort((start, document, -length, row))
    return Packing(document[order], start[order], length[order], np.cumsum(np.bincount(row, minlength=rows)))
