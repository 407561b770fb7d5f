"""Documents that leave the corpus by a list, or because they are retracted."""

import json
from pathlib import Path
from typing import Any

import pytest

from osler.build.section import BuildError
from osler.corpus.withdrawn import listed_names, plain_name
from tests.corpus import test_selection
from tests.corpus.test_selection import near, prepared, prose, settings


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("10.1000/AbC", "10.1000/abc"),
        ("https://doi.org/10.1000/AbC", "10.1000/abc"),
        ("http://dx.doi.org/10.1000/abc", "10.1000/abc"),
        ("doi: 10.1000/abc", "10.1000/abc"),
        ("doi.org/10.1000%2Fabc", "10.1000/abc"),
        ("https://doi.org/doi:10.1000/abc(1)<2>", "10.1000/abc(1)<2>"),
        ("10.1/X", "10.1/x"),
        ("PMID: 123", "pmid:123"),
        ("pmid123", "pmid:123"),
        ("https://pubmed.ncbi.nlm.nih.gov/123/", "pmid:123"),
        ("123", "123"),
        ("notes/N1", "notes/N1"),
        ("PMC123", "PMC123"),
        ("notes/a.jsonl#3", "notes/a.jsonl#3"),
    ],
)
def test_a_name_is_the_same_in_all_its_forms(written: str, plain: str) -> None:
    """A DOI in lower case without its address, a PMID as such; ids and bare digits are as they are."""
    assert plain_name(written) == plain


def test_a_list_has_a_name_a_line(tmp_path: Path) -> None:
    """Blank lines and comments name nothing; a file that is not there stops the build."""
    (tmp_path / "list").write_text("\ufeff# why\r\n\r\n doi:10.1/X \r\nnotes/a.jsonl#3\r\n", encoding="utf-8")
    assert listed_names(tmp_path / "list") == {"10.1/x": "doi:10.1/X", "notes/a.jsonl#3": "notes/a.jsonl#3"}
    with pytest.raises(BuildError, match="a list of withdrawn documents is a file in UTF-8, one id a line"):
        listed_names(tmp_path / "nothing")
    (tmp_path / "odd").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BuildError, match="odd: .*a list of withdrawn documents"):
        listed_names(tmp_path / "odd")


def selected(folder: Path, listed: str | None = None, **changed: Any) -> dict[str, str]:
    """doc_id -> "keep", or reason and detail."""
    raw = None
    if listed is not None:
        raw = folder / "withdrawn.txt"
        raw.write_text(listed)
    changed["priority"] = sorted(each.name for each in (folder / "documents").glob("*/*"))
    return test_selection.selected(folder, settings(**changed), withdrawn=raw)


def test_a_list_takes_documents_out_by_any_of_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By doc_id in one source, by the row's id in all, and by DOI or PMID; what fits none is told, and stops nothing."""
    rows = {name: prose(name) for name in "abcdef"}
    names: dict[str, Any] = {"c": {"doi": "https://doi.org/10.1/C"}, "d": {"pmid": 44}, "e": {"pmid": "45"}}
    folder = prepared(
        tmp_path, {"guides": rows, "notes": {"b": prose("other"), "44": prose("q")}}, names
    )  # the row 44 is no PMID
    found = selected(folder, "guides/a\nb\ndoi:10.1/c\nPMID: 44\nnotes/a\nzzz\n")
    assert {doc_id: why for doc_id, why in found.items() if why != "keep"} == {
        "guides/a": "withdrawn listed as guides/a",
        "guides/b": "withdrawn listed as b",
        "notes/b": "withdrawn listed as b",
        "guides/c": "withdrawn listed as doi:10.1/c",
        "guides/d": "withdrawn listed as PMID: 44",
    }
    told = capsys.readouterr().out
    assert "withdrawn.txt: 2 of 6 names fit no document: notes/a, zzz" in told
    assert not any(text[:20] in told for text in rows.values())
    assert set(selected(folder, "# none\n").values()) == {"keep"}


def test_a_copy_does_not_take_the_place_of_a_withdrawn_document(tmp_path: Path) -> None:
    """Neither an exact one, which would have been dropped as a duplicate, nor one that differs in a word."""
    text = prose("text")
    texts = {"guides": {"a": text, "z": prose("z")}, "notes": {"b": text, "c": near(text, 7), "d": prose("d")}}
    folder = prepared(tmp_path, texts)
    assert selected(folder)["notes/b"].startswith("exact_duplicate")
    found = selected(folder, "guides/a")
    assert {doc_id: why.split()[0] for doc_id, why in found.items()} == {
        "guides/a": "withdrawn", "notes/b": "withdrawn_twin", "notes/c": "withdrawn_twin",
        "guides/z": "keep", "notes/d": "keep",
    }  # fmt: skip


