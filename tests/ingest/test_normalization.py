"""Cleaning and normalizing texts."""

import time
import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osler.ingest.normalization import CHARACTER_STEPS, LAYOUT_STEPS, UNUSUAL, normalized_texts, without_end_markers


def normalized(text: str) -> str:
    """One text."""
    return str(normalized_texts(pl.Series([text]))[0][0])


CASES = [
    ("a\r\nb\rc", "a\nb\nc"),
    ("page 1\x0cpage 2", "page 1\npage 2"),
    ("a\x00b\x08c\x7fd\ufeff", "abcd"),
    ("soft\u00adly, zero\u200bwidth", "softly, zerowidth"),
    ("5\u00a0mg\u2009b.i.d.", "5 mg b.i.d."),
    ("keep\ttabs", "keep\ttabs"),
    ("trailing  \t\nspace", "trailing\nspace"),
    ("a  b   c\n    indented  code", "a b c\n    indented code"),
    ("a\n\n\nb", "a\n\n\nb"),
    ("a\n\n\n\n\nb", "a\n\n\nb"),
    ("a\n \n \n \n \nb", "a\n\n\nb"),
    ("  both ends \n\n", "both ends"),
    ("cafe\u0301", "caf\u00e9"),
    ("\x0c \r\n", ""),
    ("policy\x97an \x93impression\x94", "policy—an “impression”"),
    ("it\x92s late\x85", "it’s late…"),
    ("a line\x85another", "a line\nanother"),
    ("hole\x81 \x92", "hole ’"),
    ("hole\x81", "hole"),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_normalized_texts_cases(text: str, expected: str) -> None:
    """Two blank lines survive and a third does not.

    Whether the lines were empty or only looked so.
    """
    assert normalized(text) == expected


@given(st.lists(st.text(max_size=40), max_size=4))
def test_normalizing_twice_is_normalizing_once(texts: list[str]) -> None:
    """A normalized text is a fixed point, in NFC.

    Whatever characters and neighbors it had; the input stays as it was.
    """
    given_texts = pl.Series("text", texts, pl.String)
    once, counts = normalized_texts(given_texts)
    assert given_texts.to_list() == texts
    assert normalized_texts(once)[0].to_list() == once.to_list()
    assert all(unicodedata.is_normalized("NFC", text) for text in once)
    assert set(counts.values()) <= set(range(len(texts) + 1))


CLINICAL = [
    "<5 mg",
    "p<0.05 and q>0.1",
    "BP 120/80, HR<60, a<b and c>d",
    "CD4 <200 cells & CD8 >100",
    "<name> called <b, c> at <time>",
    "R&D; AT&T; Q&A",
    "if x<a and y>b",
    "x <- 5; y -> z",
    "IL-6 <i 5> >",
]


@pytest.mark.parametrize("text", CLINICAL)
def test_comparisons_and_placeholders_are_no_markup(text: str) -> None:
    """What only looks like a tag or an entity stays.

    Every character of it.
    """
    assert normalized(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>One.</p><p>Two<br/>three</p>", "One.\n\nTwo\nthree"),
        ("a <b>bold</b> <a href='x?y=1'>link</a>", "a bold link"),
        ("dose &lt;5&nbsp;mg &amp; p&lt;0.05", "dose <5 mg & p<0.05"),
        ("&#946;-blocker, caf&eacute;, e&#769;, &unknown;", "\u03b2-blocker, caf\u00e9, \u00e9, &unknown;"),
        ("&amp;lt;br&amp;gt; twice", "twice"),
        ("one<script src=a>if (a<b) x()</script> two<!-- no -->", "one two"),
        ("<td>1</td><td>2</td>", "1 2"),
        ("&#7;a&#x200B;b", "ab"),
    ],
)
def test_markup_that_is_left_over_goes(text: str, expected: str) -> None:
    """Tags of HTML go and what they hold stays.

    Entities are what they stand for, also when escaped twice.
    """
    assert normalized(text) == expected


