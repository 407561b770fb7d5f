"""Find identifiers of the Safe Harbor classes in a note, by rules and word lists."""

from collections.abc import Sequence

from stages.lib.privacy.codes import coded
from stages.lib.privacy.spans import Span, disjoint
from stages.lib.privacy.words import worded


def identifiers(text: str) -> list[Span]:
    """Where identifiers stand in one text: in order, none overlapping another."""
    return disjoint([*coded(text), *worded(text)])


def identifiers_of(texts: Sequence[str]) -> list[list[Span]]:
    """`identifiers` of each text."""
    return [identifiers(text) for text in texts]
