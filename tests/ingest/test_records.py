"""Reading raw files."""

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from osler.build.section import BuildError
from osler.ingest import rows
from osler.ingest.faults import Fault
from osler.ingest.records import raw_records, source_files
from osler.ingest.source import Source


def section(**changed: Any) -> Source:
    """A jsonl source with one text field, with `changed` keys."""
    values: dict[str, Any] = {"collection": "clinical", "path": "x", "format": "jsonl", "split": None, "id": None}
    values |= {"text": "{text}", "turns": None, "license": "CC0-1.0", "license_field": None}
    values |= {"turns_field": None, "date_field": None, "phi": None, "document_limit_characters": None}
    return Source.model_validate_json(json.dumps(values | changed))


def outcome(path: Path, source: Source) -> list[tuple[str, str]]:
    """Origin, and the rendered text or the fault's reason."""
    found = []
    for origin, record in raw_records(path, source):
        text = record if isinstance(record, Fault) else source.templates[0].rendered(record)
        found.append((origin, text.reason if isinstance(text, Fault) else text))
    return found


@pytest.mark.parametrize("compressed", [False, True])
def test_every_jsonl_line_is_a_row_or_a_fault(tmp_path: Path, compressed: bool) -> None:
    """Of six lines one is a document, and four are faults.

    One is blank and no row; the faults have four origins.
    """
    lines = [b'\xef\xbb\xbf{"text": "one"}', b"{", b"", b'{"text": "\xff"}', b'{"other": 1}', b"[1]"]
    path = tmp_path / ("a.jsonl.gz" if compressed else "a.jsonl")
    path.write_bytes(gzip.compress(b"\n".join(lines)) if compressed else b"\n".join(lines))
    name = path.name
    expected = ["one", "malformed_row", None, "undecodable", "missing_field", "malformed_row"]
    assert outcome(path, section()) == [(f"{name}#{row}", what) for row, what in enumerate(expected, 1) if what]


def test_csv_values_may_hold_newlines_commas_and_quotes(tmp_path: Path) -> None:
    """A record of three lines is row 1, the next row 2."""
    (tmp_path / "a.csv").write_text('\ufeffid,text\r\n1,"a\nb, ""c"""\r\n\r\n2,d\r\n', newline="")
    source = section(format="csv", id="id")
    assert outcome(tmp_path / "a.csv", source) == [("a.csv#1", 'a\nb, "c"'), ("a.csv#2", "d")]


def test_bad_csv_rows_are_faults_and_the_rest_is_read(tmp_path: Path) -> None:
    """What is wrong with a row costs that row only.

    Too few values, a stray quote, bytes that are no UTF-8.
    """
    (tmp_path / "a.tsv").write_bytes(b'id\ttext\n1\n2\t"x"y\n3\t\xff\n4\tfine\n')
    reasons = ["malformed_row", "malformed_row", "undecodable", "fine"]
    assert [what for _, what in outcome(tmp_path / "a.tsv", section(format="csv"))] == reasons


def test_a_quote_that_is_never_closed_costs_one_line(tmp_path: Path) -> None:
    """All but one line after a stray quote are read again.

    The reader takes everything up to the next quote, or the end, for one value.
    """
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
    """A null is a missing field.

    A number is written as Python writes it; a list cannot be text.
    """
    frame = pl.DataFrame({"text": ["a", None], "year": [2014, 2015], "dose": [0.5, 1.0], "tags": [["x"], []]})
    frame.write_parquet(tmp_path / "a.parquet")
    both = section(format="parquet", text="{text}, {year}, {dose}")
    assert outcome(tmp_path, both) == [("a.parquet#1", "a, 2014, 0.5"), ("a.parquet#2", "missing_field")]
    assert outcome(tmp_path, section(format="parquet", text="{tags}"))[0][1] == "malformed_row"


def test_a_txt_file_splits_where_the_pattern_says(tmp_path: Path) -> None:
    """A lookahead keeps the heading with its article.

    Pieces without anything are no documents.
    """
    (tmp_path / "a.txt").write_bytes(b" \r\n = One = \r\ntext\r\n = = Part = = \r\nmore\r\n = Two = \r\nend\xff\r\n")
    rows = outcome(tmp_path, section(format="txt", split="(?m)^(?= = [^=].* = $)"))
    assert rows == [("a.txt#1", " = One = \ntext\n = = Part = = \nmore\n"), ("a.txt#2", "undecodable")]
    assert len(outcome(tmp_path, section(format="txt"))) == 1


