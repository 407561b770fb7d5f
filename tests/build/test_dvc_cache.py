"""Where DVC's cache lies, asked of DVC and of its configuration."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from osler.build.dvc_cache import cache_folder
from osler.build.files import folder_hash
from osler.build.recorded import is_sound
from tests.support.project import ENVIRONMENT, copied

ASK = "from dvc.repo import Repo; print(Repo().cache.local.path)"


@pytest.mark.parametrize(
    "commands",
    [
        [],
        ["cache dir ../one"],
        ["cache dir --local /nowhere/two", "cache dir one"],
        ["config --global cache.dir ~/three"],
        ["config --system cache.dir /nowhere/four", "config --global cache.dir five"],
        ["config --system cache.dir four", "config cache.dir 'with a space, and = sign'"],
        ["config cache.type symlink", "config --local core.autostage true", "config --global cache.dir three"],
    ],
)
def test_the_cache_is_where_dvc_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands: list[str]) -> None:
    """Of four files the last that names one counts; paths are the file's own."""
    places = {f"DVC_{level}_CONFIG_DIR": str(tmp_path / level.lower()) for level in ("SYSTEM", "GLOBAL")}
    for name, value in places.items():
        monkeypatch.setenv(name, value)
        Path(value).mkdir()
    project = tmp_path / "project"
    project.mkdir()

    def ran(*command: str) -> str:
        return subprocess.run(
            command, cwd=project, env=ENVIRONMENT | places, check=True, capture_output=True, text=True
        ).stdout

    ran("dvc", "init", "--no-scm", "-q")
    for command in commands:
        ran("sh", "-c", f"dvc {command}")
    assert cache_folder(project).resolve() == Path(ran(sys.executable, "-c", ASK).strip()).resolve()


def test_a_configuration_that_is_none_names_no_cache(tmp_path: Path) -> None:
    """DVC says what is wrong with it."""
    (tmp_path / ".dvc").mkdir()
    for text in ("[cache", "cache = 1\n", "[cache]\n[[dir]]\nx = 1\n", "\x00"):
        (tmp_path / ".dvc/config.local").write_text(text)
        assert cache_folder(tmp_path) == tmp_path / ".dvc/cache/files/md5"


@pytest.mark.dag
@pytest.mark.builds
def test_a_build_reads_links_into_a_shared_cache_and_writes_through_none(tmp_path: Path) -> None:
    """Sources, benchmarks and tasks in a folder that `dvc add` tracks, and what stages made of them, are links.

    The documents are those of plain files, and no file of the cache changes when stages run again.
    """
    project = copied(tmp_path / "project", "micro")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "micro")
    project.run("dvc", "config", "--local", "cache.dir", "../shared")
    project.run("dvc", "repro", "-q", "ingest")
    plain = folder_hash(project.folder / "data/documents")
    project.run("dvc", "config", "cache.type", "symlink")
    shutil.copytree(project.folder / "data/raw/default", project.folder / "own")
    project.run("dvc", "add", "-q", "own")
    project.run("dvc", "checkout", "--relink", "own.dvc")
    assert (project.folder / "own/corpus/notes/part-00000.jsonl").is_symlink()
    project.edit("params.yaml", "root: data/raw/default", "root: own")
    project.run(sys.executable, "-m", "osler", "check")
    project.run("dvc", "repro", "-q", "select")
    assert (project.folder / "data/documents/clinical/notes/part-00000.parquet").is_symlink()
    assert folder_hash(project.folder / "data/documents") == plain
    objects = {path: path.stat().st_ino for path in (tmp_path / "shared/files/md5").glob("??/*")}
    project.edit("params.yaml", "    id: id\n    text: '{title}. {text}'", "    id: id\n    text: '{text}'")
    for stage in ("synthesize", "ingest", "screen", "benchmarks", "tasks", "select", "tokenizer"):
        project.run("dvc", "repro", "-q", "--force", "--single-item", stage)
    assert folder_hash(project.folder / "data/documents") != plain
    for path, inode in objects.items():
        assert is_sound(path)
        assert path.stat().st_ino == inode