def article(doi: str, title: str, more: str = "", kind: str = "research-article") -> str:
    """An article in JATS."""
    return (
        f'<article article-type="{kind}" xmlns:xlink="http://www.w3.org/1999/xlink"><front><article-meta>'
        '<article-id pub-id-type="doi">'
        f"{doi}</article-id><title-group><article-title>{title}</article-title></title-group>{more}</article-meta></front>"
        f"<body><p>{prose(doi + title)}</p></body></article>"
    )


def test_what_a_journal_retracts_leaves_the_corpus(tmp_path: Path) -> None:
    """By its own mark, by the notice, and in other sources by its DOI; the notice stays, and a setting keeps all."""
    notice = '<related-article related-article-type="retracted-article" ext-link-type="doi" xlink:href="https://doi.org/10.1000/B"/>'
    jats = {
        "format": "jats",
        "text": "{title}. {body}",
        "file": f"<set>{article('10.1000/a', 'RETRACTED: One')}{article('10.1000/b', 'Two')}"
        f"{article('10.1000/n', 'Notice', notice, 'retraction')}{article('10.1000/d', 'Four')}</set>",
    }
    names: dict[str, Any] = {"x": {"doi": "doi:10.1000/A"}, "y": {"doi": "10.1000/d"}}
    folder = prepared(tmp_path, {"guides": jats, "notes": {"x": prose("x"), "y": prose("y")}}, names)
    assert selected(folder) == {
        "guides/10.1000/a": "retracted by its own record",
        "guides/10.1000/b": "retracted by a record of guides with the DOI 10.1000/b",
        "notes/x": "retracted by a record of guides with the DOI 10.1000/a",
        "guides/10.1000/n": "keep", "guides/10.1000/d": "keep", "notes/y": "keep",
    }  # fmt: skip
    assert set(selected(folder, retracted="keep").values()) == {"keep"}
    counts = json.loads((folder / "counts/guides.json").read_text())
    assert counts["documents"] == 4


def test_a_record_that_pubmed_retracts_later_leaves_the_corpus(tmp_path: Path) -> None:
    """The last state counts: what an update marks goes, and what it no longer marks comes back."""

    def record(pmid: int, types: str) -> str:
        return (
            f"<PubmedArticle><MedlineCitation><PMID>{pmid}</PMID><Article><ArticleTitle>{prose(pmid)}</ArticleTitle><PublicationTypeList>"
            f"<PublicationType>{types}</PublicationType></PublicationTypeList></Article></MedlineCitation></PubmedArticle>"
        )

    retracted, plain = "Retracted Publication", "Journal Article"
    for number, state in enumerate(((plain, retracted), (retracted, plain))):
        folder = tmp_path / str(number)
        folder.mkdir()
        content = f"<PubmedArticleSet>{record(1, state[0])}{record(2, plain)}{record(1, state[1])}</PubmedArticleSet>"
        pubmed = {"format": "pubmed", "text": "{title}", "file": content}
        expected = "retracted by its own record" if state[1] == retracted else "keep"
        assert selected(prepared(folder, {"guides": pubmed})) == {"guides/1": expected, "guides/2": "keep"}


def test_a_notice_of_pubmed_retracts_by_pmid(tmp_path: Path) -> None:
    """Its article goes, and a copy in another source, however that writes the PMID; the notice stays."""
    of = "<CommentsCorrections RefType='RetractionOf'><PMID>1</PMID></CommentsCorrections>"
    of = f"<CommentsCorrectionsList>{of}</CommentsCorrectionsList>"
    records = "".join(
        f"<PubmedArticle><MedlineCitation><PMID>{pmid}</PMID><Article><ArticleTitle>{prose(pmid)}</ArticleTitle>"
        f"<PublicationTypeList><PublicationType>{kind}</PublicationType></PublicationTypeList></Article>{more}</MedlineCitation></PubmedArticle>"
        for pmid, kind, more in ((1, "Journal Article", ""), (2, "Retraction of Publication", of))
    )
    pubmed = {"format": "pubmed", "text": "{title}", "file": f"<PubmedArticleSet>{records}</PubmedArticleSet>"}
    folder = prepared(
        tmp_path, {"guides": pubmed, "notes": {"x": prose("x"), "y": prose("y")}}, {"x": {"pmid": "PMID: 1"}}
    )
    found = selected(folder)
    assert found["guides/2"] == "keep"
    assert [found[doc_id].split()[0] for doc_id in ("guides/1", "notes/x")] == ["retracted", "retracted"]
    assert selected(folder, "PMID:1\n")["notes/x"] == "withdrawn listed as PMID:1"
