"""Recall and false alarms of the detector of identifiers, as measured.

Tuned on seed 1 of the planter over notes that are not labeled for reporting, and on the labels at even positions; reported
here on seed 3 and on the labels at odd positions.
"""

import math

import polars as pl
import pytest

from osler.privacy.detector import identifiers_of
from osler.privacy.planter import planted
from osler.privacy.recall import exact_interval, false_alarms, is_covered, recall_by_class
from osler.privacy.spans import Span
from tests.support.phi_labels import MTSAMPLES, labels, mtsamples
from tests.support.project import SHARED

REPORTING_SEED = 3
PER_DOCUMENT = 9
NOTES = 600

REAL = pytest.mark.skipif(not (SHARED / MTSAMPLES).exists(), reason="the real notes are not here")

INVENTED = [
    "HISTORY:\nThe patient is a 54-year-old woman with two days of cough. She denies fever or chills. Blood pressure is 120/80."
    "\n\nEXAM:\nLungs are clear. Strength is 5/5 throughout. A Foley catheter is in place.\n\nPLAN:\nRest is advised.",
    "PREOPERATIVE DIAGNOSIS: Hernia.\nThe skin was opened with a #10 blade. A Kelly clamp was placed on the sac."
    " The wound was closed with 3-0 Vicryl sutures. Sponge counts were correct.\nThe patient went to recovery in stable condition.",
    "SUBJECTIVE:\nHe reports pain of 4/10 in the left knee. It began three weeks ago after a fall. He takes ibuprofen 600 mg daily."
    "\n\nASSESSMENT:\nSprain of the knee. He will use ice for two weeks and return in a month.",
]


def shown(table: pl.DataFrame) -> str:
    """The table as one line a class."""
    return "\n".join(
        f"{kind:10} {found:5} of {planted:5}  {recall:.3f} [{low:.3f}, {high:.3f}]"
        for kind, planted, found, recall, low, high in table.iter_rows()
    )


def overall(table: pl.DataFrame) -> float:
    return float(table.filter(pl.col("kind") == "all")["recall"][0])


def test_recall_on_planted_invented_notes() -> None:
    """Of identifiers planted in invented notes 95 in 100 are found.

    The notes were written for this test.
    """
    notes, spans = planted(INVENTED * 60, REPORTING_SEED, PER_DOCUMENT)
    table = recall_by_class(spans, identifiers_of(notes))
    print(shown(table))
    assert overall(table) >= 0.95


@REAL
def test_recall_on_planted_real_notes(capsys: pytest.CaptureFixture[str]) -> None:
    """Of identifiers planted in real notes 95 in 100 are found.

    9 of 10 in any class, with a seed not used to tune.
    """
    notes, spans = planted(mtsamples()[-NOTES:], REPORTING_SEED, PER_DOCUMENT)
    table = recall_by_class(spans, identifiers_of(notes))
    with capsys.disabled():
        print(f"\n{shown(table)}")
    assert overall(table) >= 0.95
    assert float(table["recall"].min() or 0) >= 0.9  # type: ignore[arg-type]


@REAL
def test_recall_and_false_alarms_on_labels_not_used_to_tune(capsys: pytest.CaptureFixture[str]) -> None:
    """On real identifiers of notes that no rule was tried on.

    Most are found, and hardly anything else is.
    """
    held_out = labels()[1::2]
    texts, true = [label.text for label in held_out], [label.spans for label in held_out]
    found = identifiers_of(texts)
    table, alarms = recall_by_class(true, found), false_alarms(texts, true, found)
    with capsys.disabled():
        print(
            f"\n{shown(table)}\nprecision {alarms.precision:.3f} of {alarms.found} spans, {alarms.per_thousand_words:.2f} false"
            f" spans and {1000 * alarms.false_characters / alarms.words:.2f} false characters per 1,000 of {alarms.words} words"
        )
    assert overall(table) >= 0.9
    assert alarms.precision >= 0.9


def test_the_exact_interval_is_that_of_the_binomial() -> None:
    """Of 10 of 10 hits, by its meaning.

    The lower bound is the share at which all ten are hit once in 40 times; none of none says nothing.
    """
    low, high = exact_interval(10, 10, 0.95)
    assert (round(low**10, 6), high) == (0.025, 1.0)
    assert exact_interval(0, 0, 0.95) == (0.0, 1.0)
    assert math.isclose(exact_interval(3, 10, 0.95)[0], 1 - exact_interval(7, 10, 0.95)[1])


@pytest.mark.parametrize(
    ("found", "is_found"),
    [
        ([(2, 8)], True),
        ([(0, 20)], True),
        ([(2, 5), (5, 8)], True),
        ([(2, 5), (6, 8)], False),
        ([(3, 8)], False),
        ([(2, 7)], False),
        ([], False),
    ],
)
def test_an_identifier_is_found_when_all_its_characters_are(found: list[tuple[int, int]], is_found: bool) -> None:
    """Two spans may share the work.

    One character left over is an identifier left over. The class does not count.
    """
    assert is_covered(Span(2, 8, "name"), [Span(*span, "place") for span in found]) == is_found


def test_recall_has_a_row_for_each_planted_class_and_for_all() -> None:
    """One of two names and no date are found.

    1/2, 0/1, and 1/3 of all.
    """
    table = recall_by_class(
        [[Span(0, 2, "name"), Span(4, 6, "name")], [Span(0, 3, "date")]], [[Span(0, 2, "other")], []]
    )
    assert table.select("kind", "planted", "found").rows() == [("name", 2, 1), ("date", 1, 0), ("all", 3, 1)]


def test_a_false_alarm_touches_no_label() -> None:
    """A span too long is no false alarm.

    But its spare characters count.
    """
    alarms = false_alarms(["one two three"], [[Span(0, 3, "name")]], [[Span(0, 4, "name"), Span(8, 13, "date")]])
    assert (alarms.found, alarms.false, alarms.false_characters, alarms.words) == (2, 1, 6, 3)
    assert (alarms.precision, alarms.per_thousand_words) == (0.5, 1000 / 3)
