"""Identifiers planted in notes."""

import pytest

from osler.privacy.planter import FRAGMENTS, MASKS, SENTENCES, planted
from osler.privacy.spans import KINDS, Span, disjoint

NOTE = (
    "HISTORY:\nThe patient has had a cough for two days.  It is worse at night.\n\nPLAN:\nRest and fluids were advised."
)


@pytest.mark.parametrize("texts", [[NOTE] * 20, ["no place for a sentence"], [""]])
def test_a_note_keeps_all_its_characters_in_order(texts: list[str]) -> None:
    """Planting adds and never takes away.

    The note is left when characters that were added are skipped.
    """
    notes, _ = planted(texts, seed=3, per_document=19)
    for text, note in zip(texts, notes, strict=True):
        rest = iter(note)
        assert all(character in rest for character in text)


def test_every_class_takes_its_turn() -> None:
    """19 carriers are one of each class, whatever the seed.

    In each of 19 documents.
    """
    _, spans = planted([NOTE] * 19, seed=1, per_document=19)
    assert all({span.kind for span in found} == set(KINDS) for found in spans)


def test_spans_are_in_order_and_hold_an_identifier_without_its_label() -> None:
    """No span is empty, ends in white space or overlaps another.

    Nor does one start with white space; titles and labels stand outside.
    """
    notes, spans = planted([NOTE] * 40, seed=2, per_document=9)
    for note, found in zip(notes, spans, strict=True):
        assert found == disjoint(found)
        for span in found:
            identifier = note[span.start : span.end]
            assert identifier
            assert identifier == identifier.strip()
            assert not identifier.startswith(("Dr.", "Mrs.", "MRN", "SSN", "Fax"))
    ages = [note[s.start : s.end] for note, found in zip(notes, spans, strict=True) for s in found if s.kind == "age"]
    assert {int(age) > 89 for age in ages if age.isdigit()} == {True}


def test_planting_depends_on_seed_and_position_only() -> None:
    """Twice the same.

    The first document does not change with what follows it; another seed gives other identifiers.
    """
    once = planted([NOTE] * 5, seed=5, per_document=9)
    assert planted([NOTE] * 5, seed=5, per_document=9) == once
    alone = planted([NOTE], seed=5, per_document=9)
    assert (alone[0][0], alone[1][0]) == (once[0][0], once[1][0])
    assert planted([NOTE], seed=6, per_document=9)[0] != alone[0]


def test_every_class_has_a_sentence_and_a_phrase() -> None:
    """A class without carriers would be silently absent from recall."""
    assert set(SENTENCES) == set(FRAGMENTS) == set(KINDS)
    assert set(MASKS) <= set(KINDS)


def test_of_overlapping_spans_one_is_left_that_covers_both() -> None:
    """A name inside an address is part of it.

    Spans that only touch stay two.
    """
    assert disjoint([Span(3, 5, "name"), Span(0, 4, "place"), Span(5, 6, "date")]) == [
        Span(0, 5, "place"),
        Span(5, 6, "date"),
    ]
