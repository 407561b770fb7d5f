"""DVC's index lies in the project, for its owner alone."""

import subprocess
import sys
from pathlib import Path

import pytest
from dvc.config import Config

from osler.build.pipeline import ROOT
from tests.support.project import ENVIRONMENT

CALLED = (
    "from pathlib import Path; from osler.build.dvc_state import keep_private;"  # names the place of the project imported
    "keep_private(Path('.').absolute())"
)


def local_config(project: Path, text: str | None) -> Path:
    """The file .dvc/config.local of a new project with that text, after a process of Osler has started there."""
    file = project / ".dvc/config.local"
    file.parent.mkdir(parents=True)
    if text is not None:
        file.write_text(text)
    environment = ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", CALLED], cwd=project, env=environment, check=True)
    return file


@pytest.mark.parametrize(
    "text", [None, "['remote \"x\"']\n    url = /y\n", '[core]\nremote = x\nsite_cache_dir = "/xPROJECT/.dvc-state"\n']
)
def test_its_whole_path_is_named_beside_what_stands_there(tmp_path: Path, text: str | None) -> None:
    """Whatever the path, and also in a project that was moved; the folder is closed to others."""
    project = tmp_path / "a, b #1"
    file = local_config(project, text and text.replace("PROJECT", str(project)))
    local = Config(str(file.parent)).read("local")
    assert local["core"]["site_cache_dir"] == str(project / ".dvc-state")
    assert (project / ".dvc-state").stat().st_mode & 0o777 == 0o700
    assert list(file.parent.iterdir()) == [file]
    if text:
        assert local["remote"].get("x", {}).get("url") == "/y" or local["core"]["remote"] == "x"


@pytest.mark.parametrize("text", ["[core]\n    site_cache_dir = /fast/disk\n", "[core\n", "core = 1\n"])
def test_another_place_and_a_broken_file_stay(tmp_path: Path, text: str) -> None:
    """The place may be a local disk beside a network drive; of a broken file DVC will speak."""
    project = tmp_path / "project"
    assert local_config(project, text).read_text() == text
    assert not (project / ".dvc-state").exists()
