"""FHIR bulk export and C-CDA, in small."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from osler.ingest.faults import Fault, Record
from osler.ingest.records import raw_records
from tests.ingest.test_office import pdf
from tests.ingest.test_records import section

CCDA = """<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"><id root="1.2" extension="d7"/>
<code code="34133-9" displayName="Summary"/><title>Visit</title><effectiveTime value="20200102"/>
<component><structuredBody>
<component><section><code code="10164-2"/><title>History</title><text>Cough <content>since</content> May.<br/>No fever
at night.<list><item>tea</item><item>rest</item></list></text></section></component>
<component><section><code code="30954-2"/><title>Results</title><text><table><thead><tr><th>Test</th><th>Value</th></tr></thead>
<tbody><tr><td>CRP</td><td>&lt;5</td></tr></tbody></table></text></section></component>
<component><section nullFlavor="NI"><code code="1-1"/><title>Plan</title><text>None.</text></section></component>
</structuredBody></component></ClinicalDocument>"""
NARRATIVE = "History\nCough since May.\nNo fever at night.\ntea\nrest\n\nResults\nTest | Value\nCRP | <5\n\nPlan\nNone."


def encoded(content: str | bytes) -> str:
    """As FHIR attaches it."""
    return base64.b64encode(content.encode() if isinstance(content, str) else content).decode()


def reference(*attached: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A DocumentReference."""
    content = [{"attachment": one} for one in attached]
    return {"resourceType": "DocumentReference", "id": "d1", "status": "current", "content": content} | more


def read(path: Path, kind: str, text: str = "{text}", **changed: Any) -> list[Record | Fault]:
    """The records of a file."""
    return [record for _, record in raw_records(path, section(format=kind, text=text, **changed))]


def fhir(folder: Path, *resources: Any) -> list[Record | Fault]:
    """What ndjson of resources gives."""
    (folder / "a.ndjson").write_text("".join(json.dumps(one) + "\n" for one in resources))
    return read(folder / "a.ndjson", "fhir")


@pytest.mark.parametrize(
    ("attached", "text"),
    [
        ({"contentType": "text/plain", "data": encoded("No cough.")}, "No cough."),
        ({"contentType": "text/plain; charset=utf-8", "data": encoded("37 °C")}, "37 °C"),
        ({"data": encoded("No cough.")}, "No cough."),
        (
            {"contentType": "text/plain; charset=iso-8859-1", "data": encoded("38° Fièvre".encode("latin-1"))},
            "38° Fièvre",
        ),
        ({"data": "Tm8g\n  Y291Z2gu"}, "No cough."),
        ({"contentType": "text/html", "data": encoded("<p>No</p><p>cough &lt;5</p>")}, "No\ncough <5"),
        ({"contentType": "application/xml", "data": encoded(CCDA)}, NARRATIVE),
    ],
)
def test_what_is_attached_is_the_text(tmp_path: Path, attached: dict[str, Any], text: str) -> None:
    """Of every type that has a text."""
    (record,) = fhir(tmp_path, reference(attached))
    assert record == {"id": "d1", "status": "current", "text": text}


def test_an_attached_pdf_is_read(tmp_path: Path) -> None:
    """And one that is scanned is a fault."""
    text, scan = (pdf(tmp_path / f"{n}.pdf", pages).read_bytes() for n, pages in enumerate((("Rest",), ("",))))
    first, second = fhir(
        tmp_path, *(reference({"contentType": "application/pdf", "data": encoded(one)}) for one in (text, scan))
    )
    assert isinstance(first, dict)
    assert isinstance(second, Fault)
    assert (first["text"], second.reason) == ("Rest", "scanned")


def test_a_report_has_its_form_and_its_conclusion(tmp_path: Path) -> None:
    """With who, when and what."""
    report: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "status": "final",
        "effectiveDateTime": "2020-01-02",
    }
    report |= {"code": {"coding": [{"code": "24627-2", "display": "Chest CT"}]}, "subject": {"reference": "Patient/7"}}
    report |= {
        "presentedForm": [{"contentType": "text/plain", "data": encoded("Clear."), "title": "CT"}],
        "conclusion": "Normal.",
    }
    (record,) = fhir(tmp_path, report)
    whole = {
        "id": "r1",
        "type": "Chest CT",
        "subject": "Patient/7",
        "date": "2020-01-02",
        "status": "final",
        "title": "CT",
    }
    assert record == whole | {"text": "Clear.\n\nNormal."}


