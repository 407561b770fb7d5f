"""Profiles as overlays: what is merged, what is replaced, and that each stands for the values it is known for."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from osler.build.pipeline import ROOT
from osler.build.profiles import TABLES, profile, profile_names
from osler.build.section import BuildError
from osler.commands.profile import difference
from tests.support.params import PARAMS, profile_params

NOTED = ROOT / "tests/build/profiles.json"
KNOWN = json.loads(NOTED.read_text())
DEFAULT = """# The default.
root: here # a folder

cpt:
  rate: 1.0e-3 # of a step
  decay: 0.1
  experts: null # or a mapping
corpus:
  notes: clinical # letters
  towns: general
priority:
- notes
- towns
"""


def on(value: Any) -> Any:
    """A value without the keys that are off."""
    return {key: on(inner) for key, inner in value.items() if inner is not None} if isinstance(value, dict) else value


def composed(folder: Path, **files: str) -> str:
    """What profiles/own.yaml of these files stands for."""
    (folder / "profiles").mkdir(exist_ok=True)
    for name, text in ({"default": DEFAULT} | files).items():
        (folder / f"profiles/{name}.yaml").write_text(text)
    return profile(folder, "own")


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_profile_stands_for_the_values_it_had_as_a_whole_file(name: str) -> None:
    """Leaf by leaf; a key that is off is absent. `python -m tests.build.test_profiles` notes a change that is meant."""
    changed = difference(KNOWN[name], on(profile_params(name)))
    assert not changed, f"{name} stands for other values; if that is meant, run `python -m tests.build.test_profiles`"


def test_every_profile_is_known() -> None:
    """None is left out of the comparison."""
    assert {*KNOWN, "default"} == set(profile_names(ROOT))


def test_the_params_are_the_default(tmp_path: Path) -> None:
    """params.yaml as it is committed is what `osler profile default` writes, so that one edit changes both or none."""
    assert (ROOT / "params.yaml").read_text() == profile(ROOT, "default")
    assert composed(tmp_path, own="extends: default\n").startswith("# Written by `osler profile own`")


def test_the_tables_are_sections_there_are() -> None:
    """A table that was renamed would silently be merged."""
    for table in TABLES:
        section: Any = PARAMS
        for key in table.split("."):
            section = section[key]
        assert isinstance(section, dict), table


def test_settings_merge_and_keep_their_comments(tmp_path: Path) -> None:
    """One key changes; what stands beside it stays, with what is said of it."""
    text = composed(tmp_path, own="extends: default\ncpt:\n  rate: 2.0e-3 # twice\n")
    assert "  rate: 2.0e-3 # twice\n  decay: 0.1\n" in text
    assert "root: here # a folder\n" in text
    assert "# The default." not in text
    without = composed(tmp_path, own="extends: default\ncpt:\n  rate: 2.0e-3\n")
    assert "  rate: 2.0e-3 # of a step\n" in without


def test_tables_and_lists_are_replaced(tmp_path: Path) -> None:
    """Names of one's own are not mixed with the default's."""
    params = yaml.safe_load(
        composed(tmp_path, own="extends: default\ncorpus:\n  letters: clinical\npriority:\n- letters\n")
    )
    assert params["corpus"] == {"letters": "clinical"}
    assert params["priority"] == ["letters"]


def test_null_turns_a_key_off(tmp_path: Path) -> None:
    """It is absent from what is written."""
    params = yaml.safe_load(composed(tmp_path, own="extends: default\ncpt:\n  decay: null\n"))
    assert params["cpt"] == {"rate": 0.001, "experts": None}


def test_a_profile_may_extend_a_profile(tmp_path: Path) -> None:
    """The nearest one wins."""
    middle = "extends: default\ncpt:\n  rate: 2.0e-3\n  decay: 0.2\n"
    params = yaml.safe_load(composed(tmp_path, middle=middle, own="extends: middle\ncpt:\n  decay: 0.3\n"))
    assert params["cpt"] == {"rate": 0.002, "decay": 0.3, "experts": None}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"own": "extends: defualt\n"}, "profiles/own.yaml: extends: defualt: no such profile, did you mean default"),
        ({"own": "extends: 3\n"}, r"profiles/own.yaml: extends: must be the name of a profile \(it is 3\)"),
        ({"own": "extends: other\n", "other": "extends: own\n"}, "extends: own: extends itself, by own and other"),
        ({"own": "extends: default\ncpt: {rate: 1\n"}, "profiles/own.yaml: line [0-9]+: .*; correct it"),
        ({"own": "- a\n"}, "profiles/own.yaml: no mapping of sections"),
        ({"own": "extends: default\ncpt: 1\ncpt: 2\n"}, "profiles/own.yaml: line 3: found duplicate key"),
    ],
)
def test_what_cannot_be_composed_is_one_line(tmp_path: Path, files: dict[str, str], message: str) -> None:
    """It names the file, and the key or line."""
    with pytest.raises(BuildError, match=message) as caught:
        composed(tmp_path, **files)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../own", "own.yaml", "", "."])
def test_a_profile_is_named_and_not_pointed_at(tmp_path: Path, name: str) -> None:
    """A path is no name, even where a file lies there."""
    composed(tmp_path, own="extends: default\n")
    (tmp_path / "own.yaml").write_text(DEFAULT)
    with pytest.raises(BuildError, match="no such profile"):
        profile(tmp_path, name)


def test_a_profile_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    """A folder of that name, and bytes that are no UTF-8."""
    (tmp_path / "profiles/own.yaml").mkdir(parents=True)
    with pytest.raises(BuildError, match="profiles/own.yaml: cannot be read"):
        profile(tmp_path, "own")
    (tmp_path / "profiles/other.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(BuildError, match="profiles/other.yaml: cannot be read"):
        profile(tmp_path, "other")


if __name__ == "__main__":  # note what the profiles stand for now
    now = {name: on(profile_params(name)) for name in profile_names(ROOT) if name != "default"}
    NOTED.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")
