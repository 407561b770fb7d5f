"""The store of finished shards."""

import os
from functools import partial
from pathlib import Path

import pytest

from osler.build.section import BuildError
from osler.build.shard_store import Store, link


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
    for entry in (shards / "store").iterdir():
        (entry / "out.txt").unlink()
        entry.rmdir()
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


def test_a_link_is_read_only(tmp_path: Path, shards: Path) -> None:
    """An out may be the same file as the entry, so nobody writes to it in place."""
    built(shards)
    entry = next((shards / "store").iterdir()) / "out.txt"
    link(entry, tmp_path / "folder/out.txt")
    assert (tmp_path / "folder/out.txt").read_text() == entry.read_text()
    assert (tmp_path / "folder/out.txt").stat().st_mode & 0o222 == 0
