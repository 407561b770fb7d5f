"""PubMed as it is distributed: a baseline, then files of new, revised and deleted records."""

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from osler.build.section import BuildError
from osler.ingest.source import Source
from osler.privacy.screening import key_id
from tests.ingest.test_ingest import ingested, phi
from tests.ingest.test_records import section

KEY = b"k" * 32


def citation(pmid: int, title: str, version: int = 1, more: str = "") -> str:
    """A record."""
    return (
        f'<PubmedArticle><MedlineCitation><PMID Version="{version}">{pmid}</PMID><Article><ArticleTitle>{title}</ArticleTitle>'
        f"{more}</Article></MedlineCitation></PubmedArticle>"
    )


def deletion(*pmids: str) -> str:
    """A list of deletions; `7v2` is version 2 of 7."""
    listed = (pmid.partition("v") for pmid in pmids)
    texts = (f'<PMID Version="{v}">{pmid}</PMID>' if v else f"<PMID>{pmid}</PMID>" for pmid, _, v in listed)
    return f"<DeleteCitation>{''.join(texts)}</DeleteCitation>"


def pubmed(folder: Path, files: list[str], **changed: Any) -> tuple[list[str], list[tuple[str, str, str]]]:
    """Texts, and (origin, reason, detail) of the ledger, of files in the order of their names."""
    (folder / "raw").mkdir(exist_ok=True)
    for number, content in enumerate(files, 1):
        (folder / f"raw/n{number}.xml.gz").write_bytes(
            gzip.compress(f"<PubmedArticleSet>{content}</PubmedArticleSet>".encode())
        )
    source = section(**{"format": "pubmed", "text": "{title}"} | changed)
    documents, ledger = ingested(folder, None, source)
    rows = json.loads((folder / "counts.json").read_text())["rows"]
    assert rows == len(documents) + len(ledger) == sum(content.count("<PubmedArticle>") for content in files)
    assert documents["doc_id"].is_unique().all()
    return documents["text"].to_list(), ledger.select("origin", "reason", "detail").rows()


@pytest.mark.parametrize(
    ("files", "texts", "ledger"),
    [
        ([citation(1, "a") + citation(2, "b"), citation(1, "c")], ["b", "c"], [(1, 1, "superseded", (2, 1))]),
        ([citation(1, "a") + citation(2, "b") + citation(1, "c")], ["b", "c"], [(1, 1, "superseded", (1, 3))]),
        ([citation(1, "a"), citation(1, "b"), citation(1, "c")], ["c"],
         [(1, 1, "superseded", (3, 1)), (2, 1, "superseded", (3, 1))]),
        ([citation(1, "a") + citation(2, "b"), deletion("1", "9")], ["b"], [(1, 1, "deleted_by_source", (2, 1))]),
        ([citation(1, "a"), citation(2, "b") + deletion("1"), citation(1, "c")], ["b", "c"],
         [(1, 1, "deleted_by_source", (2, 2))]),
        ([citation(1, "a") + citation(2, "b"), citation(1, "c"), deletion("1")], ["b"],
         [(1, 1, "superseded", (2, 1)), (2, 1, "deleted_by_source", (3, 1))]),
        ([citation(1, "v2", 2) + citation(1, "v1", 1), citation(1, "v1 again", 1)], ["v2"],
         [(1, 2, "superseded", (1, 1)), (2, 1, "superseded", (1, 1))]),
        ([citation(1, "v1", 1) + citation(1, "v2", 2), deletion("1v2")], ["v1"], [(1, 2, "deleted_by_source", (2, 1))]),
        ([citation(1, "v1", 1) + citation(1, "v2", 2) + citation(3, "c"), deletion("1")], ["c"],
         [(1, 1, "superseded", (1, 2)), (1, 2, "deleted_by_source", (2, 1))]),
        ([citation(10, "a") + citation(1, "b"), deletion("01", " 10 ")], ["b"], [(1, 1, "deleted_by_source", (2, 1))]),
    ],
)  # fmt: skip
def test_a_later_record_replaces_and_a_deletion_removes(
    tmp_path: Path, files: list[str], texts: list[str], ledger: list[tuple[Any, ...]]
) -> None:
    """Of a PMID the last row stands, unless it is of a lower version or deleted later; the ledger names what did it."""
    expected = [(f"n{file}.xml.gz#{row}", reason, f"by n{by[0]}.xml.gz#{by[1]}") for file, row, reason, by in ledger]
    assert pubmed(tmp_path, files) == (texts, expected)


