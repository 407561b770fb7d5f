"""Candidates, similarities and clusters."""

import random
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osler.corpus.minhash import band_hashes
from osler.corpus.near_duplicates import (
    NEIGHBORS,
    candidate_pairs,
    components,
    jaccard,
    joining_similarities,
    nearest,
    shingle_sets,
)
from osler.corpus.word_hashes import I64, U64, Runs, shingles, word_runs


def array(pairs: list[tuple[int, int]]) -> I64:
    """Pairs as an array."""
    return np.array(pairs, np.int64).reshape(-1, 2)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_candidates_share_a_band(rows: list[tuple[int, int]]) -> None:
    """Candidates are exactly the pairs that are equal in some band.

    The same value in different bands is nothing.
    """
    bands = np.array(rows, np.uint64).T
    expected = [
        (i, j)
        for i, j in combinations(range(len(rows)), 2)
        if any(a == b for a, b in zip(rows[i], rows[j], strict=True))
    ]
    assert [tuple(pair) for pair in candidate_pairs(bands, len(rows)).tolist()] == expected


def test_a_huge_band_gives_few_pairs_and_one_cluster() -> None:
    """1,000 copies are not half a million comparisons, and still one cluster."""
    pairs = candidate_pairs([np.zeros(1000, np.uint64)], 1000)
    assert len(pairs) <= 1000 * NEIGHBORS
    assert set(components(pairs, 1000).tolist()) == {0}


@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)))
def test_jaccard_is_that_of_sets(one: set[int], other: set[int]) -> None:
    """Intersection over union, symmetric, 1 for two empty sets."""
    left, right = (np.array(sorted(members), np.uint64) for members in (one, other))
    expected = len(one & other) / len(one | other) if one | other else 1.0
    assert jaccard(left, right) == jaccard(right, left) == expected


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=12), st.randoms())
def test_components_do_not_depend_on_the_order_of_pairs(pairs: list[tuple[int, int]], shuffler: random.Random) -> None:
    """Every document gets the smallest number it is connected to.

    In whatever order and direction pairs come.
    """
    clusters = components(array(pairs), 9)
    shuffled = [tuple(shuffler.sample(pair, 2)) for pair in shuffler.sample(pairs, len(pairs))]
    assert (components(array(shuffled), 9) == clusters).all()  # type: ignore[arg-type]
    assert all(clusters[one] == clusters[other] for one, other in pairs)
    assert all(clusters[cluster] == cluster <= document for document, cluster in enumerate(clusters))
    linked = {document for pair in pairs for document in pair if pair[0] != pair[1]}
    assert all(clusters[document] == document for document in set(range(9)) - linked)


def end_to_end(sets: list[U64]) -> Runs:
    """Sets as `shingle_sets` gives them."""
    return Runs(np.concatenate(sets), np.cumsum([len(members) for members in sets], dtype=np.int64))


@given(st.lists(st.sets(st.integers(0, 6), min_size=1), min_size=2, max_size=8))
def test_skipped_comparisons_change_no_cluster(members: list[set[int]]) -> None:
    """Clusters of the pairs that were compared are those of all pairs.

    What is not 0 is the true similarity.
    """
    sets = [np.array(sorted(each), np.uint64) for each in members]
    pairs = array(list(combinations(range(len(sets)), 2)))
    every = np.array([jaccard(sets[one], sets[other]) for one, other in pairs.tolist()])
    some = joining_similarities(pairs, end_to_end(sets), 0.5)
    assert ((some == every) | (some == 0)).all()
    clusters = [components(pairs[found >= 0.5], len(sets)) for found in (every, some)]
    assert (clusters[0] == clusters[1]).all()


def test_copies_of_one_template_are_compared_once_each() -> None:
    """Of 100 equal sets 99 pairs are compared, not 4,950."""
    sets = end_to_end([np.arange(5, dtype=np.uint64)] * 100)
    assert (joining_similarities(array(list(combinations(range(100), 2))), sets, 0.8) > 0).sum() == 99


def test_a_dropped_document_names_the_first_or_its_link_to_it() -> None:
    """In a chain 0-1-2, 1 names 0, and 2 names 1.

    0 is kept; 1 is the most similar neighbor of 2.
    """
    pairs = array([(0, 1), (1, 2)])
    named = nearest(pairs, np.array([0.8, 0.9]), components(pairs, 3))
    assert named.rows() == [(1, 0, 0.8), (2, 1, 0.9)]


@pytest.mark.parametrize("seed", [0, 1])
def test_planted_near_duplicates_are_found_and_nothing_else(seed: int) -> None:
    """40 slightly changed copies are found, and only they.

    1 % of their words are changed, among 200 texts that share half their phrases.
    """
    stream = random.Random(seed)
    phrases = [" ".join(f"w{stream.randrange(3000)}" for _ in range(10)) for _ in range(400)]
    texts = [" ".join(stream.choice(phrases) for _ in range(20)) for _ in range(200)]
    for text in texts[:40]:
        words = text.split()
        for place in stream.sample(range(len(words)), 2):
            words[place] = "changed"
        texts.append(" ".join(words))
    runs = shingles(word_runs(pl.Series(texts)), 5)
    found_sets = shingle_sets(runs)
    sets = [found_sets.hashes[start:end] for start, end in zip(found_sets.starts, found_sets.ends, strict=True)]
    candidates = candidate_pairs(band_hashes(runs, 20, 7).T, len(texts))
    found = {(one, other) for one, other in candidates.tolist() if jaccard(sets[one], sets[other]) >= 0.8}
    assert found == {(number, 200 + number) for number in range(40)}
