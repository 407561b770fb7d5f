"""Documents of health records: `format: fhir` (bulk export) and `format: ccda`.

fhir: ndjson, or a Bundle, of which each resource is a row. A DocumentReference is what is attached to it: text, HTML, PDF or
C-CDA, the first that can be read, since several are forms of one document. A DiagnosticReport is that and its conclusion;
where there is neither, a resource's own narrative. What was entered in error, what lies elsewhere (`url` alone), and
resources of other types are faults, each with its reason.
ccda: a ClinicalDocument: its sections with their titles, table cells apart, and each section by its LOINC code, so that
`{sections.10164-2?}` is the history of present illness.

Of HL7 FHIR R4 (https://hl7.org/fhir/R4/documentreference.html) and of C-CDA R2.1.
"""

import base64
import binascii
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

import orjson
from lxml import etree

from osler.ingest.archives import whole
from osler.ingest.encodings import Mended, utf8_stream
from osler.ingest.faults import Fault, Record, Rows, Unreadable
from osler.ingest.lone_bytes import Repair
from osler.ingest.markup import ERRORS, html_rows
from osler.ingest.office import CELLS, pdf_rows
from osler.ingest.rows import jsonl_rows
from osler.ingest.xml_records import PARSER, RAISED, inner_text

CCDA_BYTES = 1 << 26
CDA = "{urn:hl7-org:v3}"
RESOURCES = ("DocumentReference", "DiagnosticReport")
BLOCKS = ("paragraph", "item", "table", "tr", "caption", "list", "br", "text")


def fhir_rows(stream: io.BufferedReader, repair: Repair) -> Rows:
    """The resources of ndjson, or of Bundles in it, one after another."""
    row = 0
    for _, found in jsonl_rows(stream, repair) if _is_ndjson(stream) else _whole_json(stream):
        entries = _dict(found).get("entry") if _dict(found).get("resourceType") == "Bundle" else None
        if isinstance(entries, list):
            resources = [entry.get("resource") for entry in entries if isinstance(entry, dict)]
        else:
            resources = [found]
        for resource in resources:
            row += 1
            yield row, resource if isinstance(resource, Fault) else fhir_record(resource)


def _is_ndjson(stream: io.BufferedReader) -> bool:
    """Whether lines are JSON of their own.

    The first line of JSON that goes on over lines ends open.
    """
    first, _, _ = stream.peek(1 << 20).lstrip().partition(b"\n")
    return not first.rstrip().endswith((b"{", b"[", b","))


def _whole_json(stream: BinaryIO) -> Rows:
    try:
        yield 1, orjson.loads(whole(stream, 1 << 30))
    except orjson.JSONDecodeError as error:
        raise Unreadable("unreadable_file", f"no JSON: {error}") from None


def fhir_record(resource: Any) -> Record | Fault:
    """A resource as fields: id, type, subject, date, status, title and text."""
    if not isinstance(resource, Mapping):
        return Fault("malformed_row", "no FHIR resource")
    kind = resource.get("resourceType")
    if kind not in RESOURCES:
        return Fault("other_resource", f"a {str(kind)[:40]}, neither a {' nor a '.join(RESOURCES)}")
    if "entered-in-error" in (resource.get("status"), resource.get("docStatus")):
        return Fault("entered_in_error", "its status")
    read = [attached(one) for one in attachments(resource)]  # forms of one document, so that one is enough
    texts = [text for text in read if isinstance(text, str)][:1]
    texts += [str(resource["conclusion"])] if isinstance(resource.get("conclusion"), str) else []
    narrative = _dict(resource.get("text")).get("div")
    if not any(map(str.strip, texts)) and isinstance(narrative, str):
        page = _page(narrative.encode())
        texts = [page] if isinstance(page, str) else []
    if not any(map(str.strip, texts)) and (faults := [fault for fault in read if isinstance(fault, Fault)]):
        return faults[0]
    record = {
        "id": resource.get("id"),
        "type": _concept(resource.get("type" if kind == "DocumentReference" else "code")),
        "subject": _dict(resource.get("subject")).get("reference"),
        "date": resource.get("date") or resource.get("effectiveDateTime") or resource.get("issued"),
        "status": resource.get("status"),
        "title": resource.get("description")
        or next((one.get("title") for one in attachments(resource) if one.get("title")), None),
        "text": "\n\n".join(filter(str.strip, texts)) or None,
    }
    return {name: value for name, value in record.items() if value is not None}


