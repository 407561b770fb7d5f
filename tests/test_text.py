"""Cleaning and normalizing texts."""

import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.text import clean_text, normalized_words, without_end_markers

CASES = [
    ("a\r\nb\rc", "a\nb\nc"),
    ("page 1\x0cpage 2", "page 1\npage 2"),
    ("a\x00b\x08c\x7fd\ufeff", "abcd"),
    ("keep\ttabs", "keep\ttabs"),
    ("trailing  \t\nspace", "trailing\nspace"),
    ("a\n\n\nb", "a\n\n\nb"),
    ("a\n\n\n\n\nb", "a\n\n\nb"),
    ("a\n \n \n \n \nb", "a\n\n\nb"),
    ("  both ends \n\n", "both ends"),
    ("cafe\u0301", "caf\u00e9"),
    ("\x0c \r\n", ""),
]


@pytest.mark.parametrize(("text", "cleaned"), CASES)
def test_clean_text_cases(text: str, cleaned: str) -> None:
    """Two blank lines survive and a third does not, whether the lines were empty or only looked so."""
    assert clean_text(pl.Series([text])).to_list() == [cleaned]


@given(st.lists(st.text(max_size=40), max_size=4))
def test_clean_text_twice_is_once(texts: list[str]) -> None:
    """A cleaned text is a fixed point, in NFC, whatever characters and neighbors it had."""
    once = clean_text(pl.Series("text", texts, pl.String))
    assert clean_text(once).to_list() == once.to_list()
    assert all(unicodedata.is_normalized("NFC", text) for text in once)


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("ignore<|endoftext|>", "ignore"),
        ("yes \n<|endoftext|> </s>\n", "yes"),
        ("a <|endoftext|> b", "a <|endoftext|> b"),
        ("<|im_end|>", ""),
    ],
)
def test_end_markers_go_only_at_the_end(text: str, stripped: str) -> None:
    """A marker that something follows is content, and stays."""
    assert without_end_markers(pl.Series([text])).to_list() == [stripped]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Drug-induced (0.5 mg)!", "drug induced 0 5 mg"),
        ("  \n--\t", ""),
        ("\ufb02uorosis", "fluorosis"),
        ("CAFE\u0301 \u03b2-blocker", "caf\u00e9 \u03b2 blocker"),
    ],
)
def test_normalized_words_cases(text: str, words: str) -> None:
    """Case, punctuation, white space and Unicode spelling do not tell two texts apart; digits do."""
    assert normalized_words(pl.Series([text])).to_list() == [words]