def test_a_revision_without_text_takes_the_old_text_with_it(tmp_path: Path) -> None:
    """What the source no longer says is not learned, whyever the new row gives no document."""
    abstract = "<Abstract><AbstractText>x</AbstractText></Abstract>"
    english, italian = "<Language>eng</Language>", "<Language>ita</Language>"
    files = [
        citation(1, "a", 1, abstract + english) + citation(2, "b", 1, abstract + english)
        + citation(3, "c", 1, abstract + english) + citation(4, "d", 1, abstract + english),
        citation(1, "a", 1, english) + citation(2, "b", 1, abstract + italian)
        + citation(3, "c", 1, "<Abstract><AbstractText> </AbstractText></Abstract>" + english),
    ]  # fmt: skip
    texts, ledger = pubmed(tmp_path, files, text="{abstract}", where={"language": ["eng"]})
    assert texts == ["x"]
    reasons = {origin: reason for origin, reason, _ in ledger}
    assert reasons == {
        **{f"n1.xml.gz#{row}": "superseded" for row in (1, 2, 3)},
        "n2.xml.gz#1": "missing_field", "n2.xml.gz#2": "where", "n2.xml.gz#3": "missing_field",
    }  # fmt: skip
    assert pl.read_parquet(tmp_path / "ledger.parquet").filter(pl.col("reason") == "where")["doc_id"].to_list() == [
        "notes/2"
    ]


def test_updates_hold_under_pseudonyms(tmp_path: Path) -> None:
    """The key gives one PMID one pseudonym in all files; without a key there would be two, so that is refused."""
    (tmp_path / "key").write_bytes(KEY)
    given = phi(key_file=str(tmp_path / "key"), key_id=key_id(KEY))
    files = [citation(1, "old") + citation(2, "gone") + citation(3, "kept"), citation(1, "new") + deletion("2")]
    texts, ledger = pubmed(tmp_path, files, phi=given)
    assert texts == ["kept", "new"]
    assert [reason for _, reason, _ in ledger] == ["superseded", "deleted_by_source"]
    assert "n1" not in str(ledger)
    with pytest.raises(ValueError, match="needs `phi.key_file`"):
        section(format="pubmed", text="{title}", phi=phi())


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_exports_of_other_formats_may_be_updated_too(tmp_path: Path, suffix: str) -> None:
    """With `repeated_id: last` the last row of an id stands, else the first; without `id` there is nothing to go by."""
    (tmp_path / "raw").mkdir()
    for name, rows in {"a": ["x 1", "y 1", "x 2"], "b": ["y 2", "z 2"]}.items():
        lines = {
            "jsonl": [json.dumps({"id": text[0], "text": text}) for text in rows],
            "csv": ["id,text", *(f"{text[0]},{text}" for text in rows)],
        }[suffix]
        (tmp_path / f"raw/{name}.{suffix}").write_text("".join(f"{line}\n" for line in lines))
    documents, ledger = ingested(tmp_path, None, section(format=suffix, id="id", repeated_id="last"))
    assert (documents["text"].to_list(), ledger["reason"].to_list()) == (["x 2", "y 2", "z 2"], ["superseded"] * 2)
    documents, ledger = ingested(tmp_path, None, section(format=suffix, id="id"))
    assert (documents["text"].to_list(), ledger["reason"].to_list()) == (["x 1", "y 1", "z 2"], ["duplicate_id"] * 2)
    with pytest.raises(ValueError, match="`repeated_id: last` needs `id`"):
        section(format=suffix, repeated_id="last")


