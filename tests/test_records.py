"""Reading raw files."""

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from stages.lib.faults import Fault
from stages.lib.records import Source, Template, raw_records
from stages.lib.section import BuildError


def section(**changed: Any) -> Source:
    """A jsonl source with one text field, with `changed` keys."""
    values: dict[str, Any] = {"collection": "clinical", "path": "x", "format": "jsonl", "split": None, "id": None}
    values |= {"text": "{text}", "turns": None, "license": "CC0-1.0", "license_field": None}
    values |= {"turns_field": None, "date_field": None, "document_limit_characters": None}
    return Source.model_validate_json(json.dumps(values | changed))


def outcome(path: Path, source: Source) -> list[tuple[str, str]]:
    """Origin, and the rendered text or the fault's reason."""
    rows = []
    for origin, record in raw_records(path, source):
        text = record if isinstance(record, Fault) else source.templates[0].rendered(record)
        rows.append((origin, text.reason if isinstance(text, Fault) else text))
    return rows


@pytest.mark.parametrize("compressed", [False, True])
def test_every_jsonl_line_is_a_row_or_a_fault(tmp_path: Path, compressed: bool) -> None:
    """Of six lines one is blank and no row, one a document, and four are faults with four origins."""
    lines = [b'\xef\xbb\xbf{"text": "one"}', b"{", b"", b'{"text": "\xff"}', b'{"other": 1}', b"[1]"]
    path = tmp_path / ("a.jsonl.gz" if compressed else "a.jsonl")
    path.write_bytes(gzip.compress(b"\n".join(lines)) if compressed else b"\n".join(lines))
    name = path.name
    expected = ["one", "malformed_row", None, "undecodable", "missing_field", "malformed_row"]
    assert outcome(path, section()) == [(f"{name}#{row}", what) for row, what in enumerate(expected, 1) if what]


def test_csv_values_may_hold_newlines_commas_and_quotes(tmp_path: Path) -> None:
    """A record of three lines is row 1, and the next record row 2."""
    (tmp_path / "a.csv").write_text('\ufeffid,text\r\n1,"a\nb, ""c"""\r\n\r\n2,d\r\n', newline="")
    source = section(format="csv", id="id")
    assert outcome(tmp_path / "a.csv", source) == [("a.csv#1", 'a\nb, "c"'), ("a.csv#2", "d")]


def test_bad_csv_rows_are_faults_and_the_rest_is_read(tmp_path: Path) -> None:
    """Too few values, a stray quote and bytes that are no UTF-8 cost their own row only."""
    (tmp_path / "a.tsv").write_bytes(b'id\ttext\n1\n2\t"x"y\n3\t\xff\n4\tfine\n')
    reasons = ["malformed_row", "malformed_row", "undecodable", "fine"]
    assert [what for _, what in outcome(tmp_path / "a.tsv", section(format="csv"))] == reasons


def test_a_quote_that_is_never_closed_costs_one_line(tmp_path: Path) -> None:
    """The reader takes everything up to the next quote, or the end, for one value; all but one line are read again."""
    (tmp_path / "a.csv").write_text('text,n\n"open,1\nb,2\n"c\nd",3\n"open too,4\ne,5\n')
    source = section(format="csv")
    faults = [record.detail for _, record in raw_records(tmp_path / "a.csv", source) if isinstance(record, Fault)]
    assert [what for _, what in outcome(tmp_path / "a.csv", source)] == [
        "malformed_row",
        "b",
        "c\nd",
        "malformed_row",
        "e",
    ]
    assert [detail.split(":")[0] for detail in faults] == ["line 2", "line 6"]


def test_parquet_nulls_are_missing_and_lists_are_no_text(tmp_path: Path) -> None:
    """A null is a missing field; a number is written as Python writes it; a list cannot be text."""
    frame = pl.DataFrame({"text": ["a", None], "year": [2014, 2015], "dose": [0.5, 1.0], "tags": [["x"], []]})
    frame.write_parquet(tmp_path / "a.parquet")
    both = section(format="parquet", text="{text}, {year}, {dose}")
    assert outcome(tmp_path, both) == [("a.parquet#1", "a, 2014, 0.5"), ("a.parquet#2", "missing_field")]
    assert outcome(tmp_path, section(format="parquet", text="{tags}"))[0][1] == "malformed_row"


