"""Near duplicates, joined to clusters.

Candidates come from bands, and are checked by exact Jaccard similarity.

Documents are numbered in order of preference (source priority, then document order), so the first of a cluster is the
one to keep and no result depends on the order in which bands or pairs are looked at.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osler.corpus.compiled import compiled
from osler.corpus.word_hashes import I64, U64, Runs

NEIGHBORS = 64  # a document is compared with this many next ones of its band; more share a band only in boilerplate
DIVISION_BITS = 4


def candidate_pairs(bands: Iterable[U64], documents: int) -> I64:
    """Pairs of documents that share a band hash.

    A band shared by g documents gives g^2 / 2 pairs up to NEIGHBORS, then only g * NEIGHBORS: each document with the
    next ones by number, which still joins a large cluster of true duplicates.

    Args:
        bands: for each band one value a document.
        documents: their number.
    Returns:
        (pairs, 2), each once, smaller number first, sorted.
    """
    found = np.zeros(0, np.int64)
    for band in bands:
        new = [found]
        for here in divided(band):
            order = np.argsort(band[here], kind="stable")
            sorted_band, numbers = band[here][order], here[order]
            for distance in range(1, min(NEIGHBORS, len(here) - 1) + 1):
                equal = np.flatnonzero(sorted_band[distance:] == sorted_band[:-distance])
                if not len(equal):
                    break
                new.append(numbers[equal] * documents + numbers[equal + distance])
        del band  # or it stays until the next one is read
        found = np.concatenate(new)
        del new
        found.sort()
        found = found[np.diff(found, prepend=-1) != 0]
    return np.stack([found // documents, found % documents], axis=1) if documents else np.zeros((0, 2), np.int64)


def divided(hashes: U64) -> Iterator[I64]:
    """Where the hashes of each sixteenth of their range are, ascending.

    Equal ones are together, so what is sorted to find them is a sixteenth at a time.
    """
    upper = (hashes >> np.uint64(64 - DIVISION_BITS)).astype(np.uint8)
    for value in range(1 << DIVISION_BITS):
        yield np.flatnonzero(upper == value)


def copies(hashes: U64, numbers: I64) -> tuple[I64, I64]:
    """Documents with the hash of an earlier one.

    Args:
        hashes: of each of `numbers`.
        numbers: ascending.
    Returns:
        Numbers of the copies, and for each the first document with its hash.
    """
    found = [(numbers[:0], numbers[:0])]
    for here in divided(hashes):
        order = here[np.argsort(hashes[here], kind="stable")]
        is_new = np.append(True, hashes[order][1:] != hashes[order][:-1])[: len(order)]
        first = order[is_new][is_new.cumsum() - 1]
        found.append((numbers[order[~is_new]], numbers[first[~is_new]]))
    return np.concatenate([own for own, _ in found]), np.concatenate([original for _, original in found])


def shingle_sets(shingles: Runs) -> Runs:
    """The different shingles of each document, sorted."""
    return Runs(*_different(shingles.hashes.copy(), shingles.starts, shingles.ends))


@compiled
def _different(hashes: U64, starts: I64, ends: I64) -> tuple[U64, I64]:
    new_ends, count = np.empty(len(ends), np.int64), 0
    for document in range(len(ends)):
        members = hashes[starts[document] : ends[document]]
        members.sort()
        for place in range(len(members)):
            if place == 0 or members[place] != members[place - 1]:
                hashes[count] = members[place]
                count += 1
        new_ends[document] = count
    return hashes[:count].copy(), new_ends


@compiled
def jaccard(one: U64, other: U64) -> float:
    """Intersection over union of two sets, sorted; 1 for two empty ones."""
    shared, at, there = 0, 0, 0
    while at < len(one) and there < len(other):
        if one[at] == other[there]:
            shared, at, there = shared + 1, at + 1, there + 1
        elif one[at] < other[there]:
            at += 1
        else:
            there += 1
    union = len(one) + len(other) - shared
    return shared / union if union else 1.0


@compiled
def _root(parent: I64, member: int) -> int:
    while parent[member] != member:
        parent[member] = parent[parent[member]]
        member = parent[member]
    return member


@compiled
def _joining(pairs: I64, hashes: U64, starts: I64, ends: I64, threshold: float) -> NDArray[np.float64]:
    similarities, parent = np.zeros(len(pairs)), np.arange(len(ends))
    for number in range(len(pairs)):
        one, other = pairs[number]
        first, second = _root(parent, one), _root(parent, other)
        if first != second:
            similarities[number] = jaccard(hashes[starts[one] : ends[one]], hashes[starts[other] : ends[other]])
            if similarities[number] >= threshold:
                parent[max(first, second)] = min(first, second)
    return similarities


def joining_similarities(pairs: I64, sets: Runs, threshold: float) -> NDArray[np.float64]:
    """The Jaccard similarity of each pair that can join two clusters.

    0 of the others.

    A pair that earlier ones of at least `threshold` have joined, directly or through others, changes no cluster and is not
    compared: of k versions of one template k - 1 comparisons find what k^2 / 2 would.

    Args:
        pairs: (pairs, 2) positions in `sets`, in the order in which they are looked at.
        sets: result of `shingle_sets`.
        threshold: from which on a pair joins.
    """
    return _joining(pairs, sets.hashes, sets.starts, sets.ends, threshold)


def components(pairs: I64, documents: int) -> I64:
    """For each document the smallest number in its connected component.

    Args:
        pairs: (pairs, 2).
        documents: their number.
    """
    return _united(np.ascontiguousarray(pairs), documents)


@compiled
def _united(pairs: I64, documents: int) -> I64:
    parent = np.arange(documents)
    for number in range(len(pairs)):
        first, second = _root(parent, pairs[number, 0]), _root(parent, pairs[number, 1])
        parent[max(first, second)] = min(first, second)
    for document in range(documents):
        parent[document] = parent[parent[document]]  # a smaller number's, which leads to the root by now
    return parent


def nearest(pairs: I64, similarities: NDArray[np.float64], clusters: I64) -> pl.DataFrame:
    """Which document the ledger names beside each near duplicate.

    For each document that is not the first of its cluster.

    Args:
        pairs: verified pairs.
        similarities: of each.
        clusters: result of `components`.
    Returns:
        document, neighbor (the first of its cluster if they are a verified pair, else its most similar neighbor) and
        similarity, by document.
    """
    both = pl.DataFrame(
        {
            "document": pairs.T.reshape(-1),
            "neighbor": pairs[:, ::-1].T.reshape(-1),
            "similarity": np.tile(similarities, 2),
        }
    )
    first = pl.Series("first", clusters[both["document"].to_numpy()])
    return (
        both.with_columns(first)
        .filter(pl.col("document") != pl.col("first"))
        .sort("document", pl.col("neighbor") != pl.col("first"), -pl.col("similarity"), "neighbor")
        .group_by("document", maintain_order=True)
        .first()
        .drop("first")
    )
