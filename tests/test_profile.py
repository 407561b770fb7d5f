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
from stages.lib.stage import ROOT
from stages.profile import check_references, filled

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
        (("mix", "epochs"), {"nots": 1.0}, "mix.epochs: nots: not among"),
        (("instruct", "weights"), {"notes": 1.0}, "instruct.weights: notes: not among"),
        (
            ("instruct", "benchmark_training_splits"),
            {"clinical_qa": "medqa"},
            "splits: \\('clinical_qa', 'medqa'\\): not",
        ),
        (("pretrain", "base", "weights"), {"notes": 1.0}, "pretrain.base.weights: notes: not among towns"),
        (("select", "priority"), ["notes"], "select.priority: must be every source once"),
        (("sft", "batch_tokens"), 100, "sft.batch_tokens: 100 is no multiple"),
        (("architecture", "maximum_positions"), 64, "architecture.maximum_positions: 64, below"),
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


@pytest.mark.parametrize(
    ("source", "path", "is_split"),
    [
        ("clinical_qa", "instructions/clinical_qa.jsonl.gz", False),
        ("clinical_qa", "benchmark/items.jsonl", True),
        ("clinical_qa", "benchmark/items.jsonl/train", True),
        ("clinical_qa", "benchmark", True),
        ("clinical_qa", "./other/../benchmark/items.jsonl", True),
        ("clinical_qa", "benchmark/items", False),
        ("synthetic_train", "instructions/clinical_qa.jsonl.gz", True),
        ("photosynthetic", "instructions/clinical_qa.jsonl.gz", False),
    ],
)
def test_a_benchmarks_training_split_is_learned_only_if_named(source: str, path: str, is_split: bool) -> None:
    """What lies in the benchmark's path or bears its name is one, and is refused until it is written down as one."""
    params = copy.deepcopy(PARAMS)
    params["source"][source] = params["source"].pop("clinical_qa") | {"path": path}
    params["instruct"]["weights"] = {source: 1.0}
    if is_split:
        with pytest.raises(BuildError, match=f"instruct.weights.{source}: .* split of the benchmark synthetic"):
            profile.refuse_training_splits(params)
        params["instruct"]["benchmark_training_splits"] = {source: "synthetic"}
    profile.refuse_training_splits(params)


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