@pytest.mark.parametrize("text", ["```\n<b>x</b> &amp;\n```", "<!DOCTYPE html><p>a</p>", "<html><p>a</p></html>"])
def test_markup_on_purpose_stays(text: str) -> None:
    """A page or code that a text shows is its content.

    A step can also be left out by name.
    """
    assert normalized(text) == text
    left = normalized_texts(pl.Series(["<p>a</p>"]), without=["markup"])
    assert left[0].to_list() == ["<p>a</p>"]
    assert "markup" not in left[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a pla-\ncebo; placebo", "a placebo; placebo"),
        ("retino-\npathy", "retinopathy"),
        ("double-\nblind, a double-blind trial", "double-blind, a double-blind trial"),
        ("antibody-\nnegative, an antibody test", "antibody-negative, an antibody test"),
        ("retino- \npathy", "retinopathy"),
        ("2010-\n2012, A-\nB, - \na", "2010-\n2012, A-\nB, -\na"),
        ("well-\n\nnext", "well-\n\nnext"),
    ],
)
def test_a_divided_word_is_one_and_a_divided_compound_keeps_its_hyphen(text: str, expected: str) -> None:
    """The text itself tells which of the two it is.

    Numbers, capitals and paragraphs are not joined.
    """
    assert normalized(text) == expected


def test_lines_that_most_pages_share_are_furniture() -> None:
    """Head and page number go, also "Page 3 of 4".

    A number that does not count the pages, and a line within, stay.
    """
    pages = [
        f"HEAD OF ALL\nfirst {word}\na\nb\nHEAD OF ALL\nc\nd\n7\nPage {n} of 4" for n, word in enumerate("wxyz", 1)
    ]
    inside = "a\nb\nHEAD OF ALL\nc\nd\n7"
    assert normalized("\f".join(pages)) == "\n".join(f"first {word}\n{inside}" for word in "wxyz")
    assert normalized("\f".join(pages[:2])).count("Page") == 2
    assert normalized("\n".join(pages)).count("Page") == 4


@pytest.mark.parametrize(
    "text",
    ["<script>" * 20000, "<!--" * 50000, "&amp;" + "amp;" * 50000, "ab-\n" * 50000, "<a " * 50000, "\f1\n" * 50000],
)
def test_no_text_takes_long(text: str) -> None:
    """200,000 characters cost seconds at most.

    Also where a backtracking search would cost the square of the length.
    """
    started = time.process_time()
    normalized(text)
    assert time.process_time() - started < 10


def test_a_line_on_half_of_the_pages_is_no_furniture() -> None:
    """More than half have to have it."""
    pages = [f"{'SAME LINE' if n % 2 else f'other {word}'}\n{word}" for n, word in enumerate("uvwxyz")]
    assert normalized("\f".join(pages)).count("SAME LINE") == 3
    assert normalized("\f".join(pages[1:])).count("SAME LINE") == 0


def test_each_step_counts_the_texts_it_changed() -> None:
    """A text that two steps change counts in both.

    One that none changes counts in none.
    """
    counts = normalized_texts(pl.Series(["a\r\n<b>b</b>", "c\r\nd", "e  f", "clean <5 mg"]))[1]
    assert {name: count for name, count in counts.items() if count} == {"line_ends": 2, "markup": 1, "white_space": 1}
    assert list(counts) == [name for name, _, _ in CHARACTER_STEPS + LAYOUT_STEPS]


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


@given(st.text(max_size=5))
def test_a_text_without_unusual_characters_is_changed_by_no_step_of_characters(text: str) -> None:
    """A text that is spared a step would not change by it.

    The search spares most texts.
    """
    if pl.Series([text]).str.contains(UNUSUAL).any():
        return
    assert all(change(pl.Series([text])).to_list() == [text] for _, _, change in CHARACTER_STEPS)
