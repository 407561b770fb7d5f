"""The labels that a detector of identifiers is measured by."""

import pytest

from osler.privacy.spans import KINDS, disjoint
from tests.support.phi_labels import MTSAMPLES, labels
from tests.support.project import SHARED


def test_labels_are_three_hundred_spans_and_no_text() -> None:
    """Offsets in order, apart, of known classes.

    Nothing of a note but its address and hash.
    """
    spans = [span for label in labels() for span in label.spans]
    assert len(spans) >= 300
    assert {span.kind for span in spans} <= set(KINDS)
    assert all(label.spans == disjoint(label.spans) and all(s.start < s.end for s in label.spans) for label in labels())
    assert len({(label.file, label.row) for label in labels()}) == len(labels())


@pytest.mark.skipif(not (SHARED / MTSAMPLES).exists(), reason="the real notes are not here")
def test_the_notes_are_those_that_were_labeled() -> None:
    """A note that changed by one character has another hash.

    Its offsets mean nothing.
    """
    assert all(label.is_as_labeled for label in labels())
    assert all(
        label.text[s.start : s.end].strip() == label.text[s.start : s.end] for label in labels() for s in label.spans
    )
