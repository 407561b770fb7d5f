"""Changing params.yaml for a profile, and what the check refuses."""

import copy
from typing import Any

import pytest
import yaml

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
        (("instruct", "weights"), {"notes": 1.0}, "instruct.weights: notes: not among"),
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
