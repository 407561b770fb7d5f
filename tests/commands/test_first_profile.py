"""A first profile: what is guessed, and that it is whole once licenses are stated."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from osler.build.pipeline import ROOT
from osler.build.profiles import profile
from osler.build.section import BuildError
from osler.build.validation import validated
from osler.commands import profile as command
from osler.commands.first_profile import first_profile, rounded
from osler.ingest.inspection import UNSTATED
from osler.ingest.source import Source
from tests.support.command import osler

LONG = "The fern grows in the shade of the wall, and nobody waters it. " * 3


def jsonl(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(("make", "message"), [(False, "no such folder"), (True, "no file that a source could read")])
def test_a_folder_with_nothing_is_one_line(tmp_path: Path, make: bool, message: str) -> None:
    """It says which endings there are."""
    folder = tmp_path / "raw"
    if make:
        folder.mkdir()
        (folder / "image.png").write_bytes(b"x")
    with pytest.raises(BuildError, match=message) as caught:
        first_profile(folder)
    assert "\n" not in str(caught.value)


def test_the_skeleton_is_a_profile_to_complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is printed, is YAML, extends one that there is, and names what its owner has to decide."""
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "discharge notes.jsonl").write_text(jsonl({"id": 1, "text": LONG}))
    (raw / "qa.csv").write_text("question,answer\nQ?,A.\n")
    osler("profile", "--new", str(raw))
    text = capsys.readouterr().out
    params = yaml.safe_load(text)
    assert params["root"] == str(raw)
    assert list(params["source"]) == ["discharge_notes", "qa"]
    assert params["corpus"] == {"discharge_notes": "clinical"}
    assert params["select"]["priority"] == ["discharge_notes", "qa"]
    assert params["instruct"]["weights"] == {"qa": 1.0}
    assert "guessed: about patients" in text
    assert params["source"]["discharge_notes"]["phi"]["action"] == "redact"
    assert "phi" not in params["source"]["qa"]
    validated("source.x", params["source"]["discharge_notes"], Source)
    assert text.count("TO BE STATED") == 3
    assert (ROOT / "profiles" / f"{params['extends']}.yaml").is_file()
    (tmp_path / "profiles").mkdir()
    for path in (ROOT / "profiles").glob("*.yaml"):
        (tmp_path / "profiles" / path.name).write_text(path.read_text())
    (tmp_path / "profiles/ours.yaml").write_text(text)
    assert yaml.safe_load(profile(tmp_path, "ours"))["corpus"] == params["corpus"]


def questions(raw: Path, *names: str) -> None:
    """MedMCQA's rows in files of these names."""
    (raw / "quiz").mkdir()
    row = {"question": "Which fern?", "opa": "a", "opb": "b", "opc": "c", "opd": "d"}
    for name in names:
        rows = [row | {"id": f"{name}{number}", "cop": number} for number in range(1, 5)]
        (raw / "quiz" / name).write_text(jsonl(*rows))


def full(raw: Path) -> None:
    """Notes, general text and conversations."""
    raw.mkdir()
    (raw / "notes.jsonl").write_text(jsonl(*({"id": number, "text": f"{number} {LONG}"} for number in range(9))))
    (raw / "wiki").mkdir()
    (raw / "wiki/a.txt").write_text(LONG * 9)
    (raw / "qa.csv").write_text("question,answer\nQ?,A.\n")


@pytest.mark.parametrize("files", [("dev.jsonl",), ("dev.jsonl", "train.jsonl")])
def test_with_licenses_stated_it_passes_the_check(
    files: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left to complete; strategies that show solved questions are on where there seem to be some."""
    full(tmp_path / "raw")
    questions(tmp_path / "raw", *files)
    text = first_profile(tmp_path / "raw")
    params = yaml.safe_load(text)
    assert params["benchmark"] == {"quiz": {"path": "quiz", "format": "medmcqa"}}
    assert "quiz" not in params["source"]
    assert params["pretrain"]["base"]["weights"] == {"wiki": 1.0}
    assert 0 < params["mix"]["tokens"] < 2000
    assert ("strategies" in params) == (len(files) == 1)
    project = tmp_path / "project"
    shutil.copytree(ROOT / ".dvc", project / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    shutil.copytree(ROOT / "profiles", project / "profiles")
    for name in ("dvc.yaml", "ratings.csv", "withdrawn.txt"):
        shutil.copy(ROOT / name, project)
    subprocess.run(["git", "init", "-q", project], check=True)
    (project / "profiles/ours.yaml").write_text(text.replace(UNSTATED, "CC0-1.0"))
    monkeypatch.setattr(command, "ROOT", project)
    command.put_in_force(profile(project, "ours"), None)
    assert yaml.safe_load((project / "params.yaml").read_text())["benchmark"] == params["benchmark"]


@pytest.mark.parametrize(
    ("rows", "form"),
    [
        ([{"question": "?", "options": {"A": "a"}, "answer_idx": "A", "answer": "a"}], "medqa"),
        ([{"id": 1, "question": "?", "options": ["a", "b"], "answer": 0}], "jsonl"),
        ([{"id": 1, "question": "?", "answer": "a"}], None),
    ],
)
def test_questions_with_options_are_no_source(rows: list[dict[str, Any]], form: str | None, tmp_path: Path) -> None:
    """They are told by their fields; a question with an answer alone is a conversation."""
    (tmp_path / "quiz_test.jsonl").write_text(jsonl(*rows))
    params = yaml.safe_load(first_profile(tmp_path))
    assert params["benchmark"] == ({"quiz_test": {"path": "quiz_test.jsonl", "format": form}} if form else {})
    assert bool(params["source"]) == (form is None)


def test_folders_of_mmlu_and_pubmedqa_are_known(tmp_path: Path) -> None:
    """By their layout, once each."""
    for split in ("dev", "test"):
        (tmp_path / "mmlu" / split).mkdir(parents=True)
        (tmp_path / "mmlu" / split / f"anatomy_{split}.csv").write_text("Which?,a,b,c,d,A\nWhat?,a,b,c,d,B\n")
    (tmp_path / "pubmedqa").mkdir()
    for name in ("ori_pqal.json", "test_ground_truth.json"):
        (tmp_path / "pubmedqa" / name).write_text(json.dumps({"1": {"QUESTION": "?"}}))
    params = yaml.safe_load(first_profile(tmp_path))
    assert {name: own["format"] for name, own in params["benchmark"].items()} == {
        "mmlu": "mmlu",
        "pubmedqa": "pubmedqa",
    }
    assert not params["source"]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    """No general text, no conversations, no questions: a line each, with what to do."""
    (tmp_path / "notes.jsonl").write_text(jsonl({"id": 1, "text": LONG}))
    text = first_profile(tmp_path)
    for said in ("No general text was found", "No conversations were found", "No questions with options were found"):
        assert f"# {said}" in text
    assert "pretrain" not in yaml.safe_load(text)


def test_numbers_are_rounded_down() -> None:
    assert [rounded(tokens, 600) for tokens in (0, 7, 19, 345, 5000)] == [0, 7, 10, 300, 600]
