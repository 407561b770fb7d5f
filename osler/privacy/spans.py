"""Where an identifier stands in a text, and of which class.

Source: 45 CFR 164.514(b)(2)(i), (A) to (R).
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

Kind = Literal[
    "name",  # A
    "place",  # B, all smaller than a state, the names of hospitals included
    "date",  # C, but for the year alone
    "age",  # C, over 89
    "phone",  # D
    "fax",  # E
    "email",  # F
    "ssn",  # G
    "record",  # H, medical record number
    "plan",  # I, health plan beneficiary
    "account",  # J
    "license",  # K, certificates too
    "vehicle",  # L, plates too
    "device",  # M
    "url",  # N
    "ip",  # O
    "biometric",  # P
    "photo",  # Q
    "other",  # R, any other number, code or characteristic of one person
]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Span(NamedTuple):
    """Characters `start` to `end` (exclusive): an identifier of class `kind`."""

    start: int
    end: int
    kind: Kind


def word_set(words: str) -> frozenset[str]:
    """The words of a text.

    It is shorter to read than a list of them.
    """
    return frozenset(words.split())


def disjoint(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, none overlapping another.

    Of two that overlap the first, or longer, stays, grown to cover both.
    """
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if kept and span.start < kept[-1].end:
            kept[-1] = kept[-1]._replace(end=max(kept[-1].end, span.end))
        else:
            kept.append(span)
    return kept
