"""An odd provenance.json is told in one line that names file and key."""

import json
from pathlib import Path

import pytest

from osler.build.artifacts import Artifacts
from osler.build.pipeline import Declaration
from osler.build.provenance import TRAINED, check_provenance, provenance
from osler.build.section import BuildError

WHOLE = {"settings": {"seed": 1, "config": {"layers": 2}}, "inputs": {"plan": "ab"}} | dict.fromkeys(TRAINED, 7)
WHOLE |= {"token_ledger": []}


def written(root: Path, text: str, model: str = "models/cpt") -> Path:
    """The folder of a model with that provenance.json."""
    folder = root / model
    folder.mkdir(parents=True)
    (folder / "provenance.json").write_text(text)
    return folder


def test_what_is_recorded_is_what_was_written(tmp_path: Path) -> None:
    """A whole file is read as it is, and written again it is the same text."""
    found = provenance(written(tmp_path, json.dumps(WHOLE)), tmp_path)
    assert found == WHOLE
    assert json.dumps(found) == json.dumps(WHOLE)
    assert found.get("rows_read") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "models/cpt/provenance.json: is no JSON: Expecting value"),
        ("{", "models/cpt/provenance.json: is no JSON: Expecting property name"),
        ("[]", "models/cpt/provenance.json: is no JSON object; `dvc checkout --force models/cpt` brings back"),
        ("null", "models/cpt/provenance.json: is no JSON object"),
        ('{"settings": [1]}', "models/cpt/provenance.json: settings: is no JSON object"),
        ('{"inputs": "ab"}', "models/cpt/provenance.json: inputs: is no JSON object"),
        ('{"token_ledger": {}}', "models/cpt/provenance.json: token_ledger: is no list"),
        ("[" * 100_000, "models/cpt/provenance.json: is no JSON"),
    ],
)
def test_a_file_that_is_no_object_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    """Damaged text, another kind of JSON, and a part of another kind are each named."""
    with pytest.raises(BuildError) as caught:
        provenance(written(tmp_path, text), tmp_path)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """A file that is not UTF-8 is named, and so is one that is gone."""
    folder = written(tmp_path, "")
    (folder / "provenance.json").write_bytes(b"\xff{}")
    with pytest.raises(BuildError, match=r"^models/cpt/provenance.json: is no JSON: 'utf-8' codec"):
        provenance(folder, tmp_path)
    (folder / "provenance.json").unlink()
    with pytest.raises(BuildError, match=r"^models/cpt/provenance.json: cannot be read: No such file"):
        provenance(folder, tmp_path)


def test_a_missing_key_is_named_with_those_above_it(tmp_path: Path) -> None:
    """`settings.config.heads` is told whole, after the file."""
    found = provenance(written(tmp_path, json.dumps(WHOLE)), tmp_path)
    with pytest.raises(
        BuildError, match=r"^models/cpt/provenance.json: steps_done: missing; .* build the model again$"
    ):
        found["steps_done"]
    with pytest.raises(BuildError, match=r"^models/cpt/provenance.json: settings.config.heads: missing"):
        found["settings"]["config"]["heads"]


@pytest.mark.parametrize("key", TRAINED)
def test_a_trained_model_lacks_nothing_that_stages_read(tmp_path: Path, key: str) -> None:
    """Each key is asked for, in the models of other seeds too."""
    folder = written(tmp_path, json.dumps(WHOLE))
    check_provenance(folder, tmp_path)
    other = {name: value for name, value in WHOLE.items() if name != key}
    written(tmp_path, json.dumps(other), "models/cpt/seeds/2")
    with pytest.raises(BuildError, match=rf"^models/cpt/seeds/2/provenance.json: {key}: missing"):
        check_provenance(folder, tmp_path)


def test_a_downloaded_model_needs_its_revision_alone(tmp_path: Path) -> None:
    """Nothing of a training is asked of it, and nothing at all of a folder without the file."""
    check_provenance(written(tmp_path, '{"repository": "a/b", "revision": "c"}', "models/base"), tmp_path)
    check_provenance(tmp_path, tmp_path)
    with pytest.raises(BuildError, match=r"^models/other/provenance.json: revision: missing"):
        check_provenance(written(tmp_path, '{"repository": "a/b"}', "models/other"), tmp_path)


def test_the_models_of_a_build_are_read_with_their_files_named(tmp_path: Path) -> None:
    """A command that looks for models tells the odd one; what was not built is left out."""
    stages = {name: Declaration(name, (), (f"models/{name}",), {}) for name in ("cpt", "sft")}
    folder = written(tmp_path, json.dumps(WHOLE))
    assert Artifacts(tmp_path, stages).models() == {"cpt": (folder, WHOLE)}
    written(tmp_path, "[]", "models/sft")
    with pytest.raises(BuildError, match=r"^models/sft/provenance.json: is no JSON object"):
        Artifacts(tmp_path, stages).models()
