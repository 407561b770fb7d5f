"""Near duplicates: candidates from bands, checked by exact Jaccard similarity, joined to clusters.

Documents are numbered in order of preference (source priority, then document order), so the first of a cluster is the
one to keep and no result depends on the order in which bands or pairs are looked at.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from stages.lib.shingles import I64, U64, Runs

NEIGHBORS = 64  # a document is compared with this many next ones of its band; more share a band only in boilerplate


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
        order = np.argsort(band, kind="stable")
        sorted_band = band[order]
        new = [found]
        for distance in range(1, min(NEIGHBORS, documents - 1) + 1):
            equal = np.flatnonzero(sorted_band[distance:] == sorted_band[:-distance])
            if not len(equal):
                break
            new.append(order[equal] * documents + order[equal + distance])
        found = np.unique(np.concatenate(new))
    return np.stack([found // documents, found % documents], axis=1) if documents else np.zeros((0, 2), np.int64)


def shingle_sets(shingles: Runs) -> list[U64]:
    """The different shingles of each document, sorted."""
    return [np.unique(shingles.hashes[start:end]) for start, end in zip(shingles.starts, shingles.ends, strict=True)]


def jaccard(one: U64, other: U64) -> float:
    """Intersection over union of two sorted sets; 1 for two empty ones."""
    small, large = (one, other) if len(one) < len(other) else (other, one)
    if not len(large):
        return 1.0
    if not len(small):
        return 0.0
    shared = int(np.count_nonzero(large.take(large.searchsorted(small), mode="clip") == small))
    return shared / (len(one) + len(other) - shared)


def components(pairs: I64, documents: int) -> I64:
    """For each document the smallest number in its connected component.

    Args:
        pairs: (pairs, 2).
        documents: their number.
    """
    parent = list(range(documents))

    def root(document: int) -> int:
        while parent[document] != document:
            parent[document] = parent[parent[document]]
            document = parent[document]
        return document

    for one, other in pairs.tolist():
        one, other = root(one), root(other)
        parent[max(one, other)] = min(one, other)
    return np.array([root(document) for document in range(documents)], np.int64)


def nearest(pairs: I64, similarities: NDArray[np.float64], clusters: I64) -> dict[int, tuple[int, float]]:
    """For each document that is not the first of its cluster, the document that its ledger row names.

    Args:
        pairs: verified pairs.
        similarities: of each.
        clusters: result of `components`.
    Returns:
        document -> (the first of its cluster if they are a verified pair, else its most similar neighbor; similarity).
    """
    best: dict[int, tuple[bool, float, int]] = {}
    for (one, other), similarity in zip(pairs.tolist(), similarities.tolist(), strict=True):
        for document, neighbor in ((one, other), (other, one)):
            found = (neighbor == clusters[document], similarity, -neighbor)
            if document != clusters[document] and found > best.get(document, (False, -1.0, 0)):
                best[document] = found
    return {document: (-neighbor, similarity) for document, (_, similarity, neighbor) in best.items()}
