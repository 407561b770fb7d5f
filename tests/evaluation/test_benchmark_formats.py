"""Benchmark formats, and the stage that reads them."""

import gzip
import json
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest

from osler.build.section import BuildError
from osler.evaluation.benchmarks import Benchmark, read_items
from stages import benchmarks

Format = Literal[
    "jsonl", "medqa", "medqa_5options", "medmcqa", "pubmedqa", "mmlu", "mmlu_pro", "medxpertqa", "headqa"
]  # fmt: skip
ITEM: dict[str, Any] = {"id": "q1", "question": "Which?", "options": ["this", "that"], "answer": 1}


def items(raw: Path, item_format: Format) -> pl.DataFrame:
    """What the stage writes."""
    benchmark = Benchmark(path="x", format=item_format)
    benchmarks.main(raw=raw, benchmark=benchmark, name="quiz", items=raw.parent / "items.parquet")
    return pl.read_parquet(raw.parent / "items.parquet")


def jsonl(folder: Path, rows: list[dict[str, Any]], name: str = "items.jsonl") -> Path:
    """A file of rows."""
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / name


def test_jsonl_items_and_their_defaults(tmp_path: Path) -> None:
    """Without group, context and split an item is its own group, has no context and is tested on."""
    full = {**ITEM, "id": 2, "context": "Given.", "group": "fact", "split": "dev", "extra": "ignored"}
    assert items(jsonl(tmp_path, [ITEM, full]), "jsonl").rows() == [
        ("quiz/q1", "quiz", "quiz/q1", "test", "Which?", "", ["this", "that"], 1),
        ("quiz/2", "quiz", "quiz/fact", "dev", "Which?", "Given.", ["this", "that"], 1),
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, "id 'q1' is also that of .*items.jsonl#1"),
        ({"id": None}, "'id' is None"),
        ({"id": "q2", "question": " "}, "the question is empty"),
        ({"id": "q2", "question": None}, "'question' is None"),
        ({"id": "q2", "options": ["only"], "answer": 0}, "1 options, at least 2"),
        ({"id": "q2", "options": ["a", ""]}, "an option is empty"),
        ({"id": "q2", "options": [{"text": "a"}, "b"]}, "option 0 is {'text': 'a'}, not a text"),
        ({"id": "q2", "options": ["a", None]}, "option 1 is None"),
        ({"id": "q2", "options": ["a", True]}, "option 1 is True"),
        ({"id": " "}, "'id' is ' '"),
        ({"id": 1.5}, "'id' is 1.5"),
        ({"id": "q2", "group": ["a"]}, r"'group' is \['a'\]"),
        ({"id": "q2", "split": ["dev"]}, r"'split' is \['dev'\]"),
        ({"id": "q2", "options": {"A": "a", "B": "b"}}, "'options' is .*not a list"),
        ({"id": "q2", "answer": 1.0}, "'answer' is 1.0"),
        ({"id": "q2", "answer": 2}, "answer 2 is none of 2 options"),
        ({"id": "q2", "answer": -1}, "answer -1 is none of 2 options"),
        ({"id": "q2", "answer": "b"}, "'answer' is 'b'"),
        ({"id": "q2", "answer": True}, "'answer' is True"),
        ({"id": "q2", "split": "train"}, "split 'train' is neither"),
    ],
)
def test_a_bad_item_is_an_error_with_file_and_row(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    """Unlike a document, an item cannot be left out silently: the score would be another benchmark's."""
    with pytest.raises(BuildError, match=f"items.jsonl#2: {message}"):
        items(jsonl(tmp_path, [ITEM, ITEM | changed]), "jsonl")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"id": "a", "id": "b"}', "the key 'id' stands twice"),
        ('{"id": NaN}', "no JSON"),
        ('{"id": "\\ud83d"}', "no JSON"),
    ],
)
def test_a_row_that_could_be_read_in_two_ways_is_an_error(tmp_path: Path, row: str, message: str) -> None:
    """Two values of one key, NaN, and half a surrogate pair."""
    (tmp_path / "items.jsonl").write_text(row)
    with pytest.raises(BuildError, match=f"items.jsonl#1: {message}"):
        items(tmp_path / "items.jsonl", "jsonl")


