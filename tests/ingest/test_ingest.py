"""Stage ingest, called as DVC calls it but for the binding."""

import json
import re
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from osler.build.section import BuildError
from osler.build.shard_store import Store
from osler.ingest import runs
from osler.ingest.archives import RawFile
from osler.ingest.audit import Audit
from osler.ingest.drafts import names_on_disk
from osler.ingest.ingested import HIDDEN, ingested_files
from osler.ingest.records import source_files
from osler.ingest.runs import file_runs
from osler.ingest.source import Source
from osler.privacy.screening import key_id
from stages import ingest
from tests.ingest.test_records import section
from tests.ingest.test_source import TURNS

ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "First  \r\nnote", "license": "CC-BY-4.0"},
    {"id": "b", "text": " \n", "license": "CC-BY-4.0"},
    {"id": "a", "text": "Another a", "license": "CC-BY-4.0"},
    {"id": 7, "text": "Number", "license": "CC-BY-4.0"},
    {"id": "c", "text": None, "license": "CC-BY-4.0"},
    {"id": "d", "text": "Unlicensed", "license": " "},
]
AUDIT = Audit(documents=9, identifiers_per_document=1, characters=999, seed=1)


def ingested(
    folder: Path, rows: list[dict[str, Any]] | str | None, source: Source, jobs: int = 1
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Documents and ledger of the rows in one jsonl file.

    Without rows: of the folder `raw`.
    """
    raw = folder / ("raw" if rows is None else "rows.jsonl")
    if rows is not None:
        raw.write_text(rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows))
    documents, ledger = folder / "documents", folder / "ledger.parquet"
    shutil.rmtree(documents, ignore_errors=True)
    ingest.main(
        raw=raw,
        audit=AUDIT,
        source=source,
        name="notes",
        audits=folder / "audits.json",
        documents=documents,
        ledger=ledger,
        counts=folder / "counts.json",
        store=Store(folder / "store", jobs),
    )
    return pl.read_parquet(documents / "part-*.parquet"), pl.read_parquet(ledger)


def test_rows_in_are_documents_and_ledger_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of seven rows two are documents, and five in the ledger.

    Each of these with where and why.
    """
    rows = "".join(json.dumps(row) + "\n" for row in ROWS) + "{broken\n"
    documents, ledger = ingested(tmp_path, rows, section(id="id", license_field="license"))
    assert documents.rows() == [
        ("notes/a", "First\nnote", "CC-BY-4.0", None, "rows.jsonl#1", []),
        ("notes/7", "Number", "CC-BY-4.0", None, "rows.jsonl#4", []),
    ]
    assert set(ledger.select("origin", "reason").rows()) == {
        ("rows.jsonl#2", "empty"),
        ("rows.jsonl#3", "duplicate_id"),
        ("rows.jsonl#5", "missing_field"),
        ("rows.jsonl#6", "missing_field"),
        ("rows.jsonl#7", "malformed_row"),
    }
    assert set(ledger.select("stage", "source").rows()) == {("ingest", "notes")}
    assert capsys.readouterr().out.startswith("notes: 7 rows, 2 documents, 5 in the ledger (1 duplicate_id, 1 empty,")


def test_without_an_id_field_file_and_row_name_a_document(tmp_path: Path) -> None:
    """The third line is row 3, whatever happened to the second."""
    rows = [{"text": "a"}, {"text": ""}, {"text": "c"}]
    assert ingested(tmp_path, rows, section())[0]["doc_id"].to_list() == ["notes/rows.jsonl#1", "notes/rows.jsonl#3"]


def test_what_was_lost_before_is_counted(tmp_path: Path) -> None:
    """Documents with U+FFFD, beside those that a step of cleaning changed."""
    rows = [{"text": "caf\ufffd \ufffd"}, {"text": "it\x92s"}, {"text": "fine"}]
    assert ingested(tmp_path, rows, section())[0]["text"].to_list() == ["caf\ufffd \ufffd", "it’s", "fine"]
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert counts["changes"] == {"replacement_characters": 1, "windows_1252": 1}


def test_instructions_keep_their_turns(tmp_path: Path) -> None:
    """The text of a conversation is its turns joined by newlines.

    One empty turn makes it no conversation.
    """
    source = section(collection="instructions", text=None, turns=TURNS)
    rows = [{"q": "Why?", "a": "So.<|endoftext|>"}, {"q": "Why?", "a": "<|endoftext|>"}]
    documents, ledger = ingested(tmp_path, rows, source)
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    assert documents.select("text", "turns").rows() == [("Why?\nSo.", turns)]
    assert ledger["reason"].to_list() == ["empty"]


def test_a_source_without_any_document_is_an_error(tmp_path: Path) -> None:
    """A misspelled field stops the build, and the message names it.

    It is not 6 ledger rows and a build without the source.
    """
    with pytest.raises(BuildError, match=r"none of 6 rows gives a document.*rows.jsonl#1: no value for 'txet'"):
        ingested(tmp_path, ROWS, section(text="{txet}"))


@pytest.mark.parametrize("changed", [{"text": "{text}{txet?}"}, {"text": "{txet?}"}, {"date_field": "txet"}])
def test_an_optional_field_that_no_row_has_is_an_error(tmp_path: Path, changed: dict[str, Any]) -> None:
    """Misspelled it would silently be nothing.

    One row of any file that has it, be it null, is enough.
    """
    (tmp_path / "raw").mkdir()
    for number in range(3):
        (tmp_path / f"raw/{number}.jsonl").write_text(json.dumps({"text": f"a {number}"}) + "\n")
    (tmp_path / "raw/z.jsonl").write_text("broken\n")
    with pytest.raises(BuildError, match=r"source.notes: 'txet' is in none of 4 rows; correct the field's name"):
        ingested(tmp_path, None, section(**changed))
    (tmp_path / "raw/1.jsonl").write_text(
        json.dumps({"text": "a", "txet": "b" if "?" in str(changed) else None}) + "\n"
    )
    assert len(ingested(tmp_path, None, section(**changed))[0]) == (1 if changed == {"text": "{txet?}"} else 3)


def test_files_that_are_not_read_are_in_the_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each, which counts as a row in.

    With `phi` too the reason is shown, since it quotes nothing.
    """
    (tmp_path / "raw").mkdir()
    for name, content in {
        "a.jsonl": '{"text": "a"}',
        "b.jsonl": "",
        "c.txt": "c",
        ".d.jsonl": "d",
        ".gitignore": "",
    }.items():
        (tmp_path / "raw" / name).write_text(content)
    for source in (section(), section(phi=phi())):
        documents, ledger = ingested(tmp_path, None, source)
        assert len(documents) == 1
        assert sorted(ledger["reason"]) == ["empty_file", "hidden", "other_suffix"]
        assert ({".d.jsonl#1", "b.jsonl#1", "c.txt#1"} == set(ledger["origin"])) == (source.phi is None)
        assert HIDDEN not in ledger["detail"]
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert (counts["files"], counts["rows"], counts["encodings"]) == (2, 4, {"utf-8": 2})
    assert "4 rows, 1 documents, 3 in the ledger (1 empty_file, 1 hidden, 1 other_suffix)" in capsys.readouterr().out


def test_parts_do_not_change_the_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents in parts of 10 characters are those of one part.

    In the same order, with ids unique across parts.
    """
    rows = [{"id": number % 7, "text": f"text {number}"} for number in range(10)]
    whole, _ = ingested(tmp_path, rows, section(id="id"))
    for name in ("BATCH_BYTES", "PART_BYTES"):
        monkeypatch.setattr(f"osler.ingest.ingested.{name}", 10)
    shutil.rmtree(tmp_path / "store")
    parted, ledger = ingested(tmp_path, rows, section(id="id"))
    assert len(list((tmp_path / "documents").iterdir())) == 4
    assert parted.equals(whole)
    assert len(ledger) == 3


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    """Documents and ledger have no clock, host or chance in them."""
    both = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        ingested(tmp_path / name, ROWS, section(id="id"))
        both.append([path.read_bytes() for path in sorted((tmp_path / name).rglob("*.parquet"))])
    assert both[0] == both[1]


def test_an_id_of_an_earlier_file_is_in_the_ledger(tmp_path: Path) -> None:
    """Files are read apart, but a doc_id names one document.

    The first in the order of file names.
    """
    (tmp_path / "raw").mkdir()
    for name, ids in (("a", "xy"), ("b", "yz"), ("c", "z")):
        rows = [json.dumps({"id": row, "text": f"{name} {row}"}) + "\n" for row in ids]
        (tmp_path / f"raw/{name}.jsonl").write_text("".join(rows))
    documents, ledger = ingested(tmp_path, None, section(id="id"), jobs=2)
    assert documents["text"].to_list() == ["a x", "a y", "b z"]
    assert ledger.select("origin", "reason", "detail").rows() == [
        ("b.jsonl#1", "duplicate_id", "the id of a.jsonl#2"),
        ("c.jsonl#1", "duplicate_id", "the id of b.jsonl#2"),
    ]
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert counts == {
        "documents": 3,
        "encodings": {"utf-8": 3},
        "files": 3,
        "rows": 5,
        "changes": {},
        "identifiers": {},
        "notation": {},
    }


def test_formulas_and_citations_are_counted_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Over all files of a source, also those of which another count is missing."""
    (tmp_path / "raw").mkdir()
    for name, formula in (("a", "<tex-math>x</tex-math><tex-math>y</tex-math>"), ("b", "<inline-graphic/>")):
        body = f'<p>One {formula} two<xref ref-type="bibr">3</xref></p>'
        (tmp_path / f"raw/{name}.xml").write_text(f"<article><body>{body}</body></article>")
    documents, _ = ingested(tmp_path, None, section(format="jats", text="{body}"))
    assert documents["text"].to_list() == ["One $x$$y$ two", "One [formula] two"]
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert counts["notation"] == {"citations": 2, "formulas_marker": 1, "formulas_tex": 2}
    assert "0 in the ledger; formulas: 2 as TeX, 1 as markers\n" in capsys.readouterr().out


def test_one_changed_or_new_file_of_200_costs_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in files read; the bytes are those of a clean build."""
    (tmp_path / "raw").mkdir()
    for number in range(200):
        (tmp_path / f"raw/{number:03d}.jsonl").write_text(json.dumps({"text": f"text {number}"}) + "\n")
    read: list[str] = []

    def counted(folder: Path, files: list[RawFile], name: str, source: Source) -> None:
        read.extend(file.name for file in files)
        ingested_files(folder, files, name, source)

    def run_of(name: str) -> list[str]:
        runs = file_runs(source_files(tmp_path / "raw", section()))
        return next(names for run in runs if name in (names := [file.name for file in run]))

    monkeypatch.setattr(ingest, "ingested_files", counted)
    monkeypatch.setattr(runs, "RUN_FILES", 8)
    ingested(tmp_path, None, section())
    assert len(read) == 200
    (tmp_path / "raw/100.jsonl").write_text(json.dumps({"text": "changed"}) + "\n")
    documents, _ = ingested(tmp_path, None, section())
    assert read[200:] == run_of("100.jsonl")
    assert len(read) < 250
    assert documents["text"][100] == "changed"
    del read[:]
    (tmp_path / "raw/050a.jsonl").write_text(json.dumps({"text": "new"}) + "\n")
    ingested(tmp_path, None, section())
    assert read == run_of("050a.jsonl") or set(read) > {"050a.jsonl"}
    assert len(read) < 50
    again = {path.name: path.read_bytes() for path in (tmp_path / "documents").iterdir()}
    shutil.rmtree(tmp_path / "store")
    ingested(tmp_path, None, section())
    assert {path.name: path.read_bytes() for path in (tmp_path / "documents").iterdir()} == again


@pytest.mark.parametrize(
    "phi", [None, {"action": "redact", "detector": "rules", "required": False, "minimum_recall": 0}]
)
def test_files_read_together_give_what_each_alone_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phi: dict[str, Any] | None
) -> None:
    """Documents, ledger and counts, in order; with `phi` the ids are of each file's own key."""
    (tmp_path / "raw").mkdir()
    for number in range(30):
        rows = [{"id": f"{number}", "text": f"Note {number} of 03/14/2021"}, {"id": "same", "text": "x"}, {"id": "e"}]
        lines = "".join(json.dumps(row) + "\n" for row in rows) + "{broken\n" * (number % 3)
        (tmp_path / f"raw/{number:02d}.jsonl").write_text(lines)
    (tmp_path / "raw/empty.jsonl").touch()
    source = section(id="id", phi=phi)
    documents, ledger = ingested(tmp_path, None, source)
    counts = (tmp_path / "counts.json").read_text()
    assert len(file_runs(source_files(tmp_path / "raw", source))) < 10
    monkeypatch.setattr(runs, "SMALL_BYTES", -1)
    assert len(file_runs(source_files(tmp_path / "raw", source))) == 31
    alone, alone_ledger = ingested(tmp_path, None, source)
    assert documents.rows() == alone.rows()
    assert ledger.rows() == alone_ledger.rows()
    assert counts == (tmp_path / "counts.json").read_text()


