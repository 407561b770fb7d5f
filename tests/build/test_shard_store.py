"""The store of finished shards."""

import errno
import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from osler.build import shard_store
from osler.build.files import link
from osler.build.section import BuildError
from osler.build.shard_store import Store, made_entry
from tests.support.damage import flip
from tests.support.durability import power_may_fail


def doubled(path: Path, folder: Path, times: int) -> None:
    """The shard's work in these tests; it leaves a mark for each call."""
    marks = path.parent.parent / "marks"
    marks.mkdir(exist_ok=True)
    (marks / f"{path.name}.{os.urandom(4).hex()}").touch()
    text = path.read_text()
    if text == "bad":
        raise BuildError(f"{path.name}: bad")
    (folder / "out.txt").write_text(text * times)


def built(folder: Path, jobs: int = 1, times: int = 2) -> tuple[dict[str, str], int]:
    """The results by file, and how many shards were worked on."""
    inputs = sorted((folder / "inputs").iterdir())
    (folder / "marks").mkdir(exist_ok=True)
    before = len(list((folder / "marks").iterdir()))
    store = Store(folder / "store", jobs)
    done = store.mapped(__file__, inputs, partial(doubled, times=times), times=times)
    store.prune()
    results = {path.name: (entry / "out.txt").read_text() for path, entry in zip(inputs, done, strict=True)}
    return results, len(list((folder / "marks").iterdir())) - before


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A folder with inputs 0 to 199."""
    (tmp_path / "inputs").mkdir()
    for number in range(200):
        (tmp_path / f"inputs/{number:03d}").write_text(f"text {number} ")
    return tmp_path


def test_one_file_of_200_costs_one(shards: Path) -> None:
    """Changed, added, renamed or removed, a file costs at most itself; the results are those of a clean build."""
    assert built(shards)[1] == 200
    assert built(shards)[1] == 0
    (shards / "inputs/077").write_text("other")
    (shards / "inputs/200").write_text("new")
    (shards / "inputs/000").unlink()
    (shards / "inputs/001").rename(shards / "inputs/000")
    again, made = built(shards)
    assert made == 2
    assert again == {path.name: path.read_text() * 2 for path in (shards / "inputs").iterdir()}
    assert len(list((shards / "store").iterdir())) == 200


def test_a_setting_costs_all(shards: Path) -> None:
    """Another setting is another key."""
    built(shards)
    results, made = built(shards, times=3)
    assert made == 200
    assert results["005"] == "text 5 " * 3


def test_two_processes_give_what_one_gives(shards: Path) -> None:
    """Order and content do not depend on the number of processes."""
    for number in range(195):
        (shards / f"inputs/{number:03d}").unlink()
    alone, made = built(shards)
    assert made == 5
    shutil.rmtree(shards / "store")
    assert built(shards, jobs=2) == (alone, 5)


def test_a_failing_shard_leaves_the_finished_ones(shards: Path) -> None:
    """The error comes through, and what was done before it is not done again."""
    (shards / "inputs/100").write_text("bad")
    with pytest.raises(BuildError, match="100: bad"):
        built(shards)
    (shards / "inputs/100").write_text("good")
    assert built(shards)[1] == 100
    assert not list((shards / "store").glob(".*"))


def test_a_failed_run_costs_the_store_nothing(shards: Path) -> None:
    """A setting that fails midway and is taken back makes no shard again; one that is mended makes only the failed ones."""
    built(shards)
    (shards / "inputs/100").write_text("bad")
    with pytest.raises(BuildError, match="100: bad"):
        built(shards, times=3)
    (shards / "inputs/100").write_text("text 100 ")
    assert built(shards, times=3)[1] == 100
    assert len(list((shards / "store").iterdir())) == 200
    (shards / "inputs/100").write_text("bad")
    with pytest.raises(BuildError, match="100: bad"):
        built(shards, times=2)
    (shards / "inputs/100").write_text("text 100 ")
    assert built(shards, times=3)[1] == 0


def test_an_entry_left_half_is_made_again(shards: Path) -> None:
    """A killed process leaves a folder under another name, which is nobody's."""
    (shards / "store").mkdir()
    (shards / "store/.0123.42").mkdir()
    (shards / "store/.0123.42/out.txt").write_text("half")
    assert built(shards)[1] == 200
    assert not list((shards / "store").glob(".*"))


