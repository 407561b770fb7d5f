"""What of a site's pages is text: the part that is selected, without the lines that most pages share."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from osler.build.section import BuildError
from osler.ingest import shared_lines as module
from osler.ingest.faults import Fault
from osler.ingest.markup import html_rows
from osler.ingest.shared_lines import cleaned_part, shared_lines, without
from tests.ingest.test_ingest import ingested, phi
from tests.ingest.test_records import section

PAGE = (
    "<head><title>Gout</title></head><body><div class=ad>Buy now</div><main id=c><h1>Gout, explained</h1>"
    "<header>By A. Doe</header><p>One.<p>Two.</main> tail <aside class=note><p>Aside.</aside><p hidden>Secret.</body>"
)
TOP, BOTTOM = ["Health A to Z", "Call 911 in an emergency, or your doctor."], ["Print this page", "© The clinic 2020"]


def selected(select: str, page: str = PAGE) -> dict[str, str] | str:
    """The record of a page, or the fault's reason."""
    [(_, record)] = html_rows(io.BytesIO(page.encode()), None, select)
    return record.reason if isinstance(record, Fault) else dict(record)


@pytest.mark.parametrize(
    ("select", "text"),
    [
        ("main", "Gout, explained\nBy A. Doe\nOne.\nTwo."),
        ("#c > p", "One.\nTwo."),
        (".note, #c p", "One.\nTwo.\nAside."),
        ("MAIN p:first-of-type", "One."),
        ("main, main p", "Gout, explained\nBy A. Doe\nOne.\nTwo."),
        ("aside", "Aside."),
        ("p[hidden]", "Secret."),
        ("//main/p[2]", "Two."),
        ("(//p)[1] | //aside", "One.\nAside."),
        ("./body/main/h1", "Gout, explained"),
        ("body", "Buy now\nGout, explained\nBy A. Doe\nOne.\nTwo.\ntail"),
    ],
)
def test_a_part_of_a_page_is_read(select: str, text: str) -> None:
    """By CSS or XPath; each element once, without what stands after it.

    The title is the page's.
    """
    assert selected(select) == {"title": "Gout", "text": text}


@pytest.mark.parametrize("select", ["article", "#d", "//main/@id", "//p/text()", "//table"])
def test_a_page_without_the_part_is_a_fault(select: str) -> None:
    """It says so, and is not read as a whole or as nothing."""
    assert selected(select) == "nothing_selected"


def test_a_page_without_a_title_has_its_first_heading() -> None:
    """Also where the heading is not selected."""
    assert selected("p", "<h1>Head</h1><p>Text") == {"title": "Head", "text": "Text"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"select": "main >"}, "no CSS selector"),
        ({"select": "p::before::x("}, "no CSS selector"),
        ({"select": "//main["}, "no XPath"),
        ({"select": "(count(//p))"}, "no elements"),
        ({"select": ""}, "no CSS selector"),
        ({"select": "main", "format": "jsonl"}, "`select` is for format html"),
        ({"shared_line_fraction": 0.0}, "greater than 0"),
        ({"collection": "instructions", "text": None, "turns_field": "t", "shared_line_fraction": 0.5}, "for texts"),
    ],
)  # fmt: skip
def test_a_setting_that_can_mean_nothing_is_refused(changed: dict[str, Any], message: str) -> None:
    """When params are read, not when pages are."""
    with pytest.raises(ValidationError, match=message):
        section(**{"format": "html"} | changed)


def page(number: int) -> list[str]:
    """The lines of a page of a site, its own among them."""
    own = [
        f"Title {number}",
        f"By author {number}",
        f"Own words of page {number}.",
        f"More of {number}, too.",
        "Symptoms",
        f"More of {number}.",
    ]
    end = [
        "PLAN:",
        f"Rest of {number}.",
        "Treatment",
        *(f"The {part} of page {number}." for part in ("last", "end", "date", "place")),
    ]
    return [*TOP, own[0], "Share", *own[1:], "Talk to your doctor before you take any of this.", *end, *BOTTOM]


def raw_pages(folder: Path, count: int) -> None:
    """Pages of one site as HTML files."""
    (folder / "raw").mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"raw/{number:03d}.html").write_text("".join(f"<p>{line}</p>" for line in page(number)))


def test_lines_that_most_pages_share_go(tmp_path: Path) -> None:
    """From the top and the bottom, and long ones from the middle.

    Headings in the middle stay, and what ends in a colon. Rows in are documents.
    """
    raw_pages(tmp_path, 12)
    documents, ledger = ingested(tmp_path, None, section(format="html"))
    own = [line for line in page(7) if line not in (*TOP, *BOTTOM, "Share") and not line.startswith("Talk to")]
    assert documents["text"][7].split("\n") == own
    assert {"Symptoms", "PLAN:", "Treatment"} <= set(own)
    assert len(ledger) == 0
    counts = json.loads((tmp_path / "counts.json").read_text())["shared_lines"]
    assert counts.pop("shown") == sorted(
        [*TOP, *BOTTOM, "PLAN:", "Share", "Symptoms", "Treatment", "Talk to your doctor before you take any of this."]
    )
    assert counts == {"documents": 12, "lines": 72, "words": 12 * (4 + 8 + 1 + 3 + 4 + 10)}


@pytest.mark.parametrize(
    ("count", "changed"),
    [(9, {}), (12, {"shared_line_fraction": 1.0}), (12, {"format": "jsonl"}), (12, {"format": "txt", "split": "\n\n"})],
)
def test_lines_stay_in_few_pages_and_in_other_formats(tmp_path: Path, count: int, changed: dict[str, Any]) -> None:
    """Notes have headings in common, and two pages anything."""
    raw_pages(tmp_path, count)
    for path in (tmp_path / "raw").iterdir():
        text = "\n".join(page(int(path.stem)))
        path.with_suffix(".jsonl").write_text(json.dumps({"text": text}))
        path.with_suffix(".txt").write_text(text)
    documents, _ = ingested(tmp_path, None, section(**{"format": "html"} | changed))
    assert documents["text"].to_list() == ["\n".join(page(number)) for number in range(count)]


