"""What a source is.

Its section, its templates, and what they make of a record.
"""

from typing import Any

import pytest
from pydantic import ValidationError

from osler.ingest.faults import Fault
from osler.ingest.fields import Template, has_field
from osler.ingest.source import contents
from tests.ingest.test_records import section

TURNS = [{"role": "user", "text": "{q}"}, {"role": "assistant", "text": "{a}"}]


@pytest.mark.parametrize(
    ("field", "present"),
    [("a", True), ("n", True), ("b.c", True), ("b.l.0", True), ("b.l.1", False), ("b.x", False), ("x", False)],
)
def test_a_field_is_there_though_it_is_null(field: str, present: bool) -> None:
    """A name or path in the row counts, whatever stands there.

    A path ends in a key or a position.
    """
    assert has_field({"a": 1, "n": None, "b": {"c": None, "l": [None]}}, field) == present


@pytest.mark.parametrize("text", ["{a.b}x{c}", "{a}{a}", "{{{a}}}"])
def test_a_template_takes_names_as_they_are(text: str) -> None:
    """A dot is part of a column's name, and reaches into nothing."""
    record = {"a": 1, "a.b": "dotted", "c": True}
    assert Template(text).rendered(record) == {"{a.b}x{c}": "dottedxtrue", "{a}{a}": "11", "{{{a}}}": "{1}"}[text]


def test_a_name_with_dots_reaches_into_what_is_nested() -> None:
    """Keys and list positions.

    A step that leads nowhere is a missing value, as null is.
    """
    record = {"a": {"b": [{"c": "deep"}, None]}}
    assert Template("{a.b.0.c}").rendered(record) == "deep"
    for nowhere in ("{a.b.1}", "{a.b.2.c}", "{a.b.-1.c}", "{a.b.c}", "{a.x.y}", "{a.b.0.c.d}"):
        missing = Template(nowhere).rendered(record)
        assert isinstance(missing, Fault), nowhere
        assert missing.reason == "missing_field"


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"i": "Do", "x": "this"}, "Do this"),
        ({"i": "Do", "x": None}, "Do "),
        ({"i": "Do"}, "Do "),
        ({"x": "this"}, None),
    ],
)
def test_an_optional_field_may_be_absent_or_null(record: dict[str, Any], text: str | None) -> None:
    """`{x?}` is then nothing.

    The field beside it is still required, and a list is no text either way.
    """
    rendered = Template("{i} {x?}").rendered(record)
    assert rendered == text if text is not None else isinstance(rendered, Fault)
    assert isinstance(Template("{x?}").rendered({"x": []}), Fault)


def said(*pairs: tuple[str, str], role: str = "role", content: str = "content") -> dict[str, Any]:
    """A record with a list of messages."""
    return {"m": [{role: who, content: what} for who, what in pairs]}


@pytest.mark.parametrize(
    ("record", "turns"),
    [
        (said(("user", "Q"), ("assistant", "A")), [("user", "Q"), ("assistant", "A")]),
        (said(("human", "Q"), ("gpt", "A"), role="from", content="value"), [("user", "Q"), ("assistant", "A")]),
        (said(("system", "S"), ("user", "Q"), ("assistant", "A")), [("user", "S\n\nQ"), ("assistant", "A")]),
        (said(("assistant", "A"), ("user", "Q")), None),
        (said(("user", "Q"), ("user", "Q"), ("assistant", "A")), None),
        (said(("user", "Q"), ("system", "S"), ("assistant", "A")), None),
        (said(("user", "Q"), ("tool", "T")), None),
        (said(("user", "Q")), None),
        (said(), None),
        ({"m": "text"}, None),
        ({"m": ["text"]}, None),
        ({"m": [{"role": "user", "content": 1}, {"role": "assistant", "content": "A"}]}, None),
        ({}, None),
    ],
)
def test_a_list_of_messages_is_a_conversation(record: dict[str, Any], turns: list[tuple[str, str]] | None) -> None:
    """User and assistant in turns, under either convention's names.

    Anything else has no conversation to learn from.
    """
    source = section(collection="instructions", text=None, turns_field="m")
    found = contents(record, source, source.templates)
    assert isinstance(found, Fault) if turns is None else found == turns


def test_a_document_over_the_limit_is_a_fault() -> None:
    """The characters of all turns together count; the limit itself is allowed."""
    source = section(collection="instructions", text=None, turns=TURNS, document_limit_characters=4)
    assert contents({"q": "ab", "a": "cd"}, source, source.templates) == [("user", "ab"), ("assistant", "cd")]
    assert contents({"q": "ab", "a": "cde"}, source, source.templates) == Fault(
        "too_long", "5 characters, more than `document_limit_characters`"
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"text": "no field"},
        {"text": "{a!r}"},
        {"text": "{a[0]}"},
        {"text": "{}"},
        {"text": "{open"},
        {"text": None},
        {"turns": TURNS},
        {"collection": "instructions"},
        {"collection": "instructions", "text": None},
        {"collection": "instructions", "text": None, "turns": []},
        {"collection": "other"},
        {"split": "x"},
        {"text": "{?}"},
        {"turns_field": "m"},
        {"collection": "instructions", "turns_field": "m"},
        {"collection": "instructions", "text": None, "turns": TURNS, "turns_field": "m"},
        {"document_limit_characters": 0},
        {"format": "txt", "date_field": "year"},
        {"format": "txt", "split": "("},
        {"format": "txt", "split": "(a)"},
        {"format": "txt", "text": "{title}"},
        {"format": "jats", "text": "{title} {boddy?}"},
        {"format": "pubmed", "text": "{body}"},
        {"format": "txt", "id": "id"},
        {"tables": "rows"},
        {"format": "pubmed", "text": "{title}", "tables": "none"},
        {"format": "jats", "text": "{body}", "tables": "columns"},
        {"unknown": 1},
    ],
)
def test_an_inconsistent_section_is_rejected(changed: dict[str, Any]) -> None:
    """What a source cannot mean is an error of params.yaml.

    Before any file is opened.
    """
    with pytest.raises(ValidationError):
        section(**changed)


def test_instructions_have_turns() -> None:
    """The fields of all turns are asked of each row.

    So are the id and the license, once.
    """
    source = section(collection="instructions", text=None, turns=TURNS, id="q", license_field="l")
    assert source.fields == ["q", "a", "l"]
