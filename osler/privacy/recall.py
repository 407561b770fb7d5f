"""How much of what was planted, or labeled, a detector finds.

Labels are by hand. And how much else it takes for an identifier.

An identifier is found when every one of its characters is covered, whatever class the detector gave it: a name redacted as
a town is as gone. Recall on planted identifiers is about the planter's phrases; that of labels about real ones.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from scipy import stats

from osler.privacy.spans import KINDS, Span

ALL = "all"


def exact_interval(hits: int, trials: int, confidence: float) -> tuple[float, float]:
    """The Clopper-Pearson interval of a proportion; (0, 1) without trials.

    Source:
        Clopper and Pearson 1934, The use of confidence or fiducial limits illustrated in the case of the binomial.
    """
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, hits, trials - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, trials - hits)) if hits < trials else 1.0
    return low, high


def is_covered(span: Span, by: Sequence[Span]) -> bool:
    """Whether every character of `span` is in one of `by`.

    These are in order, none overlapping another.
    """
    reached = span.start
    for other in by:
        if other.start <= reached < other.end:
            reached = other.end
    return reached >= span.end


def recall_by_class(
    planted: Sequence[Sequence[Span]], found: Sequence[Sequence[Span]], confidence: float = 0.95
) -> pl.DataFrame:
    """Recall of each class and of all, one row each.

    Args:
        planted: the identifiers of each document.
        found: the detector's spans of the same documents.
        confidence: of the intervals.
    Returns:
        Columns kind (class, last row "all"), planted, found (counts), recall, low, high (fractions). Classes that were
        not planted have no row.
    """
    rows = []
    outcome = [(s.kind, is_covered(s, by)) for spans, by in zip(planted, found, strict=True) for s in spans]
    for kind in (*KINDS, ALL):
        hits = [hit for its, hit in outcome if kind in (its, ALL)]
        if hits:
            low, high = exact_interval(sum(hits), len(hits), confidence)
            rows.append((kind, len(hits), sum(hits), sum(hits) / len(hits), low, high))
    return pl.DataFrame(rows, schema=["kind", "planted", "found", "recall", "low", "high"], orient="row")


@dataclass(frozen=True)
class FalseAlarms:
    """What a detector reports in fully labeled notes that touches no label.

    Args:
        found: spans reported.
        false: of these, spans without a character of a label.
        false_characters: characters reported that no label has.
        words: of the notes, separated by white space.
    """

    found: int
    false: int
    false_characters: int
    words: int

    @property
    def precision(self) -> float:
        """Share of the spans reported that touch a label.

        NaN where none is reported.
        """
        return 1 - self.false / self.found if self.found else math.nan

    @property
    def per_thousand_words(self) -> float:
        """False spans."""
        return 1000 * self.false / self.words


def false_alarms(
    texts: Sequence[str], labeled: Sequence[Sequence[Span]], found: Sequence[Sequence[Span]]
) -> FalseAlarms:
    """Compare what was found with labels that are complete."""
    spans = false = characters = 0
    for true, reported in zip(labeled, found, strict=True):
        inside = {index for span in true for index in range(span.start, span.end)}
        for span in reported:
            outside = sum(index not in inside for index in range(span.start, span.end))
            spans += 1
            characters += outside
            false += outside == span.end - span.start
    return FalseAlarms(spans, false, characters, sum(len(text.split()) for text in texts))
