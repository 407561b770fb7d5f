"""Generative tasks from file to metric: every row is asked or an error, and every number can be checked by hand."""

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from osler.build.section import BuildError
from osler.build.shard_store import content_key
from osler.commands.references import refuse_learned_tasks
from osler.corpus.overlaps import task_items
from osler.evaluation.task_predictions import GENERATIONS, asked, task_predictions
from osler.evaluation.task_texts import written
from osler.evaluation.tasks import TASKS, Task
from osler.inference.interface import Prompt, Sampling, Scored, Written
from osler.ingest.source import Source
from stages import tasks


def task(**changes: Any) -> Task:
    """A section of texts in jsonl, with changes."""
    values: dict[str, Any] = {
        "path": "x",
        "format": "jsonl",
        "split": None,
        "id": "id",
        "group": None,
        "split_field": None,
    }
    values |= {"source": "{talk}", "target": "{note}", "instruction": "Sum up.", "limit_tokens": 9, "limit_items": None}
    return Task.model_validate(values | {"metric": "text", "labels": None, "separator": None} | changes)


ROWS = [
    {"id": f"p{n}", "talk": f"talk {n}", "note": f"note {n}", "who": f"w{n // 2}", "part": "test"} for n in range(4)
]


def made(
    folder: Path, rows: Sequence[dict[str, Any]], section: Task, source: dict[str, Source] | None = None
) -> pl.DataFrame:
    """What the stage writes for rows of a jsonl file."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks.main(raw=folder / "rows.jsonl", source=source or {}, task=section, name="sums", items=folder / "sums.parquet")
    return pl.read_parquet(folder / "sums.parquet")


def test_rows_in_are_rows_out(tmp_path: Path) -> None:
    """One row each, in order, with the task's name before ids and groups."""
    found = made(tmp_path, ROWS, task(group="who"))
    assert dict(found.schema) == dict(TASKS)
    assert found.row(3) == ("sums/p3", "sums", "sums/w1", "test", "Sum up.", "talk 3", "note 3")
    assert len(found) == len(ROWS)


def test_a_task_is_read_from_csv_in_gzip_and_from_several_files(tmp_path: Path) -> None:
    """What ingest can read a task can, and other files of the folder are left alone; without `id` the row is the id."""
    folder = tmp_path / "talks"
    folder.mkdir()
    for name in ("a", "b"):
        text = 'talk,note\n"one, two",1\nthree,2\n'
        (folder / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "README.md").write_text("about")
    section = task(format="csv", id=None, metric="label", labels=["1", "2"])
    tasks.main(raw=folder, source={}, task=section, name="sums", items=tmp_path / "sums.parquet")
    found = pl.read_parquet(tmp_path / "sums.parquet")
    assert found["source"].to_list() == ["one, two", "three"] * 2
    assert found["item_id"][2] == "sums/b.csv.gz#1"


@pytest.mark.parametrize(
    ("row", "section", "message"),
    [
        ({"note": None}, {}, "no value for 'note'; correct the row"),
        ({"talk": ["a"]}, {}, "'talk' is a list, not a text"),
        ({"id": "p0"}, {}, "id 'p0' is also that of .*rows.jsonl#1"),
        ({"talk": " "}, {}, "the source is empty"),
        ({"note": "."}, {}, "the target is empty"),
        (
            {"note": "mild"},
            {"metric": "label", "labels": ["note 0", "severe"]},
            "the target 'mild' is none of `labels`",
        ),
        ({"part": "trial"}, {"split_field": "part"}, "split 'trial' is none of test, dev, train"),
        ({"who": None}, {"group": "who"}, "no value for 'who'"),
    ],
)
def test_a_bad_row_is_an_error_with_file_and_row(
    tmp_path: Path, row: dict[str, Any], section: dict[str, Any], message: str
) -> None:
    """A task that silently lost rows would still give a number."""
    with pytest.raises(BuildError, match=f"rows.jsonl#2: {message}"):
        made(tmp_path, [ROWS[0], ROWS[1] | row], task(**section))


PHI = {"action": "redact", "detector": "rules", "required": False, "minimum_recall": 0.5}


def screening(path: str) -> dict[str, Source]:
    """A source of notes of patients."""
    section = {
        "collection": "clinical",
        "path": path,
        "format": "jsonl",
        "text": "{talk}",
        "license": "own",
        "phi": PHI,
    }
    return {"notes": Source.model_validate(section)}


