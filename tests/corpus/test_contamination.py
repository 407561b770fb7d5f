"""Benchmark items inside documents."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osler.corpus.contamination import item_index, shared_ngrams
from osler.evaluation.benchmark_formats import SCHEMA

LONG = "a b c d e f g"  # 7 words: five 3-grams
WINDOW = 4


def items(*rows: dict[str, Any]) -> pl.DataFrame:
    """Items with the given texts, named i0, i1, ...

    Question, context, options and answer.
    """
    full = [
        {"item_id": f"i{number}", "benchmark": "quiz", "group": "g", "split": "test", "context": ""} | row
        for number, row in enumerate(rows)
    ]
    return pl.DataFrame([{name: row[name] for name in SCHEMA} for row in full], schema=SCHEMA)


def item(question: str, context: str = "", answer: str = "zzz") -> dict[str, Any]:
    """One item of two options; the second is right."""
    return {"question": question, "context": context, "options": ["wrong", answer], "answer": 1}


def hits(texts: list[str], *rows: dict[str, Any], words: int = 3) -> list[tuple[str, str, str, float]]:
    """doc_id, item_id, rule, covered."""
    documents = pl.DataFrame({"doc_id": [f"d{number}" for number in range(len(texts))], "text": texts})
    found = shared_ngrams(documents, items(*rows), item_index(items(*rows), words, 2), WINDOW)
    return [(row["doc_id"], row["item_id"], row["rule"], row["covered"]) for row in found.iter_rows(named=True)]


@pytest.mark.parametrize(
    ("text", "covered"),
    [
        ("X, A b-c D e? f g y", 1.0),
        ("a b c d", 2 / 5),
        ("a b c x a b c", 1 / 5),
        ("c d e ... a b c", 2 / 5),
        ("a b x c d x e f x g", None),
        ("aa b c d ee f g", 1 / 5),
    ],
)
def test_coverage_is_the_share_of_different_ngrams(text: str, covered: float | None) -> None:
    """Of an item's five 3-grams those in the document count.

    As whole words, once, wherever they stand.
    """
    assert hits([text], item(LONG)) == ([] if covered is None else [("d0", "i0", "ngram", covered)])


def test_a_repeated_ngram_counts_once_in_the_item_too() -> None:
    """An item "x x x x x" has one 3-gram.

    A document with it has all of the item.
    """
    assert hits(["x x x"], item("x x x x x")) == [("d0", "i0", "ngram", 1.0)]


def test_the_larger_share_of_question_and_context_counts() -> None:
    """The question without its long context is a full hit.

    So is the context without the question.
    """
    context = " ".join(f"c{number}" for number in range(50))
    assert hits([LONG], item(LONG, context)) == [("d0", "i0", "ngram", 1.0)]
    assert hits([context], item(LONG, context)) == [("d0", "i0", "ngram", 1.0)]
    assert hits([f"{LONG} c0 c1 c2"], item(LONG, context)) == [("d0", "i0", "ngram", 1.0)]
    assert hits([f"a b c {context}"], item(LONG, context)) == [("d0", "i0", "ngram", 1.0)]
    assert hits(["f g c0 c1"], item(LONG, context)) == []


def test_an_item_is_not_split_over_documents() -> None:
    """One document's end and the next one's start are no n-gram."""
    assert hits(["a b", "c d", ""], item(LONG)) == []


def test_a_hit_belongs_to_its_document_and_item() -> None:
    """Two items that share an n-gram are both reported.

    Each with its own share; clean documents are not.
    """
    found = hits(["clean", "a b c", "clean", "a b c d"], item("a b c d"), item("a b c"))
    ngram = [
        ("d1", "i0", "ngram", 0.5),
        ("d1", "i1", "ngram", 1.0),
        ("d3", "i0", "ngram", 1.0),
        ("d3", "i1", "ngram", 1.0),
    ]
    assert found == ngram


@pytest.mark.parametrize(
    ("text", "is_hit"),
    [
        ("Which drug? Foo bar.", True),
        ("foo BAR: which drug", True),
        ("which drug x x foo bar", True),
        ("which drug x x x foo bar", False),
        ("foo bar x x which drug", True),
        ("foo bar x x x which drug", False),
        ("which drug foo x bar", False),
        ("which drugs foo bar", False),
        ("which drug food bar", False),
        ("which drug", False),
        ("foo bar", False),
        ("which drug x x x x x x x which drug foo bar", True),
    ],
)
def test_a_short_question_counts_with_its_whole_answer_close_by(text: str, is_hit: bool) -> None:
    """Question and answer count as whole runs, close together.

    The answer is within 4 words before or after; every occurrence is looked at.
    """
    expected = [("d0", "i0", "question_and_answer", 1.0)] if is_hit else []
    assert hits([text], item("Which drug?", answer="Foo-bar")) == expected


def test_an_answer_inside_the_question_is_not_the_answer() -> None:
    """Repeating "Is it foo" does not answer it with "foo"."""
    assert hits(["is it foo x"], item("is it foo", answer="foo"), words=9) == []


def test_an_answer_in_the_next_document_does_not_count() -> None:
    """The window ends where the document does, before and after."""
    assert hits(["which drug", "foo bar", "which drug"], item("which drug", answer="foo bar")) == []
    assert hits(["foo bar which", "drug foo bar"], item("which drug", answer="foo bar")) == []


def test_one_question_of_two_items_counts_for_the_item_whose_answer_is_there() -> None:
    """ "Which is true" is many questions; the answer tells which."""
    found = hits(
        ["which is true foo"], item("which is true", answer="bar"), item("which is true", answer="foo"), words=9
    )
    assert found == [("d0", "i1", "question_and_answer", 1.0)]


def test_answers_without_words_are_never_found() -> None:
    """An option "+++" has no words and stands beside no question."""
    assert hits(["which drug"], item("which drug", answer="+++")) == []


def test_a_short_question_may_have_a_long_context() -> None:
    """Then both rules look, and may both find."""
    found = hits([f"{LONG} which drug foo"], item("which drug", LONG, "foo"))
    assert [(rule, covered) for _, _, rule, covered in found] == [("ngram", 1.0), ("question_and_answer", 1.0)]


def numbered(start: int, end: int) -> list[str]:
    """Different words."""
    return [f"w{number}" for number in range(start, end)]


def measured(text: str, row: dict[str, Any], words: int = 5) -> list[tuple[str, float, float, int]]:
    """rule, covered, shingles (of two words), run_words."""
    documents = pl.DataFrame({"doc_id": ["d"], "text": [text]})
    found = shared_ngrams(documents, items(row), item_index(items(row), words, 2), WINDOW)
    return found.select("rule", "covered", "shingles", "run_words").rows()


@pytest.mark.parametrize(
    ("text", "is_hit"),
    [
        (f"{' '.join(numbered(3, 8))} a b Foo-bar", True),
        (f"foo bar x x {' '.join(numbered(3, 8))}", True),
        (f"{' '.join(numbered(3, 9))} x x foo bar", True),
        (f"{' '.join(numbered(3, 8))} a b c foo bar", False),
        (f"{' '.join(numbered(3, 7))} foo bar", False),
        ("foo bar", False),
        (f"{' '.join(numbered(3, 8))} foo x bar", False),
    ],
)
def test_a_short_target_counts_with_words_of_its_source_close_by(text: str, is_hit: bool) -> None:
    """A target under n words stands whole within four words of a run of its source."""
    rules = [rule for rule, *_ in measured(text, item(" ".join(numbered(0, 40)), context="foo bar"))]
    assert ("target_and_source" in rules) == is_hit


def test_a_target_inside_the_run_of_its_source_is_not_the_target() -> None:
    """An excerpt of the source alone does not answer it."""
    source = " ".join(numbered(0, 40))
    assert [rule for rule, *_ in measured(" ".join(numbered(5, 15)), item(source, context="w8 w9"))] == ["ngram"]


def test_an_answer_longer_than_the_window_is_found() -> None:
    """The window has room for the answer itself, and no more."""
    answer = " ".join(numbered(0, WINDOW + 3))
    assert len(hits([f"which drug {answer}"], item("which drug", answer=answer))) == 1
    assert hits([f"which drug x {answer}"], item("which drug", answer=answer)) == []


def test_an_edited_copy_has_more_of_its_shingles_than_of_its_ngrams() -> None:
    """Each fourth word is another: of 5-grams one is left, of pairs more than half.

    The same words far apart are no copy, and an order of two halves changes little.
    """
    words = numbered(0, 41)
    edited = [word if number % 4 or number == 8 else "x" for number, word in enumerate(words)]
    assert measured(" ".join(edited), item(" ".join(words))) == [("ngram", 3 / 37, 22 / 40, 7)]
    far = f"{' '.join(edited[:20])} {'y ' * 200} {' '.join(edited[20:])}"
    assert measured(far, item(" ".join(words))) == [("ngram", 3 / 37, 12 / 40, 7)]
    swapped = " ".join(words[20:] + words[:20])
    assert measured(f"z {swapped}", item(" ".join(words))) == [("ngram", 33 / 37, 39 / 40, 21)]


WORDS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=8).map(" ".join)


def slow(text: str, question: str, words: int) -> float:
    """Coverage with sets of tuples."""
    asked, read = (
        {tuple(tokens[start : start + words]) for start in range(len(tokens) - words + 1)}
        for tokens in (question.split(), text.split())
    )
    return len(asked & read) / len(asked) if asked else 0.0


@given(st.lists(WORDS, min_size=1, max_size=4), st.lists(WORDS, min_size=1, max_size=4))
def test_hits_are_those_of_the_slow_way(texts: list[str], questions: list[str]) -> None:
    """Every document and question against each other.

    In order of document and item.
    """
    expected = [
        (f"d{number}", f"i{which}", "ngram", covered)
        for number, text in enumerate(texts)
        for which, question in enumerate(questions)
        if (covered := slow(text, question, 3)) > 0
    ]
    assert hits(texts, *map(item, questions)) == expected
