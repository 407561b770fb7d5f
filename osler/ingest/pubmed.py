"""What PubMed's files say beside text: versions, deletions, languages.

An update file lists records anew, and takes others back in `DeleteCitation`. Source: pubmed_250101.dtd; the README of
ftp.ncbi.nlm.nih.gov/pubmed/updatefiles.
"""

import re
from dataclasses import dataclass

from lxml import etree

from osler.ingest.faults import Fault

DELETIONS = ("DeleteCitation", "DeleteDocument")
ANY_VERSION = 0
NOT_AVAILABLE = re.compile(r"\[?not available\]?\.?", re.I)


@dataclass(frozen=True)
class Deletion(Fault):
    """Records that the source takes back: no row, and no document.

    `ids` are those of the records, with the version that is meant, or ANY_VERSION.
    """

    ids: tuple[tuple[str, int], ...] = ()


def deletion(element: "etree._Element") -> Deletion:
    """The records that a <DeleteCitation> lists."""
    ids = (((each.text or "").strip(), version_number(each.get("Version"))) for each in element.iter("{*}PMID"))
    return Deletion("deleted_by_source", "a list of deletions", tuple((pmid, version) for pmid, version in ids if pmid))


def version_number(text: str | None) -> int:
    """The number that `text` is, or ANY_VERSION."""
    return int(text) if text and text.isdecimal() and len(text) < 10 else ANY_VERSION


def title_as_known(fields: dict[str, str]) -> None:
    """Make `title` what a reader would call the record.

    A translated title stands in brackets, and `[Not Available].` where only the vernacular one is known.
    """
    title, vernacular = fields.get("title", ""), fields.get("vernacular_title", "")
    if vernacular and NOT_AVAILABLE.fullmatch(title or "not available"):
        fields["title"] = vernacular
    elif title.startswith("[") and (vernacular or "eng" not in (fields.get("language") or "eng").splitlines()):
        inside = title.removesuffix(".").removeprefix("[").removesuffix("]")
        fields["title"] = inside + "." * (title.endswith(".") and not inside.endswith((".", "?", "!")))
