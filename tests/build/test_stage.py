"""Binding names, strict values, orphans."""

import hashlib
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from osler.build import stage
from osler.build.lock import check_dvc_lock
from osler.build.pipeline import ROOT, Declaration, artifact_name, param_name, read_params
from osler.build.section import BuildError, Section
from osler.build.shard_store import Shard, Store
from osler.build.stage import orphans
from osler.build.validation import validated


@pytest.mark.parametrize(
    ("path", "is_out", "name"),
    [
        ("data/documents/clinical/notes", False, "documents"),
        ("data/ledger/ingest/notes.parquet", True, "ledger"),
        ("metrics/eval.json", True, "eval"),
        ("fingerprints/pack.fp", False, None),
        ("fingerprints/pack.fp", True, "fingerprints"),
        ("models/base", False, "model"),
        ("models/cpt", True, "trained_model"),
        ("models/tokenizer", False, "tokenizer"),
        ("/elsewhere/notes", False, "raw"),
        ("requirements.lock", False, "raw"),
    ],
)
def test_an_artifact_is_named_after_its_place(path: str, is_out: bool, name: str | None) -> None:
    """The argument name is the component after the top folder."""
    assert artifact_name(path, is_out) == name


def test_a_section_is_named_by_its_first_component_and_a_value_by_its_last() -> None:
    """source.notes arrives as `source`, tokenizer.sample_limit_bytes as `sample_limit_bytes`."""
    assert param_name("source.notes", {"path": "x"}) == "source"
    assert param_name("tokenizer.sample_limit_bytes", 5) == "sample_limit_bytes"


class Example(Section):
    """For the tests below."""

    alpha: float = Field(ge=0)
    betas: tuple[float, float]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"alpha": 5}, "params.yaml: neftune.betas: Field required"),
        ({"alpha": 5, "betas": [0.1, 0.2], "beta": 1}, "params.yaml: neftune.beta: unknown key, take it out"),
        (
            {"alpha": 5, "beta": [0.1, 0.2]},
            "neftune.betas: Field required; neftune.beta: unknown key, did you mean betas?",
        ),
        (
            {"alpha": "5" * 999, "betas": [0.1, 0.2]},
            r"neftune.alpha: Input should be a valid number \(it is '5{79}\.\.\.\)$",
        ),
        ({"alpha": [5], "betas": [0.1, 0.2]}, r"neftune.alpha: Input should be a valid number \(it is \[5\]\)$"),
        ({str(number): 1 for number in range(9)}, "; and 6 more$"),
        (
            {"alpha": "5", "betas": [0.1, 0.2]},
            r"params.yaml: neftune.alpha: Input should be a valid number \(it is '5'\)",
        ),
        ({"alpha": -1, "betas": [0.1, 0.2]}, r"neftune.alpha: Input should be greater than or equal to 0 \(it is -1\)"),
        ({"alpha": float("nan"), "betas": [0.1, 0.2]}, "neftune.alpha"),
        (None, "params.yaml: neftune: "),
    ],
)
def test_a_wrong_value_is_refused_with_file_and_key(value: object, message: str) -> None:
    """A missing or unknown key, a wrong type and a value out of range each give one line that names the key."""
    with pytest.raises(BuildError, match=message) as caught:
        validated("neftune", value, Example)
    assert "\n" not in str(caught.value)


