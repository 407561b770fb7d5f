"""Records from XML and HTML.

What becomes of each tag stands in jats.xsl, pubmed.xsl and html.xsl, not in Python.

The parser loads nothing: no entity, no DTD, no network, no file, and libxml2's own limits on depth and size hold. A record
that refers to an entity other than XML's five is a fault, since dropping the reference would silently drop text.
XML streams record by record, so memory is one record. JATS 36 MB/s, PubMed 30, HTML 23 on one core, of which reading marks
(notation.py) is a quarter; JATS with a `translate` for each text node 14. A pattern with `*[...]` is tried on every element.
"""

import re
from collections import Counter
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import BinaryIO

from lxml import etree

from osler.ingest.archives import whole
from osler.ingest.encodings import Mended
from osler.ingest.faults import Fault, Record, Rows, Unreadable
from osler.ingest.lone_bytes import Repair
from osler.ingest.notation import plain
from osler.ingest.pubmed import DELETIONS, deletion, title_as_known
from osler.ingest.retractions import note_retraction
from osler.ingest.selected import selected

STYLESHEETS = {"jats": "jats.xsl", "pubmed": "pubmed.xsl", "html": "html.xsl", "mathml": "notation.xsl"}
MATHML = "http://www.w3.org/1998/Math/MathML"
RECORDS = {"jats": ("article",), "pubmed": ("PubmedArticle", "PubmedBookArticle", *DELETIONS)}
SEVERAL = ("language", "mesh", "publication_types", "retracts")  # values of one field, "; " between them
RARE = {"language", "mesh", "publication_types"}
PAGE_BYTES = 1 << 26

ERRORS = (etree.LxmlError,)

CREATIVE_COMMONS_URL = re.compile(
    r"creativecommons\.org/(?:licen[sc]es/(by(?:-n[cd]|-sa)*)|publicdomain/(zero|mark))(?:/(\d\.\d))?", re.IGNORECASE
)
CREATIVE_COMMONS = re.compile(r"\bCC[ -]?(0|BY(?:[ -](?:N[CD]|SA))*)(?![a-z])(?:[ -]?v?(\d\.\d))?", re.IGNORECASE)
CREATIVE_COMMONS_WORDS = re.compile(
    r"Creative Commons,? Attribution"
    r"([ -]+Non-?Commercial)?([ -]+Share-?Alike)?([ -]+No-?Deriv\w*)?(?:[^.]{0,40}?(\d\.\d))?",
    re.IGNORECASE,
)
PUBLIC_DOMAIN = re.compile(r"Creative Commons (?:CC0|Zero|Public Domain)", re.IGNORECASE)


def license_name(text: str) -> str:
    """The first Creative Commons license that a statement names.

    As SPDX has it ("CC-BY-NC-4.0"); without one, the statement.

    Addresses come before abbreviations and abbreviations before words. A license before a public domain dedication, which
    most often is of the data only. No version in the statement, none in the name.
    """
    names = []
    for terms, domain, version in CREATIVE_COMMONS_URL.findall(text):
        names.append(
            {"zero": f"CC0-{version or '1.0'}", "mark": "PDM-1.0"}.get(domain.lower()) or _spdx(terms, version)
        )
    for terms, version in [] if names else CREATIVE_COMMONS.findall(text):
        names.append(f"CC0-{version or '1.0'}" if terms == "0" else _spdx(terms, version))
    for *terms, version in [] if names else CREATIVE_COMMONS_WORDS.findall(text):
        names.append(
            _spdx(
                "by" + "".join(f"-{code}" for term, code in zip(terms, ("nc", "sa", "nd"), strict=True) if term),
                version,
            )
        )
    names.sort(key=lambda name: name.startswith(("CC0", "PDM")))
    return names[0] if names else "CC0-1.0" if PUBLIC_DOMAIN.search(text) else " ".join(text.split())


def _spdx(terms: str, version: str) -> str:
    return "-".join(["CC", *re.split("[ -]", terms.upper()), *([version] if version else [])])


@cache
def _stylesheet(kind: str, is_whole: bool) -> etree.XSLT:
    tree = etree.parse(Path(__file__).with_name(STYLESHEETS[kind]))
    for switch in tree.iterfind("{*}param[@name='is_whole']"):
        switch.set("select", f"{str(is_whole).lower()}()")
    return etree.XSLT(tree, access_control=etree.XSLTAccessControl.DENY_ALL)  # type: ignore[attr-defined]