def test_numbers_of_items_keep_their_digits(tmp_path: Path) -> None:
    """Ids of 23 digits are two items; an option that is a number reads as the file has it."""
    rows = [f'{{"id": {10**22 + n}, "question": "Q?", "options": [1.50, 2], "answer": 0}}\n' for n in (1, 2)]
    (tmp_path / "items.jsonl").write_text("".join(rows))
    found = items(tmp_path / "items.jsonl", "jsonl")
    assert found["item_id"].to_list() == [f"quiz/{10**22 + n}" for n in (1, 2)]
    assert found["options"].to_list() == [["1.50", "2"]] * 2


def test_unreadable_rows_and_empty_files_are_errors(tmp_path: Path) -> None:
    """A broken line names itself; no line at all names the benchmark."""
    (tmp_path / "items.jsonl").write_text("{\n")
    with pytest.raises(BuildError, match=r"items\.jsonl#1: no JSON"):
        items(tmp_path / "items.jsonl", "jsonl")
    with pytest.raises(BuildError, match="benchmark quiz: no items"):
        items(jsonl(tmp_path, []), "jsonl")


MEDMCQA: dict[str, Any] = {"question": "Q?", "opa": "a", "opb": "b", "opc": "c", "opd": "d", "exp": None}


def medmcqa(folder: Path, answers: list[int], name: str = "dev.jsonl") -> Path:
    """A file with these answers, and its folder."""
    folder.mkdir(exist_ok=True)
    jsonl(folder, [MEDMCQA | {"id": f"{name}-{row}", "cop": answer} for row, answer in enumerate(answers)], name)
    return folder


@pytest.mark.parametrize(("answers", "places"), [([1, 4, 2], [0, 3, 1]), ([0, 3, 1], [0, 3, 1]), ([3, 0], [3, 0])])
def test_medmcqa_counts_options_from_one_or_from_zero(tmp_path: Path, answers: list[int], places: list[int]) -> None:
    """The release has 1 to 4, the Hub's copy 0 to 3: an answer 0 or 4 tells."""
    found = items(medmcqa(tmp_path / "m", answers), "medmcqa")
    assert found["answer"].to_list() == places
    assert found["options"][0].to_list() == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("answers", "has"), [([0, 4], "both 0 and 4"), ([1, 2, 3], "neither 0 nor 4"), ([2], "neither 0 nor 4")]
)
def test_medmcqa_answers_that_could_count_from_either_are_refused(tmp_path: Path, answers: list[int], has: str) -> None:
    """A guess would shift every answer by one."""
    with pytest.raises(BuildError, match=rf"dev\.jsonl: `cop` has {has}"):
        items(medmcqa(tmp_path / "m", answers), "medmcqa")


def test_files_of_a_folder_are_of_the_split_that_their_names_tell(tmp_path: Path) -> None:
    """Of jsonl train and dev are development, unless a row says its split; MedMCQA is tested on dev."""
    for name in ("train", "quiz_dev", "test", "more"):
        jsonl(tmp_path, [ITEM | {"id": name}, ITEM | {"id": f"{name}2", "split": "test"}], f"{name}.jsonl")
    found = dict(items(tmp_path, "jsonl").select("item_id", "split").rows())
    assert {name.removeprefix("quiz/") for name, split in found.items() if split == "dev"} == {"train", "quiz_dev"}
    assert len(found) == 8
    folder = medmcqa(tmp_path / "m", [1, 4], "train.jsonl")
    found = dict(items(medmcqa(folder, [0, 3], "dev.jsonl"), "medmcqa").select("item_id", "split").rows())
    assert [split for name, split in sorted(found.items())] == ["test", "test", "dev", "dev"]


