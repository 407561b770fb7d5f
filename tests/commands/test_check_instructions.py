"""What the check says of instruction tasks."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from osler.build.section import BuildError
from osler.commands.check_instructions import check_instruction_tasks
from tests.ingest.test_task_files import TURNS, instance, task_file
from tests.support.params import PARAMS

SOURCE = {"collection": "instructions", "path": "ins", "format": "meds", "turns": TURNS, "license": "CC-BY-SA"}


def params(tasks: dict[str, Any] | None, **changed: Any) -> dict[str, Any]:
    """The default with a source `ins` of tasks."""
    found = copy.deepcopy(PARAMS)
    found["root"] = "raw"
    found["source"]["ins"] = SOURCE | changed
    found["instruct"]["weights"]["ins"] = 1.0
    found["instruct"]["tasks"] = tasks
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a file of a task, an empty one, and rewrites."""
    (tmp_path / "raw").mkdir()
    task_file(tmp_path / "raw/ins", "task78_sums.json", [instance(1)])
    task_file(tmp_path / "raw/ins", "task9_none.json", [])
    (tmp_path / "raw/ins/more.json").write_text(json.dumps({"task78": ["Sum."]}))
    return tmp_path


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (
            {"ins": {"counts": {"task7": 5}}},
            r"instruct.tasks.ins.counts.task7: 5, and no file of .*ins is of that task",
        ),
        (
            {"ins": {"counts": {"task9": "whole"}}},
            r"instruct.tasks.ins.counts.task9: whole, and task9_none.json has no instance",
        ),
        ({"clinical_qa": {"temperature": 1.0}}, r"instruct.tasks.clinical_qa: no source of format meds"),
        ({"gone": {"temperature": 1.0}}, r"instruct.tasks.gone: no source of format meds"),
    ],
)
def test_unknown_and_empty_tasks_are_refused(root: Path, tasks: dict[str, Any], message: str) -> None:
    """In a line with key and value, before anything is built."""
    with pytest.raises(BuildError, match=f"^params.yaml: {message}"):
        check_instruction_tasks(params(tasks), root)


def test_what_is_in_order_passes(root: Path) -> None:
    """An empty task that nobody counts is left to the ledger, and so is one that is counted as none."""
    for tasks in (None, {"ins": {"temperature": 2.0, "counts": {"task78": 1, "task9": 0}}}):
        check_instruction_tasks(params(tasks, rewrites="more.json"), root)
    check_instruction_tasks(params({"ins": {"counts": {"task7": 1}}}, path="later"), root)


def test_a_source_of_tasks_without_a_share_or_its_rewrites_is_refused(root: Path) -> None:
    """The key that would do nothing, or points nowhere."""
    unread = params({"ins": {"temperature": 1.0}})
    unread["instruct"]["weights"]["ins"] = 0.0
    with pytest.raises(BuildError, match=r"instruct.tasks.ins: instruct.weights gives it no share"):
        check_instruction_tasks(unread, root)
    with pytest.raises(BuildError, match=r"source.ins.rewrites: .*gone.json is no file"):
        check_instruction_tasks(params(None, rewrites="gone.json"), root)
