"""Where DVC's cache lies, asked of DVC and of its configuration."""

import subprocess
import sys
from pathlib import Path

import pytest

from osler.build.dvc_cache import cache_folder
from tests.support.project import ENVIRONMENT

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
