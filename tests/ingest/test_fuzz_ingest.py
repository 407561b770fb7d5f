"""Raw files as hostile or broken as chance makes them.

400 in a test, 10,000 by

    python -m pytest -m campaign tests/ingest/test_fuzz_ingest.py
"""

import gzip
import io
import json
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from osler.build.section import BuildError
from osler.ingest.faults import Fault
from osler.ingest.normalization import normalized_texts
from osler.ingest.records import SUFFIXES, raw_records
from tests.ingest.test_ingest import ingested
from tests.ingest.test_records import section

LIMIT_SECONDS = 20.0  # for one file of at most a few megabytes
CANARY = "canary-" + "7f3a"  # what the file outside the source says
OUTSIDE = "@outside@"  # its path, in a raw file


def parquet(texts: list[str]) -> bytes:
    """A parquet file with one column."""
    stream = io.BytesIO()
    pl.DataFrame({"text": texts}).write_parquet(stream, row_group_size=2)
    return stream.getvalue()


def content(kind: str, texts: list[str]) -> bytes:
    """A sound file of the format with a row for each text.

    Or with one for all.
    """
    records = [{"id": "same", "text": text} for text in texts]
    articles = "".join(f"<article><body><p>{text}</p></body></article>" for text in texts)
    citations = "".join(
        f"<PubmedArticle><MedlineCitation><PMID>1</PMID><Article><ArticleTitle>{text}</ArticleTitle></Article>"
        "</MedlineCitation></PubmedArticle>"
        for text in texts
    )
    return {
        "jsonl": "\n".join(map(json.dumps, records)).encode(),
        "json": json.dumps(records).encode(),
        "csv": ("id,text\n" + "".join(f'same,"{text}"\r\n' for text in texts)).encode(),
        "txt": "\n".join(texts).encode(),
        "jats": f"<set>{articles}</set>".encode(),
        "pubmed": f"<PubmedArticleSet>{citations}</PubmedArticleSet>".encode(),
        "html": f"<html><body>{''.join(f'<p>{text}' for text in texts)}</body></html>".encode(),
        "parquet": parquet(texts),
    }[kind]


SOUND = ["alpha", "beta", "gamma"]
FIELD = {"jats": "{body?}", "pubmed": "{title?}"}
ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 9))
DOCTYPE = f'<!DOCTYPE set [<!ENTITY e0 "lol">{ENTITIES}<!ENTITY out SYSTEM "file://{OUTSIDE}">]>'.encode()

PIECES = [
    b"\x00", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\x00\x00", b"\r\n", b"\r", b"\n\n", b'"', b"'", b",", b"\t",
    b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x80" * 9, "é".encode(), "\U0001f9ec".encode(), b"\x1a", b"\x0c", b"\\ud800", b"\\u0000",
    b"[" * 5000, b'{"a":' * 5000, b"<p>" * 5000, b"<div><table>" * 500, b"<![CDATA[", b"]]>", b"<!--", b"&e8;", b"&out;", b"&lt;",
    b"&#0;", b"</body>", b"<script>", b"NaN", b"1e999", b"9" * 5000, b"a" * 100_000, b"\n" * 2000, DOCTYPE, b"PAR1",
    b'<meta charset="utf-7">', b'<?xml version="1.0" encoding="utf-7"?>', b'<?xml version="1.0" encoding="x"?>', b"\x1f\x8b\x08",
    *(f"<{tag}>".encode() for tag in ("sup", "sub", "math", "mml:math", "msup", "mfrac", "inline-formula", "tex-math")),
    *(f"</{tag}>".encode() for tag in ("sup", "sub", "math", "inline-formula", "xref", "table", "td", "a")),
    b"10<sup>6</sup>", b"<sup>" * 5000, b"&lt;sup&gt;6&lt;/sup&gt;", b'<xref ref-type="bibr">', b'<xref ref-type="bibr">1</xref>',
    b'<sup><xref ref-type="bibr">1</xref>,2</sup>', b'<a href="#ref1">', b"<math><msup><mn>10</mn><mn>6</mn></msup></math>",
    b"<math><mfrac><mn>1</mn></mfrac><msubsup/></math>", b"<tex-math>\\begin{document}$x$",
    b"<disp-formula><graphic/></disp-formula>",
    b'<table><tr><th>h</th></tr><tr><td colspan="99999999" rowspan="999">c</td></tr></table>', "\ufdd0^\ufdd1\ufdd2\ufdd3".encode(),
    f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{OUTSIDE}" parse="text"/>'.encode(),
]  # fmt: skip

