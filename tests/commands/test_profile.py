"""Changing params.yaml for a profile."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from osler.build.pipeline import ROOT, read_params
from osler.build.profiles import profile as composed
from osler.build.section import BuildError
from osler.commands import profile
from osler.commands.check import check_sections
from osler.commands.profile import filled
from tests.support.command import osler


def test_only_the_root_line_changes() -> None:
    """Comments and order stay, and a path with spaces or a # survives."""
    text = "# top\nroot: null # here\nseed: 1\n"
    changed = filled(text, "/data/a b #1")
    assert changed.splitlines()[0::2] == text.splitlines()[0::2]
    assert yaml.safe_load(changed)["root"] == "/data/a b #1"


@pytest.mark.parametrize(("root", "message"), [(None, "needs --root"), ("data", "must be absolute")])
def test_a_profile_without_a_usable_root_is_refused(root: str | None, message: str) -> None:
    """Relative paths break experiments that run elsewhere."""
    with pytest.raises(BuildError, match=message):
        filled("root: null\n", root)


def test_a_profile_that_does_not_pass_leaves_the_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Edited params are not lost to a wrong --root."""
    shutil.copytree(ROOT / ".dvc", tmp_path / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "params.yaml").write_text("edited: 1\n")
    monkeypatch.setattr(profile, "ROOT", tmp_path)
    text = composed(ROOT, "real-small")
    with pytest.raises(BuildError, match=r"does not exist; params.yaml is left as it was"):
        profile.put_in_force(text, str(tmp_path))
    assert (tmp_path / "params.yaml").read_text() == "edited: 1\n"


def test_a_base_model_is_pinned_to_a_commit(tmp_path: Path) -> None:
    """Full-scale profiles name a repository and 40 digits; a branch in their place is one line that names the key."""
    for name in ("mistral-7b", "mixtral-8x7b"):
        text = composed(ROOT, name)
        revision = yaml.safe_load(text)["download_model"]["base"]["revision"]
        shutil.copytree(ROOT / ".dvc", tmp_path / name / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
        shutil.copy(ROOT / "dvc.yaml", tmp_path / name)
        subprocess.run(["git", "init", "-q", tmp_path / name], check=True)
        (tmp_path / name / "params.yaml").write_text(filled(text.replace(revision, "main"), "/data"))
        params = read_params(tmp_path / name / "params.yaml")
        with pytest.raises(BuildError, match=r"download_model.base.revision: not written as it should be") as caught:
            check_sections(params, tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_difference_names_each_leaf() -> None:
    """A list is one value, and a key that is off is the same as none."""
    before = {"a": {"x": 1, "y": None, "z": [1, 2]}, "b": "same"}
    after = {"a": {"x": 2, "z": [1]}, "b": "same", "c": {"new": True}}
    assert profile.difference(before, after) == ["a.x: 1 -> 2", "a.z: [1, 2] -> [1]", "c.new: unset -> true"]


def test_the_difference_to_a_profile_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """`osler profile NAME --diff` prints it and leaves the params."""
    before = (ROOT / "params.yaml").read_bytes()
    osler("profile", "micro", "--diff")
    assert "seeds: [1, 2, 3] -> [1, 2]\n" in capsys.readouterr().out
    osler("profile", "default", "--diff")
    assert capsys.readouterr().out == "params.yaml has the values of profiles/default.yaml\n"
    assert (ROOT / "params.yaml").read_bytes() == before
    with pytest.raises(SystemExit, match="name a profile"):
        osler("profile")
