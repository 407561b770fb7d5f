"""`format: xml`: records and fields by XPath."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from osler.ingest.faults import Fault, Record
from osler.ingest.records import raw_records
from osler.ingest.xml_records import XmlRecords
from tests.ingest.test_records import section

MEDQUAD = """<?xml version="1.0"?>
<Documents><Document id="1" source="X"><Focus>Gout</Focus><QAPairs>
 <QAPair pid="1"><Question qid="1-1">What is gout?</Question><Answer>A disease of joints.
It hurts.</Answer></QAPair>
 <QAPair pid="2"><Question qid="1-2">Who gets it?</Question><Answer/></QAPair>
</QAPairs></Document><Document id="2" source="X"><Focus>Cough</Focus><QAPairs>
 <QAPair pid="1"><Question qid="2-1">Why &lt;5 days?</Question><Answer>It <b>ends</b> soon.</Answer></QAPair>
</QAPairs></Document></Documents>"""
LIVEQA = """<LiveQA><NLM-QUESTION qid="Q1"><Original><MESSAGE>Is it bad?</MESSAGE></Original>
<ReferenceAnswers><ReferenceAnswer><ANSWER>No.</ANSWER></ReferenceAnswer><ReferenceAnswer><ANSWER>Ask.</ANSWER></ReferenceAnswer>
</ReferenceAnswers></NLM-QUESTION></LiveQA>"""
HOSPITAL = """<e:export xmlns:e="urn:x"><e:patient no="7"><e:letter><e:text>Stable.</e:text></e:letter></e:patient></e:export>"""


def read(folder: Path, content: str, xml: dict[str, Any]) -> list[Record | Fault]:
    """The records of a file."""
    (folder / "a.xml").write_text(content)
    source = section(format="xml", text="{text}", xml=xml | {"fields": xml["fields"] | {"text": "."}})
    found = [record for _, record in raw_records(folder / "a.xml", source)]
    return [
        one if isinstance(one, Fault) else {key: value for key, value in one.items() if key != "text"} for one in found
    ]


@pytest.mark.parametrize("records", ["//QAPair", "/Documents/Document/QAPairs/QAPair"])
def test_pairs_with_what_stands_above_them(tmp_path: Path, records: str) -> None:
    """Streamed and as a whole give the same; an empty field is absent."""
    fields = {"id": "string(Question/@qid)", "q": "Question", "a": "Answer", "of": "ancestor::Document/Focus"}
    assert read(tmp_path, MEDQUAD, {"records": records, "fields": fields}) == [
        {"id": "1-1", "q": "What is gout?", "a": "A disease of joints.\nIt hurts.", "of": "Gout"},
        {"id": "1-2", "q": "Who gets it?", "of": "Gout"},
        {"id": "2-1", "q": "Why <5 days?", "a": "It ends soon.", "of": "Cough"},
    ]


def test_several_nodes_are_lines(tmp_path: Path) -> None:
    """Two answers of one question, and their number."""
    fields = {"a": ".//ANSWER", "n": "count(.//ANSWER)", "id": "@qid"}
    assert read(tmp_path, LIVEQA, {"records": "//NLM-QUESTION", "fields": fields}) == [
        {"a": "No.\nAsk.", "n": "2", "id": "Q1"}
    ]


@pytest.mark.parametrize("records", ["//x:letter", "//*[local-name()='letter']"])
def test_namespaces(tmp_path: Path, records: str) -> None:
    """By a prefix of the params."""
    xml = {"records": records, "fields": {"no": "../@no", "t": "x:text"}, "namespaces": {"x": "urn:x"}}
    assert read(tmp_path, HOSPITAL, xml) == [{"no": "7", "t": "Stable."}]


def test_faults_are_rows(tmp_path: Path) -> None:
    """An entity, a broken end, and a file without a record; what came before stays."""
    xml = {"records": "//r", "fields": {"a": "a"}}
    entity = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x><r><a>&e;</a></r><r><a>b</a></r></x>'
    first, second = read(tmp_path, entity, xml)
    assert isinstance(first, Fault)
    assert (first.reason, second) == ("malformed_row", {"a": "b"})
    good, broken = read(tmp_path, "<x><r><a>b</a></r><r><a>c</x>", xml)
    assert isinstance(broken, Fault)
    assert (good, broken.reason) == ({"a": "b"}, "unreadable_file")
    (none,) = read(tmp_path, "<x/>", xml)
    assert isinstance(none, Fault)
    assert (none.reason, "//r" in none.detail) == ("unreadable_file", True)


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ({"records": "//[", "fields": {"a": "a"}}, "records: '//\\[' is no XPath"),
        ({"records": "//a", "fields": {"b": "c("}}, r"fields\.b: 'c\(' is no XPath"),
        ({"records": "//x:a", "fields": {"b": "c"}}, "records: '//x:a' is no XPath"),
    ],
)
def test_a_wrong_xpath_names_its_key(xml: dict[str, Any], message: str) -> None:
    """Before anything is read."""
    with pytest.raises(ValidationError, match=message):
        XmlRecords(**xml)


def test_templates_know_the_fields_of_the_section() -> None:
    """And no other format has one."""
    with pytest.raises(ValidationError, match="has no field 'b'; its fields are a"):
        section(format="xml", text="{b}", xml={"records": "//r", "fields": {"a": "a"}})
    with pytest.raises(ValidationError, match="needs a section `xml`"):
        section(format="xml", text="{b}")
    with pytest.raises(ValidationError, match="no other format has one"):
        section(format="jsonl", xml={"records": "//r", "fields": {"a": "a"}})


def test_memory_is_a_record(tmp_path: Path) -> None:
    """Records that were read are not kept: 200 of 100 kB leave less than 5 MB of tree."""
    from osler.ingest.xml_records import _elements

    body = "".join(f"<g><r><a>{'x' * 100_000}{n}</a></r></g>" for n in range(200))
    (tmp_path / "a.xml").write_text(f"<x>{body}</x>")
    with (tmp_path / "a.xml").open("rb") as stream:
        for element in _elements(stream, XmlRecords(records="//r", fields={"a": "a"})):
            root = element.getroottree().getroot()
    assert sum(len(text) for text in root.itertext()) < 300_000


def test_text_of_markup_keeps_its_lines_and_exponents(tmp_path: Path) -> None:
    """Blocks are lines, what is high is marked for the rule that all formats share."""
    content = "<x><r><a>10<sup>9</sup>/L<p>one</p><p>two</p>a<br/>b</a></r></x>"
    (record,) = read(tmp_path, content, {"records": "//r", "fields": {"a": "a"}})
    assert isinstance(record, dict)
    assert record["a"].split() == ["10<sup>9</sup>/L", "one", "two", "a", "b"]


@pytest.mark.parametrize("records", ["//r", "//*[self::r]"])
def test_a_record_in_a_record_is_in_both(tmp_path: Path, records: str) -> None:
    """Streamed as well as whole."""
    content = "<x><r><t>top</t><r><t>in1</t></r><r><t>in2</t></r><u>after</u></r></x>"
    found = read(tmp_path, content, {"records": records, "fields": {"all": "string(.)", "in": "count(.//r)"}})
    assert sorted(str(record["all"]) for record in found if isinstance(record, dict)) == [
        "in1",
        "in2",
        "topin1in2after",
    ]
    assert sorted(str(record["in"]) for record in found if isinstance(record, dict)) == ["0", "0", "2"]


def test_numbers_and_truth_values(tmp_path: Path) -> None:
    """No number is no value, and truth is as JSON has it."""
    fields = {"n": "number(a)", "none": "number(b)", "is": "boolean(a)"}
    assert read(tmp_path, "<x><r><a>3</a></r></x>", {"records": "//r", "fields": fields}) == [{"n": "3", "is": "true"}]