def one_entry(shards: Path) -> Path:
    """The file of the first input's entry, the only one."""
    for path in sorted((shards / "inputs").iterdir())[1:]:
        path.unlink()
    built(shards)
    (entry,) = (shards / "store").glob("*/*/out.txt")
    return entry


@pytest.mark.parametrize("damage", ["flipped", "empty", "missing", "more"])
def test_a_damaged_entry_is_made_again(shards: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One bit of any byte, no bytes, no file, or a file too many: one line, and the result of a clean build."""
    entry = one_entry(shards)
    text = entry.read_bytes()
    bits = range(8 * len(text)) if damage == "flipped" else (0,)
    for bit in bits:
        (entry,) = (shards / "store").glob("*/*/out.txt")
        entry.chmod(0o644)
        match damage:
            case "flipped":
                flip(entry, bit)
            case "empty":
                entry.write_bytes(b"")
            case "missing":
                entry.unlink()
            case "more":
                (entry.parent / "more.txt").touch()
        capsys.readouterr()
        assert built(shards) == ({"000": text.decode()}, 1)
        (line,) = capsys.readouterr().err.splitlines()
        assert line == f"warning: {entry.parent}: damaged; made again"


def test_an_entry_that_cannot_be_read_now_is_not_thrown_away(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too few file handles are no damage."""
    entry = one_entry(shards)

    def refuse(_: Path) -> str:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(shard_store, "folder_hash", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        built(shards)
    monkeypatch.undo()
    assert entry.is_file()
    assert built(shards)[1] == 0


def test_a_damaged_entry_of_two_that_agree(shards: Path) -> None:
    """Another process may have made the entry meanwhile: the one that is there stays."""
    entry = one_entry(shards)
    inode = entry.stat().st_ino

    def fill(folder: Path) -> None:
        (folder / "out.txt").write_bytes(entry.read_bytes())

    assert made_entry(entry.parents[1], fill) == entry.parent
    assert entry.stat().st_ino == inode
    assert not list((shards / "store").glob(".*"))


@pytest.mark.parametrize("how", ["appended", "removed", "same size and time"])
def test_an_input_that_changes_while_it_is_read_gets_no_entry(shards: Path, how: str) -> None:
    """The key is of what the file was: what was read then is nobody's, and what it was is read when it is back."""
    for path in sorted((shards / "inputs").iterdir())[1:]:
        path.unlink()
    path = shards / "inputs/000"
    before = path.read_text()

    def work(path: Path, folder: Path) -> None:
        facts = path.stat()
        match how:
            case "appended":
                path.write_text(before + "five rows more")
            case "removed":
                path.unlink()
            case _:
                path.write_text(before.swapcase())
                os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        (folder / "out.txt").write_text(path.read_text() if path.exists() else "gone")

    store = Store(shards / "store", 1)
    with pytest.raises(BuildError, match=r"inputs/000: changed while it was read; run again when nobody writes to it"):
        store.mapped(__file__, [path], work, times=2)
    assert not list((shards / "store").iterdir())
    path.write_text(before)
    assert built(shards) == ({"000": before * 2}, 1)


def test_a_power_cut_leaves_an_entry_or_none(shards: Path) -> None:
    """What has the name of an entry is on the disk, and so is the name when it is returned."""
    with power_may_fail(shards / "store") as named:
        built(shards)
    assert len(named) == 200


@pytest.mark.parametrize("links", [True, False])
def test_a_link_replaces_what_is_there_and_writes_through_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Where links are copies, too: the entry that the out was a link to stays what it is."""
    old, new, out = (tmp_path / name for name in ("old", "new", "folder/out"))
    old.write_text("old")
    new.write_text("new")
    link(old, out)
    if not links:
        monkeypatch.setattr(os, "link", refused)
    link(new, out)
    assert [path.read_text() for path in (old, new, out)] == ["old", "new", "new"]
    assert out.samefile(new) is links
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def refused(*_: object) -> None:
    raise OSError("no links here")


def test_a_link_is_read_only(tmp_path: Path, shards: Path) -> None:
    """An out may be the same file as the entry, so nobody writes to it in place."""
    built(shards)
    entry = next((shards / "store").glob("*/*/out.txt"))
    link(entry, tmp_path / "folder/out.txt")
    assert (tmp_path / "folder/out.txt").read_text() == entry.read_text()
    assert (tmp_path / "folder/out.txt").stat().st_mode & 0o222 == 0