def test_a_list_in_yaml_is_a_tuple_and_an_integer_a_number() -> None:
    """Strictness does not ask users to write 5.0 for 5."""
    assert validated("x", {"alpha": 5, "betas": [0.9, 0.98]}, Example) == Example(alpha=5.0, betas=(0.9, 0.98))
    with pytest.raises(BuildError, match="seed"):
        validated("seed", 1.5, Annotated[int, Field(ge=0)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: [1\n", "line 2: .*; correct the line or the one before"),
        (b"a: 1\na: {b: 2}\n", 'line 2: found duplicate key "a"; take one of the two out'),
        (
            b"a: 1\nb: c: d\n",
            "line 2: mapping values are not allowed in this context; put a value with a colon in quotes",
        ),
        (b"a:\n\t- 1\n", "line 2: found character that cannot start any token; indent with blanks, not with tabs"),
        (b"a:\n\tb: 1\n", "line 2: .*; indent with blanks, not with tabs"),
        (b"a: 1\nb: \xe9\n", "line 2: no UTF-8; save the file as UTF-8"),
        (b"- a\n", "no mapping of sections"),
        (b"", "empty"),
    ],
)
def test_unreadable_params_name_file_and_line(tmp_path: Path, text: bytes, message: str) -> None:
    """Broken YAML and a repeated key are one-line errors that say where and what to do."""
    (tmp_path / "params.yaml").write_bytes(text)
    with pytest.raises(BuildError, match=rf"params\.yaml: {message}") as caught:
        read_params(tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)


def test_orphans_are_entries_that_no_stage_makes(tmp_path: Path) -> None:
    """Only in folders that mix the outs of several stages, and never the note or what lies inside an out."""
    screens, documents = tmp_path / "screens", tmp_path / "documents"
    for path in (
        screens / "a.parquet",
        screens / "old.parquet",
        screens / "README.md",
        documents / "x/a/part-0",
        documents / "x/old/part-0",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    outs = [screens / "a.parquet", documents / "x/a"]
    assert orphans(screens, outs) == [screens / "old.parquet"]
    assert orphans(documents, outs) == [documents / "x/old"]
    assert orphans(documents / "x/a", outs) == []


def test_a_store_is_pruned_when_its_stage_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error after all shards were made leaves those of the run before, too."""
    monkeypatch.setenv("DVC_STAGE", "x")
    for name, value in {
        "read_params": {}, "declarations": {"x": Declaration("x", (), (), {})}, "_prepare": None, "_restore": None
    }.items():  # fmt: skip
        monkeypatch.setattr(stage, name, lambda *_, value=value: value)
    (tmp_path / "old").mkdir()

    def made(folder: Path) -> None:
        (folder / "out").touch()

    def main(store: Store, failing: bool) -> None:
        store.entries(stage.__file__, [Shard({}, made)])
        if failing:
            raise BuildError("later")

    monkeypatch.setattr(stage, "bound", lambda *_: {"store": Store(tmp_path, 1)})
    with pytest.raises(SystemExit, match="x: later"):
        stage.run(partial(main, failing=True))
    assert len(list(tmp_path.iterdir())) == 2
    stage.run(partial(main, failing=False))
    assert len(list(tmp_path.iterdir())) == 1
    assert not (tmp_path / "old").exists()


@pytest.mark.parametrize("what", ["changed", "appeared", "vanished"])
def test_raw_files_stay_what_they_are_until_the_stage_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Also files that were read long before, and in stages that keep no shards."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.jsonl").write_text("a")
    monkeypatch.setenv("DVC_STAGE", "x")
    monkeypatch.setattr(stage, "ROOT", tmp_path)
    for name, value in {
        "read_params": {}, "declarations": {"x": Declaration("x", ("raw",), (), {})}, "bound": {}, "_restore": None
    }.items():  # fmt: skip
        monkeypatch.setattr(stage, name, lambda *_, value=value: value)

    def main() -> None:
        name = "b" if what == "appeared" else "a"
        (tmp_path / f"raw/{name}.jsonl").write_text("longer")
        if what == "vanished":
            (tmp_path / "raw/a.jsonl").unlink()

    with pytest.raises(SystemExit, match=rf"osler: x: raw/[ab].jsonl: {what} while it was read"):
        stage.run(main)
    stage.run(lambda: None)


def test_a_stage_does_not_start_on_a_model_with_an_odd_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names stage, file and key, and `main` is not called."""
    monkeypatch.setenv("DVC_STAGE", "sft")
    monkeypatch.setattr(stage, "ROOT", tmp_path)
    declared = {"sft": Declaration("sft", ("models/base",), (), {})}
    for name, value in {
        "read_params": {}, "declarations": declared, "_prepare": None, "_restore": None, "bound": {}
    }.items():  # fmt: skip
        monkeypatch.setattr(stage, name, lambda *_, value=value: value)
    record = tmp_path / "models/base/provenance.json"
    record.parent.mkdir(parents=True)
    for text, said in (
        ("{", "is no JSON: .*"),
        ("[]", "is no JSON object; .*"),
        ('{"repository": "a"}', "revision: .*"),
    ):
        record.write_text(text)
        with pytest.raises(SystemExit, match=f"^osler: sft: models/base/provenance.json: {said}$"):
            stage.run(lambda: print("started"))
    assert capsys.readouterr().out == ""
    record.write_text("{}")
    stage.run(lambda: print("started"))
    assert capsys.readouterr().out == "started\n"


@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE"), ("active", "ACTIVE")])
def test_waiting_threads_sleep_unless_told_otherwise(given: str | None, expected: str) -> None:
    """What torch's own OpenMP says of itself when a stage has imported it."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "TRUE"} | ({"OMP_WAIT_POLICY": given} if given else {})
    done = subprocess.run(
        [sys.executable, "-c", "import osler.inference.generation"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert f"OMP_WAIT_POLICY = '{expected}'" in done.stderr


@pytest.mark.parametrize("damaged", ["", "{", "[]", "7", "null", '{"digest": 1}', '{"digest": "DIGEST"}'])
def test_what_is_remembered_of_params_is_never_stale(tmp_path: Path, damaged: str) -> None:
    """An edit is seen, and a damaged memory is as good as none."""
    (tmp_path / ".dvc").mkdir()
    file, memory = tmp_path / "params.yaml", tmp_path / "scratch/read/params.json"
    file.write_text("seeds: [1]\n")
    assert read_params(file) == {"seeds": [1]}
    known = json.loads(memory.read_text())
    assert known["value"] == {"seeds": [1]}
    other = hashlib.sha256(b'{"seeds": [9]}').hexdigest()
    memory.write_text(json.dumps(known | {"value": {"seeds": [9]}, "check": other}))
    assert read_params(file) == {"seeds": [9]}, "it is read from there"
    memory.write_text(json.dumps(known | {"value": {"seeds": [9]}}))
    assert read_params(file) == {"seeds": [1]}, "a value of another hash is damaged"
    file.write_text("seeds: [2]\n")
    assert read_params(file) == {"seeds": [2]}
    digest = json.loads(memory.read_text())["digest"]
    memory.write_text(damaged.replace("DIGEST", digest))
    assert read_params(file) == {"seeds": [2]}


def test_a_file_that_is_saved_while_it_is_read_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the edited contents would go by the digest of the ones before, until the next edit."""
    from dvc.utils import serialize

    (tmp_path / ".dvc").mkdir()
    file = tmp_path / "params.yaml"
    file.write_text("seeds: [1]\n")
    known = serialize.load_yaml

    def saved_meanwhile(path: str) -> object:
        file.write_text("seeds: [2]\n")
        return known(path)

    monkeypatch.setattr(serialize, "load_yaml", saved_meanwhile)
    assert read_params(file) == {"seeds": [2]}
    monkeypatch.undo()
    file.write_text("seeds: [1]\n")
    assert read_params(file) == {"seeds": [1]}


@pytest.mark.parametrize("blocked", ["scratch", "scratch/read"])
def test_params_are_read_where_nothing_can_be_remembered(tmp_path: Path, blocked: str) -> None:
    """A file stands where the folder would be: reading is slower, and right."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "params.yaml").write_text("seeds: [1]\n")
    (tmp_path / blocked).parent.mkdir(exist_ok=True)
    (tmp_path / blocked).touch()
    assert read_params(tmp_path / "params.yaml") == {"seeds": [1]}


@pytest.mark.parametrize("left", ["", '{"read": {'])
def test_half_a_lock_of_dvcs_is_told_before_dvc_stops_at_it(tmp_path: Path, left: str) -> None:
    """As a dvc leaves it that is killed while it writes; what the line says removes it."""
    check_dvc_lock(tmp_path)
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    path = tmp_path / ".dvc/tmp/rwlock"
    path.write_text('{"read": {}, "write": {}}')
    check_dvc_lock(tmp_path)
    path.write_text(left)
    with pytest.raises(BuildError, match=r"^.dvc/tmp/rwlock: .*; `rm .dvc/tmp/rwlock` while no dvc runs here$"):
        check_dvc_lock(tmp_path)
