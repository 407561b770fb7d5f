"""Word, Excel and PDF files, made here."""

import io
import tarfile
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from osler.build.bounded import LimitReached
from osler.ingest import office
from osler.ingest.faults import Fault, Record, Unreadable
from osler.ingest.records import raw_records
from tests.ingest.test_records import section

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
WORDS = f"""<w:body xmlns:w="{W}">
<w:p><w:r><w:t>Count 50 x 10</w:t></w:r><w:r><w:rPr><w:vertAlign w:val="superscript"/></w:rPr><w:t>9</w:t></w:r>
<w:r><w:t>/L, </w:t></w:r><w:del><w:r><w:delText>12 mg</w:delText></w:r></w:del><w:ins><w:r><w:t>1.2 mg</w:t></w:r></w:ins></w:p>
<w:tbl><w:tr><w:tc><w:p><w:r><w:t>Drug</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>Dose</w:t></w:r></w:p></w:tc></w:tr>
<w:tr><w:tc><w:p><w:r><w:t>Fern tea</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>5 mg</w:t></w:r></w:p></w:tc></w:tr></w:tbl>
<w:sdt><w:sdtContent><w:p><w:hyperlink><w:r><w:t>Plan</w:t></w:r></w:hyperlink><w:r><w:tab/><w:t>rest</w:t></w:r></w:p></w:sdtContent></w:sdt>
</w:body>"""
SHEET = """<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>
<row r="2"><c r="A2" t="str"><v>id</v></c><c r="B2" t="str"><v>note</v></c><c r="C2" t="str"><v>day</v></c></row>
<row r="3"><c r="A3"><v>12</v></c><c r="B3" t="str"><v>No cough.</v></c><c r="C3" s="1"><v>43831</v></c></row>
<row r="5"><c r="A5"><v>1.5</v></c><c r="B5" t="str"><f>A3</f><v>Old value.</v></c></row>
<row r="6"><c r="A6"><v>13</v></c><c r="B6" t="e"><v>#N/A</v></c></row></sheetData></worksheet>"""
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def docx(path: Path) -> Path:
    """A Word file with WORDS in it."""
    import docx as library
    from lxml import etree

    document = library.Document()
    document.core_properties.title = "Letter"
    body = document.element.body
    for child in list(body):
        body.remove(child)
    body.extend(etree.fromstring(WORDS))
    document.save(str(path))
    return path


def xlsx(path: Path, sheets: tuple[str, ...] = ("notes",)) -> Path:
    """An Excel file with SHEET in it, once a name."""
    listed = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(sheets, 1))
    links = "".join(
        f'<Relationship Id="r{n}" Type="{OFFICE}/worksheet" Target="s{n}.xml"/>' for n, _ in enumerate(sheets, 1)
    )
    with zipfile.ZipFile(path, "w") as parts:
        parts.writestr(
            "[Content_Types].xml", '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'
        )
        start = f'<Relationship Id="a" Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/>'
        parts.writestr("_rels/.rels", f'<Relationships xmlns="{PACKAGE}">{start}</Relationships>')
        parts.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>{listed}</sheets></workbook>'
        )
        styles = f'<Relationship Id="s" Type="{OFFICE}/styles" Target="styles.xml"/>'
        parts.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{PACKAGE}">{links}{styles}</Relationships>'
        )
        formats = '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>'
        parts.writestr("xl/styles.xml", f'<styleSheet xmlns="{MAIN}">{formats}</styleSheet>')
        for number, _ in enumerate(sheets, 1):
            parts.writestr(f"xl/s{number}.xml", SHEET)
    return path


def pdf(path: Path, pages: tuple[str, ...]) -> Path:
    """A PDF of these pages; "" is one without text, as a scan is."""
    import matplotlib as mpl
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.figure import Figure

    with mpl.rc_context({"pdf.fonttype": 42}), PdfPages(path) as book:
        for page in pages:
            figure = Figure()
            figure.text(0.1, 0.5, page)
            book.savefig(figure)
    return path


def read(path: Path, kind: str, text: str = "{text}", **changed: Any) -> list[Record | Fault]:
    """The records of a file."""
    return [record for _, record in raw_records(path, section(format=kind, text=text, **changed))]


def test_a_word_file_has_what_is_read_in_it(tmp_path: Path) -> None:
    """Paragraphs, tables and controls in their order; deleted text is out, inserted in, and 10 to the 9th stays so."""
    (record,) = read(docx(tmp_path / "a.docx"), "docx")
    assert isinstance(record, dict)
    text = "Count 50 x 10<sup>9</sup>/L, 1.2 mg\nDrug | Dose\nFern tea | 5 mg\nPlan\trest"
    assert record == {"title": "Letter", "text": text}


