"""Benchmarks in the layouts that the Hub has them in, and the catalogue of those that can be named."""

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl
import pytest

from osler.build.section import BuildError
from osler.evaluation.benchmark_formats import items_frame
from osler.evaluation.benchmarks import Benchmark, read_items
from osler.evaluation.catalogue import CATALOGUE, listed, lookup
from osler.evaluation.tasks import Task, task_rows, tasks_frame
from osler.ingest.inspection import UNSTATED
from stages.download import Download

MEDMCQA: dict[str, Any] = {
    "id": "a", "question": "Q?", "opa": "w", "opb": "x", "opc": "y", "opd": "z", "cop": 0, "choice_type": "single",
    "exp": None, "subject_name": "Anatomy", "topic_name": None,
}  # fmt: skip
MMLU: dict[str, Any] = {"question": "Q?", "subject": "anatomy", "choices": ["w", "x", "y", "z"], "answer": 3}
PUBMEDQA: dict[str, Any] = {
    "pubid": 11, "question": "Q?", "context": {"contexts": ["One.", "Two."], "labels": ["A", "B"], "meshes": ["M"]},
    "long_answer": "So.", "final_decision": "maybe",
}  # fmt: skip
MEDQA: dict[str, Any] = {
    "meta_info": "step1", "question": "Q?", "answer_idx": "B", "answer": "x", "options": dict(zip("ABCD", "wxyz", strict=True)),
    "metamap_phrases": ["q"],
}  # fmt: skip
FIVE = MEDQA | {"options": [{"key": key, "value": value} for key, value in zip("ABCDE", "wxyzv", strict=True)]}
PRO: dict[str, Any] = {
    "question_id": 7, "question": "Q?", "options": ["w", "x"], "answer": "B", "answer_index": 1, "cot_content": "",
    "category": "health", "src": "s",
}  # fmt: skip
EXPERT: dict[str, Any] = {
    "id": "Text-3", "question": "Q?\nAnswer Choices: (A) w (B) x", "options": {"A": "w", "B": "x"}, "label": "B",
    "medical_task": "Diagnosis", "body_system": "Skeletal", "question_type": "Reasoning",
}  # fmt: skip
HEADQA: dict[str, Any] = {
    "name": "Cuaderno", "year": "2013", "category": "biology", "qid": 5, "qtext": "Q?", "ra": 2,
    "answers": [{"aid": 1, "atext": "w"}, {"aid": 2, "atext": "x"}], "image": None,
}  # fmt: skip
LAYOUTS: dict[str, dict[str, list[dict[str, Any]]]] = {
    "medqa": {f"phrases_no_exclude_{part}.jsonl": [MEDQA, MEDQA] for part in ("train", "test")},
    "medqa_5": {
        f"med_qa_en_source/{part}-00000-of-00001.parquet": [FIVE, FIVE] for part in ("train", "validation", "test")
    },
    "medmcqa": {"data/validation-00000-of-00001.parquet": [MEDMCQA, MEDMCQA | {"id": "b", "cop": 3}]},
    "pubmedqa": {"pqa_labeled/train-00000-of-00001.parquet": [PUBMEDQA, PUBMEDQA | {"pubid": 12}]},
    "mmlu_medical": {
        f"{subject}/{part}-00000-of-00001.parquet": [MMLU | {"subject": subject}] * 2
        for subject in ("anatomy", "college_biology")
        for part in ("dev", "test", "validation")
    },
    "mmlu_pro_health": {
        "data/test-00000-of-00001.parquet": [PRO, PRO | {"question_id": 8, "category": "law"}],
        "data/validation-00000-of-00001.parquet": [PRO | {"question_id": 0}],
    },
    "medxpertqa_text": {"Text/dev.jsonl": [EXPERT | {"id": "Text-0"}], "Text/test.jsonl": [EXPERT]},
    "headqa": {
        "en/test/0000.parquet": [HEADQA],
        "en/train/0000.parquet": [HEADQA | {"qid": 6}],
        "en/validation/0000.parquet": [HEADQA | {"qid": 7}],
    },
}
"""Of each benchmark of the catalogue small files, as its repository has them."""
READ: dict[str, tuple[set[str], int]] = {  # ids that are asked, how many are solved
    "medqa": ({"test-0", "test-1"}, 2),
    "medqa_5": ({"test-0", "test-1"}, 4),
    "medmcqa": ({"a", "b"}, 0),
    "pubmedqa": ({"11", "12"}, 0),
    "mmlu_medical": ({"anatomy-0", "anatomy-1", "college_biology-0", "college_biology-1"}, 8),
    "mmlu_pro_health": ({"health-7"}, 1),
    "medxpertqa_text": ({"skeletal-Text-3"}, 1),
    "headqa": ({"biology-Cuaderno-5"}, 2),
}
ANSWERS = {"medmcqa": {0, 3}, "pubmedqa": {2}, "mmlu_medical": {3}}  # the others: 1