def attachments(resource: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What is attached to a resource."""
    listed = (
        resource.get("content") if resource["resourceType"] == "DocumentReference" else resource.get("presentedForm")
    )
    found = [one.get("attachment", one) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return [one for one in found if isinstance(one, dict)]


def attached(attachment: Mapping[str, Any]) -> str | Fault:
    """The text of an attachment."""
    kind, _, parameters = str(attachment.get("contentType") or "text/plain").lower().partition(";")
    if not isinstance(data := attachment.get("data"), str):
        return Fault("elsewhere", "what is attached lies under a url, and is not here")
    try:
        content = base64.b64decode("".join(data.split()), validate=True)
        match kind.strip():
            case "text/plain":
                return _plain(content, re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", parameters))
            case "text/html" | "application/xhtml+xml":
                return _page(content)
            case "application/pdf":
                return _first(pdf_rows(io.BytesIO(content)))
            case "text/xml" | "application/xml" | "application/hl7-cda+xml" | "application/hl7-sda+xml":
                return _first(ccda_rows(io.BytesIO(content)))
    except (binascii.Error, ValueError):
        return Fault("malformed_row", "an attachment that is no base64")
    except Unreadable as error:
        return error.fault
    except ERRORS:
        return Fault("malformed_row", "an attachment that is no XML")
    return Fault("not_text", f"an attachment of type {kind[:60]!r}")


def _plain(content: bytes, charset: "re.Match[str] | None") -> str:
    """A text, by the charset that its type declares where it can be read so."""
    if charset and charset[1] not in ("ascii", "us-ascii", "utf-8"):
        with suppress(UnicodeDecodeError, LookupError):
            content = content.decode(charset[1]).encode()
    stream, _ = utf8_stream(io.BufferedReader(io.BytesIO(content)), False)
    text = stream.read()
    return (Repair().content(text) or text).decode("utf-8", "replace")


def _page(content: bytes) -> str | Fault:
    stream, _ = utf8_stream(io.BufferedReader(io.BytesIO(content)), True)
    return _first(html_rows(stream, Repair(), None))


def _first(rows: Rows) -> str | Fault:
    found = next((record for _, record in rows), Fault("empty", "an attachment without text"))
    return found if isinstance(found, Fault) else str(found.get("text", ""))


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _concept(concept: Any) -> str | None:
    """What a CodeableConcept is called: its text, the display of a coding, or a code."""
    codings = [one for one in _dict(concept).get("coding") or () if isinstance(one, dict)]
    names = [
        _dict(concept).get("text"),
        *(one.get("display") for one in codings),
        *(one.get("code") for one in codings),
    ]
    return next((str(name) for name in names if name), None)


def ccda_rows(stream: BinaryIO | Mended) -> Rows:
    """The one record of a ClinicalDocument.

    Its fields are id, title, date, type, text and sections.
    """
    root = etree.fromstring(whole(stream, CCDA_BYTES), etree.XMLParser(**PARSER))
    if root.tag != f"{CDA}ClinicalDocument":
        raise Unreadable("unreadable_file", f"a <{etree.QName(root).localname}>, not a ClinicalDocument")
    if (entity := next(root.iter(etree.Entity), None)) is not None:
        yield 1, Fault("malformed_row", f"refers to the entity {str(entity.text)[:80]}, which is not read")
        return
    texts, sections = list[str](), dict[str, str]()
    for section in root.iterfind(f"{CDA}component/{CDA}structuredBody//{CDA}section"):
        heading = section.find(f"{CDA}title")
        title = "" if heading is None else " ".join("".join(map(str, heading.itertext())).split())
        narrative = section.find(f"{CDA}text")
        words = "" if narrative is None else "\n".join(lines(narrative))
        if words:
            texts.append(f"{title}\n{words}" if title else words)
            code = section.find(f"{CDA}code")
            known = str(code.get("code") if code is not None and code.get("code") else f"section {len(texts)}")
            sections[known] = f"{sections[known]}\n\n{words}" if known in sections else words
    other = root.find(f"{CDA}component/{CDA}nonXMLBody/{CDA}text")
    if other is not None:
        attachment = {"data": other.text or "", "contentType": other.get("mediaType", "text/plain")}
        text = attached(attachment) if other.get("representation") == "B64" else (other.text or "")
        if isinstance(text, Fault):
            yield 1, text
            return
        texts.append(text)
    fields = {
        "id": "^".join(filter(None, (_attribute(root, "id", name) for name in ("root", "extension")))),
        "title": root.findtext(f"{CDA}title"),
        "date": _attribute(root, "effectiveTime", "value"),
        "type": _attribute(root, "code", "displayName"),
        "text": "\n\n".join(texts),
    }
    yield 1, {name: value for name, value in fields.items() if value} | ({"sections": sections} if sections else {})


def _attribute(root: "etree._Element", name: str, attribute: str) -> str | None:
    element = root.find(f"{CDA}{name}")
    value = None if element is None else element.get(attribute)
    return None if value is None else str(value)


def lines(narrative: "etree._Element") -> Iterator[str]:
    """The lines of a section's narrative.

    The cells of a row stand in one, apart.
    """
    line: list[str] = []

    def walk(element: "etree._Element") -> Iterator[str]:
        name = etree.QName(element).localname
        if name == "tr":
            cells = (" ".join(inner_text(cell).split()) for cell in element)
            yield from flushed()
            yield CELLS.join(cells)
            return
        if name in RAISED:
            line.append(inner_text(element))
            return
        if name in BLOCKS:
            yield from flushed()
        line.append(element.text or "")
        for child in element:
            if isinstance(child.tag, str):
                yield from walk(child)
            line.append(child.tail or "")
        if name in BLOCKS:
            yield from flushed()

    def flushed() -> Iterator[str]:
        words = " ".join("".join(line).split())
        line.clear()
        if words:
            yield words

    yield from walk(narrative)
    yield from flushed()