def test_symbols_formulas_and_boxes_of_word(tmp_path: Path) -> None:
    """Insert > Symbol writes \u00b5 and \u00b0 so; a formula leaves its text or a marker; hidden text is none; boxes are lines."""
    import docx as library
    from lxml import etree

    math = "http://schemas.openxmlformats.org/officeDocument/2006/math"
    text = f"""<w:p xmlns:w="{W}" xmlns:m="{math}"><w:r><w:t>5 </w:t><w:sym w:font="Symbol" w:char="F06D"/><w:t>g, 37</w:t>
<w:sym w:font="Symbol" w:char="F0B0"/><w:t>C, </w:t></w:r><m:oMath><m:r><m:t>140-age</m:t></m:r></m:oMath>
<m:oMath><m:f><m:e/></m:f></m:oMath>
<w:r><w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t></w:r><w:r><w:pict><w:p><w:r><w:t>one</w:t></w:r></w:p><w:p><w:r><w:t>two</w:t></w:r></w:p>
</w:pict></w:r></w:p>"""
    document = library.Document()
    document.element.body.insert(0, etree.fromstring(text))
    document.save(str(tmp_path / "a.docx"))
    (record,) = read(tmp_path / "a.docx", "docx")
    assert isinstance(record, dict)
    assert record["text"].split("\n")[0] == "5 μg, 37°C, 140-age[formula]"
    assert record["text"].split()[-2:] == ["one", "two"]


def test_a_sheet_is_rows_under_its_header(tmp_path: Path) -> None:
    """Whole numbers without a point, dates as dates, empty rows left out, a formula's value, and nothing for an error."""
    found = read(xlsx(tmp_path / "a.xlsx"), "xlsx", text="{note}")
    assert found == [
        {"id": 12, "note": "No cough.", "day": date(2020, 1, 1)},
        {"id": 1.5, "note": "Old value.", "day": None},
        {"id": 13, "note": None, "day": None},
    ]


def test_a_file_of_several_sheets_needs_a_name(tmp_path: Path) -> None:
    """And the one that is named must be there."""
    path = xlsx(tmp_path / "a.xlsx", ("one", "two"))
    (none,) = read(path, "xlsx", text="{note}")
    assert isinstance(none, Fault)
    assert "has the sheets one, two; name one in `sheet`" in none.detail
    assert len(read(path, "xlsx", text="{note}", sheet="two")) == 3
    (wrong,) = read(path, "xlsx", text="{note}", sheet="three")
    assert isinstance(wrong, Fault)
    assert "has no sheet 'three'" in wrong.detail


def test_a_pdf_is_its_text_layer(tmp_path: Path) -> None:
    """Form feeds between pages; pages without text are counted, and a file of such pages is a fault of its own."""
    (record,) = read(pdf(tmp_path / "a.pdf", ("Fern tea 5 mg", "", "Rest")), "pdf")
    assert record == {"text": "Fern tea 5 mg\f\fRest", "pages": 3, "scanned_pages": 1}
    (scan,) = read(pdf(tmp_path / "b.pdf", ("", "")), "pdf")
    assert scan == Fault("scanned", "none of its 2 pages has a text layer; read it by OCR first")


def test_a_pdf_that_takes_too_long_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Native code is run apart: whatever it does, the build goes on."""

    def late(*_: Any, **__: Any) -> None:
        raise LimitReached("more than a process can do, which was ended by SIGSEGV")

    monkeypatch.setattr(office, "bounded", late)
    (fault,) = read(pdf(tmp_path / "a.pdf", ("Rest",)), "pdf")
    assert isinstance(fault, Fault)
    assert (fault.reason, "SIGSEGV" in fault.detail) == ("unreadable_file", True)


@pytest.mark.parametrize(("kind", "text"), [("docx", "{text}"), ("xlsx", "{note}"), ("pdf", "{text}")])
def test_damaged_files_are_faults(tmp_path: Path, kind: str, text: str) -> None:
    """Cut, or with bytes that are others, in a folder and in an archive: rows and faults, and no exception."""
    path = tmp_path / f"a.{kind}"
    pdf(path, ("Rest",)) if kind == "pdf" else docx(path) if kind == "docx" else xlsx(path)
    content = path.read_bytes()
    (tmp_path / "in").mkdir()
    for number in range(12):
        bad = bytearray(content[: len(content) * (number + 1) // 12] if number % 2 else content)
        for place in range(number * 7, len(bad), 97 + 31 * number):
            bad[place] ^= 1 << number % 8
        (tmp_path / "in" / f"{number:02}.{kind}").write_bytes(bad)
    (tmp_path / "in" / f"99.{kind}").write_bytes(b"")
    with tarfile.open(tmp_path / "in.tar", "w") as archive:
        archive.add(tmp_path / "in", "in")
    alone, packed = read(tmp_path / "in", kind, text), read(tmp_path / "in.tar", kind, text)
    assert len(alone) >= 13
    assert [type(one) for one in alone] == [type(one) for one in packed]
    assert {one.reason for one in alone if isinstance(one, Fault)} <= {
        *("unreadable_file", "empty_file", "malformed_row", "scanned", "missing_header", "missing_field")
    }


def test_a_bomb_is_refused_by_its_directory() -> None:
    """Before anything is unpacked: 100 MB of zeros in 100 kB."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("word/document.xml", b"\0" * 100_000_000)
    with pytest.raises(Unreadable, match="more than 200 times its size"):
        list(office.docx_rows(io.BytesIO(content.getvalue())))
