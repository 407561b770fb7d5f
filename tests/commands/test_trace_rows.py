"""`osler trace` of items, exercises and rows of tasks in sequence, on what the stages themselves write here."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from osler.build.artifacts import Artifacts
from osler.build.files import write_json
from osler.build.pipeline import Declaration
from osler.build.section import BuildError
from osler.commands.trace_rows import mentioned, row_steps
from osler.tokens.shards import content_hash
from osler.training import task_adapters, trained_model
from osler.training.launch import LAUNCH
from stages import continual
from tests.evaluation.test_exercises import ROWS, Build, talk
from tests.support.task_sequence import LABELS, project, write_rows
from tests.support.tiny import NUMERICS, launch

OUTS = {
    "tasks@sums": ("data/items/tasks/sums.parquet",),
    "exercises@few": ("data/exercises/few", "data/ledger/exercises/few.parquet"),
    "exercises@more": ("data/exercises/more", "data/ledger/exercises/more.parquet"),
    "adapter@few": ("models/adapter-few",),
}
PARAMS: dict[str, Any] = {
    "benchmark": {}, "task": {"sums": {"path": "talks.jsonl"}}, "continual": {},
    "exercise": {"few": {"task": "sums", "path": "talks.jsonl"}, "more": {"task": "sums", "path": "more.jsonl"}},
}  # fmt: skip


def told(artifacts: Artifacts, params: dict[str, Any], item_id: str) -> list[str]:
    return [f"{what}: {text}" for what, text in row_steps(artifacts, params, item_id)]


def provenance(packed: Path, rows: int, read: int, seed: int) -> dict[str, Any]:
    """Of a training that began with the first of `rows` rows and read `read`."""
    counts = {"rows_before": {"instructions": 0}, "rows_read": {"instructions": read}}
    return {"inputs": {"instructions": content_hash(packed)}, "settings": {"seed": seed}} | counts | {
        "rows_there": {"instructions": rows}
    }  # fmt: skip


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    """An exercise of three of a task's own rows a seed, one of another file, and an adapter of two seeds."""
    build = Build(tmp_path)
    build.made(few=3)
    asked = build.items["item_id"][0].partition("/")[2]
    own = next(row for row in ROWS if row["id"] == asked)
    build.file("more.jsonl", [own | {"id": "copy"}, own | {"id": "p1", "talk": talk(901)}])
    build.made("more", raw="more.jsonl")
    for name in ("few", "more"):
        for old, new in (
            (name, f"data/exercises/{name}"),
            (f"{name}.parquet", f"data/ledger/exercises/{name}.parquet"),
        ):
            (tmp_path / new).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / old).rename(tmp_path / new)
    (tmp_path / "items").rename(tmp_path / "data/items")
    for seed, place in ((1, "models/adapter-few"), (2, "models/adapter-few/seeds/2")):
        draw = tmp_path / f"data/exercises/few/seeds/{seed}"
        rows = len(pl.read_parquet(draw / "documents.parquet"))
        write_json(tmp_path / place / "provenance.json", provenance(draw, rows, seed * rows, seed))
    return Artifacts(tmp_path, {name: Declaration(name, (), paths, {}) for name, paths in OUTS.items()})


def drawn(artifacts: Artifacts, seed: int) -> list[str]:
    folder = artifacts.root / f"data/exercises/few/seeds/{seed}"
    return pl.read_parquet(folder / "documents.parquet")["doc_id"].to_list()


def test_a_row_is_followed_to_the_draws_and_adapters_of_its_seeds(artifacts: Artifacts) -> None:
    """By its id in the exercise and in the task alike: one was drawn by one seed, another by neither."""
    once = next(iter(sorted(set(drawn(artifacts, 2)) - set(drawn(artifacts, 1)))))
    lines = told(artifacts, PARAMS, once)
    assert lines[0].startswith("packed in: data/exercises/few/seeds/2, row ")
    assert lines[1:2] == ["read by: adapter-few/seeds/2, 2 times"]
    assert lines[2].startswith(f"not drawn: {once}, seed 1: 3 of ")
    assert len(lines) == 3
    assert told(artifacts, PARAMS, once.replace("few/", "sums/")) == lines
    ledger = pl.read_parquet(artifacts.path("exercises@few", "ledger"))
    twice = ledger.filter(pl.col("reason") == "not_drawn")["doc_id"].value_counts().filter(pl.col("count") == 2)
    lines = told(artifacts, PARAMS, twice["doc_id"].sort()[0])
    assert [line.partition(",")[2].partition(":")[0] for line in lines] == [" seed 1", " seed 2"]


