"""Files against what dvc.lock has of them, in a small project of DVC's."""

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from osler.build.dvc_cache import cache_folder
from osler.build.recorded import (
    cached,
    check_deps,
    check_unchanged,
    file_md5,
    folder_md5,
    recorded,
    stamps,
)
from osler.build.section import BuildError
from tests.support.damage import flip
from tests.support.project import ENVIRONMENT

STAGES = ("parts", "one")
PIPELINE = """
stages:
  parts:
    cmd: mkdir -p data/parts/below && for n in 1 2 3; do echo $n > data/parts/$n.txt; done && echo deep > data/parts/below/d.txt
    outs: [data/parts]
  one:
    cmd: echo one > one.txt && echo 1 > metric.txt
    outs: [one.txt]
    metrics: [{metric.txt: {cache: false}}]
"""


def ran(folder: Path, command: str) -> None:
    done = subprocess.run(["sh", "-ec", command], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, built."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "dvc.yaml").write_text(PIPELINE)
    ran(folder, "git init -q && dvc init -q && dvc repro -q")
    return folder


@pytest.fixture
def project(original: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    folder = tmp_path / "project"
    shutil.copytree(original, folder)
    return folder


def check(project: Path, *deps: str) -> None:
    check_deps(project, deps or ("data", "one.txt", "metric.txt"), STAGES)


def test_what_was_built_is_accepted(project: Path) -> None:
    """As outs, paths in one, or a folder above; what killed processes left, raw files and stages that are no more are nothing."""
    (project / "data/parts/.1.txt.77.tmp").touch()
    (project / "raw").mkdir()
    check(project)
    (project / "raw/9.txt").write_text("raw")
    check(project, "data/parts", "data/parts/below", "data/parts/2.txt", "raw", "fingerprints/x.fp")
    check(project, "data/parts/../../raw", "data/parts/../../raw/9.txt")
    flip(project / "one.txt", 3)
    check_deps(project, ("one.txt",), ("parts",))
    (project / "dvc.lock").unlink()
    check(project)


def test_the_md5_of_a_folder_is_dvcs(project: Path) -> None:
    """So that it can be told where DVC's cache has no list of its files."""
    (folder,) = (out for out in recorded(project, STAGES) if out.path == "data/parts")
    assert folder_md5(project / "data/parts") == folder.md5


@pytest.mark.parametrize("is_listed", [True, False])
@pytest.mark.parametrize("name", ["1.txt", "below/d.txt"])
def test_each_bit_of_a_file_counts(project: Path, name: str, is_listed: bool) -> None:
    """The file is named, or the folder where the cache has no list of its files; also when only a part of it is a dep."""
    path = project / "data/parts" / name
    if not is_listed:
        shutil.rmtree(project / ".dvc/cache")
    for bit in range(8 * path.stat().st_size):
        flip(path, bit)
        named = f"data/parts/{name}" if is_listed else "data/parts"
        with pytest.raises(BuildError, match=rf"^{named}: is not what parts left there; `rm -rf {named} && dvc "):
            check(project, "data/parts" if bit % 2 else f"data/parts/{name}")
        flip(path, bit)
        check(project)


@pytest.mark.parametrize("how", ["removed", "added", "renamed", "metric"])
def test_files_too_few_or_too_many(project: Path, how: str) -> None:
    """A stage that reads `*.txt` would take what somebody put there."""
    match how:
        case "removed":
            (project / "data/parts/1.txt").unlink()
        case "added":
            (project / "data/parts/9.txt").write_text("mine")
        case "renamed":
            (project / "data/parts/3.txt").rename(project / "data/parts/4.txt")
        case "metric":
            (project / "metric.txt").write_text("2")
    with pytest.raises(BuildError, match="is not what (parts|one) left there"):
        check(project)


@pytest.mark.parametrize("is_cached", ["sound", "damaged", "gone"])
@pytest.mark.parametrize("name", ["data/parts/2.txt", "one.txt"])
def test_the_advice_brings_it_back(project: Path, name: str, is_cached: str) -> None:
    """Typed as it stands: from DVC's cache, or made again where that is damaged, too, or has it no more."""
    path = project / name
    copy = cached(cache_folder(project), file_md5(path))
    before = path.read_bytes()
    if is_cached == "damaged":
        flip(copy, 5)
    elif is_cached == "gone":
        copy.chmod(0o644)
        copy.unlink()
    flip(path, 5)
    with pytest.raises(BuildError) as error:
        check(project)
    commands = re.findall("`(.+?)`", str(error.value))
    if is_cached == "damaged":
        assert commands.pop(1).startswith("dvc pull")
    for command in commands:
        ran(project, command)
    assert path.read_bytes() == before
    check(project)
    if is_cached != "gone":
        assert file_md5(copy) == copy.parent.name + copy.name


def test_processes_share_the_files(project: Path) -> None:
    """Each of three looks at others, together at all."""
    for name in ("data/parts/1.txt", "data/parts/3.txt", "data/parts/below/d.txt", "one.txt"):
        flip(project / name, 3)
        refusals = 0
        for number in range(3):
            with suppress(BuildError):
                check_deps(project, ("data", "one.txt"), STAGES, (number, 3))
                continue
            refusals += 1
        assert refusals == 1
        flip(project / name, 3)


def test_a_cache_elsewhere_is_found(project: Path, tmp_path: Path) -> None:
    """Where `dvc cache dir` says, also in the configuration that Git does not keep."""
    ran(project, "dvc cache dir --local ../shared-cache")
    assert cache_folder(project).resolve() == (tmp_path / "shared-cache/files/md5").resolve()
    (project / ".dvc/config.local").write_text("[no configuration")
    assert cache_folder(project) == project / ".dvc/cache/files/md5"


@pytest.mark.parametrize("is_in_git", [True, False])
@pytest.mark.parametrize("left", ["", "stages: {}", "stages: [", "schema: '2.0'\n", "- 7\n", "stages: 7\n"])
def test_half_a_lock_is_one_line_and_the_line_mends_it(project: Path, left: str, is_in_git: bool) -> None:
    """Git has the one before, or nothing is lost without one: DVC finds in its cache what it has run."""
    before = (project / "dvc.lock").read_bytes()
    if is_in_git:
        ran(project, "git add -A && git -c user.name=t -c user.email=t@t commit -qm built")
    (project / "dvc.lock").write_text(left)
    advice = "git checkout dvc.lock" if is_in_git else "rm dvc.lock"
    with pytest.raises(
        BuildError, match=rf"^dvc.lock: half of it, as a killed dvc leaves it; `{advice}`, then `dvc repro`"
    ):
        check(project)
    ran(project, f"{advice} && dvc repro")
    assert (project / "dvc.lock").read_bytes() == before


@pytest.mark.parametrize("how", ["changed", "appeared", "vanished"])
def test_raw_files_that_change_meanwhile(tmp_path: Path, how: str) -> None:
    """Written to, added or removed, whatever the clock says: one that went back gives another time, too."""
    path = tmp_path / "raw/below/notes.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("one")
    (tmp_path / "raw/other.jsonl").write_text("other")
    before = stamps(tmp_path, ["raw", "none"])
    (tmp_path / "raw/__pycache__").mkdir()
    (tmp_path / "raw/__pycache__/module.cpython-311.pyc").touch()  # as an import of the code there writes it
    check_unchanged(before, stamps(tmp_path, ["raw", "none"]))
    if how == "changed":
        path.write_text("two")
        os.utime(path, (1, 1))
    elif how == "appeared":
        path.with_name("new.jsonl").touch()
    else:
        path.unlink()
    name = "raw/below/new.jsonl" if how == "appeared" else "raw/below/notes.jsonl"
    with pytest.raises(BuildError, match=rf"^{name}: {how} while it was read; run again when nobody writes to it$"):
        check_unchanged(before, stamps(tmp_path, ["raw", "none"]))