def test_dates_and_long_documents(tmp_path: Path) -> None:
    """A row's date goes with it.

    A document over the limit is in the ledger.
    """
    rows: list[dict[str, Any]] = [
        {"text": "short", "year": 2021},
        {"text": "much longer", "year": 2022},
        {"text": "none"},
    ]
    documents, ledger = ingested(tmp_path, rows, section(date_field="year", document_limit_characters=10))
    assert documents.select("text", "date").rows() == [("short", "2021"), ("none", None)]
    assert ledger.select("reason", "detail").rows() == [
        ("too_long", "11 characters, more than `document_limit_characters`")
    ]


NOTE = "Seen by Dr. Okafor on 03/14/2021 and 03/24/2021."


def phi(**changed: Any) -> dict[str, Any]:
    """A section `phi`."""
    section = {"action": "redact", "required": False, "minimum_recall": 0.0, "classes": None}
    return section | {"detector": "rules", "detector_version": None, "key_file": None, "key_id": None} | changed


def test_identifiers_are_gone_before_anything_is_written(tmp_path: Path) -> None:
    """Redacted in documents and in turns, counted by class.

    No file of the source's has them.
    """
    documents, _ = ingested(tmp_path, [{"text": NOTE}], section(phi=phi()))
    assert documents["text"].to_list() == ["Seen by Dr. [NAME] on [DATE] and [DATE]."]
    assert json.loads((tmp_path / "counts.json").read_text())["identifiers"] == {"date": 2, "name": 1}
    source = section(collection="instructions", text=None, turns=TURNS, phi=phi())
    documents, _ = ingested(tmp_path, [{"q": NOTE, "a": "Yes, Dr. Okafor."}], source)
    assert [turn["content"] for turn in documents["turns"][0]][1] == "Yes, Dr. [NAME]."
    assert "Okafor" not in documents["text"][0]
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "rows.jsonl"]
    assert written
    assert not any(b"Okafor" in path.read_bytes() for path in written)


