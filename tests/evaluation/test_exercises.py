"""Exercises: rows of a training split are asked as the evaluation asks, and none of them is asked there."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from osler.build.artifacts import Artifacts
from osler.build.pipeline import ROOT, Declaration, read_params
from osler.build.section import BuildError
from osler.build.validation import validated
from osler.commands.references import check_exercises, refuse_asked_exercises
from osler.commands.show_rows import shown
from osler.corpus.overlaps import Overlap
from osler.corpus.selection import Licenses, Select
from osler.evaluation.exercises import Exercise
from osler.evaluation.task_texts import written
from osler.evaluation.tasks import Task
from osler.inference.interface import Prompt, Written
from osler.inference.prompt_tokens import prompt_rows
from osler.tokens.shards import PackedRows
from osler.training.adapters import rows_of
from stages import exercises, tasks
from tests.support.tiny import TEMPLATE
from tests.tokens.test_instruct import word_tokenizer

WORDS = ["moon", "itch", "tea", "fern", "honey", "wrap", "what", "treats", "and", "once"]
SEEDS = (1, 2)


def task(**changes: Any) -> Task:
    """Talks and notes in jsonl."""
    values = {"path": "talks.jsonl", "format": "jsonl", "id": "id", "source": "{talk}", "target": "{note}"}
    return Task.model_validate(
        values | {"instruction": "be brief", "limit_tokens": 4, "metric": "text", "training_fraction": 0.5} | changes
    )


def talk(number: int) -> str:
    """Nine words; no two numbers below 10,000 have the same."""
    return " ".join(WORDS[int(digit)] for digit in f"{number:04d}{number * 7919 % 10000:04d}0")


ROWS = [{"id": f"p{n}", "talk": talk(n), "note": WORDS[n % 10], "who": f"w{n // 4}", "part": "test"} for n in range(40)]


class Build:
    """The artifacts of a task in a folder, and the stage run on them."""

    def __init__(self, folder: Path, rows: Sequence[dict[str, Any]] = ROWS, section: Task | None = None) -> None:
        self.folder, self.task = folder, section or task()
        self.file("talks.jsonl", rows)
        (folder / "items/tasks").mkdir(parents=True)
        tasks.main(folder / "talks.jsonl", {}, self.task, "sums", folder / "items/tasks/sums.parquet")
        self.items = pl.read_parquet(folder / "items/tasks/sums.parquet")
        benchmark = {"item_id": ["b/1"], "benchmark": "b", "group": "b/1", "split": "test", "question": [talk(777)]}
        options = {"context": "", "options": [["tea", "fern"]], "answer": 0}
        pl.DataFrame(benchmark | options, schema_overrides={"answer": pl.Int64}).write_parquet(
            folder / "items/b.parquet"
        )
        (folder / "withdrawn.txt").write_text("p5\n")
        (folder / "template.jinja").write_text(TEMPLATE)
        word_tokenizer().save_pretrained(folder / "tokenizer")

    def file(self, name: str, rows: Sequence[dict[str, Any]]) -> Path:
        path = self.folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    def made(self, name: str = "few", raw: str = "talks.jsonl", width: int = 32, **asked: Any) -> pl.DataFrame:
        """The ledger of the stage."""
        params, out = read_params(ROOT / "params.yaml"), self.folder / name
        exercises.main(
            raw=(self.folder / raw, self.folder / "withdrawn.txt"),
            items=self.folder / "items",
            template=self.folder / "template.jinja",
            tokenizer=self.folder / "tokenizer",
            instructions=out,
            ledger=self.folder / f"{name}.parquet",
            exercise=Exercise.model_validate({"task": "sums", "path": raw, "license": "CC0-1.0"} | asked),
            task=self.task,
            licenses=validated("licenses", params["licenses"], Licenses),
            overlap=validated("overlap", params["overlap"], Overlap),
            select=validated("select", params["select"], Select),
            sequence_length_tokens=width,
            seeds=SEEDS,
            name=name,
        )
        return pl.read_parquet(self.folder / f"{name}.parquet")

    def ids(self, seed: int, name: str = "few") -> list[str]:
        """Row ids that a seed drew."""
        drawn = pl.read_parquet(rows_of(self.folder / name, seed) / "documents.parquet")
        return [doc_id.removeprefix(f"{name}/") for doc_id in drawn["doc_id"]]


def lost(ledger: pl.DataFrame, seed: int) -> list[str]:
    """Ids that `seed` did not learn, each as often as it is in the ledger."""
    own = ledger.filter((pl.col("reason") != "not_drawn") | pl.col("detail").str.starts_with(f"seed {seed}:"))
    return [doc_id.partition("/")[2] for doc_id in own["doc_id"]]


@pytest.mark.parametrize("few", [None, 3, 9])
def test_rows_in_are_rows_drawn_and_ledger(tmp_path: Path, few: int | None) -> None:
    """Under each seed every row of the file is learned or in the ledger, once, and what is asked is never learned."""
    build = Build(tmp_path)
    ledger = build.made(few=few)
    for seed in SEEDS:
        assert Counter(build.ids(seed) + lost(ledger, seed)) == Counter(row["id"] for row in ROWS)
        assert few is None or len(build.ids(seed)) == few
        assert not {f"sums/{own}" for own in build.ids(seed)} & set(build.items["item_id"])
    assert ledger.filter(reason="other_split").height == build.items.height
    listed = ledger.filter(reason="withdrawn")
    assert set(listed["doc_id"]) <= {"few/p5"}


def test_more_rows_are_the_fewer_and_others_and_seeds_draw_their_own(tmp_path: Path) -> None:
    """So that a curve over sizes is one of size alone, and an interval over seeds covers the draw."""
    build = Build(tmp_path)
    draws = {}
    for few in (2, 5, 9):
        build.made(f"few{few}", few=few)
        draws[few] = [set(build.ids(seed, f"few{few}")) for seed in SEEDS]
    for at in range(len(SEEDS)):
        assert draws[2][at] < draws[5][at] < draws[9][at]
    assert draws[5][0] != draws[5][1]


def test_a_row_is_the_prompt_of_the_evaluation_and_its_answer(tmp_path: Path) -> None:
    """Its first ids are those that a model is asked with, and what follows, the target and the end mark, is learned."""
    build = Build(tmp_path)
    build.made()
    prompts: list[Prompt] = []

    class Asked:
        def texts(self, given: Sequence[Prompt], *_: object) -> list[Written]:
            prompts.extend(given)
            return [Written("", 1, 1, False) for _ in given]

    given = [row for row in ROWS if row["id"] in build.ids(1)]
    frame = pl.DataFrame({"instruction": "be brief", "source": [row["talk"] for row in given]})
    written(Asked(), frame, 4)  # type: ignore[arg-type]
    tokenizer = word_tokenizer()
    expected = {}
    for row, prompt in zip(given, prompts, strict=True):
        ids = prompt_rows(tokenizer, [prompt], 64, 4)[0].prompt
        expected[row["id"]] = (ids, [*tokenizer(f" {row['note']}", add_special_tokens=False)["input_ids"], 2])
    folder = rows_of(tmp_path / "few", 1)
    packed, names = PackedRows.open(folder), build.ids(1)
    assert packed.labels_RT is not None
    documents = np.load(folder / "documents.npy")
    seen, segment = 0, 0
    for place in range(len(packed.row_ends_R)):
        at = 0
        for length in packed.segment_lengths(place):
            prompt_ids, answer = expected[names[documents[segment]]]
            own = slice(at, at + length)
            assert packed.tokens_RT[place][own].tolist() == prompt_ids + answer
            assert packed.labels_RT[place][own].tolist() == [0] * len(prompt_ids) + [1] * len(answer)
            at, segment, seen = at + length, segment + 1, seen + 1
    assert seen == len(given) > 5


def test_what_is_asked_in_another_file_is_not_learned(tmp_path: Path) -> None:
    """Word for word, in other case and signs, with a few words changed, of a patient who is asked, or of a benchmark."""
    long = " ".join(talk(n) for n in range(100, 104))
    rows = [*ROWS[:4], {"id": "long", "talk": long, "note": "tea", "who": "w90", "part": "test"}]
    build = Build(tmp_path, rows, task(training_fraction=None, group="who"))
    edited = long.split()
    edited[20] = "vinegar"
    others = [
        {"id": "same", "talk": talk(1), "who": "a1"},
        {"id": "signs", "talk": talk(2).upper().replace(" ", ", ") + ".", "who": "a2"},
        {"id": "near", "talk": " ".join(edited), "who": "a3"},
        {"id": "inside", "talk": f"{talk(500)} {long}", "who": "a4"},
        {"id": "patient", "talk": talk(901), "who": "w0"},
        {"id": "quiz", "talk": talk(777), "who": "a5"},
        {"id": "p5", "talk": talk(903), "who": "a6"},
        {"id": "wide", "talk": " ".join(talk(n) for n in range(200, 210)), "who": "a7"},
        {"id": "good", "talk": talk(902), "who": "a8"},
        {"id": "p1", "talk": talk(904), "who": "a9"},  # ids are each file's own
    ]
    build.file("train.jsonl", [row | {"note": "fern"} for row in others])
    ledger = build.made(raw="train.jsonl", width=64)
    reasons = {doc_id.partition("/")[2]: reason for doc_id, reason in ledger.select("doc_id", "reason").iter_rows()}
    expected = {"same": "asked", "signs": "asked", "near": "contaminated", "inside": "contaminated", "quiz": "asked"}
    assert reasons == expected | {"patient": "asked_group", "p5": "withdrawn", "wide": "too_long"}
    assert build.ids(1) == ["good", "p1"]


def test_rows_are_shown_as_they_are_learned(tmp_path: Path) -> None:
    """`osler show rows few` has the draw of the first seed, the answer and the end mark in brackets."""
    build = Build(tmp_path)
    build.made(few=2)
    outs = {
        "exercises@few": ("data/exercises/few", "data/ledger/exercises/few.parquet"),
        "tokenizer": ("models/tokenizer",),
    }
    for old, new in (
        ("few", outs["exercises@few"][0]),
        ("few.parquet", outs["exercises@few"][1]),
        ("tokenizer", "models/tokenizer"),
    ):
        (tmp_path / new).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / old).rename(tmp_path / new)
    artifacts = Artifacts(tmp_path, {name: Declaration(name, (), paths, {}) for name, paths in outs.items()})
    lines = list(shown(artifacts, "few", 9))
    row = next(row for row in ROWS if f"--- few/{row['id']}, row" in lines[0])
    assert f"⟦{row['note']} </s>⟧" in lines[1]
    assert lines[-1].endswith("2 rows are in the draw of the lowest seed, 0 are longer than a row of training")


def test_copies_and_groups_are_on_one_side(tmp_path: Path) -> None:
    """The same abstract under two labels, and all talks of a patient, are asked or learned, not both."""
    twins = [row | {"id": f"{row['id']}b", "talk": str(row["talk"]).upper() + "."} for row in ROWS]
    for group, key in ((None, "talk"), ("who", "who")):
        folder = tmp_path / key
        folder.mkdir()
        items = Build(folder, [*ROWS, *twins], task(group=group)).items
        asked = {item_id.partition("/")[2] for item_id in items["item_id"]}
        sides: dict[str, set[bool]] = {}
        for row in [*ROWS, *twins]:
            sides.setdefault(str(row[key]).lower().strip("."), set()).add(row["id"] in asked)
        assert all(len(side) == 1 for side in sides.values())
        assert {True} in sides.values()
        assert {False} in sides.values()


def test_a_split_field_says_it_too(tmp_path: Path) -> None:
    """Rows of the split train are not among the items, and the only ones that are learned."""
    rows = [row | {"part": ("test", "dev", "train", "train")[n % 4]} for n, row in enumerate(ROWS)]
    build = Build(tmp_path, rows, task(training_fraction=None, split_field="part"))
    assert set(build.items["split"]) == {"test", "dev"}
    build.made()
    assert set(build.ids(1)) == {row["id"] for row in rows if row["part"] == "train"} - {"p5"}


def test_what_cannot_be_is_told(tmp_path: Path) -> None:
    """In the words of params.yaml."""
    build = Build(tmp_path)
    with pytest.raises(BuildError, match=r"exercise.few.few: 99, and \d+ rows are left"):
        build.made(few=99)
    with pytest.raises(BuildError, match=r"exercise.few.license: secret: not in `licenses.allow`"):
        build.made(license="secret")
    (tmp_path / "whole").mkdir()
    with pytest.raises(BuildError, match=r"no row of the split train; set task.sums.training_fraction"):
        Build(tmp_path / "whole", section=task(training_fraction=None)).made()
    build.made("two", few=2)
    with pytest.raises(BuildError, match="no draw of seed 3"):
        rows_of(tmp_path / "two", 3)
    assert rows_of(tmp_path / "items", 3) == tmp_path / "items"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"adapter": {"x": {"rows": "exercises/more"}}},
            "adapter.x.rows: exercises/more: not among instructions, exercises/few",
        ),
        ({"task": {}}, "exercise.few.task: sums: there is no task"),
        ({"task": {"other": {}}}, "exercise.few.task: sums: not among other"),
        ({"task": {"sums": {"path": "./talks"}}}, "exercise.few.path: all rows of talks are asked"),
        ({"licenses": {"allow": ["MIT"]}}, "exercise.few.license: CC0-1.0: not in"),
        ({"source": {"notes": {"path": "talks", "phi": {"action": "redact"}}}}, "source.notes screens this file"),
        ({"source": {"notes": {"path": ".", "phi": {"action": "redact"}}}}, "source.notes screens this file"),
        (
            {
                "source": {"notes": {"path": "talks", "phi": {"action": "redact"}}},
                "exercise": {},
                "adapter": {},
                "continual": {"two": {"tasks": ["sums"]}},
            },
            "continual.two.tasks: sums: source.notes screens its file",
        ),
    ],
    ids=str,
)
def test_references_of_exercises(changes: dict[str, Any], message: str) -> None:
    """Before anything is built."""
    params = {
        "adapter": {"x": {"rows": "exercises/few"}},
        "exercise": {"few": {"task": "sums", "path": "talks", "license": "CC0-1.0"}},
        "licenses": {"allow": ["CC0-1.0"]},
        "source": {"notes": {"path": "notes"}},
        "task": {"sums": {"path": "talks", "training_fraction": 0.5}},
    }

    def checked(params: dict[str, Any]) -> None:
        check_exercises(params)
        refuse_asked_exercises(params)

    checked(params)
    with pytest.raises(BuildError, match=message):
        checked(params | changes)


def test_ids_of_two_files_are_not_groups(tmp_path: Path) -> None:
    """Without a field for groups each row is its own, and p0 of the training file is another row than p0 that is asked."""
    build = Build(tmp_path, ROWS[:4], task(training_fraction=None))
    build.file("train.jsonl", [row | {"talk": talk(int(row["id"][1:]) + 300)} for row in ROWS[:4]])
    assert build.made(raw="train.jsonl").is_empty()
    assert build.ids(1) == ["p0", "p1", "p2", "p3"]
