"""Files of MedS-Ins as conversations, in the layout of its README; what stands there is made up."""

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from osler.build.section import BuildError
from osler.ingest.source import Source
from osler.ingest.task_files import rewrites_frame, task_of
from tests.ingest.test_ingest import ingested
from tests.ingest.test_records import section
from tests.support.project import SHARED

TURNS = [{"role": "user", "text": "{input}"}, {"role": "assistant", "text": "{output}"}]


def meds(**changed: Any) -> Source:
    """A source of such files."""
    return section(collection="instructions", format="meds", text=None, turns=TURNS, **changed)


def task_file(folder: Path, name: str, instances: Any, definition: Any = "Sum up.", **others: Any) -> Path:
    """A file of one task, in the layout of MedS-Ins."""
    folder.mkdir(exist_ok=True)
    about = {
        **{"Contributors": ["a"], "Source": ["s"], "URL": ["u"], "Categories": ["Summarization"], "Reasoning": []},
        **{"Definition": [definition, "Not this one."] if isinstance(definition, str) else definition},
        **{"Input_language": ["English"], "Output_language": ["English"], "Instruction_language": ["English"]},
        **{"Domains": ["Medicine"], "Positive Examples": [], "Negative Examples": [], "Instances": instances},
    }
    path = folder / name
    path.write_text(json.dumps(about | others, indent=4))
    return path


def instance(number: int, output: Any = "yes") -> dict[str, Any]:
    """Of a task."""
    return {"id": f"i{number}", "input": f"itch {number}", "output": output}


def test_instances_are_conversations_that_know_their_task(tmp_path: Path) -> None:
    """The first output is learned; an output that is a text and one in a list read alike; the definition is the first one's."""
    task_file(tmp_path / "raw", "task78_itch_summary.json", [instance(1), instance(2, ["fern", "tea"])])
    task_file(tmp_path / "raw", "task9.json", [{"input": "x", "output": ["y"]}], "  Translate. ")
    documents, ledger = ingested(tmp_path, None, meds())
    assert [(row["doc_id"], [turn["content"] for turn in row["turns"]]) for row in documents.to_dicts()] == [
        ("notes/task78_itch_summary.json#1", ["itch 1", "yes"]),
        ("notes/task78_itch_summary.json#2", ["itch 2", "fern"]),
        ("notes/task9.json#1", ["x", "y"]),
    ]
    assert ledger.is_empty()
    tasks = pl.read_parquet(tmp_path / "documents/tasks-*.parquet")
    assert tasks.select("doc_id", "task", "definition").rows() == [
        ("notes/task78_itch_summary.json#1", "task78", "Sum up."),
        ("notes/task78_itch_summary.json#2", "task78", "Sum up."),
        ("notes/task9.json#1", "task9", "Translate."),
    ]


BAD = [
    "no object",
    {"id": "a", "input": "x"},
    {"id": "b", "input": "x", "output": []},
    {"id": "c", "output": "y"},
    {"id": "d", "input": "x", "output": {"a": 1}},
    {"id": "e", "input": "x", "output": " "},
]


def test_bad_rows_are_in_the_ledger_with_a_reason(tmp_path: Path) -> None:
    """Rows in are documents and ledger rows; a file that is none costs a row, and no other file."""
    task_file(tmp_path / "raw", "task1.json", [instance(1), *BAD])
    task_file(tmp_path / "raw", "task2.json", [instance(1)], definition=[" "])
    task_file(tmp_path / "raw", "task3.json", [])
    task_file(tmp_path / "raw", "task4.json", [instance(1), instance(2)], **{"Split Type": "Test"})
    task_file(tmp_path / "raw", "task5.json", [instance(1)], **{"Split Type": "Train/Test"})
    (tmp_path / "raw/task6.json").write_text("[{}, {}]")
    (tmp_path / "raw/task7.json").write_text('{"Definition": ["Do."], "Instances": [')
    (tmp_path / "raw/readme.md").write_text("About.")
    documents, ledger = ingested(tmp_path, None, meds())
    assert documents["doc_id"].to_list() == ["notes/task1.json#1", "notes/task5.json#1"]
    assert dict(ledger.select("origin", "reason").iter_rows()) == {
        "readme.md#1": "other_suffix",
        "task1.json#2": "malformed_row",
        "task1.json#3": "missing_field",
        "task1.json#4": "missing_field",
        "task1.json#5": "missing_field",
        "task1.json#6": "malformed_row",
        "task1.json#7": "empty",
        "task2.json#1": "unreadable_file",
        "task3.json#1": "empty_file",
        "task4.json#1": "test_split",
        "task4.json#2": "test_split",
        "task6.json#1": "unreadable_file",
        "task7.json#1": "unreadable_file",
    }
    assert json.loads((tmp_path / "counts.json").read_text())["rows"] == len(documents) + len(ledger)