def test_a_narrative_is_the_text_where_there_is_no_other(tmp_path: Path) -> None:
    """Of a resource without attachment; of a Bundle each resource is a row."""
    report = {
        "resourceType": "DiagnosticReport",
        "text": {"div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>Clear.</p></div>'},
    }
    bundle = {
        "resourceType": "Bundle",
        "entry": [{"resource": report}, {"resource": reference({"data": encoded("No cough.")})}],
    }
    (tmp_path / "a.json").write_text(json.dumps(bundle, indent=1))
    assert [record["text"] for record in read(tmp_path / "a.json", "fhir") if isinstance(record, dict)] == [
        "Clear.",
        "No cough.",
    ]


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        (reference({"data": encoded("x")}, status="entered-in-error"), "entered_in_error"),
        (reference({"data": encoded("x")}, docStatus="entered-in-error"), "entered_in_error"),
        (reference({"contentType": "text/plain", "url": "Binary/1"}), "elsewhere"),
        (reference({"contentType": "application/rtf", "data": encoded("{\\rtf1}")}), "not_text"),
        (reference({"contentType": "text/plain", "data": "§§"}), "malformed_row"),
        (reference({"contentType": "application/xml", "data": encoded("<a>")}), "malformed_row"),
        (reference({"contentType": "text/plain", "data": None, "url": "Binary/1"}), "elsewhere"),
        (reference({"contentType": "text/plain", "data": encoded(b"\0\1\2abc")}), "binary_file"),
        ({"resourceType": "Patient"}, "other_resource"),
        ([1], "malformed_row"),
    ],
)
def test_what_has_no_text_is_one_row_of_the_ledger(tmp_path: Path, resource: Any, reason: str) -> None:
    """Beside one that is read."""
    first, second = fhir(tmp_path, resource, reference({"data": encoded("No cough.")}))
    assert isinstance(first, Fault)
    assert isinstance(second, dict)
    assert first.reason == reason


def test_a_clinical_document_is_its_sections(tmp_path: Path) -> None:
    """Titles above texts, cells apart, sections by their codes."""
    (tmp_path / "a.xml").write_text(CCDA)
    (record,) = read(tmp_path / "a.xml", "ccda", text="{sections.10164-2?}{text}")
    assert isinstance(record, dict)
    sections = {
        "10164-2": "Cough since May.\nNo fever at night.\ntea\nrest",
        "30954-2": "Test | Value\nCRP | <5",
        "1-1": "None.",
    }
    whole = {"id": "1.2^d7", "title": "Visit", "date": "20200102", "type": "Summary"}
    assert record == whole | {"text": NARRATIVE, "sections": sections}


def test_a_document_that_holds_another_is_that_one(tmp_path: Path) -> None:
    """A body that is no XML; a file that is another document is a fault."""
    held = f'<text mediaType="text/plain" representation="B64">{encoded("Rest.")}</text>'
    body = f"<component><nonXMLBody>{held}</nonXMLBody></component>"
    (tmp_path / "a.xml").write_text(f'<ClinicalDocument xmlns="urn:hl7-org:v3">{body}</ClinicalDocument>')
    assert read(tmp_path / "a.xml", "ccda") == [{"text": "Rest."}]
    (tmp_path / "a.xml").write_text("<article/>")
    (fault,) = read(tmp_path / "a.xml", "ccda")
    assert isinstance(fault, Fault)
    assert "a <article>, not a ClinicalDocument" in fault.detail


def test_several_forms_of_a_note_are_one_text(tmp_path: Path) -> None:
    """The first that can be read: the usual pair is HTML and RTF."""
    html, rtf = (
        {"contentType": kind, "data": encoded(text)}
        for kind, text in (("text/html", "<p>Rest.</p>"), ("text/rtf", "x"))
    )
    for attached in ((html, rtf), (rtf, html), (html, html)):
        (record,) = fhir(tmp_path, reference(*attached))
        assert isinstance(record, dict)
        assert record["text"] == "Rest."


def test_a_report_with_an_empty_narrative_has_no_text(tmp_path: Path) -> None:
    """And no words of this code's."""
    (record,) = fhir(tmp_path, {"resourceType": "DiagnosticReport", "id": "a", "status": "final", "text": {"div": ""}})
    assert record == {"id": "a", "status": "final"}


@pytest.mark.parametrize("first", ["long", "blank", "broken"])
def test_a_first_line_of_any_kind_costs_no_other(tmp_path: Path, first: str) -> None:
    """One of more than a megabyte, an empty one, and one that is no JSON."""
    lines = {
        "long": json.dumps(reference({"data": encoded("x" * 1_500_000)})),
        "blank": "",
        "broken": '{"resourceType": "Doc',
    }
    rows = [lines[first], *(json.dumps(reference({"data": encoded("Rest.")})) for _ in range(2))]
    (tmp_path / "a.ndjson").write_text("\n".join(rows) + "\n")
    found = read(tmp_path / "a.ndjson", "fhir")
    assert [one["text"] for one in found[-2:] if isinstance(one, dict)] == ["Rest.", "Rest."]


def test_cells_and_superscripts_of_a_section_do_not_fuse(tmp_path: Path) -> None:
    """What is high is marked for the rule that all formats share; two sections of one code are both there."""
    cell = "<table><tr><td>Aspirin<br/>81 mg</td><td><list><item>daily</item><item>late</item></list></td></tr></table>"
    texts = ("WBC 10<sup>9</sup>/L", cell)
    sections = "".join(
        f'<component><section><code code="1-1"/><text>{text}</text></section></component>' for text in texts
    )
    body = f"<component><structuredBody>{sections}</structuredBody></component>"
    (tmp_path / "a.xml").write_text(f'<ClinicalDocument xmlns="urn:hl7-org:v3">{body}</ClinicalDocument>')
    (record,) = read(tmp_path / "a.xml", "ccda")
    assert isinstance(record, dict)
    assert record["sections"] == {"1-1": "WBC 10<sup>9</sup>/L\n\nAspirin 81 mg | daily late"}
