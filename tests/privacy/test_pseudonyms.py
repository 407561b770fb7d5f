"""Ids, file names and dates of documents about patients."""

import pytest

from osler.privacy.pseudonyms import private_date, private_origin, pseudonym
from osler.privacy.spans import Span
from osler.privacy.surrogates import deidentified, shift_days

KEY = b"sixteen bytes or more"


def test_a_pseudonym_is_a_function_of_key_and_id() -> None:
    """The same id twice the same, another id or key another.

    It is 16 hexadecimal digits; without a key it says nothing.
    """
    assert pseudonym(KEY, "MRN-1") == pseudonym(KEY, "MRN-1")
    assert len({pseudonym(KEY, "MRN-1"), pseudonym(KEY, "MRN-2"), pseudonym(KEY * 2, "MRN-1")}) == 3
    assert len(f"{int(pseudonym(KEY, 'MRN-1'), 16):016x}") == len(pseudonym(KEY, "MRN-1")) == 16
    assert pseudonym(b"", "MRN-1") == pseudonym(b"", "MRN-2")


@pytest.mark.parametrize(
    ("origin", "form"),
    [
        ("ward 7/Okafor.jsonl.gz#12", "{ward 7/Okafor.jsonl.gz}.jsonl.gz#12"),
        ("notes.tar!Okafor_1234567.txt#1", "{notes.tar}.tar!{Okafor_1234567.txt}.txt#1"),
        ("note.Okafor#3", "{note.Okafor}#3"),
        ("Okafor#1.txt#3", "{Okafor#1.txt}.txt#3"),
        ("Okafor", "{Okafor}"),
    ],
)
def test_of_an_origin_suffix_and_row_stay(origin: str, form: str) -> None:
    """Each name is replaced whole, its folders too.

    An ending that no format has is part of the name.
    """
    names = [part.split("}")[0] for part in form.split("{")[1:]]
    for name in names:
        form = form.replace(f"{{{name}}}", pseudonym(KEY, name))
    assert private_origin(KEY, origin) == form
    assert "Okafor" not in private_origin(KEY, origin)


@pytest.mark.parametrize("date", ["2021-03-14", "03/14/2021", "March 14, 2021"])
def test_the_date_of_a_document_moves_with_the_dates_in_its_text(date: str) -> None:
    """By the offset of its subject, and the hour goes.

    Where dates are redacted the year stays.
    """
    moved = deidentified(date, [Span(0, len(date), "date")], "surrogate", KEY, "a")
    assert private_date(date, "surrogate", KEY, "a") == private_date(f"{date}T10:30:00", "surrogate", KEY, "a") == moved
    assert moved != date
    assert private_date(date, "redact", b"", "a") == "2021"


@pytest.mark.parametrize(
    ("date", "expected"),
    [("2021", "2021"), ("20210314", "2021"), ("on 14 III 2021", "2021"), ("0001-01-01", None), ("1615680000", None)],
)
def test_of_a_date_that_cannot_be_moved_the_year_is_left(date: str, expected: str | None) -> None:
    """Of a form not known nothing but a year gets through.

    It must be of this century or the last.
    """
    assert private_date(date, "surrogate", KEY, "a") == expected


def test_the_offset_is_of_the_subject() -> None:
    """Two documents' dates move by different numbers of days."""
    assert shift_days(KEY, "a") != shift_days(KEY, "b")
    assert private_date("2021-03-14", "surrogate", KEY, "a") != private_date("2021-03-14", "surrogate", KEY, "b")