def test_a_folder_without_test_items_is_refused(tmp_path: Path) -> None:
    """Nothing would be measured."""
    for name in ("train", "val"):
        jsonl(tmp_path, [ITEM | {"id": name}], f"{name}.jsonl")
    with pytest.raises(BuildError, match="no item to test on"):
        items(tmp_path, "jsonl")


def pubmedqa(folder: Path, test: dict[str, str]) -> Path:
    """Two labeled questions, of which `test` are tested on."""
    rows = {
        pmid: {"QUESTION": f"Q{pmid}?", "CONTEXTS": ["One.", "Two."], "final_decision": decision}
        for pmid, decision in (("11", "yes"), ("22", "maybe"))
    }
    (folder / "pqa").mkdir()
    (folder / "pqa" / "ori_pqal.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode()))
    (folder / "pqa" / "test_ground_truth.json").write_text(json.dumps(test))
    return folder / "pqa"


def test_pubmedqa_tests_on_the_official_half(tmp_path: Path) -> None:
    """Ids in the ground truth are test items, the others development; the abstract is the context."""
    found = items(pubmedqa(tmp_path, {"22": "maybe"}), "pubmedqa")
    assert found.select("item_id", "split", "answer").rows() == [("quiz/11", "dev", 0), ("quiz/22", "test", 2)]
    assert found["context"].to_list() == ["One.\nTwo."] * 2
    assert found["options"].to_list() == [["yes", "no", "maybe"]] * 2


@pytest.mark.parametrize(
    ("test", "message"),
    [({"33": "yes"}, "1 ids are not in"), ({"22": "no"}, "22: 'no', but ori_pqal.json.gz has 'maybe'")],
)
def test_pubmedqa_files_that_disagree_are_an_error(tmp_path: Path, test: dict[str, str], message: str) -> None:
    """The two files must be of one release."""
    with pytest.raises(BuildError, match=message):
        items(pubmedqa(tmp_path, test), "pubmedqa")


def mmlu(folder: Path, test_row: str) -> Path:
    """One subject with a row in each of its three files."""
    for split, row in (("dev", "D?,a,b,c,d,A"), ("val", '"V, really?",a,b,c,d,D'), ("test", test_row)):
        (folder / "mmlu" / split).mkdir(parents=True)
        (folder / "mmlu" / split / f"anatomy_{split}.csv").write_text(row + "\n")
    return folder / "mmlu"


def test_mmlu_dev_and_val_are_development(tmp_path: Path) -> None:
    """Three files without header, three items; rows count from 0 and test ids are MIRAGE's."""
    found = items(mmlu(tmp_path, "T?,a,b,c,d,C"), "mmlu")
    assert found.select("item_id", "split", "question", "answer").rows() == [
        ("quiz/anatomy-dev-0", "dev", "D?", 0),
        ("quiz/anatomy-val-0", "dev", "V, really?", 3),
        ("quiz/anatomy-0", "test", "T?", 2),
    ]


def test_a_byte_order_mark_is_no_part_of_a_question(tmp_path: Path) -> None:
    """Of MMLU's csv and of jsonl; white space around a letter is none of it."""
    folder = mmlu(tmp_path, "\ufeffT?,a,b,c,d, C ")
    assert items(folder, "mmlu").select("question", "answer").rows()[-1] == ("T?", 2)
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(ITEM).encode())
    assert items(tmp_path / "a.jsonl", "jsonl")["question"].to_list() == ["Which?"]


def test_bytes_that_are_no_utf8_name_their_line(tmp_path: Path) -> None:
    """No traceback."""
    folder = mmlu(tmp_path, "T?,a,b,c,d,C")
    (folder / "test" / "anatomy_test.csv").write_bytes(b"T?,a,b,c,d,C\nT\xff?,a,b,c,d,C\n")
    with pytest.raises(BuildError, match=r"anatomy_test\.csv#2: no UTF-8 at byte 1"):
        items(folder, "mmlu")


