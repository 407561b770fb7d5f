"""What stands in for identifiers."""

import datetime
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from osler.privacy.detector import identifiers
from osler.privacy.planter import planted
from osler.privacy.screening import Phi, screened
from osler.privacy.spans import KINDS, Span
from osler.privacy.surrogates import deidentified, shift_days

KEY = b"sixteen bytes or more"
NOTE = "Dr. Okafor saw Mrs. Jane Public on 03/14/2021 and 03/24/2021. Okafor will call (555) 123-4567. MRN 00123456."


def replaced(text: str, action: str = "surrogate", key: bytes = KEY, subject: str = "a") -> str:
    return deidentified(text, identifiers(text), action, key, subject)  # type: ignore[arg-type]


def test_redaction_puts_the_class_in_brackets() -> None:
    """Nothing but the identifiers changes."""
    assert replaced(NOTE, "redact", b"") == (
        "Dr. [NAME] saw Mrs. [NAME] on [DATE] and [DATE]. [NAME] will call [PHONE]. MRN [RECORD]."
    )


def test_a_second_pass_finds_nothing_where_something_was_redacted() -> None:
    """The brackets are no identifiers, in all classes and carriers."""
    notes, _ = planted(["The patient is well. She has no cough.\nRest was advised."] * 100, seed=4, per_document=9)
    for note in notes:
        text = replaced(note, "redact", b"")
        brackets = [match.span() for match in re.finditer(r"\[[A-Z]+\]", text)]
        assert brackets
        assert not [
            span for span in identifiers(text) if any(span.start < end and start < span.end for start, end in brackets)
        ]


def test_the_same_identifier_has_the_same_surrogate() -> None:
    """The same in one document and in another subject's.

    With or without the first name; another key gives another.
    """
    text = replaced(NOTE)
    names = re.findall(r"Dr\. (\w+) saw|\. (\w+) will call", text)
    assert names[0][0] == names[1][1] != "Okafor"
    assert f"Dr. {names[0][0]}" in replaced("Dr. Okafor", subject="b")
    assert replaced("Dr. OKAFOR") == f"Dr. {names[0][0].upper()}"
    assert replaced(NOTE, key=KEY * 2) != text
    assert replaced(NOTE) == text


def test_no_identifier_is_left_and_its_form_stays() -> None:
    """A digit for a digit, a letter for a letter.

    Signs stay where they were.
    """
    text = replaced(NOTE)
    for word in ("Okafor", "Jane", "Public", "03/14/2021", "123-4567", "00123456"):
        assert word not in text
    assert re.fullmatch(
        r"Dr\. \w+ saw Mrs\. \w+ \w+ on \d\d/\d\d/\d{4} and \d\d/\d\d/\d{4}\. \w+ will call \(\d{3}\) \d{3}-\d{4}\. MRN \d{8}\.",
        text,
    )


@given(st.dates(datetime.date(1950, 1, 1), datetime.date(2029, 12, 31)), st.integers(0, 60), st.sampled_from("ab"))
def test_intervals_between_dates_stay(first: datetime.date, days: int, subject: str) -> None:
    """Two dates of a subject move by the same days.

    By 31 to 395 of them, in whatever form.
    """
    second = first + datetime.timedelta(days)
    texts = [first.strftime("%m/%d/%Y"), second.strftime("%B %d, %Y")]
    spans = [[Span(0, len(text), "date")] for text in texts]
    one, two = (deidentified(t, s, "surrogate", KEY, subject) for t, s in zip(texts, spans, strict=True))
    moved = datetime.datetime.strptime(one, "%m/%d/%Y").date()
    assert datetime.datetime.strptime(two, "%B %d, %Y").date() - moved == datetime.timedelta(days)
    assert moved - first == datetime.timedelta(shift_days(KEY, subject))
    assert 31 <= (first - moved).days <= 395


@pytest.mark.parametrize(
    ("date", "pattern"),
    [
        ("3/4/21", r"\d{1,2}/\d{1,2}/\d\d"),
        ("2021-03-14", r"\d{4}-\d\d-\d\d"),
        ("31/12/2020", r"\d\d/\d\d/\d{4}"),
        ("3/14", r"\d{1,2}/\d{1,2}"),
        ("11/92", r"\d{1,2}/9[12]"),
        ("14-MAR-21", r"\d\d-[A-Z]{3}-\d\d"),
        ("March 3rd, 2021", r"[A-Z][a-z]+ \d{1,2}(st|nd|rd|th), 20\d\d"),
        ("the 14th of March", r"the \d{1,2}(st|nd|rd|th) of [A-Z][a-z]+"),
        ("Sunday, March 14, 2021", r"[A-Z][a-z]+day, [A-Z][a-z]+ \d{1,2}, 20\d\d"),
        ("Mar. 14, 2021", r"[A-Z][a-z]{2}\. \d{1,2}, 20\d\d"),
        ("October", r"[A-Z][a-z]+"),
        ("spring of 2007", r"\[DATE\]"),
        ("2/31/2020", r"\[DATE\]"),
    ],
)
def test_a_shifted_date_keeps_its_form(date: str, pattern: str) -> None:
    """What cannot be read as a date is redacted rather than left."""
    shifted = deidentified(date, [Span(0, len(date), "date")], "surrogate", KEY, "a")
    assert shifted != date
    assert re.fullmatch(pattern, shifted)


def test_ages_over_89_become_one_class() -> None:
    """As the rule asks for: 90 or older."""
    assert replaced("a 93-year-old") == replaced("a 101-year-old") == "a 90+-year-old"


def test_surrogates_need_a_key() -> None:
    """Without a secret anyone could try all names; to redact needs none."""
    with pytest.raises(ValueError, match="at least 16"):
        replaced(NOTE, key=b"short")


def phi(**changed: object) -> Phi:
    fields = {
        "action": "redact",
        "detector": "rules",
        "detector_version": None,
        "required": False,
        "minimum_recall": 0.9,
        "classes": KINDS,
        "key_file": None,
        "key_id": None,
    }
    return Phi.model_validate(fields | changed)


def test_a_text_with_an_identifier_is_dropped_where_that_is_asked() -> None:
    """What is left is the counts of its classes.

    A text without identifiers passes.
    """
    assert screened(NOTE, phi(action="drop"), b"", "a") == (None, {"date": 2, "name": 3, "phone": 1, "record": 1})
    assert screened("No cough.", phi(action="drop"), b"", "a") == ("No cough.", Counter())


def test_classes_that_are_not_asked_for_stay() -> None:
    """And what was found is counted by class."""
    clean, counts = screened(NOTE, phi(classes=("date",)), b"", "a")
    assert clean is not None
    assert "Okafor" in clean
    assert "[DATE]" in clean
    assert counts == {"date": 2}


@pytest.mark.parametrize(
    "changed",
    [
        {"action": "surrogate"},
        {"detector": "presidio-analyzer"},
        {"detector_version": "2.2.366 en_core_web_lg-3.8.0"},
        {"key_id": "0123abcd"},
        {"key_file": "/a/key"},
        {"action": "mask"},
        {"classes": ()},
        {"classes": ("name", "name")},
        {"classes": ("names",)},
        {"minimum_recall": 1.5},
    ],
)
def test_an_inconsistent_section_is_rejected(changed: dict[str, object]) -> None:
    """Before any text is read."""
    with pytest.raises(ValidationError):
        phi(**changed)
