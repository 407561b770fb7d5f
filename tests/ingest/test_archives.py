"""Compressed files, tar archives and links."""

import gzip
import io
import os
import tarfile
from collections import deque
from pathlib import Path
from typing import Any

import pytest
import zstandard

from osler.build.dvc_cache import is_cached
from osler.build.recorded import bytes_md5
from osler.ingest import archives
from osler.ingest.archives import Allowance, listed_files, members, open_binary, raw_files
from osler.ingest.faults import Fault, Unreadable
from osler.ingest.records import raw_records
from tests.ingest.test_records import outcome, section

ROWS = b'{"text": "a"}\n{"text": "b"}\n'


def tar(*entries: tuple[str, bytes | dict[str, Any]]) -> bytes:
    """A tar archive of (name, content).

    What is no plain file is (name, attributes of its header).
    """
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in entries:
            member = tarfile.TarInfo(name)
            if isinstance(content, dict):
                for attribute, value in content.items():
                    setattr(member, attribute, value)
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", ROWS),
        ("a.jsonl.gz", gzip.compress(ROWS)),
        ("a.jsonl.zst", zstandard.compress(ROWS)),
        ("a.jsonl.gz", gzip.compress(ROWS[:14]) + gzip.compress(ROWS[14:])),
        ("a.jsonl.zst", zstandard.compress(ROWS[:14]) + zstandard.compress(ROWS[14:])),
    ],
)
def test_compression_changes_no_row(tmp_path: Path, name: str, content: bytes) -> None:
    """Plain, gzip and zstandard give the same rows.

    Also in several members or frames one after the other.
    """
    (tmp_path / name).write_bytes(content)
    assert outcome(tmp_path, section()) == [(f"{name}#1", "a"), (f"{name}#2", "b")]


@pytest.mark.parametrize(
    ("name", "pack"),
    [("a.tar", bytes), ("a.tar.gz", gzip.compress), ("a.tgz", gzip.compress), ("a.tar.zst", zstandard.compress)],
)
def test_the_members_of_an_archive_are_files_of_the_source(tmp_path: Path, name: str, pack: Any) -> None:
    """In the archive's order, compressed or not.

    Those of other formats and hidden ones are counted, a row a reason.
    """
    entries = [("./d/b.jsonl", ROWS), ("d/a.jsonl.GZ", gzip.compress(ROWS)), ("README", b"x"), ("d/._b.jsonl", b"x")]
    entries += [("d/c.pdf", b"x"), ("d/.gitignore", b"x")]
    (tmp_path / name).write_bytes(pack(tar(*entries, ("d", {"type": tarfile.DIRTYPE}))))
    names = ("./d/b.jsonl#1", "./d/b.jsonl#2", "d/a.jsonl.GZ#1", "d/a.jsonl.GZ#2")
    read = [(f"{name}!{one}", text) for one, text in zip(names, "abab", strict=True)]
    assert outcome(tmp_path, section()) == [*read, (f"{name}#7", "other_suffix"), (f"{name}#8", "hidden")]
    details = [row.detail for _, row in raw_records(tmp_path, section()) if isinstance(row, Fault)]
    assert [detail.split(":")[0] for detail in details] == ["2 members", "1 members"]


@pytest.mark.parametrize(
    "entry",
    [
        ("/abs.jsonl", ROWS),
        ("d/../../up.jsonl", ROWS),
        ("..\\up.jsonl", ROWS),
        ("l.jsonl", {"type": tarfile.SYMTYPE, "linkname": "/etc/hostname"}),
        ("l.jsonl", {"type": tarfile.LNKTYPE, "linkname": "good.jsonl"}),
        ("l.jsonl", {"type": tarfile.CHRTYPE}),
        ("l.jsonl", {"type": tarfile.FIFOTYPE}),
    ],
)
def test_an_unsafe_member_is_a_fault_and_the_next_is_read(entry: tuple[str, bytes | dict[str, Any]]) -> None:
    """Names that lead out of the archive, links, devices and pipes."""
    found = list(members(io.BytesIO(tar(entry, ("good.jsonl", ROWS))), (".jsonl",), Allowance(1)))
    assert [member.reason if isinstance(member, Fault) else name for name, member in found] == [
        "unsafe_member",
        "good.jsonl",
    ]