@pytest.mark.parametrize("row", ["T?,a,b,c,d,CD", "T?,a,b,c,d,c", "T?,a,b,c,C", "T?,a,b,c,d,E", "T?,a,b,c,d,"])
def test_a_bad_mmlu_row_is_an_error(tmp_path: Path, row: str) -> None:
    """A column too few shifts the letter, and E is no option of four."""
    with pytest.raises(BuildError, match=r"anatomy_test\.csv#1: not question, 4 options and a letter"):
        items(mmlu(tmp_path, row), "mmlu")


MEDQA: dict[str, Any] = {
    "question": "Which?",
    "answer": "this",
    "options": {"A": "that", "B": "this", "C": "both", "D": "none"},
    "meta_info": "step1",
    "answer_idx": "B",
    "metamap_phrases": ["which"],
}


def test_medqa_splits_by_file(tmp_path: Path) -> None:
    """Train and dev are development; ids are split and row, since the release has none."""
    (tmp_path / "medqa").mkdir()
    for split in ("train", "dev", "test"):
        jsonl(tmp_path / "medqa", [MEDQA, MEDQA], f"phrases_no_exclude_{split}.jsonl")
    found = items(tmp_path / "medqa", "medqa")
    assert found.filter(pl.col("split") == "test").select("item_id", "options", "answer").rows() == [
        ("quiz/test-0", ["that", "this", "both", "none"], 1),
        ("quiz/test-1", ["that", "this", "both", "none"], 1),
    ]
    assert found.filter(pl.col("split") == "dev")["item_id"].to_list() == [
        *("quiz/dev-0", "quiz/dev-1", "quiz/train-0", "quiz/train-1"),
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"answer_idx": "A"}, "'answer_idx' is 'A', but 'answer' is 'this'"),
        ({"answer_idx": "E"}, "'answer_idx' is 'E'"),
        ({"options": MEDQA["options"] | {"E": "more"}}, "'options' has A, B, C, D, E, not A to D"),
        ({"options": ["this"]}, "'options' is .*not a dict"),
        ({"question": None}, "'question' is None"),
    ],
)
def test_a_bad_medqa_row_is_an_error(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    """The letter and the text of the answer must agree, and five options are another benchmark."""
    with pytest.raises(BuildError, match=f"phrases_no_exclude_test.jsonl#1: {message}"):
        items(jsonl(tmp_path, [MEDQA | changed], "phrases_no_exclude_test.jsonl"), "medqa")


def test_a_medqa_file_of_no_split_is_an_error(tmp_path: Path) -> None:
    """Its rows could be any."""
    with pytest.raises(BuildError, match="items.jsonl: its name ends in none of _train, _dev and _test"):
        items(jsonl(tmp_path, [MEDQA]), "medqa")


def test_medqa_with_five_options_is_a_format_of_its_own(tmp_path: Path) -> None:
    """Its files are called by their split alone; four options are another release."""
    (tmp_path / "us").mkdir()
    five = MEDQA | {"options": MEDQA["options"] | {"E": "more"}}
    for split in ("train", "test"):
        jsonl(tmp_path / "us", [five], f"{split}.jsonl")
    found = items(tmp_path / "us", "medqa_5options").sort("item_id")
    assert found.select("item_id", "split", "answer").rows() == [("quiz/test-0", "test", 1), ("quiz/train-0", "dev", 1)]
    assert found["options"].to_list() == [["that", "this", "both", "none", "more"]] * 2
    with pytest.raises(BuildError, match="has A, B, C, D, not A to E; take the release with five"):
        items(jsonl(tmp_path, [MEDQA], "phrases_no_exclude_test.jsonl"), "medqa_5options")


MMLU_PRO: dict[str, Any] = {
    "question_id": 7, "question": "Which?", "options": ["this", "that", "N/A", "both", "N/A"], "answer": "D",
    "answer_index": 3, "category": "health", "cot_content": "", "src": "x",
}  # fmt: skip
MEDXPERT: dict[str, Any] = {
    "id": "Text-3", "question": "Which?\nAnswer Choices: (A) this (B) that (C) both", "label": "C",
    "options": {"A": "this", "B": "that", "C": "both"}, "body_system": "Skeletal", "medical_task": "Diagnosis",
}  # fmt: skip
HEADQA: dict[str, Any] = {
    "name": "Cuaderno_2013_1_B", "qid": 5, "qtext": "Which?", "ra": 2, "category": "biology", "year": "2013",
    "answers": [{"aid": 1, "atext": "this"}, {"aid": 2, "atext": "that"}],
}  # fmt: skip
WIDE: list[tuple[Format, dict[str, Any], tuple[Any, ...]]] = [
    ("mmlu_pro", MMLU_PRO, ("quiz/health-7", ["this", "that", "both"], 2)),
    ("medxpertqa", MEDXPERT, ("quiz/skeletal-Text-3", ["this", "that", "both"], 2)),
    ("headqa", HEADQA, ("quiz/biology-Cuaderno_2013_1_B-5", ["this", "that"], 1)),
]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize(("form", "row", "expected"), WIDE)
def test_benchmarks_of_many_options(
    tmp_path: Path, form: Format, row: dict[str, Any], expected: tuple[Any, ...], kind: str
) -> None:
    """Options that fill up or stand twice are none; files tell the split by their names, in both kinds of files."""
    (tmp_path / "all").mkdir()
    for split in ("test", "validation"):
        own = row | ({"question_id": 8} if split == "validation" else {})
        own |= {"id": f"Text-{split}"} if form == "medxpertqa" and split == "validation" else {}
        own |= {"qid": 6} if form == "headqa" and split == "validation" else {}
        place = tmp_path / "all" / f"{split}-00000-of-00001.{kind}"
        if kind == "jsonl":
            place.write_text(json.dumps(own) + "\n")
        else:
            pl.DataFrame([own]).write_parquet(place)
    found = items(tmp_path / "all", form)
    assert found["split"].sort().to_list() == ["dev", "test"]
    tested = found.filter(split="test")
    assert tested.select("item_id", "options", "answer").rows() == [expected]
    assert tested["question"].to_list() == ["Which?"]


@pytest.mark.parametrize(
    ("form", "row", "message"),
    [
        ("mmlu_pro", MMLU_PRO | {"answer": "A"}, "'answer' is 'A', and 'answer_index' is 3"),
        ("mmlu_pro", MMLU_PRO | {"answer_index": 9}, "'answer' is 'D', and 'answer_index' is 9"),
        ("mmlu_pro", MMLU_PRO | {"options": ["a", 5, "b", "c"]}, "an option is 5, not a text"),
        ("medxpertqa", MEDXPERT | {"label": "J"}, "'options' has A, B, C, and 'label' is 'J'"),
        ("medxpertqa", MEDXPERT | {"options": {"A": "this", "C": "both"}}, "'options' has A, C"),
        ("headqa", HEADQA | {"ra": 0}, r"'answers' has \[1, 2\], and 'ra' is 0"),
        ("headqa", HEADQA | {"answers": [{"aid": 2, "atext": "that"}]}, r"'answers' has \[2\]"),
        ("headqa", HEADQA | {"qtext": None}, "'qtext' is None"),
    ],
)
def test_a_bad_row_of_many_options_is_an_error(tmp_path: Path, form: Format, row: dict[str, Any], message: str) -> None:
    """With file and row."""
    with pytest.raises(BuildError, match=f"items.jsonl#1: {message}"):
        items(jsonl(tmp_path, [row]), form)


def test_only_the_asked_categories_are_read(tmp_path: Path) -> None:
    """MMLU-Pro's health without its law; other formats have no such key."""
    law = MMLU_PRO | {"question_id": 8, "category": "law"}
    path = jsonl(tmp_path, [law, MMLU_PRO])
    for asked, expected in ((["health"], ["health-7"]), (None, ["law-8", "health-7"])):
        section = Benchmark(path="x", format="mmlu_pro", categories=asked)
        assert [one.id for one in read_items(path, section)] == expected
    with pytest.raises(ValueError, match="categories: medqa has none; take the key out"):
        Benchmark(path="x", format="medqa", categories=["health"])
