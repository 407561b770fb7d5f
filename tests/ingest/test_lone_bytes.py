"""Bytes of windows-1252 in files of every format."""

import gzip
from pathlib import Path

import pytest

from osler.ingest.archives import RawFile
from osler.ingest.faults import Fault
from osler.ingest.records import file_records
from tests.ingest.test_records import outcome, section

SAID = b"The patient\x92s history"
READ = "The patient’s history"
PUBMED = b"<PubmedArticle><MedlineCitation><Article><ArticleTitle>%s</ArticleTitle></Article></MedlineCitation></PubmedArticle>"
CONTENTS = {  # with %s for the text
    "jsonl": b'{"text": "%s"}\n',
    "json": b'[{"text": "%s"}]',
    "csv": b'text,n\n"%s",1\n',
    "txt": b"%s",
    "html": b"<p>%s</p>",
    "jats": b"<article><body><p>%s</p></body></article>",
    "pubmed": b"<s>" + PUBMED + b"</s>",
}
SUFFIX = {"jats": "xml", "pubmed": "xml"}
FIELD = {"jats": "{body}", "pubmed": "{title}"}


def read(folder: Path, kind: str, content: bytes, name: str = "") -> tuple[list[str], str]:
    """Text or reason of each row, and the encoding in the end."""
    source = section(format=kind, text=FIELD.get(kind, "{text}"))
    path = folder / (name or f"a.{SUFFIX.get(kind, kind)}")
    path.write_bytes(content)
    records = file_records(RawFile(path.name, path), source)
    rows = [row.reason if isinstance(row, Fault) else str(source.templates[0].rendered(row)) for _, row in records]
    return [row.rstrip("\n") for row in rows], records.encoding


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("text", [(SAID, READ), (b"5 \xb1 2 \xb5g", "5 ± 2 µg"), (b"caf\xe9", "café")])
def test_a_lone_byte_costs_no_row(tmp_path: Path, kind: str, text: tuple[bytes, str]) -> None:
    """Of any format that is text; the file counts under what was done."""
    assert read(tmp_path, kind, CONTENTS[kind] % text[0]) == ([text[1]], "utf-8 with cp1252")


@pytest.mark.parametrize("kind", CONTENTS)
def test_sound_text_is_not_touched(tmp_path: Path, kind: str) -> None:
    """UTF-8 is what it was, C1 controls and all."""
    text = "café – 37 °C, 漢字, \N{DNA DOUBLE HELIX}, Â Ã â ’"
    assert read(tmp_path, kind, CONTENTS[kind] % text.encode()) == ([text], "utf-8")


@pytest.mark.parametrize("kind", ["jsonl", "csv", "txt"])
def test_bytes_that_mean_nothing_cost_their_row(tmp_path: Path, kind: str) -> None:
    """Cut characters, holes of windows-1252, and runs."""
    for bad in (b"cut \xc3", b"hole \x81 ", b"\xe9\xe8\xff"):
        assert read(tmp_path, kind, CONTENTS[kind] % bad) == (["undecodable"], "utf-8")


def test_three_bytes_in_a_million_leave_a_file_utf8(tmp_path: Path) -> None:
    """Its other rows are what they were, and the three are mended.

    Wherever they stand: in the sample and past it.
    """
    row = '{"text": "37 °C, Größe, café"}\n'.encode()
    bad = b'{"text": "%s"}\n' % SAID
    content = bad + row * 20_000 + bad + row * 20_000 + bad
    assert len(content) > 1 << 20
    found, encoding = read(tmp_path, "jsonl", content)
    assert encoding == "utf-8 with cp1252"
    assert set(found[1:20_001]) | set(found[20_002:-1]) == {"37 °C, Größe, café"}
    assert [found[0], found[20_001], found[-1]] == [READ] * 3


def test_a_csv_header_may_have_one(tmp_path: Path) -> None:
    """The name of a column is mended like a value."""
    (tmp_path / "a.csv").write_bytes(b"patient\x92s,n\nfine,1\n")
    assert outcome(tmp_path, section(format="csv", text="{patient’s}")) == [("a.csv#1", "fine")]


@pytest.mark.parametrize(
    ("declared", "text", "encoding", "expected"),
    [
        ("utf-8", SAID, "utf-8 with cp1252", READ),
        ("iso-8859-1", SAID, "cp1252", READ),
        ("iso-8859-1", "Größe".encode(), "utf-8", "Größe"),
        ("us-ascii", "Größe".encode(), "utf-8", "Größe"),
        ("utf-16", b"plain", "utf-8", "plain"),
        ("nonsense", "Größe".encode(), "utf-8", "Größe"),
        ("windows-1251", "боль".encode("cp1251"), "cp1251", "боль"),
        ("utf-8", "fièvre élevée répétée, ça".encode("cp1252"), "cp1252", "fièvre élevée répétée, ça"),
    ],
)
@pytest.mark.parametrize("kind", ["jats", "pubmed"])
def test_xml_may_declare_another_encoding_than_it_has(
    tmp_path: Path, kind: str, declared: str, text: bytes, encoding: str, expected: str
) -> None:
    """Its bytes count first; a declaration where they are no UTF-8."""
    content = f'<?xml version="1.0" encoding="{declared}"?>'.encode() + CONTENTS[kind] % text
    assert read(tmp_path, kind, content) == ([expected], encoding)


@pytest.mark.parametrize("codec", ["utf-16", "utf-8-sig", "utf-32"])
def test_the_mark_of_xml_counts_more_than_its_declaration(tmp_path: Path, codec: str) -> None:
    """Also where it is compressed."""
    content = f'<?xml version="1.0" encoding="iso-8859-1"?>{CONTENTS["jats"].decode() % "Größe"}'.encode(codec)
    assert read(tmp_path, "jats", gzip.compress(content), "a.xml.gz")[0] == ["Größe"]


def test_a_row_of_xml_behind_a_lone_byte_is_read(tmp_path: Path) -> None:
    """Also where a block ends between it and its neighbor."""
    filler = b"<x>" + b"a" * ((1 << 16) - 3 - 3 - len(b"</x>") - PUBMED.index(b"%s") - len(SAID[:11])) + b"</x>"
    content = b"<s>" + filler + PUBMED % SAID + PUBMED % b"next" + b"</s>"
    assert content[1 << 16] == 0x92
    assert read(tmp_path, "pubmed", content)[0] == [READ, "next"]
    content = content[:3] + b" " + content[3:]
    assert read(tmp_path, "pubmed", content)[0] == [READ, "next"]
