"""Records of any XML, by XPath: `format: xml`.

Where `records` is `//Name`, the file streams: memory is one record and what stands between records. A field may look at the
record, at what is above it, and at what stood before it there; other records are gone. Any other XPath takes the whole file.
"""

import io
import math
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Self

from lxml import etree
from pydantic import Field, model_validator

from osler.build.section import Section
from osler.ingest.archives import whole
from osler.ingest.encodings import Mended
from osler.ingest.faults import Fault, Record, Rows, Unreadable

WHOLE_BYTES = 1 << 28  # of a file that is parsed as a whole
PARSER: dict[str, Any] = {"load_dtd": False, "no_network": True, "resolve_entities": False, "huge_tree": False}
PARSER |= {"remove_comments": True, "remove_pis": True}


RAISED = ("sup", "sub")
BLOCKS = ("p", "br", "li", "div", "tr", "paragraph", "item", "list", "table")


class XmlRecords(Section):
    """The section `xml` of a source."""

    records: str = Field(min_length=1, description="XPath of the records, '//QAPair'")
    fields: dict[str, str] = Field(
        min_length=1, description="field -> XPath from its record, '@pid', 'string(Answer)', '../Focus'"
    )
    namespaces: dict[str, str] = Field(default_factory=dict, description="prefix in these XPaths -> namespace")

    @model_validator(mode="after")
    def _compiles(self) -> Self:
        for name, path in {
            "records": self.records,
            **{f"fields.{name}": path for name, path in self.fields.items()},
        }.items():
            try:
                etree.XPath(path, namespaces=self.namespaces or None)(etree.Element("a"))
            except (etree.XPathError, ValueError, TypeError) as error:
                raise ValueError(f"{name}: {path!r} is no XPath: {error}") from None
        return self

    @property
    def tag(self) -> str | None:
        """The name of the records, where `//Name` is all that tells them."""
        prefix, colon, name = self.records.removeprefix("//").rpartition(":")
        if not self.records.startswith("//") or not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            return None
        return f"{{{self.namespaces[prefix]}}}{name}" if colon else name if not prefix else None


def xml_field_rows(stream: BinaryIO | Mended, xml: XmlRecords) -> Rows:
    """The records of a file, their fields as texts.

    An empty one is absent.
    """
    paths = {name: etree.XPath(path, namespaces=xml.namespaces or None) for name, path in xml.fields.items()}
    row = 0
    for row, element in enumerate(_elements(stream, xml), 1):
        entity = next(element.iter(etree.Entity), None)
        if entity is not None:
            yield row, Fault("malformed_row", f"refers to the entity {str(entity.text)[:80]}, which is not read")
            continue
        try:
            yield row, record_of(element, paths)
        except etree.XPathError as error:
            yield row, Fault("malformed_row", f"an XPath cannot be applied: {error}")
    if not row:
        raise Unreadable("unreadable_file", f"holds nothing that is {xml.records}")


def record_of(element: "etree._Element", paths: Mapping[str, etree.XPath]) -> Record:
    """The fields of an element; several nodes are a line each."""
    fields = {name: _text(path(element)) for name, path in paths.items()}
    return {name: text for name, text in fields.items() if text}


def _text(found: Any) -> str:
    if isinstance(found, list):
        return "\n".join(filter(None, map(_text, found)))
    if isinstance(found, etree._Element):
        return inner_text(found).strip()
    if isinstance(found, bool):
        return str(found).lower()
    if isinstance(found, float):
        return str(int(found)) if found.is_integer() else str(found) if math.isfinite(found) else ""
    return str(found).strip()


def inner_text(element: "etree._Element") -> str:
    """The text of an element, whatever its markup.

    What stands high or low is marked as HTML marks it, for the rule that all formats share; blocks are lines.
    """
    name = etree.QName(element).localname.lower()
    pieces = [str(element.text or "")]
    for child in element:
        pieces += [inner_text(child) if isinstance(child.tag, str) else "", str(child.tail or "")]
    text = "".join(pieces)
    if name in RAISED:
        return f"<{name}>{text}</{name}>"
    return f"\n{text}\n" if name in BLOCKS else text


def _elements(stream: BinaryIO | Mended, xml: XmlRecords) -> Iterator["etree._Element"]:
    if xml.tag is None:
        root = etree.parse(
            io.BytesIO(whole(stream, WHOLE_BYTES)), etree.XMLParser(encoding="utf-8", **PARSER)
        ).getroot()
        found = etree.XPath(xml.records, namespaces=xml.namespaces or None)(root)
        yield from (one for one in found if isinstance(one, etree._Element)) if isinstance(found, list) else ()
        return
    before: etree._Element | None = None
    for _, element in etree.iterparse(stream, events=("end",), tag=xml.tag, recover=False, encoding="utf-8", **PARSER):
        if before is not None and (above := before.getparent()) is not None:
            above.remove(before)
        yield element
        is_inside = next(element.iterancestors(xml.tag), None) is not None  # of a record that is still to come
        before = None if is_inside else element
