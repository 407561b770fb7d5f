"""What the check says of judges before anything is built."""

from pathlib import Path
from typing import Any

import pytest

from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.commands.check import check_sections
from osler.commands.check_judges import check_judges
from osler.inference.judge_files import folder_digest
from tests.support.params import PARAMS
from tests.support.tiny import tiny_model, tiny_tokenizer

NEAR: dict[str, Any] = {
    "from": "base",
    "tasks": ["findings"],
    "pairs": [["base", "cpt"]],
    "reading": "written",
    "limit_tokens": 9,
}
FAR = {name: value for name, value in NEAR.items() if name != "from"} | {"address": "JUDGE_URL", "served_model": "m-1"}
RUBRIC = PARAMS["task"]["findings"] | {"metric": "rubric", "criteria": [{"criterion": "x", "points": 1.0}]}
PHI = {"action": "redact", "detector": "rules", "required": False, "minimum_recall": 0.5}


def checked(folder: Path, judges: dict[str, Any], **others: Any) -> None:
    """The check of params with these judges, in a folder with an empty file of ratings."""
    (folder / "ratings.csv").write_text("key,rater,verdict\n")
    check_judges(PARAMS | {"judge": judges} | others, folder)


def test_judges_that_are_whole_pass(tmp_path: Path) -> None:
    """No address is asked for, and none of them is looked for."""
    checked(tmp_path, {"near": NEAR, "far": FAR, "other": NEAR | {"models": ["cpt-sft"]}})
    checked(tmp_path, {"near": NEAR}, task=PARAMS["task"] | {"findings": RUBRIC})


@pytest.mark.parametrize(
    ("judges", "others", "says"),
    [
        ({"a": NEAR | {"tasks": ["x"]}}, {}, "judge.a.tasks: x: no section of `task`, which are "),
        ({"a": NEAR | {"models": ["x"]}}, {}, "judge.a: x: no model that is evaluated, which are base"),
        ({"a": NEAR | {"pairs": [["base", "x"]]}}, {}, "judge.a: x: no model that is evaluated"),
        ({"a": NEAR | {"pairs": None}}, {}, "judge.a.tasks: findings: nothing to judge; give the task `criteria`"),
        ({"a": NEAR, "A": NEAR}, {}, "judge: A, a: the same but for upper and lower case"),
        ({}, {"task": {"f": RUBRIC}}, "task.f.metric: rubric, and no `judge` names f among its tasks"),
        ({"a": NEAR | {"vllm": "0.0.1"}}, {}, "judge.a.vllm: 0.0.1, and "),
        ({"a": NEAR | {"folder": "x"}}, {}, "judge.a: needs one of `repository`, `folder`, `from` and `address`"),
        (
            {"a": FAR | {"key": "sk-abc-123"}},
            {},
            "judge.a.key: not written as it should be: variable of the environment",
        ),
        ({}, {"ratings": "none.csv"}, "ratings: no file "),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, judges: dict[str, Any], others: dict[str, Any], says: str) -> None:
    """With the key, and what to do; never what may be a secret."""
    with pytest.raises(BuildError) as caught:
        checked(tmp_path, judges, **others)
    assert str(caught.value).startswith(f"params.yaml: {says}")
    assert "\n" not in str(caught.value)
    assert "sk-abc" not in str(caught.value)


@pytest.mark.parametrize("value", [None, [], "near"])
def test_judges_are_a_mapping(value: object) -> None:
    with pytest.raises(BuildError, match=r"^params.yaml: judge: must be a mapping, {} where there is nothing"):
        check_sections(PARAMS | {"judge": value}, ROOT)


def test_the_digest_of_a_folder_is_told(tmp_path: Path) -> None:
    """Where it is missing, of another form, or another; without a model that is said."""
    folder = {name: value for name, value in NEAR.items() if name != "from"} | {"folder": "reader"}
    with pytest.raises(BuildError, match=r"judge.a.folder: .*reader: no config.json there"):
        checked(tmp_path, {"a": folder})
    tokenizer = tiny_tokenizer()
    tiny_model(len(tokenizer)).save_pretrained(tmp_path / "reader")
    tokenizer.save_pretrained(tmp_path / "reader")
    digest = folder_digest(tmp_path / "reader", "judge.a")[1]
    for given, it_is in (({}, "it is missing"), ({"digest": "abc"}, "it is abc"), ({"digest": "0" * 32}, "it is 000")):
        with pytest.raises(BuildError, match=f"judge.a.digest: the files of reader have {digest} .{it_is}"):
            checked(tmp_path, {"a": folder | given})
    checked(tmp_path, {"a": folder | {"digest": digest}})


def test_texts_of_a_screened_file_go_to_no_address(tmp_path: Path) -> None:
    """Unless the source says so."""
    path = PARAMS["task"]["findings"]["path"]
    for elsewhere, refused in ((None, True), (False, True), (True, False)):
        phi = PHI | ({} if elsewhere is None else {"judged_elsewhere": elsewhere})
        source = PARAMS["source"] | {"letters": PARAMS["source"]["notes"] | {"path": path, "phi": phi}}
        if refused:
            with pytest.raises(BuildError, match=r"judge.far.tasks: findings: its texts would be sent to an address"):
                checked(tmp_path, {"far": FAR}, source=source)
        else:
            checked(tmp_path, {"far": FAR}, source=source)
        checked(tmp_path, {"near": NEAR}, source=source)