def test_a_folder_is_read_in_sorted_order_and_other_formats_are_left(tmp_path: Path) -> None:
    """Files of the format are read by name, in subfolders too.

    Each has its own row numbers; the others say so.
    """
    (tmp_path / "sub").mkdir()
    names = [f"{letter}.jsonl" for letter in "abcdefghijklmnop"] + ["q.json", "sub/c.jsonl"]
    for name in ("README.md", ".hidden.jsonl", *reversed(names)):
        (tmp_path / name).write_text(json.dumps({"text": name}) + "\n")
    left = [(".hidden.jsonl#1", "hidden"), ("README.md#1", "other_suffix")]
    assert outcome(tmp_path, section()) == [*left, *((f"{name}#1", name) for name in names)]


@pytest.mark.parametrize(
    ("name", "content", "source"),
    [
        ("a.jsonl", b"", section()),
        ("a.jsonl", b"\n\n", section()),
        ("a.jsonl.gz", gzip.compress(b""), section()),
        ("a.json", b"[]", section(format="json")),
        ("a.csv", b"text\n", section(format="csv")),
        ("a.txt", b" \n", section(format="txt")),
        ("a.html", b"", section(format="html")),
        ("a.tar", bytes(10240), section()),
    ],
)
def test_a_file_without_a_row_says_so(tmp_path: Path, name: str, content: bytes, source: Source) -> None:
    """One fault stands for a file in which there is nothing.

    So it is not mistaken for one that was read.
    """
    (tmp_path / name).write_bytes(content)
    assert outcome(tmp_path, source) == [(f"{name}#1", "empty_file")]


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ("77,Seen today.", "missing_header"),
        ("no,", "missing_header"),
        ("id,one that is a sentence and so is hardly what anybody calls a column of a file", "missing_header"),
        ("a,a", "missing_header"),
        ("id,label", "missing_field"),
        ("text,7", "Seen again."),
    ],
)
def test_a_first_line_that_is_a_row_is_told_from_a_wrong_header(tmp_path: Path, first: str, reason: str) -> None:
    """A first line without the named columns may be a row.

    It is if it holds a number, nothing, a sentence or a repeat; no row of the file is read.
    """
    (tmp_path / "a.csv").write_text(f"{first}\nSeen again.,x\n")
    assert outcome(tmp_path, section(format="csv")) == [("a.csv#1", reason)]


def test_a_fault_that_ends_a_file_says_what_is_lost(tmp_path: Path) -> None:
    """It tells the last row, or member, that was read."""
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n' * 9)[:-5])
    (tmp_path / "b.jsonl.gz").write_bytes(b"no gzip")
    details = [row.detail for _, row in raw_records(tmp_path, section()) if isinstance(row, Fault)]
    assert [detail.rpartition("; ")[2] for detail in details] == ["all after row 9 is lost", "no row of it is read"]


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
    """The rows before the damage stay, then one fault.

    The file next to it is read.
    """
    (tmp_path / name).write_bytes(content)
    good = outcome(tmp_path, source)
    assert good == [*((f"{name}#{row}", "a") for row in range(1, rows + 1)), (f"{name}#{rows + 1}", "unreadable_file")]


def test_a_missing_path_and_a_folder_without_files_are_errors(tmp_path: Path) -> None:
    """A misspelled path is not an empty source."""
    with pytest.raises(BuildError, match="gone: does not exist"):
        list(raw_records(tmp_path / "gone", section()))
    with pytest.raises(BuildError, match="has no file of `format` jsonl"):
        list(raw_records(tmp_path, section()))
    (tmp_path / "b.pdf").touch()
    with pytest.raises(BuildError, match=r"has no file of `format` jsonl .*; it has b.pdf$"):
        list(raw_records(tmp_path, section()))
    with pytest.raises(BuildError, match="b.pdf: is no file of `format` jsonl"):
        list(raw_records(tmp_path / "b.pdf", section()))