def test_an_item_is_told_with_the_rows_left_out_for_it(artifacts: Artifacts) -> None:
    """It is asked, is no exercise, and its copy in the file of another exercise is none either."""
    item = pl.read_parquet(artifacts.path("tasks@sums", "items"))["item_id"][0]
    own = item.partition("/")[2]
    assert told(artifacts, PARAMS, item) == [
        "item in: data/items/tasks/sums.parquet, split test",
        f"no exercise: few/{own}, other_split: split test",
        f"left out for it: more/copy of exercises, asked: {item} word for word",
    ]
    assert told(artifacts, PARAMS, "more/copy") == [f"no exercise: more/copy, asked: {item} word for word"]
    with pytest.raises(BuildError, match="few/nobody: no item, no row of an exercise and none of tasks in sequence"):
        told(artifacts, PARAMS, "few/nobody")


def test_an_id_is_named_by_a_whole_word_only() -> None:
    """sums/p1 is not sums/p12, nor is it part of another id."""
    for detail, expected in {
        "sums/p1 word for word": True, "of the group of sums/p1": True, "0.713 of sums/p1": True, "sums/p1": True,
        "sums/p1, by ngram": True, "sums/p12 word for word": False, "old-sums/p1": False, "": False,
    }.items():  # fmt: skip
        assert mentioned(detail, "sums/p1") == expected


def test_what_is_not_built_is_said_and_the_rest_told(artifacts: Artifacts) -> None:
    """An exercise that no stage has made yet."""
    shutil.rmtree(artifacts.root / "data/exercises/more")
    item = pl.read_parquet(artifacts.path("tasks@sums", "items"))["item_id"][0]
    lines = told(artifacts, PARAMS, item)
    assert lines[0] == "item in: data/items/tasks/sums.parquet, split test"
    assert lines[-1] == "exercise more: data/exercises/more: not there; run `dvc repro exercises@more` or `dvc pull`"


def test_a_row_of_tasks_in_sequence_is_followed_to_its_adapters(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trains_here: None,  # noqa: ARG001
) -> None:
    """Learned rows to packed rows and all adapters that read them; tested ones to their split; others to the reason."""
    project(tmp_path)
    for module in (trained_model, task_adapters):
        monkeypatch.setattr(module, "SCRATCH", tmp_path / "scratch")
    monkeypatch.setenv(LAUNCH, launch().model_dump_json())
    (tmp_path / "data/task_rows").mkdir(parents=True)
    asked = write_rows(tmp_path, train_rows=10, source_limit_tokens=16)
    out = tmp_path / "models/continual-x"
    paths = (tmp_path / "models/base", tmp_path / "rows", tmp_path / "template.jinja", out, tmp_path / "losses.csv")
    continual.main(*paths, "x", asked, NUMERICS, (1,))
    (tmp_path / "rows").rename(tmp_path / "data/task_rows/x")
    (tmp_path / "items").rename(tmp_path / "data/items")
    (tmp_path / "data/ledger/task_rows").mkdir(parents=True)
    (tmp_path / "ledger.parquet").rename(tmp_path / "data/ledger/task_rows/x.parquet")
    outs = {
        "task_rows@x": ("data/ledger/task_rows/x.parquet", "data/task_rows/x"),
        "continual@x": ("models/continual-x",),
    }
    artifacts = Artifacts(tmp_path, {name: Declaration(name, (), paths, {}) for name, paths in outs.items()})
    params = {"benchmark": {}, "exercise": {}, "task": dict.fromkeys(LABELS), "continual": {"x": {"tasks": [*LABELS]}}}
    rows = pl.read_parquet(tmp_path / "data/task_rows/x/rows.parquet").filter(task="tests")
    learned, tested = (rows.filter(split=split)["item_id"][0] for split in ("train", "test"))
    lines = told(artifacts, params, learned)
    assert lines[0].startswith("cut: of continual x, cut: 16 of ")
    assert lines[1].startswith("task row in: data/task_rows/x/rows.parquet, train, label ")
    assert lines[2].startswith("packed in: data/task_rows/x/tests, row ")
    places = ("at_once", "in_turn/tests", "tasks/tests")
    assert lines[3:] == [f"read by: continual-x/{place}, 1 times" for place in places]
    assert [line.partition(",")[2][:5] for line in told(artifacts, params, tested) if "task row" in line] == [" test"]
    ledger = pl.read_parquet(tmp_path / "data/ledger/task_rows/x.parquet").filter(source="tests", reason="not_drawn")
    assert told(artifacts, params, ledger["doc_id"][0]) == [
        f"no task row: of continual x, not_drawn: {ledger['detail'][0]}"
    ]