def test_an_id_that_two_files_have_is_of_the_first_ones_task(tmp_path: Path) -> None:
    """So each document has one task."""
    for name in ("task1.json", "task2.json"):
        task_file(tmp_path / "raw", name, [instance(1)], f"Of {name}.")
    documents, ledger = ingested(tmp_path, None, meds(id="id"))
    assert (documents["doc_id"].to_list(), ledger["reason"].to_list()) == (["notes/i1"], ["duplicate_id"])
    tasks = pl.read_parquet(tmp_path / "documents/tasks-*.parquet")
    assert tasks.select("doc_id", "task").rows() == [("notes/i1", "task1")]


@pytest.mark.parametrize(
    ("place", "task"),
    [
        ("task78_a_b.json#3", "task78"),
        ("task78.json.gz#3", "task78"),
        ("deep/task7_x.JSON#1", "task7"),
        ("all.tar!ins/task12_x.json#1", "task12"),
        ("task_free.json#1", "task_free"),
        ("drug.dose.json#1", "drug.dose"),
        ("task1a_x.json#1", "task1a_x"),
    ],
)
def test_a_task_is_called_as_its_file(place: str, task: str) -> None:
    """By its number where it has one."""
    assert task_of(place) == task


@pytest.mark.parametrize("compressed", [False, True])
def test_rewrites_are_each_once_and_no_rows(tmp_path: Path, compressed: bool) -> None:
    """Two that differ in white space are one, in order of the first; their file lies among the others and is not read as one."""
    task_file(tmp_path / "raw", "task1.json", [instance(1)])
    rewrites = {
        "task1": {"original_def": "Sum up.", "auto_rewrite_def": ["Be brief.", "Cut it.", "Be\nbrief. "]},
        "b": ["B."],
    }
    text = json.dumps(rewrites).encode()
    name = "more.json.gz" if compressed else "more.json"
    (tmp_path / "raw" / name).write_bytes(gzip.compress(text) if compressed else text)
    documents, ledger = ingested(tmp_path, None, meds(rewrites=name))
    assert (len(documents), len(ledger)) == (1, 0)
    found = pl.read_parquet(tmp_path / "documents/rewrites.parquet")
    assert found.rows() == [("b", ["B."]), ("task1", ["Be brief.", "Cut it."])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "no object of tasks"),
        ("{", "cannot be read"),
        ('{"a": "one"}', "a: no list of texts"),
        ('{"a": ["one", " "]}', "a: no list of texts"),
        ('{"a": {"original_def": "one"}}', "a: no list of texts"),
    ],
)
def test_a_file_of_rewrites_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """In a line that names the file and the task."""
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(BuildError, match=f"r.json: {message}"):
        rewrites_frame(tmp_path / "r.json")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"collection": "clinical", "turns": None, "text": "{input}"},
            "`format` meds is for the collection instructions",
        ),
        ({"turns": [{"role": "user", "text": "{Definition}"}, TURNS[1]]}, "has no field 'Definition'"),
        ({"format": "jsonl", "rewrites": "a.json"}, "`rewrites` is for format meds"),
    ],
)
def test_a_section_that_cannot_be_meant_is_refused(changed: dict[str, Any], message: str) -> None:
    """The definition comes by itself, before the turns."""
    with pytest.raises(ValueError, match=message):
        section(**{"collection": "instructions", "format": "meds", "text": None, "turns": TURNS} | changed)
    assert "rewrites" not in meds().model_dump()


@pytest.mark.skipif(not (SHARED / "eval/meds").is_dir(), reason="needs the definitions, in OSLER_SHARED_DATA")
def test_the_published_rewrites_are_read() -> None:
    """122 tasks; of 18,996 wordings 17,725 are different within their task."""
    found = rewrites_frame(SHARED / "eval/meds/task_definitions.json.gz")
    assert (len(found), int(found["rewrites"].list.len().sum())) == (122, 17725)
    assert found["task"].str.contains(r"^task\d+$").all()