@pytest.mark.parametrize("cut", [512, 1000, 1024, 1536, 2048, 2300])
def test_a_cut_archive_is_never_a_shorter_archive(tmp_path: Path, cut: int) -> None:
    """Where the end is missing a fault says so, after the rows.

    Also where it is missing between two members.
    """
    content = tar(("a.jsonl", ROWS), ("b.jsonl", ROWS), ("c.jsonl", ROWS))
    (tmp_path / "a.tar").write_bytes(content[:cut])
    found = outcome(tmp_path, section())
    whole_rows = [
        ("a.tar!a.jsonl#1", "a"),
        ("a.tar!a.jsonl#2", "b"),
        ("a.tar!b.jsonl#1", "a"),
        ("a.tar!b.jsonl#2", "b"),
    ]
    assert found[-1][1] == "unreadable_file"
    assert [row for row in found if row[1] != "unreadable_file"] == whole_rows[
        : 0 if cut == 512 else 2 if cut < 2048 else 4
    ]


def test_a_damaged_header_is_no_end(tmp_path: Path) -> None:
    """A second header that is none is a fault.

    It does not make an archive of one file.
    """
    content = bytearray(tar(("a.jsonl", ROWS), ("b.jsonl", ROWS)))
    content[1024:1100] = b"x" * 76
    (tmp_path / "a.tar").write_bytes(content)
    assert [what for _, what in outcome(tmp_path, section())] == ["a", "b", "unreadable_file"]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_a_stream_that_unpacks_to_too_much_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, pack: Any
) -> None:
    """Neither the limit nor the ratio is ever unpacked past.

    Text of the usual ratio is not touched.
    """
    monkeypatch.setattr(archives, "RATIO_FREE_BYTES", 1000)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(pack(bytes(1 << 22)))
    with open_binary(path) as stream, pytest.raises(Unreadable):
        deque(iter(lambda: stream.read(1 << 16), b""))
    path.write_bytes(pack(ROWS * 20))
    with open_binary(path) as stream:
        assert stream.read() == ROWS * 20
    monkeypatch.setattr(archives, "FILE_BYTES", 100)
    with open_binary(path) as stream, pytest.raises(Unreadable):
        deque(iter(lambda: stream.read(10), b""))


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_a_truncated_stream_is_an_error_after_what_was_whole(tmp_path: Path, suffix: str, pack: Any) -> None:
    """No row of the beginning is lost.

    And the end is not taken for the file's.
    """
    first = pack(ROWS)
    (tmp_path / f"a.jsonl{suffix}").write_bytes(first + pack(ROWS * 9)[:-5])
    found = [what for _, what in outcome(tmp_path, section())]
    assert found[:2] == ["a", "b"]
    assert found[-1] == "unreadable_file"


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    """A link outside, to a folder or to nothing is a fault.

    One within is read, and so is one that is the path.
    """
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/canary.jsonl").write_bytes(b'{"text": "canary"}')
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a.jsonl").write_bytes(b'{"text": "a"}')
    (source / "b.jsonl").symlink_to("a.jsonl")
    (source / "c.jsonl").symlink_to(tmp_path / "outside/canary.jsonl")
    (source / "d").symlink_to(tmp_path / "outside")
    (source / "e.jsonl").symlink_to("nothing")
    (source / "f").symlink_to("sub")
    (source / "g.txt").symlink_to(tmp_path / "outside/canary.jsonl")
    (source / "h.jsonl").symlink_to("h.jsonl")
    found = outcome(source, section())
    assert found[:4] == [("a.jsonl#1", "a"), ("b.jsonl#1", "a"), ("c.jsonl#1", "link"), ("d#1", "link")]
    assert found[4:7] == [("e.jsonl#1", "unreadable_file"), ("f#1", "link"), ("g.txt#1", "link")]
    assert found[7:] == [("h.jsonl#1", "unreadable_file")]
    assert [file.name for file in raw_files(source / "c.jsonl", (".jsonl",))] == ["c.jsonl"]
    assert outcome(source / "c.jsonl", section()) == [("c.jsonl#1", "canary")]