edits = st.lists(
    st.tuples(
        st.sampled_from(["insert", "cut", "flip", "double", "front"]),
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(PIECES) | st.binary(max_size=20),
    ),
    max_size=4,
)


def edited(raw: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    """`raw` after the changes.

    Each at its place as a fraction of the length.
    """
    for kind, where, piece in changes:
        place = int(where * len(raw))
        match kind:
            case "insert":
                raw = raw[:place] + piece + raw[place:]
            case "front":
                raw = piece + raw
            case "cut":
                raw = raw[:place]
            case "flip" if raw:
                raw = raw[:place] + bytes([raw[place] ^ (1 + piece[0] % 255 if piece else 1)]) + raw[place + 1 :]
            case "double":
                raw = raw + raw[place:]
    return raw


def in_archive(name: str, raw: bytes, link: str) -> bytes:
    """A tar archive with the file, its name again, and a link."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for _ in range(2):
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
        member = tarfile.TarInfo(f"link{name}")
        member.type, member.linkname = tarfile.SYMTYPE, link
        archive.addfile(member)
    return stream.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}

cases = st.tuples(
    st.sampled_from(["jsonl", "json", "csv", "txt", "jats", "pubmed", "html", "parquet"]),
    st.booleans(),  # sound content to begin with, or random bytes
    st.binary(max_size=200) | st.text(max_size=60).map(lambda text: text.encode("utf-16", "surrogatepass")),
    edits,  # of the file
    st.sampled_from(sorted(PACKED)),
    edits,  # of the packed file
    st.booleans(),  # in an archive
    st.sampled_from(sorted(PACKED)),
    edits,  # of the packed archive
    st.sampled_from([None, "rows", "cells", "none"]),  # tables, of the formats that have some
)


def check(case: tuple[Any, ...]) -> None:
    """Rows are records or faults, neighbors whole, and it ends in time.

    Nothing from outside is read.
    """
    kind, is_sound, raw, changes, packing, packed_changes, is_archived, archive_packing, archive_changes, tables = case
    suffix = SUFFIXES[kind][0]
    tables = tables if kind in ("jats", "html") else None
    with tempfile.TemporaryDirectory() as folder:
        outside, source = Path(folder, f"outside{suffix}"), Path(folder, "source")
        source.mkdir()
        outside.write_bytes(content(kind, [CANARY]))
        sound = content(kind, SOUND)
        (source / f"a{suffix}").write_bytes(sound)
        (source / f"z{suffix}").write_bytes(sound)
        (source / f"link{suffix}").symlink_to(outside)
        (source / "folder").symlink_to(folder)
        raw = edited(sound if is_sound else raw, changes).replace(OUTSIDE.encode(), str(outside).encode())
        name, raw = f"m{suffix}{packing}", edited(PACKED[packing](raw), packed_changes)
        if is_archived:
            raw = edited(PACKED[archive_packing](in_archive(name, raw, str(outside))), archive_changes)
            name = f"m.tar{archive_packing}"
        (source / name).write_bytes(raw)
        started = time.monotonic()
        found = list(raw_records(source, section(format=kind, text=FIELD.get(kind, "{text}"), tables=tables)))
        assert time.monotonic() - started < LIMIT_SECONDS
    beside = {"txt": 1, "html": 1}.get(kind, len(SOUND))
    for file in (f"a{suffix}", f"z{suffix}"):
        rows = [row for origin, row in found if origin.partition("#")[0] == file]
        assert len(rows) == beside
        assert not any(isinstance(row, Fault) for row in rows)
    linked = [row for origin, row in found if origin.startswith((f"link{suffix}", "folder"))]
    assert [isinstance(row, Fault) for row in linked] == [True, True]
    mine = [(origin, row) for origin, row in found if origin.startswith(name)]
    assert len(found) == 2 * beside + 2 + len(mine)
    assert all(isinstance(row, Fault | dict) for _, row in mine)
    assert is_archived or len({origin for origin, _ in mine}) == len(mine)
    assert CANARY not in repr(found)
    for _, row in mine:  # can be written to a ledger and to documents
        text = (
            row.detail if isinstance(row, Fault) else "".join(value for value in row.values() if isinstance(value, str))
        )
        text.encode()
        clean = str(normalized_texts(pl.Series([text]))[0][0])
        assert not {"\ufdd0", "\ufdd1"} & set(clean) or clean == text


@given(cases)
@settings(max_examples=400, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_no_file_stops_the_others(case: tuple[Any, ...]) -> None:
    """Whatever one file holds, it gives rows and faults.

    The files beside it are read whole.
    """
    check(case)


@pytest.mark.campaign
@given(cases)
@settings(max_examples=10_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_no_file_of_ten_thousand_stops_the_others(case: tuple[Any, ...]) -> None:
    """The same, at random."""
    check(case)


UPDATES = st.lists(
    st.lists(st.tuples(st.sampled_from("rrrdb"), st.integers(1, 4), st.integers(1, 2)), max_size=6),
    min_size=1,
    max_size=5,
)


def standing(files: list[list[tuple[str, int, int]]]) -> list[str]:
    """The titles that are left when rows are followed one after the other, by hand."""
    left = dict[tuple[int, int], str]()
    for number, rows in enumerate(files, 1):
        for row, (kind, pmid, version) in enumerate(rows, 1):
            if kind == "d":
                left.pop((pmid, version), None)
            else:
                left.pop((pmid, version), None)
                left[pmid, version] = f"title {number} {row}"
    return sorted(title for (pmid, version), title in left.items() if (pmid, version + 1) not in left)


@given(UPDATES)
@settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_generated_updates_leave_what_following_them_leaves(files: list[list[tuple[str, int, int]]]) -> None:
    """Rows in are documents and ledger rows, whichever rows replace or delete which."""
    with tempfile.TemporaryDirectory() as folder:
        contents = []
        for number, rows in enumerate(files, 1):
            made = {
                "r": "<PubmedArticle><MedlineCitation>{}<Article><ArticleTitle>{}</ArticleTitle></Article></MedlineCitation>"
                "</PubmedArticle>",
                "b": "<PubmedBookArticle><BookDocument>{}<ArticleTitle>{}</ArticleTitle></BookDocument></PubmedBookArticle>",
                "d": "<DeleteCitation>{}</DeleteCitation>",
            }
            contents.append(
                "".join(
                    made[kind].format(f'<PMID Version="{version}">{pmid}</PMID>', f"title {number} {row}")
                    for row, (kind, pmid, version) in enumerate(rows, 1)
                )
            )
        (Path(folder) / "raw").mkdir()
        for number, each in enumerate(contents, 1):
            (Path(folder) / f"raw/n{number}.xml").write_text(f"<PubmedArticleSet>{each}</PubmedArticleSet>")
        expected = standing(files)
        source = section(format="pubmed", text="{title}")
        if not expected:
            with pytest.raises(BuildError):
                ingested(Path(folder), None, source)
            return
        documents, ledger = ingested(Path(folder), None, source)
        assert sorted(documents["text"]) == expected
        rows_in = sum(kind != "d" for rows in files for kind, *_ in rows)
        gone = ledger.filter(pl.col("reason").is_in(["superseded", "deleted_by_source"]))
        empty = ledger.filter(~pl.col("reason").is_in(["superseded", "deleted_by_source"]))
        assert rows_in == len(documents) + len(gone)
        assert len(empty) == sum(not rows for rows in files)
