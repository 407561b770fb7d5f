"""Changing params.yaml for a profile, and what the check refuses."""

import copy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import profile
from stages.lib.section import BuildError
from stages.lib.stage import ROOT, read_params
from stages.profile import check_references, check_sections, filled

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


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


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("root",), None, "root: must be a folder"),
        (("corpus",), [], "corpus: must be a mapping"),
        (("corpus",), {"notes": "general"}, "corpus: must be the text sources"),
        (("benchmark",), {}, "benchmark: empty"),
        (("mix", "weights"), {"nots": 1.0}, "mix.weights: nots: not among"),
        (("instruct", "weights"), {"notes": 1.0}, "instruct.weights: notes: not among"),
        (("pretrain", "base", "weights"), {"notes": 1.0}, "pretrain.base.weights: notes: not among towns"),
        (("select", "priority"), ["notes"], "select.priority: must be every source once"),
        (("sft", "batch_tokens"), 100, "sft.batch_tokens: 100 is no multiple"),
        (("architecture", "maximum_positions"), 64, "architecture.maximum_positions: 64, below"),
        (("pretrain",), {}, "pretrain.base, download_model.base: none set"),
        (("download_model",), {"base": {}}, "pretrain and download_model set"),
        (("root",), "/nowhere", "source.guidelines.path: /nowhere/.* does not exist"),
    ],
)
def test_a_reference_that_points_nowhere_is_refused(path: tuple[str, ...], value: Any, message: str) -> None:
    """One line that names the key, before anything is built."""
    params = copy.deepcopy(PARAMS)
    section = params
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    with pytest.raises(BuildError, match=message) as caught:
        check_references(params, ROOT)
    assert "\n" not in str(caught.value)


def test_a_profile_that_does_not_pass_leaves_the_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Edited params are not lost to a wrong --root."""
    shutil.copytree(ROOT / ".dvc", tmp_path / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "params.yaml").write_text("edited: 1\n")
    monkeypatch.setattr(profile, "ROOT", tmp_path)
    text = (ROOT / "profiles/real-small.yaml").read_text()
    with pytest.raises(BuildError, match=r"does not exist; params.yaml is left as it was"):
        profile.put_in_force(text, str(tmp_path))
    assert (tmp_path / "params.yaml").read_text() == "edited: 1\n"


def test_a_base_model_is_pinned_to_a_commit(tmp_path: Path) -> None:
    """Full-scale profiles name a repository and 40 digits; a branch in their place is one line that names the key."""
    for name in ("mistral-7b", "mixtral-8x7b"):
        text = (ROOT / f"profiles/{name}.yaml").read_text()
        revision = yaml.safe_load(text)["download_model"]["base"]["revision"]
        shutil.copytree(ROOT / ".dvc", tmp_path / name / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
        shutil.copy(ROOT / "dvc.yaml", tmp_path / name)
        subprocess.run(["git", "init", "-q", tmp_path / name], check=True)
        (tmp_path / name / "params.yaml").write_text(filled(text.replace(revision, "main"), "/data"))
        params = read_params(tmp_path / name / "params.yaml")
        with pytest.raises(BuildError, match=r"download_model.base.revision: String should match pattern") as caught:
            check_sections(params, tmp_path / name)
        assert "\n" not in str(caught.value)