def test_what_cannot_be_read_is_not_quoted(tmp_path: Path) -> None:
    """The ledger says where and why, and quotes nothing.

    A header that is none, or a row that is no JSON, may be a patient's.
    """
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.csv").write_text("77,Patient: Dr. Okafor\n78,more\n")
    (tmp_path / "raw/b.csv").write_text("text\nfine\n")
    documents, ledger = ingested(tmp_path, None, section(format="csv", phi=phi()))
    assert documents["text"].to_list() == ["fine"]
    assert ledger.select("reason", "detail").rows() == [("missing_header", HIDDEN)]
    assert re.fullmatch(r"[0-9a-f]{16}\.csv#1", ledger["origin"][0])
    _, ledger = ingested(tmp_path, None, section(format="csv"))
    assert "Okafor" in ledger["detail"][0]


@pytest.mark.parametrize("action", ["redact", "surrogate", "drop"])
def test_ids_file_names_and_dates_are_private(tmp_path: Path, action: str) -> None:
    """No written file tells the id, the raw file or the day.

    Nor does the name of one; repeated ids are noticed.
    """
    (tmp_path / "raw").mkdir()
    (tmp_path / "key").write_bytes(b"k" * 32)
    rows: list[dict[str, Any]] = [
        {"id": "MRN7001234", "text": "No cough.", "seen": "2021-03-14"},
        {"id": "MRN7001234", "text": "Again.", "seen": "2021-03-24"},
        {"id": "MRN7001235", "text": " ", "seen": None},
        {"id": "MRN7001236", "text": "No fever.", "seen": "2021-03-24"},
        {"id": None, "text": "No id.", "seen": None},
    ]
    (tmp_path / "raw/Quackenbush.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "raw/Zwolle.jsonl").write_text(json.dumps(rows[0] | {"text": "In another file."}) + "\n")
    given = phi(action=action, key_file=str(tmp_path / "key"), key_id=key_id(b"k" * 32))
    documents, ledger = ingested(tmp_path, None, section(id="id", date_field="seen", phi=given))
    assert documents["text"].to_list() == ["No cough.", "No fever."]
    assert ledger["reason"].to_list() == ["duplicate_id", "missing_field", "empty", "duplicate_id"]
    called = names_on_disk("notes/MRN7001234", b"k" * 32)
    assert documents["doc_id"][0] in called
    assert ledger["doc_id"][0] == ledger["doc_id"][3] == documents["doc_id"][0]
    if action == "surrogate":
        assert len(set(documents["date"])) == 2
        assert not {"2021-03-14", "2021-03-24"} & set(documents["date"])
    else:
        assert documents["date"].to_list() == ["2021", "2021"]
    written = [str(path) for path in tmp_path.rglob("*") if "raw" not in path.parts]
    tables = [ledger.write_csv(), documents.drop("turns").write_csv(), (tmp_path / "counts.json").read_text()]
    told = "".join(written + tables)
    assert not re.search(r"MRN|70012|Quackenbush|Zwolle|03-14", told)


def test_without_a_key_the_contents_of_a_file_hide_its_ids(tmp_path: Path) -> None:
    """To redact needs no secret.

    The same id is another in a file of other contents, and the same in a second build.
    """
    (tmp_path / "raw").mkdir()
    for name in "ab":
        rows = [{"id": "MRN7001234", "text": text} for text in (f"In {name}.", "Again.")]
        (tmp_path / f"raw/{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "raw/Okafor.jsonl").symlink_to("/dev/null")
    documents, ledger = ingested(tmp_path, None, section(id="id", phi=phi()))
    assert documents["text"].to_list() == ["In a.", "In b."]
    assert documents["doc_id"].n_unique() == 2
    assert ledger["reason"].to_list() == ["link", "duplicate_id", "duplicate_id"]
    assert ledger["origin"][0] == "unnamed.jsonl#1"
    assert ingested(tmp_path, None, section(id="id", phi=phi()))[0].equals(documents)


def test_dates_stay_where_the_classes_leave_dates(tmp_path: Path) -> None:
    """Where only names are taken a document keeps its day.

    And never its id.
    """
    rows = [{"id": "MRN7001234", "text": "No cough.", "seen": "2021-03-14"}]
    documents, _ = ingested(tmp_path, rows, section(id="id", date_field="seen", phi=phi(classes=["name"])))
    assert documents["date"].to_list() == ["2021-03-14"]
    assert "MRN" not in documents["doc_id"][0]


def test_a_document_with_identifiers_can_be_dropped(tmp_path: Path) -> None:
    """The ledger has classes and counts, not the text."""
    documents, ledger = ingested(tmp_path, [{"text": NOTE}, {"text": "No cough."}], section(phi=phi(action="drop")))
    assert documents["text"].to_list() == ["No cough."]
    assert ledger.select("reason", "detail").rows() == [("phi", "2 date, 1 name")]


def test_surrogates_need_the_key_that_the_params_name(tmp_path: Path) -> None:
    """With it dates keep their distance, that of `date_field` too.

    Another key and none are errors that say what to do.
    """
    (tmp_path / "key").write_bytes(b"k" * 32)
    rows = [{"text": NOTE, "seen": "03/14/2021"}]
    source = phi(action="surrogate", key_file=str(tmp_path / "key"), key_id=key_id(b"k" * 32))
    documents, _ = ingested(tmp_path, rows, section(phi=source, date_field="seen"))
    text = documents["text"][0]
    dates = [datetime.strptime(found, "%m/%d/%Y") for found in re.findall(r"\d\d/\d\d/\d{4}", text)]
    assert (dates[1] - dates[0]).days == 10
    assert f" on {documents['date'][0]} and" in text
    assert "Okafor" not in text
    with pytest.raises(BuildError, match=r"source.notes.phi.key_id: the key in .* has the id [0-9a-f]{8}"):
        ingested(tmp_path, rows, section(phi=source | {"key_id": "00000000"}))
    with pytest.raises(BuildError, match=r"source.notes.phi.key_file: No such file"):
        ingested(tmp_path, rows, section(phi=source | {"key_file": "/nowhere/key"}))