def content(path: str, rows: list[dict[str, Any]], folder: Path) -> bytes:
    """A file of rows as jsonl or parquet, by its name."""
    if path.endswith(".jsonl"):
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    pl.DataFrame(rows).write_parquet(folder / "written.parquet")
    return (folder / "written.parquet").read_bytes()


def laid_out(layout: dict[str, list[dict[str, Any]]], folder: Path) -> Path:
    """A folder with these files."""
    for path, rows in layout.items():
        place = folder / "raw" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content(path, rows, folder))
    return folder / "raw"


def section(name: str) -> Benchmark:
    """Its section `benchmark`."""
    return Benchmark.model_validate(CATALOGUE[name].sections(name)["benchmark"])


@pytest.mark.parametrize("name", [name for name, known in CATALOGUE.items() if known.task is None])
def test_every_row_of_the_layout_on_the_hub_is_read(name: str, tmp_path: Path) -> None:
    """Each asked or solved by the names of files and folders, with the answer that the row has."""
    raw = laid_out(LAYOUTS[name], tmp_path)
    found = items_frame(read_items(raw, section(name)), "quiz")
    asked, solved = READ[name]
    assert {one.removeprefix("quiz/") for one in found.filter(split="test")["item_id"]} == asked
    assert found.filter(split="dev").height == solved
    assert set(found["answer"]) == ANSWERS.get(name, {1})
    assert set(found["question"]) == {"Q?"}
    assert all(options[:2] == ["w", "x"] or options == ["yes", "no", "maybe"] for options in found["options"].to_list())
    skipped = sum(row.get("category") == "law" for rows in LAYOUTS[name].values() for row in rows)
    assert found.height == sum(map(len, LAYOUTS[name].values())) - skipped


@pytest.mark.parametrize("name", [name for name, known in CATALOGUE.items() if known.task is None])
def test_an_entry_is_two_sections_that_are_valid(name: str) -> None:
    """Its files are those of the layout; where no commit is known it is to be stated, and none is made up."""
    known = CATALOGUE[name]
    sections = known.sections(name)
    assert all(
        any(PurePosixPath(path).match(pattern) for pattern in known.files) or name == "headqa" for path in LAYOUTS[name]
    )
    if known.revision is None:
        assert sections["download"]["revision"] == UNSTATED
        assert not known.seen
        assert lookup(known.repository, known.branch).endswith(f"/datasets/{known.repository} {known.branch}")
    else:
        assert Download.model_validate_json(json.dumps(sections["download"])).revision == known.revision
        assert known.seen
    assert section(name).path == f"../{name}"
    assert known.license
    assert re.fullmatch(r"arXiv \d{4}\.\d{5}", known.paper)
    assert name in [row[0] for row in listed()]