@pytest.mark.parametrize("own", ["id", None])
def test_of_a_screened_file_nobody_is_named(tmp_path: Path, own: str | None) -> None:
    """Ids and groups are names of 16 digits, the same for the same; splits and texts are as without."""
    rows = [row | {"id": f"Amelia-Brandt-{n}", "who": f"MRN 480000{n // 2}"} for n, row in enumerate(ROWS)]
    section = task(path="rows.jsonl", id=own, group="who", training_fraction=0.3, dev_fraction=0.3)
    plain = made(tmp_path, rows, section)
    found = made(tmp_path, rows, section, screening("rows.jsonl"))
    same = ["split", "source", "target", "instruction"]
    assert found.select(same).equals(plain.select(same))
    ending = r"" if own else r"\.jsonl#[1-4]"
    assert found["item_id"].str.contains(rf"^sums/[0-9a-f]{{16}}{ending}$").all()
    assert found["group"].str.contains(r"^sums/[0-9a-f]{16}$").all()
    assert found["item_id"].n_unique() == len(plain)
    assert found["group"].rle_id().to_list() == plain["group"].rle_id().to_list()
    assert made(tmp_path, rows, section, screening("elsewhere")).equals(plain)


@pytest.mark.parametrize(
    ("row", "section", "message"),
    [
        ({"id": "p0"}, {}, "id is also that of .*rows.jsonl#1; correct the row"),
        (
            {"note": "Mr. Brandt"},
            {"metric": "label", "labels": ["note 0", "note 1"]},
            "the target is none of `labels`; correct",
        ),
    ],
)
def test_no_error_shows_words_of_a_screened_file(
    tmp_path: Path, row: dict[str, Any], section: dict[str, Any], message: str
) -> None:
    """File and row say where."""
    with pytest.raises(BuildError, match=f"rows.jsonl#2: {message}") as caught:
        made(tmp_path, [ROWS[0], ROWS[1] | row], task(**section), screening("."))
    assert "Brandt" not in str(caught.value)


def test_a_task_without_test_rows_or_entities_is_an_error(tmp_path: Path) -> None:
    """It would have no number, or one that no model could get."""
    with pytest.raises(BuildError, match="task sums: no row of the split test"):
        made(tmp_path, [row | {"part": "dev"} for row in ROWS], task(split_field="part"))
    with pytest.raises(BuildError, match="task sums: no target names an entity"):
        made(tmp_path, [row | {"note": ";"} for row in ROWS], task(metric="entities", separator=";"))
    (tmp_path / "rows.jsonl").write_text("{\n")
    with pytest.raises(BuildError, match="rows.jsonl#1: no JSON"):
        tasks.main(raw=tmp_path / "rows.jsonl", source={}, task=task(), name="sums", items=tmp_path / "sums.parquet")


@pytest.mark.parametrize(
    "changes",
    [
        {"metric": "entities"},
        {"separator": ";"},
        {"labels": ["a", "b"]},
        {"metric": "label", "labels": ["Gout", "gout."]},
        {"split": "validation"},
        {"target": "no field"},
        {"format": "txt"},
    ],
)
def test_a_section_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    """A separator is for entities and labels are for labels; two that read the same are one."""
    with pytest.raises(ValidationError):
        task(**changes)