def test_a_csv_without_an_optional_column_is_read(tmp_path: Path) -> None:
    """Only what a template requires has to be a column.

    A file without that is one fault, and the next file is read.
    """
    (tmp_path / "a.csv").write_text("i\nDo\n")
    (tmp_path / "b.csv").write_text("j\nDo\n")
    (tmp_path / "c.csv").write_text("i,i\nDo,so\n")
    (tmp_path / "d.csv").write_text("i,x\nDo,this\n")
    rows = outcome(tmp_path, section(format="csv", text="{i} {x?}"))
    assert rows == [
        ("a.csv#1", "Do "),
        ("b.csv#1", "missing_field"),
        ("c.csv#1", "missing_field"),
        ("d.csv#1", "Do this"),
    ]


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        ('[{"id": "a", "text": "x"}, {"id": "b", "text": "y"}]', ["a", "b"]),
        ('{"a": {"text": "x"}, "b": {"text": "y", "id": "own"}}', ["a", "own"]),
        ('{"id": "a", "text": "x"}', ["a"]),
        ('[{"id": "a", "text": "x"}, 3]', ["a", None]),
    ],
)
def test_a_json_file_is_an_array_or_an_object_of_records(tmp_path: Path, content: str, ids: list[str | None]) -> None:
    """The key of an object is the id of its record.

    Unless that has one; an array's element that is no object is a fault.
    """
    (tmp_path / "a.json").write_text(content)
    found = [record for _, record in raw_records(tmp_path, section(format="json", id="id"))]
    assert [None if isinstance(record, Fault) else record["id"] for record in found] == ids


def test_a_line_over_the_bound_is_a_fault_and_the_next_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a line, or a record, at most the bound is held.

    Row numbers go on as if it had been read.
    """
    monkeypatch.setattr(rows, "LINE_BYTES", 100)
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a" * 3_000_000}) + '\n{"text": "b"}\n')
    assert outcome(tmp_path / "a.jsonl", section()) == [("a.jsonl#1", "too_long"), ("a.jsonl#2", "b")]
    (tmp_path / "a.csv").write_text("text\n" + "a" * 3_000_000 + '\nb\n"' + "x\n" * 60 + 'c"\nd\n')
    found = outcome(tmp_path / "a.csv", section(format="csv"))
    assert [what for _, what in found[:3]] == ["malformed_row", "b", "malformed_row"]
    assert found[-1][1] == "d"


def test_parquet_is_read_in_batches_and_names_in_brackets_are_no_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of two rows give the rows of the file.

    In order, also inside an archive and compressed once more.
    """
    monkeypatch.setattr(rows, "BATCH_ROWS", 2)
    pl.DataFrame({"s": [{"text": str(n)} for n in range(5)]}).write_parquet(tmp_path / "a[1].parquet", row_group_size=3)
    (tmp_path / "b.parquet.gz").write_bytes(gzip.compress((tmp_path / "a[1].parquet").read_bytes()))
    expected = [str(number) for number in range(5)]
    assert [what for _, what in outcome(tmp_path, section(format="parquet", text="{s.text}"))] == expected * 2


def test_a_folder_of_datasets_is_read_split_by_split(tmp_path: Path) -> None:
    """What save_to_disk wrote reads as what lies on the Hub.

    One split or all; another split is an error.
    """
    from datasets import Dataset, DatasetDict

    rows_of = {"train": ["a", "b"], "test": ["c"]}
    DatasetDict({name: Dataset.from_dict({"text": texts}) for name, texts in rows_of.items()}).save_to_disk(
        str(tmp_path / "saved")
    )
    for name, texts in rows_of.items():
        (tmp_path / "repository").mkdir(exist_ok=True)
        (tmp_path / "repository" / f"{name}.json").write_text(json.dumps([{"text": text} for text in texts]))
    for folder in ("saved", "repository"):
        for split, texts in (("train", ["a", "b"]), ("test", ["c"]), (None, ["c", "a", "b"])):
            found = outcome(tmp_path / folder, section(format="hub", split=split))
            assert [what for _, what in found] == texts
        with pytest.raises(BuildError, match="has no `split` dev; it has test, train"):
            source_files(tmp_path / folder, section(format="hub", split="dev"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BuildError, match="no dataset that `format` hub can read"):
        source_files(tmp_path / "empty", section(format="hub"))


def test_a_dataset_names_no_file_outside_its_folder(tmp_path: Path) -> None:
    """A README or state.json that points elsewhere makes a fault.

    The file there is not opened.
    """
    (tmp_path / "canary.jsonl").write_text('{"text": "canary"}\n')
    (tmp_path / "repository").mkdir()
    readme = "---\nconfigs:\n- config_name: default\n  data_files: ../canary.jsonl\n---\n"
    (tmp_path / "repository/README.md").write_text(readme)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/state.json").write_text('{"_data_files": [{"filename": "../canary.jsonl"}], "_split": null}')
    for folder in ("repository", "saved"):
        assert outcome(tmp_path / folder, section(format="hub")) == [("canary.jsonl#1", "link")]