def test_another_format_can_ask_for_it(tmp_path: Path) -> None:
    """With a fraction of its own."""
    rows = [{"text": "\n".join(page(number))} for number in range(12)]
    for fraction, first in ((0.9, "Title 0"), (0.5, "Title 0"), (1.0, TOP[0])):
        documents, _ = ingested(tmp_path, rows, section(shared_line_fraction=fraction))
        assert documents["text"][0].split("\n")[0] == first
    half = [{"text": f"{'Share us' if number % 3 else 'Other'}\nOwn {number}"} for number in range(12)]
    for fraction, first in ((0.6, "Own 1"), (0.7, "Share us")):
        documents, _ = ingested(tmp_path, half, section(shared_line_fraction=fraction))
        assert documents["text"][1].split("\n")[0] == first


def test_counts_of_private_pages_hold_no_text(tmp_path: Path) -> None:
    """How many, and not which."""
    raw_pages(tmp_path, 12)
    documents, _ = ingested(tmp_path, None, section(format="html", phi=phi()))
    assert TOP[0] not in documents["text"][0]
    counts = json.loads((tmp_path / "counts.json").read_text())["shared_lines"]
    assert sorted(counts) == ["documents", "lines", "words"]


def test_a_page_of_nothing_else_is_in_the_ledger(tmp_path: Path) -> None:
    """As empty, and a source of only such pages is an error."""
    raw_pages(tmp_path, 12)
    (tmp_path / "raw/empty.html").write_text("".join(f"<p>{line}</p>" for line in (*TOP, *BOTTOM)))
    documents, ledger = ingested(tmp_path, None, section(format="html"))
    assert len(documents) == 12
    assert ledger.select("origin", "reason", "detail").rows() == [
        ("empty.html#1", "empty", "no line but those that most pages share")
    ]
    shutil.rmtree(tmp_path / "raw")
    (tmp_path / "raw").mkdir()
    for number in range(12):
        text = "".join(f"<p>{line}</p>" for line in (TOP * (1 + number)))
        (tmp_path / f"raw/{number}.html").write_text(text)
    with pytest.raises(BuildError, match="none of 12 rows gives a document"):
        ingested(tmp_path, None, section(format="html"))


def test_copies_of_a_page_are_one_page(tmp_path: Path) -> None:
    """What is in the source twenty times is no site's furniture."""
    raw_pages(tmp_path, 8)
    for number in range(20):
        (tmp_path / f"raw/copy{number}.html").write_text("<p>The same article, word by word.<p>And its end.")
    documents, _ = ingested(tmp_path, None, section(format="html"))
    assert documents["text"].to_list()[8:] == ["The same article, word by word.\nAnd its end."] * 20


def test_a_changed_page_costs_its_run_or_what_the_lines_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in parts that are made; the bytes are those of a clean build."""
    raw_pages(tmp_path, 30)
    made: list[Path] = []

    def counted(folder: Path, part: Path, lines: list[str], name: str) -> None:
        made.append(part)
        cleaned_part(folder, part, lines, name)

    def built() -> int:
        made.clear()
        ingested(tmp_path, None, section(format="html"))
        return len(made)

    def artifacts() -> list[bytes]:
        paths = [*sorted((tmp_path / "documents").iterdir()), tmp_path / "ledger.parquet", tmp_path / "counts.json"]
        return [path.read_bytes() for path in paths]

    monkeypatch.setattr(module, "cleaned_part", counted)
    runs = built()
    assert runs == 3
    assert built() == 0
    (tmp_path / "raw/003.html").write_text("<p>Another page of this site, without its lines.")
    assert built() == 1
    for number in range(16):
        path = tmp_path / f"raw/{number:03d}.html"
        path.write_text(path.read_text().replace("Print this page", f"Print {number}"))
    assert built() == runs
    after = artifacts()
    shutil.rmtree(tmp_path / "store")
    assert built() == runs
    assert artifacts() == after


def test_the_sample_is_the_same_whatever_the_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lowest hashes of ids: half of the pages tell what all do."""
    monkeypatch.setattr(module, "SAMPLE_PAGES", 20)
    frame = pl.DataFrame({"doc_id": [f"s/{n}" for n in range(40)], "text": ["\n".join(page(n)) for n in range(40)]})
    whole = tmp_path / "whole.parquet"
    frame.write_parquet(whole)
    parts = [tmp_path / f"{number}.parquet" for number in range(4)]
    for number, part in enumerate(parts):
        frame.slice(10 * number, 10).write_parquet(part)
    assert sorted(module._sample([whole])) == sorted(module._sample(parts))
    assert len(list(module._sample(parts))) == 20
    assert shared_lines(parts, 0.5) == shared_lines([whole], 0.5) != []


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\n\n\nx\n\n\nb\nc\nd\ne", "b\nc\nd\ne"),
        ("t\nx\nd\nx\nb\nx\nc\nx\n1\n2\n3\n4", "t\nd\nb\nc\nx\n1\n2\n3\n4"),
        ("b\nc\nd\nx:\ne", "b\nc\nd\nx:\ne"),
        ("b\nc\nd\n  x \nlast", "b\nc\nd\nlast"),
        ("nothing\nof it", "nothing\nof it"),
    ],
)
def test_where_a_shared_line_goes(text: str, kept: str) -> None:
    """At either end, with three lines of the page's own before it."""
    assert without(text, frozenset({"a", "x", "x:"}))[0] == kept