class Writer:
    """Answers each prompt with the last word of it, and counts how often it is asked."""

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []

    def texts(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Written]:
        assert sampling.temperature == 0
        assert len(seeds) == len(prompts)
        self.prompts += prompts
        return [Written(f" {asked.turns[0][1].split()[-1]}\n", 2, 7, False) for asked in prompts]

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Scored]:
        raise NotImplementedError

    def embeddings(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise NotImplementedError


class Memory:
    """A store that remembers what was computed."""

    def __init__(self) -> None:
        self.frames: dict[str, pl.DataFrame] = {}

    def __call__(self, compute: Callable[[], pl.DataFrame], **parts: object) -> tuple[pl.DataFrame, bool]:
        key = content_key(**parts)
        computed = key not in self.frames
        if computed:
            self.frames[key] = compute()
        return self.frames[key], computed


def test_the_model_is_asked_for_each_row_once(tmp_path: Path) -> None:
    """Instruction, blank line, source in one user's turn; no blank line without an instruction."""
    model = Writer()
    found = written(model, made(tmp_path, ROWS, task()), 9)
    assert model.prompts[1] == Prompt((("user", "Sum up.\n\ntalk 1"),), ())
    assert found.rows() == [(str(n), 7, 2, False) for n in range(4)]
    written(model, made(tmp_path, ROWS, task(instruction="")), 9)
    assert model.prompts[-1].turns[0][1] == "talk 3"


def test_what_recomputes_texts(tmp_path: Path) -> None:
    """Another limit or instruction does, another target or metric does not; the rows do not depend on the store."""
    model, memory = Writer(), Memory()
    section = task(metric="label")

    def run(section: Task, rows: Sequence[dict[str, Any]] = ROWS) -> tuple[pl.DataFrame, list[tuple[int, bool]]]:
        made(tmp_path, rows, section)
        return task_predictions(tmp_path, {"sums": section}, "cpt", 1, memory, lambda: model)

    first, done = run(section)
    assert done == [(4, True)]
    assert dict(first.schema) == dict(GENERATIONS)
    again, done = run(section)
    assert done == [(4, False)]
    assert again.equals(first)
    assert run(task(metric="entities", separator=";"))[1] == [(4, False)]
    assert run(section, [row | {"note": "other"} for row in ROWS])[1] == [(4, False)]
    assert run(task(metric="label", limit_tokens=8))[1] == [(4, True)]
    assert run(task(metric="label", instruction="Else."))[1] == [(4, True)]
    assert len(model.prompts) == 12
    nothing, done = task_predictions(tmp_path, {}, "cpt", 1, memory, lambda: model)
    assert (nothing.height, dict(nothing.schema), done) == (0, dict(GENERATIONS), [])


def test_thoughts_are_cut_off_before_any_metric(tmp_path: Path) -> None:
    """A label that was only thought of is none, and one after a thought is whole; the store keeps what was written."""

    class Thinker(Writer):
        def texts(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Written]:
            plain = super().texts(prompts, sampling, seeds)
            return [replace(one, text=f"<think>sum 9</think>\n{one.text}") for one in plain[:-1]] + [
                replace(plain[-1], text="<think>sum 3")
            ]

    memory = Memory()
    for section in (task(metric="label"), task(), task(metric="entities", separator=";")):
        made(tmp_path, ROWS, section)
        rows, _ = task_predictions(tmp_path, {"sums": section}, "cpt", 1, memory, Thinker)
        assert rows["text"].to_list() == ["0", "1", "2", ""]
        assert rows["length_ratio"].to_list()[-1] == 0
    assert next(iter(memory.frames.values()))["text"][3] == "<think>sum 3"


def test_a_larger_limit_keeps_the_items_of_a_smaller_one(tmp_path: Path) -> None:
    """Other seeds leave other items, and a dev row is never asked."""
    rows = made(tmp_path, [*ROWS, ROWS[0] | {"id": "p9", "part": "dev"}], task(split_field="part"))
    chosen = [set(asked(rows, task(limit_items=limit), 1)["item_id"]) for limit in (1, 2, 3, None)]
    assert [len(each) for each in chosen] == [1, 2, 3, 4]
    assert {asked(rows, task(limit_items=1), seed)["item_id"][0] for seed in range(40)} == chosen[3]
    assert chosen[0] < chosen[1] < chosen[2] < chosen[3] == {f"sums/p{n}" for n in range(4)}


def test_a_document_with_a_source_or_a_target_overlaps(tmp_path: Path) -> None:
    """For `overlap` a task's source is a question and its target context and answer."""
    made(tmp_path, ROWS, task())
    found = task_items(pl.read_parquet(tmp_path / "sums.parquet")).row(0, named=True)
    assert (found["question"], found["context"], found["options"]) == ("talk 0", "note 0", ["note 0"])
    assert (found["benchmark"], found["answer"]) == ("sums", 0)


@pytest.mark.parametrize(
    ("learned", "refused"),
    [("talks/train.csv", False), ("talks", True), ("talks/test.csv", True), ("./talks/../talks/test.csv", True)],
)
def test_a_source_that_reads_a_tasks_file_is_refused(learned: str, refused: bool) -> None:
    """Its targets would be learned; the training file beside it may be."""
    params = {"source": {"talks": {"path": learned}}, "task": {"sums": {"path": "talks/test.csv"}}}
    if refused:
        with pytest.raises(BuildError, match="source.talks.path: .* and task.sums.path"):
            refuse_learned_tasks(params)
    else:
        refuse_learned_tasks(params)