@pytest.mark.parametrize(
    ("name", "path", "row", "message"),
    [
        ("medmcqa", "data/validation-0.parquet", MEDMCQA | {"cop": 1}, "`cop` has neither 0 nor 4"),
        ("medqa_5", "med_qa_en_source/test-0.parquet", FIVE | {"options": FIVE["options"][:4]}, "has A, B, C, D, not A to E"),
        ("medqa_5", "med_qa_en_source/test-0.parquet", FIVE | {"answer_idx": "A"}, "'answer_idx' is 'A', but 'answer' is 'x'"),
        ("medqa_5", "med_qa_en_source/all-0.parquet", FIVE, "its name ends in none of _train, _dev and _test"),
        ("mmlu_medical", "anatomy/test-0.parquet", MMLU | {"choices": ["w", "x", "y"]}, "3 choices and answer 3, not 4 and"),
        ("mmlu_medical", "anatomy/test-0.parquet", MMLU | {"answer": 4}, "4 choices and answer 4, not 4 and 0 to 3"),
        ("mmlu_medical", "all/auxiliary_train-0.parquet", MMLU, "its name tells none of dev, validation and test"),
        ("pubmedqa", "pqa_labeled/train-0.parquet", PUBMEDQA | {"final_decision": "perhaps"}, "'perhaps', not yes, no or maybe"),
        ("pubmedqa", "pqa_labeled/train-0.parquet", PUBMEDQA | {"context": None}, "'context' is None, not a dict"),
    ],
)  # fmt: skip
def test_a_row_that_is_not_as_the_hub_has_them_is_an_error(
    name: str, path: str, row: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """With file and row; none is left out."""
    raw = laid_out({path: [row]}, tmp_path)
    with pytest.raises(BuildError, match=re.escape(message)) as caught:
        items_frame(read_items(raw, section(name)), "quiz")
    assert Path(path).name in str(caught.value)


def test_healthbench_is_a_task_that_a_judge_reads(tmp_path: Path) -> None:
    """Its rows, in the layout of its file, are conversations with criteria, and no one else scores them."""
    section = Task.model_validate(CATALOGUE["healthbench"].sections("healthbench")["task"])
    message = {"role": "user", "content": "My ear hurts."}
    rubric = {"criterion": "Asks for fever", "points": 7, "tags": ["level:example", "axis:completeness"]}
    row = {"example_tags": ["theme:hedging"], "ideal_completions_data": None, "prompt": [message], "prompt_id": "a-1"}
    path = tmp_path / "2025-05-07-06-14-12_oss_eval.jsonl"
    path.write_text(json.dumps(row | {"rubrics": [rubric], "canary": "healthbench:x"}) + "\n")
    found = tasks_frame(task_rows(path, section), section, "healthbench")
    assert found["item_id"].to_list() == ["healthbench/a-1"]
    assert found["criteria"][0][0]["points"] == 7
    assert section.metric == "rubric"


@pytest.mark.parametrize("other", ["more.jsonl", "anatomy/more.csv"])
def test_two_kinds_of_files_are_not_half_read(other: str, tmp_path: Path) -> None:
    """One of them would be left out without a word."""
    raw = laid_out({"anatomy/test-0.parquet": [MMLU]}, tmp_path)
    (raw / other).write_text("{}\n")
    with pytest.raises(BuildError, match=f"has parquet files, and {other}"):
        list(read_items(raw, section("mmlu_medical")))


def test_mmlu_has_the_ids_that_its_csv_files_give(tmp_path: Path) -> None:
    """In parquet as in csv, row for row, so that predictions on either compare."""
    rows = {
        split: [MMLU | {"question": f"{split} {n}?", "answer": n} for n in (2, 0)] for split in ("dev", "val", "test")
    }
    names = {"dev": "dev", "val": "validation", "test": "test"}
    parquet = laid_out({f"anatomy/{names[split]}-0.parquet": own for split, own in rows.items()}, tmp_path)
    csv = tmp_path / "csv"
    for split, own in rows.items():
        (csv / split).mkdir(parents=True)
        lines = [f"{row['question']},w,x,y,z,{'ABCD'[row['answer']]}\n" for row in own]
        (csv / split / f"anatomy_{split}.csv").write_text("".join(lines))
    first, second = (items_frame(read_items(raw, section("mmlu_medical")), "quiz") for raw in (parquet, csv))
    assert first.equals(second)


def test_a_folder_tells_the_split_of_a_file_that_does_not(tmp_path: Path) -> None:
    """`train/0000.parquet` is of train, and a name that tells is believed before its folder's."""
    own = {"id": "1", "question": "Q?", "options": ["w", "x"], "answer": 0}
    raw = laid_out({f"{place}.jsonl": [own | {"id": place}] for place in ("train/a", "test/b", "train/test")}, tmp_path)
    found = {one.id: one.split for one in read_items(raw, Benchmark(path="x", format="jsonl"))}
    assert found == {"train/a": "dev", "test/b": "test", "train/test": "test"}
