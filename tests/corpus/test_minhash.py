"""MinHash signatures and bands."""

import numpy as np
import pytest

from osler.corpus.minhash import band_hashes, permutations, signatures
from osler.corpus.word_hashes import U64, Runs, mixed


def documents(sets: list[U64]) -> Runs:
    """Sets of shingles as documents end to end."""
    return Runs(np.concatenate(sets), np.cumsum([len(members) for members in sets], dtype=np.int64))


def pairs_of_similarity(jaccard: float, pairs: int, size: int = 300) -> Runs:
    """Documents 2i and 2i + 1 have a Jaccard similarity of `jaccard`.

    Of their union of `size` shingles; they share nothing with others.
    """
    values = mixed(np.arange(pairs * size, dtype=np.uint64)).reshape(pairs, size)
    shared = round(jaccard * size)
    half = (size + shared) // 2
    return documents([part for row in values for part in (row[:half], row[half - shared :])])


@pytest.mark.parametrize("jaccard", [0.2, 0.5, 0.8, 0.95])
def test_share_of_equal_rows_estimates_jaccard(jaccard: float) -> None:
    """Two signatures agree in a share J of their rows.

    Within the sampling error of 100 pairs of 140 rows.
    """
    rows = signatures(pairs_of_similarity(jaccard, 100), 140)
    assert abs((rows[0::2] == rows[1::2]).mean() - jaccard) < 0.02


@pytest.mark.parametrize(("jaccard", "least", "most"), [(0.3, 0.0, 0.03), (0.5, 0.08, 0.22), (0.8, 0.97, 1.0)])
def test_pairs_meet_in_a_band_as_often_as_the_formula_says(jaccard: float, least: float, most: float) -> None:
    """1 - (1 - J^7)^20 of the pairs become candidates.

    With 20 bands of 7 rows.
    """
    bands = band_hashes(pairs_of_similarity(jaccard, 500), 20, 7)
    met = (bands[0::2] == bands[1::2]).any(axis=1).mean()
    assert least <= met <= most


def test_order_and_repetition_of_shingles_do_not_matter() -> None:
    """A signature is one of a set."""
    values = mixed(np.arange(50, dtype=np.uint64))
    bands = band_hashes(documents([values, values[::-1], np.concatenate([values, values[:20]])]), 4, 3)
    assert (bands == bands[0]).all()


def test_a_signature_does_not_depend_on_the_neighbors() -> None:
    """Among others a document has the signature it has alone.

    The others are short and long.
    """
    sets = [mixed(np.arange(start, start + size, dtype=np.uint64)) for start, size in ((0, 3), (9, 40000))]
    sets += [mixed(np.arange(start, start + 20000, dtype=np.uint64)) for start in range(0, 90000, 30000)]
    together = signatures(documents(sets), 5)
    alone = np.concatenate([signatures(documents([members]), 5) for members in sets])
    assert (together == alone).all()


def test_no_shingle_is_the_smallest_everywhere() -> None:
    """Zero maps to the offset.

    Without one it would be every document's minimum and all documents alike.
    """
    others = mixed(np.arange(1, 40, dtype=np.uint64))
    rows = signatures(documents([np.append(others, np.uint64(0)), others]), 140)
    assert 0.9 < (rows[0] == rows[1]).mean() < 1


def test_permutations_differ_and_lose_nothing() -> None:
    """Every multiplier is odd, and no two permutations are the same.

    So each is a bijection modulo 2^32.
    """
    multipliers, offsets = permutations(140)
    assert (multipliers % 2 == 1).all()
    assert len(set(zip(multipliers.tolist(), offsets.tolist(), strict=True))) == 140
