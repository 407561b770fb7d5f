"""A part of a note that is to be written out of the rest: the hospital course of a discharge summary.

A heading stands at the beginning of a line, with a colon behind it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from pydantic import Field

from osler.build.section import Section
from osler.evaluation.text_metrics import normalized
from osler.ingest.faults import Fault, Record
from osler.ingest.fields import Template

REST, PART = "osler.rest", "osler.part"
"""Fields that a row gets besides: the note without the part, and the part."""
CAPITALS = r"[A-Z][A-Z0-9 ,/&()'.\-]*"


class NotePart(Section):
    """`part` of a task: which part of its source is the target."""

    heading: str = Field(min_length=1, description="of the part, as it is written: HOSPITAL COURSE")
    until: str | None = Field(
        default=None,
        min_length=1,
        description="heading after it, as it is written; null: the next one in capitals, or the end",
    )

    def cut(self, note: str) -> tuple[str, str] | None:
        """The note without the part, and the part without its heading.

        The first one counts. None where there is no such heading, or nothing is left of one of the two.
        """
        begin = re.search(rf"^[ \t]*{re.escape(self.heading)}[ \t]*:", note, re.MULTILINE)
        if begin is None:
            return None
        following = CAPITALS if self.until is None else re.escape(self.until)
        end = re.compile(rf"^[ \t]*{following}[ \t]*:", re.MULTILINE).search(note, begin.end())
        stop = end.start() if end else len(note)
        rest = "\n\n".join(filter(None, (note[: begin.start()].rstrip(), note[stop:].lstrip())))
        part = note[begin.end() : stop].strip()
        return (rest, part) if normalized(rest) and normalized(part) else None


def parted(
    rows: Iterable[tuple[str, Record]], source: str, part: NotePart, left: Counter[str]
) -> Iterator[tuple[str, Record]]:
    """The rows whose note has the part, with REST and PART.

    Args:
        rows: with where each stands.
        source: template of the note; a row for which it cannot be rendered is passed on as it is.
        part: what is cut out.
        left: counts the rows that are left out, `without the part` or `repeated`: the same words as a note before.
    """
    template, seen = Template(source), set[str]()
    for where, record in rows:
        note = template.rendered(record)
        if isinstance(note, Fault):
            yield where, record
        elif (found := part.cut(note)) is None:
            left["without the part"] += 1
        elif (words := normalized(note)) in seen:
            left["repeated"] += 1
        else:
            seen.add(words)
            yield where, {**record, REST: found[0], PART: found[1]}
