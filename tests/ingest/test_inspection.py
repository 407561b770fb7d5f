"""A first profile for a folder: what is guessed from files made inside the test, and that it only has to be completed."""

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest

from osler.build.validation import validated
from osler.ingest.inspection import FORMATS, found_in, proposed, template
from osler.ingest.records import SUFFIXES, TEXT_FORMATS
from osler.ingest.source import FIELDS, Source

LONG = "A patient came with a cough that had lasted for three weeks and went home well."
JATS = "<article><front><article-meta><title-group><article-title>T</article-title></title-group></article-meta></front><body><p>B.</p></body></article>"  # fmt: skip  # noqa: E501
PUBMED = "<PubmedArticleSet><PubmedArticle><MedlineCitation><PMID>1</PMID><Article><ArticleTitle>T</ArticleTitle><Abstract><AbstractText>A.</AbstractText></Abstract></Article></MedlineCitation></PubmedArticle></PubmedArticleSet>"  # fmt: skip  # noqa: E501


def section(folder: Path) -> dict[str, Any]:
    """What is proposed for the one source in a folder; it is a valid section once it has a license."""
    (found,) = found_in(folder)
    made = proposed(found)
    validated("source.x", made | {"license": "x"}, Source)
    return made


def jsonl(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "notes.jsonl",
            jsonl({"note_id": 1, "text": LONG}, {"note_id": 2, "text": LONG}),
            {"collection": "clinical", "format": "jsonl", "id": "note_id", "text": "{text}"},
        ),
        (
            "a.csv",
            f"id,title,abstract,year\n1,T,{LONG},2001\n2,,{LONG},2002\n",
            {"format": "csv", "id": "id", "text": "{title?}\n\n{abstract}", "date_field": "year"},
        ),
        ("wiki.txt", LONG, {"collection": "general", "format": "txt", "text": "{text}"}),
        ("a.xml", JATS, {"format": "jats"}),
        ("b.xml", PUBMED, {"format": "pubmed", "id": "pmid"}),
        ("qa.json", json.dumps([{"question": "Q?", "answer": "A."}]), {"collection": "instructions", "format": "json"}),
        (
            "chat.jsonl",
            jsonl({"talk": [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "A."}]}),
            {"collection": "instructions", "turns_field": "talk"},
        ),
        (
            "x.jsonl",
            jsonl({"id": 1, "raw": LONG * 3, "text": LONG, "licence": "CC0"}, {"id": 1, "raw": "", "text": LONG}),
            {"text": "{text}", "license_field": "licence"},
        ),
    ],
)
def test_formats_and_fields_are_guessed(tmp_path: Path, name: str, content: str, expected: dict[str, Any]) -> None:
    """From the ending, the first rows and the fields' names; an id must tell the rows apart."""
    (tmp_path / name).write_text(content)
    made = section(tmp_path)
    assert {key: made.get(key) for key in expected} == expected
    assert made["path"] == name
    assert ("id" in made) == (name in ("notes.jsonl", "a.csv", "b.xml")), made


def test_compressed_files_archives_and_parquet_are_looked_into(tmp_path: Path) -> None:
    """As a source reads them; a folder is one source for each format, and hidden files are none."""
    (tmp_path / "zipped").mkdir()
    (tmp_path / "zipped/a.jsonl.gz").write_bytes(gzip.compress(jsonl({"id": "a", "text": LONG}).encode()))
    (tmp_path / "zipped/b.csv").write_text(f"text\n{LONG}\n")
    (tmp_path / "zipped/.hidden.csv").write_text("x\n1\n")
    with tarfile.open(tmp_path / "articles.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("a/1.xml")
        member.size = len(JATS)
        archive.addfile(member, io.BytesIO(JATS.encode()))
    pl.DataFrame({"uid": ["a"], "body": [LONG]}).write_parquet(tmp_path / "labels.parquet")
    found = {one.name: one for one in found_in(tmp_path)}
    assert {name: one.format for name, one in found.items()} == {
        "articles": "jats",
        "labels": "parquet",
        "zipped": "jsonl",
        "zipped_csv": "csv",
    }
    assert proposed(found["labels"])["text"] == "{body}"
    assert found["zipped_csv"].files == 1


def test_a_text_without_a_long_field_takes_the_longest() -> None:
    """Labels are still something to begin with."""
    assert template([{"a": "x", "b": "xyz"}], ["a", "b"]) == "{b}"


def test_every_format_of_files_is_looked_for() -> None:
    """The lists of formats agree: what a section may say, what files end in, and what a first profile tries.

    Of xml nobody can guess the paths, and of meds which tasks are to be learned.
    """
    said = set(get_args(Source.model_fields["format"].annotation)) - {"hub"}
    assert said == set(SUFFIXES) == {*FORMATS, "xml", "meds"}
    assert set(FIELDS) | set(TEXT_FORMATS) <= said
