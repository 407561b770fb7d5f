"""Word, Excel and PDF files: `format: docx`, `xlsx` and `pdf`.

docx: paragraphs, and tables as rows, in their order; what tracked changes delete is out, what they insert is in; footnotes
and endnotes come last. xlsx: one record a row under the first row that has anything, which names the fields. pdf: the text
layer, form feeds between pages; a file without one is `scanned`. PDFium is native code and reads files that nobody vouches
for, so that it runs in a process of its own, which may take PDF_SECONDS: about 20 ms a file.
"""

import io
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any, BinaryIO

from osler.build.bounded import LimitReached, bounded
from osler.ingest.archives import RATIO, RATIO_FREE_BYTES, whole
from osler.ingest.faults import Fault, Rows, Unreadable

FILE_BYTES = 1 << 28
PDF_SECONDS, PDF_MEGABYTES = 120.0, 2048
CELLS = " | "
WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
SIGNS = (0xA3, 0xB0, 0xB1, 0xB2, 0xB3, 0xB4, 0xB7, 0xB9, 0xBB, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF, 0xD6, 0xA5)
SYMBOLS = dict(  # of the font Symbol, as Adobe encodes it
    zip((*range(0x61, 0x7B), 0x44, 0x57, *SIGNS), "αβχδεφγηιϕκλμνοπθρστυϖωξψζΔΩ≤°±″≥×•≠≈↔←↑→↓√∞", strict=True)
)
FALLBACK = (
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"  # the same once more, for old readers
)
OUT = (
    FALLBACK,
    *(f"{WORD}{name}" for name in ("del", "moveFrom", "instrText", "footnoteReference", "endnoteReference")),
)
HYPHENS = ("\ufffe", "\x02")  # PDFium's marks of a hyphen at a line's end