def _record(
    element: "etree._Element", kind: str, tables: str | None, counts: Counter[str], is_whole: bool = True
) -> Record:
    sheet = _stylesheet(kind, is_whole)
    found = (sheet(element, tables=etree.XSLT.strparam(tables)) if tables else sheet(element)).getroot()
    fields = {str(field.get("name")): _tidy(plain(field.text or "", counts)) for field in found}
    if kind == "jats":
        fields["license"] = license_name(fields["license"])
    elif kind == "pubmed":
        title_as_known(fields)
    if kind in RECORDS:
        note_retraction(fields)
        for name in SEVERAL:
            if name in fields:
                fields[name] = fields[name].replace("\n", "; ")
    return {name: text for name, text in fields.items() if text}


def _tidy(text: str) -> str:
    """Paragraphs as lines.

    White space is one space, since line ends in markup mean nothing.
    """
    if "\u2029" not in text:
        return " ".join(text.split())
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\u2029"))
    return "\n".join(paragraph for paragraph in paragraphs if paragraph)


def mathml_text(source: str) -> str:
    """A formula of MathML in a text, with marks.

    `source` where it is none.
    """
    prefix = re.match(r"<(\w+):", source)
    declared = f'xmlns:{prefix[1]}="{MATHML}"' if prefix else f'xmlns="{MATHML}"'
    parser = etree.XMLParser(load_dtd=False, no_network=True, resolve_entities=False, huge_tree=False)
    try:
        element = etree.fromstring(f"<div {declared}>{source}</div>", parser)
    except etree.XMLSyntaxError:
        return source
    return str(_stylesheet("mathml", True)(element)).strip()


def xml_rows(
    stream: BinaryIO | Mended,
    kind: str,
    wanted: Collection[str] = (),
    tables: str | None = None,
    counts: Counter[str] | None = None,
) -> Rows:
    """The records of a JATS or PubMed file in UTF-8.

    What it declares to be written in does not count. An empty field is absent. Deletions of PubMed's records stand among
    them in their place.

    Args:
        kind: a key of RECORDS.
        wanted: fields that are used; without any all are read, else those of RARE only if one of them is.
        tables: as `Source.tables`.
        counts: see `plain`.
    """
    is_whole = not wanted or not RARE.isdisjoint(wanted)
    elements = etree.iterparse(
        stream, events=("end",), tag=[f"{{*}}{name}" for name in RECORDS[kind]], load_dtd=False, no_network=True,
        resolve_entities=False, huge_tree=False, recover=False, remove_comments=True, remove_pis=True, encoding="utf-8",
    )  # fmt: skip
    row, counts = 0, Counter[str]() if counts is None else counts
    for row, (_, element) in enumerate(elements, 1):
        entity = next(element.iter(etree.Entity), None)
        if entity is not None:
            yield row, Fault("malformed_row", f"refers to the entity {str(entity.text)[:80]}, which is not read")
        elif kind == "pubmed" and element.tag.endswith(DELETIONS):
            yield row, deletion(element)
        else:
            yield row, _record(element, kind, tables, counts, is_whole)
        while element.getprevious() is not None:
            del element.getparent()[0]
    if not row:
        raise Unreadable("unreadable_file", f"holds no <{RECORDS[kind][0]}>")


def html_rows(
    stream: BinaryIO,
    repair: Repair | None = None,
    select: str | None = None,
    tables: str | None = None,
    counts: Counter[str] | None = None,
) -> Rows:
    """The one record of a page in UTF-8: title and text.

    Args:
        select: of what (osler/ingest/selected.py); None: of the whole page.
        tables: as `Source.tables`.
        counts: see `plain`.
    """
    parser = etree.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True, huge_tree=False)
    content = whole(stream, PAGE_BYTES)
    try:
        content.decode()
    except UnicodeDecodeError as error:
        mended = (repair or Repair()).content(content)
        if mended is None:
            yield 1, Fault("undecodable", f"no UTF-8 at byte {error.start}")
            return
        content = mended
    root = etree.fromstring(content, parser) if content.strip() else None
    if fatal := [entry for entry in parser.error_log if entry.level_name == "FATAL"]:
        raise Unreadable("unreadable_file", f"line {fatal[0].line}: {fatal[0].message}")
    if root is not None and select is not None and (root := selected(root, select)) is None:
        yield 1, Fault("nothing_selected", "`select` matches nothing on the page")
    if root is not None:
        yield 1, _record(root, "html", tables, Counter() if counts is None else counts)