def test_a_txt_file_splits_where_the_pattern_says(tmp_path: Path) -> None:
    """A lookahead keeps the heading with its article; pieces without anything are no documents."""
    (tmp_path / "a.txt").write_bytes(b" \r\n = One = \r\ntext\r\n = = Part = = \r\nmore\r\n = Two = \r\nend\xff\r\n")
    rows = outcome(tmp_path, section(format="txt", split="(?m)^(?= = [^=].* = $)"))
    assert rows == [("a.txt#1", " = One = \ntext\n = = Part = = \nmore\n"), ("a.txt#2", "undecodable")]
    assert len(outcome(tmp_path, section(format="txt"))) == 1


def test_a_folder_is_read_in_sorted_order_and_other_formats_are_left(tmp_path: Path) -> None:
    """Files of the format in the folder and below it, sorted by name, each with its own row numbers."""
    (tmp_path / "sub").mkdir()
    names = [f"{letter}.jsonl" for letter in "abcdefghijklmnop"] + ["q.json", "sub/c.jsonl"]
    for name in ("README.md", ".hidden.jsonl", *reversed(names)):
        (tmp_path / name).write_text(json.dumps({"text": name}) + "\n")
    assert outcome(tmp_path, section()) == [(f"{name}#1", name) for name in names]


@pytest.mark.parametrize(
    ("name", "content", "source", "message"),
    [
        ("a.jsonl", b"\n\n", section(), "a.jsonl: has no rows"),
        ("a.csv", b"text\n", section(format="csv"), "has no rows"),
        ("a.txt", b" \n", section(format="txt"), "has no rows"),
    ],
)
def test_what_no_row_can_repair_is_an_error(
    tmp_path: Path, name: str, content: bytes, source: Source, message: str
) -> None:
    """An empty or unreadable file, or a column that is not there, stops the build and names file and key."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BuildError, match=message):
        list(raw_records(tmp_path / name, source))


@pytest.mark.parametrize(
    ("name", "content", "source", "rows"),
    [
        ("a.parquet", b"not parquet", section(format="parquet"), 0),
        ("a.jsonl.gz", b"not gzip", section(), 0),
        ("a.jsonl.gz", gzip.compress(b'{"text": "a"}\n' * 9)[:-5], section(), 9),
    ],
)
def test_a_damaged_file_is_one_fault_after_the_rows_before_it(
    tmp_path: Path, name: str, content: bytes, source: Source, rows: int
) -> None:
    """The rows read before the damage stay, the file next to it is read, and one fault stands where reading ended."""
    (tmp_path / name).write_bytes(content)
    good = outcome(tmp_path, source)
    assert good == [*((f"{name}#{row}", "a") for row in range(1, rows + 1)), (f"{name}#{rows + 1}", "unreadable_file")]


def test_a_missing_path_and_a_folder_without_files_are_errors(tmp_path: Path) -> None:
    """A misspelled path is not an empty source."""
    with pytest.raises(BuildError, match="gone: does not exist"):
        list(raw_records(tmp_path / "gone", section()))
    with pytest.raises(BuildError, match="has no file of `format` jsonl"):
        list(raw_records(tmp_path, section()))


@pytest.mark.parametrize("text", ["{a.b}x{c}", "{a}{a}", "{{{a}}}"])
def test_a_template_takes_names_as_they_are(text: str) -> None:
    """A dot is part of a column's name, and reaches into nothing."""
    record = {"a": 1, "a.b": "dotted", "c": True}
    assert Template(text).rendered(record) == {"{a.b}x{c}": "dottedxTrue", "{a}{a}": "11", "{{{a}}}": "{1}"}[text]


TURNS = [{"role": "user", "text": "{q}"}, {"role": "assistant", "text": "{a}"}]


@pytest.mark.parametrize(
    "changed",
    [
        {"text": "no field"},
        {"text": "{a!r}"},
        {"text": "{a[0]}"},
        {"text": "{}"},
        {"text": "{open"},
        {"text": None},
        {"turns": TURNS},
        {"collection": "instructions"},
        {"collection": "instructions", "text": None},
        {"collection": "instructions", "text": None, "turns": []},
        {"collection": "other"},
        {"split": "x"},
        {"format": "txt", "split": "("},
        {"format": "txt", "split": "(a)"},
        {"format": "txt", "text": "{title}"},
        {"format": "txt", "id": "id"},
        {"unknown": 1},
    ],
)
def test_an_inconsistent_section_is_rejected(changed: dict[str, Any]) -> None:
    """What a source cannot mean is an error of params.yaml, before any file is opened."""
    with pytest.raises(ValidationError):
        section(**changed)


def test_instructions_have_turns() -> None:
    """The fields of all turns, the id and the license are asked of each row, once."""
    source = section(collection="instructions", text=None, turns=TURNS, id="q", license_field="l")
    assert source.fields == ["q", "a", "l"]