def test_a_changed_update_file_gives_the_bytes_of_a_clean_build(tmp_path: Path) -> None:
    """What stands is decided anew; parts of earlier files come out of the store."""
    pubmed(tmp_path, [citation(1, "a") + citation(2, "b"), citation(1, "c")])
    again = pubmed(tmp_path, [citation(1, "a") + citation(2, "b"), deletion("2")])
    files = {path.name: path.read_bytes() for path in (tmp_path / "documents").iterdir()}
    (tmp_path / "clean").mkdir()
    assert pubmed(tmp_path / "clean", [citation(1, "a") + citation(2, "b"), deletion("2")]) == again
    assert {path.name: path.read_bytes() for path in (tmp_path / "clean/documents").iterdir()} == files


def test_a_source_of_which_all_is_deleted_is_an_error(tmp_path: Path) -> None:
    """As one without a document is."""
    with pytest.raises(BuildError, match="none of 1 rows gives a document.*deleted_by_source"):
        pubmed(tmp_path, [citation(1, "a"), deletion("1")])


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ({"language": ["eng"]}, ["a", "c"]),
        ({"language": ["eng", "ita"], "year": [2001]}, ["a"]),
        ({"tags": ["x"]}, ["a", "b"]),
        ({"ok": [True]}, ["a"]),
        ({"meta.kind": ["note"]}, ["c"]),
    ],
)
def test_a_condition_lets_rows_through_that_have_one_of_the_values(
    tmp_path: Path, where: dict[str, Any], kept: list[str]
) -> None:
    """Of each field named; a list, or a text with several, has the values in it. The others are in the ledger."""
    rows: list[dict[str, Any]] = [
        {"text": "a", "language": "eng", "year": 2001, "tags": ["x", "y"], "ok": True},
        {"text": "b", "language": "ita", "year": 2002, "tags": "w; x", "ok": False},
        {"text": "c", "language": "eng", "year": None, "tags": ["xy"], "meta": {"kind": "note"}},
    ]
    documents, ledger = ingested(tmp_path, rows, section(where=where))
    assert documents["text"].to_list() == kept
    assert set(ledger["reason"]) == {"where"}
    assert len(documents) + len(ledger) == 3


def test_a_condition_on_a_field_that_no_row_has_is_an_error(tmp_path: Path) -> None:
    """Misspelled it would drop all rows; of PubMed's fields it is known at once."""
    with pytest.raises(BuildError, match="'langauge' is in none of 1 rows"):
        ingested(tmp_path, [{"text": "a"}], section(where={"langauge": ["eng"]}))
    with pytest.raises(ValueError, match="has no field 'langauge'"):
        section(format="pubmed", text="{title}", where={"langauge": ["eng"]})


def test_parquet_reads_the_column_of_a_condition(tmp_path: Path) -> None:
    """Though no template names it."""
    (tmp_path / "raw").mkdir()
    pl.DataFrame({"text": ["a", "b"], "year": [1, 2], "rest": [0, 0]}).write_parquet(tmp_path / "raw/a.parquet")
    documents, _ = ingested(tmp_path, None, section(format="parquet", where={"year": [2]}))
    assert documents["text"].to_list() == ["b"]


def test_ids_of_pubmed_are_pmids() -> None:
    """Without saying so; another id cannot be updated."""
    source = section(format="pubmed", text="{title}")
    assert (source.id, source.keeps_last) == ("pmid", True)
    with pytest.raises(ValueError, match="`id` of format pubmed is pmid"):
        section(format="pubmed", text="{title}", id="doi")
    assert isinstance(section(format="pubmed", text="{title}", id="doi", repeated_id="first"), Source)