def _package(stream: BinaryIO) -> io.BytesIO:
    """An office file, which is a zip, once its parts are known not to be too large.

    Raises:
        Unreadable: it is no zip, or holds more than its size allows.
    """
    content = whole(stream, FILE_BYTES)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as parts:
            size = sum(part.file_size for part in parts.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise Unreadable("unreadable_file", f"no office file: {error}") from None
    if size > max(RATIO_FREE_BYTES, RATIO * len(content)):
        raise Unreadable("unreadable_file", f"holds {size} bytes uncompressed, more than {RATIO} times its size")
    return io.BytesIO(content)


def docx_rows(stream: BinaryIO) -> Rows:
    """The one record of a Word file: title and text."""
    import docx

    package = _package(stream)
    try:
        document = docx.Document(package)
        lines = list(_blocks(document.element.body))
        for part in document.part.package.iter_parts():
            if str(part.partname) in ("/word/footnotes.xml", "/word/endnotes.xml"):
                from lxml import etree

                parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
                lines += _blocks(etree.fromstring(part.blob, parser))
        title = document.core_properties.title or ""
    except Exception as error:  # noqa: BLE001 - whatever python-docx does with a damaged file
        raise Unreadable(
            "unreadable_file", f"no Word file: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        ) from None
    text = "\n".join(lines)
    yield 1, ({"title": title} if title.strip() else {}) | {"text": text}


def _blocks(parent: Any) -> Iterator[str]:
    for child in parent:
        if child.tag == f"{WORD}p":
            yield "".join(_words(child))
        elif child.tag == f"{WORD}tr":
            cells = (" ".join(filter(None, _blocks(cell))) for cell in child.iterchildren(f"{WORD}tc"))
            yield CELLS.join(cells)
        elif isinstance(child.tag, str) and child.tag not in OUT:
            yield from _blocks(child)


def _words(element: Any, raised: str = "") -> Iterator[str]:
    """The words of a paragraph; what stands high or low is marked as HTML marks it, for the rule that all formats share."""
    for child in element:
        if child.tag == f"{WORD}t":
            yield f"<{raised}>{child.text}</{raised}>" if raised and child.text else child.text or ""
        elif child.tag in (f"{WORD}tab", f"{WORD}ptab"):
            yield "\t"
        elif child.tag in (f"{WORD}br", f"{WORD}cr"):
            yield "\n"
        elif child.tag == f"{WORD}noBreakHyphen":
            yield "-"
        elif child.tag == f"{WORD}sym":
            yield SYMBOLS.get(int(child.get(f"{WORD}char", "0"), 16) & 0xFF, "\ufffd")
        elif child.tag == f"{MATH}oMath":
            yield "".join(child.itertext()) if not child.findall(f"*[{MATH}e]") else "[formula]"
        elif child.tag == f"{WORD}p":  # of a text box
            yield from ("\n", *_words(child), "\n")
        elif child.find(f"{WORD}rPr/{WORD}vanish") is not None:
            continue
        elif child.tag not in (*OUT, f"{WORD}pPr", f"{WORD}rPr") and isinstance(child.tag, str):
            found = child.find(f"{WORD}rPr/{WORD}vertAlign") if child.tag == f"{WORD}r" else None
            kind = found.get(f"{WORD}val") if found is not None else None
            yield from _words(child, {"superscript": "sup", "subscript": "sub"}.get(kind or "", raised))


def xlsx_rows(stream: BinaryIO, sheet: str | None) -> Rows:
    """The rows of a sheet below its first, which names the fields.

    An empty cell is absent, and so is one with an error such as #N/A; whole numbers have no point.

    Args:
        sheet: its name; None is the only one.
    """
    import python_calamine

    package = _package(stream)
    try:
        book = python_calamine.CalamineWorkbook.from_filelike(package)
        if sheet is None and len(book.sheet_names) != 1:
            raise Unreadable(
                "unreadable_file", f"has the sheets {', '.join(book.sheet_names)[:500]}; name one in `sheet`"
            )
        if sheet is not None and sheet not in book.sheet_names:
            raise Unreadable(
                "unreadable_file", f"has no sheet '{sheet}'; its sheets are {', '.join(book.sheet_names)[:500]}"
            )
        cells = book.get_sheet_by_name(sheet or book.sheet_names[0]).to_python()
    except (python_calamine.CalamineError, OSError, ValueError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable("unreadable_file", f"no Excel file: {' '.join(str(error).split())[:200]}") from None
    filled = [row for row in cells if any(cell not in ("", None) for cell in row)]
    if not filled:
        return
    header = [str(cell).strip() for cell in filled[0]]
    named = [name for name in header if name]
    if len(set(named)) < len(named):
        raise Unreadable("missing_header", f"two columns of the first row have one name: {', '.join(named)[:500]}")
    for number, row in enumerate(filled[1:], 1):
        yield number, {name: _cell(cell) for name, cell in zip(header, row, strict=False) if name}


def _cell(value: Any) -> str | int | float | bool | date | time | datetime | None:
    if value == "":
        return None
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2.0**53 else value


def pdf_rows(stream: BinaryIO) -> Rows:
    """The one record of a PDF.

    Its fields are text, pages, and how many of them are without text.
    """
    content = whole(stream, FILE_BYTES)
    try:
        pages = bounded(pdf_pages, content, seconds=PDF_SECONDS, megabytes=PDF_MEGABYTES)
    except LimitReached as error:
        raise Unreadable("unreadable_file", f"PDFium takes {error} to read it") from None
    if isinstance(pages, str):
        raise Unreadable("unreadable_file", pages)
    without = sum(not page.strip() for page in pages)
    if without == len(pages):
        yield 1, Fault("scanned", f"none of its {len(pages)} pages has a text layer; read it by OCR first")
    else:
        yield 1, {"text": "\f".join(pages), "pages": len(pages), "scanned_pages": without}


def pdf_pages(content: bytes) -> list[str] | str:
    """The text layer of each page.

    Or why there is none to read.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        return "is encrypted" if "assword" in str(error) else f"no PDF: {error}"
    texts = []
    for page in document:
        text = page.get_textpage().get_text_range()
        for hyphen in HYPHENS:
            text = text.replace(f"{hyphen}\r\n", "-\n").replace(hyphen, "-\n")
        texts.append(text.replace("\r\n", "\n"))
    return texts