def cached(cache: Path, content: bytes, older: bool = False) -> Path:
    """A file of a DVC cache."""
    md5 = bytes_md5(content)
    place = cache / ("" if older else "files/md5") / md5[:2] / md5[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place


@pytest.mark.parametrize("kind", ["jsonl", "hub"])
def test_links_into_the_cache_are_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """As `dvc checkout` leaves them where several share a cache.

    Other links stay refused: to other files of the cache's folder, to another cache, and out of the folder.
    """
    project, shared = tmp_path / "project", tmp_path / "shared"
    (project / ".dvc").mkdir(parents=True)
    (project / ".dvc/config").write_text("[cache]\n    type = symlink\n    dir = ../../shared\n")
    monkeypatch.setattr("osler.ingest.archives.is_cached", lambda path: is_cached(path, project))
    folder = tmp_path / "folder"
    folder.mkdir()
    shared.mkdir()
    (shared / "notes.jsonl").write_bytes(ROWS)
    links = {
        "a.jsonl": cached(shared, b'{"text": "new"}'),
        "b.jsonl": cached(shared, b'{"text": "old"}', older=True),
        "c.jsonl": shared / "notes.jsonl",
        "d.jsonl": cached(tmp_path / "other", b'{"text": "other"}'),
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    (folder / "e.jsonl").symlink_to(tmp_path / "between")
    (tmp_path / "between").symlink_to(links["a.jsonl"])
    if kind == "hub":
        found = {file.name: file.fault and file.fault.reason for file in listed_files(folder, folder.iterdir())}
        assert found == {"a.jsonl": None, "b.jsonl": None, "c.jsonl": "link", "d.jsonl": "link", "e.jsonl": None}
        return
    assert [what for _, what in outcome(folder, section())] == ["new", "old", "link", "link", "new"]
    assert outcome(folder / "a.jsonl", section()) == [("a.jsonl#1", "new")]


def test_a_hub_folder_behind_a_link_has_its_files(tmp_path: Path) -> None:
    """`root` may be a link, and files be named by way of it or not."""
    (tmp_path / "real/data").mkdir(parents=True)
    (tmp_path / "root").symlink_to("real")
    for name in ("real/data/a.jsonl", "real/b.jsonl"):
        (tmp_path / name).write_bytes(ROWS)
    named = [tmp_path / "root/data/a.jsonl", tmp_path / "real/data/../data/a.jsonl", tmp_path / "root/data/../b.jsonl"]
    found = listed_files(tmp_path / "root/data", named)
    assert [(file.name, file.fault is None) for file in found] == [
        ("a.jsonl", True),
        ("a.jsonl", True),
        ("b.jsonl", False),
    ]


def test_every_file_of_a_folder_is_listed(tmp_path: Path) -> None:
    """What is not read says why, and no pipe is opened.

    A suffix may be in capitals; .gitignore, which DVC leaves, is left.
    """
    for name in ("a.JSONL", "b.txt", ".c.jsonl", ".git/d.jsonl", "e/.gitignore", "e/f.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(ROWS)
    os.mkfifo(tmp_path / ".git/pipe")
    found = {file.name: file.fault and file.fault.reason for file in raw_files(tmp_path, (".jsonl",))}
    assert found == {
        ".c.jsonl": "hidden",
        ".git/d.jsonl": "hidden",
        ".git/pipe": "unreadable_file",
        "a.JSONL": None,
        "b.txt": "other_suffix",
        "e/f.jsonl": None,
    }


@pytest.mark.parametrize(("name", "pack"), [("a.tar", bytes), ("a.tgz", gzip.compress)])
def test_the_streams_of_an_archive_share_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, pack: Any
) -> None:
    """Members each below the limit stop together at it.

    Those that are not packed are read.
    """
    row = b'{"text": "%s"}\n' % (b"a" * 3000)
    packed = [(f"{number}.jsonl.gz", gzip.compress(row)) for number in range(20)]
    (tmp_path / name).write_bytes(pack(tar(*packed, ("z.jsonl", ROWS))))
    assert len([what for _, what in outcome(tmp_path, section()) if len(what) == 3000]) == 20
    monkeypatch.setattr(archives, "RATIO", 0)
    monkeypatch.setattr(archives, "RATIO_FREE_BYTES", 40_000)
    found = [what for _, what in outcome(tmp_path, section())]
    if name == "a.tar":
        assert [len(what) for what in found[:13]] == [3000] * 13
        assert found[13:] == ["unreadable_file"] * 7 + ["a", "b"]
    else:
        assert 0 < sum(len(what) == 3000 for what in found) < 13
