"""Rolling hashes of words."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osler.corpus.word_hashes import (
    inside_documents,
    mixed,
    rolling_hashes,
    run_hashes,
    shingles,
    text_hashes,
    word_runs,
)

DOCUMENTS = st.lists(st.lists(st.sampled_from("abc"), max_size=9).map(" ".join), min_size=1, max_size=6)


def grams(text: str, words: int) -> list[tuple[str, ...]]:
    """The n-grams of one document the slow way.

    All of it where it is shorter.
    """
    tokens = text.split()
    return [tuple(tokens[start : start + words]) for start in range(max(1, len(tokens) - words + 1))]


@given(DOCUMENTS, st.integers(1, 6))
def test_shingles_are_equal_exactly_where_the_words_are(documents: list[str], words: int) -> None:
    """Two shingles are equal if and only if their words are.

    The same words in the same order, in any two documents.
    """
    hashed = shingles(word_runs(pl.Series(documents, dtype=pl.String)), words)
    expected = [gram for document in documents for gram in grams(document, words)]
    assert hashed.lengths.tolist() == [len(grams(document, words)) for document in documents]
    assert len(dict(zip(hashed.hashes.tolist(), expected, strict=True))) == len(set(expected))
    assert len(set(zip(hashed.hashes.tolist(), expected, strict=True))) == len(set(expected))


def test_no_run_crosses_from_one_document_to_the_next() -> None:
    """Of "a b" and "c d e", b-c is no pair.

    Only a-b, c-d and d-e are.
    """
    runs = word_runs(pl.Series(["a b", "", "c d e"]))
    assert inside_documents(runs, 2).tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Drug-induced (0.5 mg)!", "drug induced 0 5 mg"),
        ("  \n--\t", ""),
        ("\ufb02uorosis", "fluorosis"),
        ("CAFE\u0301 \u03b2-blocker", "caf\u00e9 \u03b2 blocker"),
        ("\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03bf\u03c2"),
        ("\ufeffhyper\u00adtension", "hypertension"),
        ("10,000 and 1,234,567", "10000 and 1234567"),
        ("1,2 12,34 1,2345 a,123 ,123", "1 2 12 34 1 2345 a 123 123"),
        ("10^9/L, kg/m^2, ^", "10\u2079 l kg m\u00b2"),
        ("Sj\u00f6gren von Th\u00fcnen \u1f00", "sjogren von thunen \u03b1"),
        ("\u0439 \u304c", "\u0439 \u304c"),
        ("\U0001d400 \U00020000\u2028x \U0001f600y", "a \U00020000 x y"),
    ],
)
def test_words_are_runs_of_letters_marks_and_digits_without_case(text: str, words: str) -> None:
    """Only letters, marks and digits tell two texts apart.

    Case, punctuation, white space and Unicode spelling do not.
    """
    one, other = (word_runs(pl.Series([spelled])) for spelled in (text, words))
    assert one.hashes.tolist() == other.hashes.tolist()
    assert one.lengths.tolist() == [len(words.split())]


@pytest.mark.parametrize(("one", "other"), [("\u0439", "\u0438"), ("\u304c", "\u304b"), ("m2", "m 2"), ("\u00f8", "o")])
def test_what_makes_another_word_is_kept(one: str, other: str) -> None:
    """An accent is a spelling in Latin and Greek, a letter of its own elsewhere."""
    assert word_runs(pl.Series([one])).hashes.tolist() != word_runs(pl.Series([other])).hashes.tolist()


def test_a_run_hash_is_of_all_words_in_their_order() -> None:
    """Texts of the same words are exact duplicates.

    One word more, or two in another order, and they are none.
    """
    texts = ["a b c", "A, b: c", "a c b", "a b", "a b c c", "", "-"]
    hashed = run_hashes(word_runs(pl.Series(texts))).tolist()
    assert hashed[0] == hashed[1]
    assert hashed[5] == hashed[6]
    assert len(set(hashed)) == len(texts) - 2


def test_word_order_matters() -> None:
    """A sum of word hashes would call these two the same."""
    one, other = (rolling_hashes(word_runs(pl.Series([text])).hashes, 3) for text in ("a b c", "c b a"))
    assert one[0] != other[0]


@pytest.mark.parametrize("words", [1, 2, 5])
def test_a_document_without_words_has_one_shingle_of_its_own(words: int) -> None:
    """Documents without words are all alike and like no other."""
    hashed = shingles(word_runs(pl.Series(["...", "a", ""])), words)
    assert hashed.ends.tolist() == [1, 2, 3]
    assert hashed.hashes[0] == hashed.hashes[2] != hashed.hashes[1]


def test_text_hashes_are_xxhash64() -> None:
    """The hash is the published one, so artifacts compare across machines.

    That of "" is ef46db3751d8e999.
    """
    assert text_hashes(pl.Series(["", "a"])).tolist() == [0xEF46DB3751D8E999, 0xD24EC4F1A98C6E5B]


def test_mixed_is_a_bijection_that_spreads_every_bit() -> None:
    """Mixing merges no two values.

    One bit changed in a value changes half of the 64 bits, whichever it is.
    """
    values = np.arange(1 << 12, dtype=np.uint64)
    assert len(np.unique(mixed(values))) == len(values)
    for bit in range(64):
        changed = np.bitwise_count(mixed(values) ^ mixed(values ^ np.uint64(1 << bit)))
        assert 30 < changed.mean() < 34
