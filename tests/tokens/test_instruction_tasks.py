"""How a source of tasks is divided, and in which wordings its conversations are asked."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osler.build.section import BuildError
from osler.report.corpus_sections import instruction_blocks
from osler.report.page import markdown
from osler.tokens.instruction_tasks import (
    TaskShares,
    apportioned,
    drawn_of_tasks,
    instructed,
    most_conversations,
    task_counts,
    task_shares,
)
from osler.tokens.shards import PackedRows
from stages import instruct
from stages.instruct import Instruct
from tests.ingest.test_ingest import ingested
from tests.ingest.test_task_files import instance, meds, task_file
from tests.support.tiny import TEMPLATE, tiny_tokenizer

SIZES = st.dictionaries(st.sampled_from([f"task{n}" for n in range(9)]), st.integers(1, 10**7), min_size=1)
KEY = "instruct.tasks.notes"


@given(SIZES, st.floats(0.2, 50), st.none() | st.integers(1, 10**7))
def test_shares_are_the_closed_form(rows: dict[str, int], temperature: float, cap: int | None) -> None:
    """min(n, K) ** (1 / T) over their sum, and 1 together."""
    rates = {task: min(n, cap or n) ** (1 / temperature) for task, n in rows.items()}
    found = task_shares(rows, temperature, cap)
    assert found == pytest.approx({task: rate / sum(rates.values()) for task, rate in rates.items()}, rel=1e-9)
    assert sum(found.values()) == pytest.approx(1)


def test_shares_by_hand() -> None:
    """At 1 in proportion, at 2 by roots, alike when it is large; no power is too large for a number."""
    rows = {"b": 900, "a": 100}
    assert task_shares(rows, 1.0) == pytest.approx({"a": 0.1, "b": 0.9})
    assert task_shares(rows, 2.0) == pytest.approx({"a": 0.25, "b": 0.75})
    assert task_shares(rows, 1.0, cap=300) == pytest.approx({"a": 0.25, "b": 0.75})
    assert task_shares(rows, 1e9) == pytest.approx({"a": 0.5, "b": 0.5})
    assert task_shares(rows, 1e-300) == {"a": 0.0, "b": 1.0}


@given(SIZES, st.floats(0.5, 20), st.integers(0, 10**6))
def test_counts_are_less_than_one_from_their_part(rows: dict[str, int], temperature: float, total: int) -> None:
    """And are the total together, whatever the shares."""
    shares = task_shares(rows, temperature)
    counts = apportioned(shares, total)
    assert sum(counts.values()) == total
    assert all(abs(counts[task] - total * share) < 1 + 1e-6 for task, share in shares.items())


@given(SIZES, st.floats(0.5, 20))
def test_as_many_as_there_are_fit_and_one_more_does_not(rows: dict[str, int], temperature: float) -> None:
    """Where no number is asked for: no task is read beyond its rows, and at temperature 1 every row is."""
    shares = task_shares(rows, temperature)
    most = most_conversations(rows, shares)
    assert all(count <= rows[task] for task, count in apportioned(shares, most).items())
    assert any((most + 1) * share > rows[task] * (1 - 1e-9) for task, share in shares.items())
    assert apportioned(task_shares(rows, 1.0), most_conversations(rows, task_shares(rows, 1.0))) == rows


ROWS = {"a": 100, "b": 900, "c": 50}


@pytest.mark.parametrize(
    ("section", "wanted", "expected"),
    [
        ({"temperature": 1.0}, None, ROWS),
        ({"temperature": 1.0}, 21, {"a": 2, "b": 18, "c": 1}),
        ({"temperature": 1e9}, None, {"a": 50, "b": 50, "c": 50}),
        ({"temperature": 1e9, "maximum_epochs": 3}, 300, {"a": 100, "b": 100, "c": 100}),
        ({"temperature": 1.0, "cap_conversations": 100}, None, {"a": 100, "b": 100, "c": 50}),
        ({"counts": {"a": 7, "b": "whole"}}, None, {"a": 7, "b": 900, "c": 0}),
        ({"counts": {"a": "whole"}, "temperature": 2.0}, None, {"a": 100, "b": 212, "c": 50}),
        ({"counts": {"c": 0}, "temperature": 2.0}, 40, {"a": 10, "b": 30, "c": 0}),
        ({"counts": {"c": 100}, "maximum_epochs": 2}, None, {"a": 0, "b": 0, "c": 100}),
    ],
)
def test_counts_by_hand(section: dict[str, Any], wanted: int | None, expected: dict[str, int]) -> None:
    """Named tasks first, the others by temperature of what is left; 212 is 50 * 900 ** 0.5 / 50 ** 0.5, rounded down."""
    assert task_counts(ROWS, TaskShares(**section), wanted, KEY) == expected


@pytest.mark.parametrize(
    ("section", "wanted", "message"),
    [
        ({"counts": {"d": 1}}, None, "counts.d: 1, and no conversation of it is kept, but of a, b, c"),
        ({"counts": {"c": 51}}, None, "counts.c: 51, and 50 are kept; lower it, or raise maximum_epochs"),
        ({"counts": {"a": 9}}, 10, "counts: 9 conversations, and its share of instruct.conversations is 10"),
        ({"counts": {"a": 9}, "temperature": 1.0}, 8, "counts: 9 conversations, above its share .*, 8"),
        ({"temperature": 9e8}, 300, "temperature: 9e.08 asks for 100 conversations of c, and 50 are kept; at most 150"),
    ],
)
def test_what_cannot_be_had_is_refused(section: dict[str, Any], wanted: int | None, message: str) -> None:
    """A line names the key, the value and what there is."""
    with pytest.raises(BuildError, match=rf"^params.yaml: {KEY}.{message}"):
        task_counts(ROWS, TaskShares(**section), wanted, KEY)


@pytest.mark.parametrize(
    "wrong", [{}, {"temperature": 0.0}, {"temperature": -1.0}, {"counts": {}}, {"counts": {"a": -1}}]
)
def test_a_section_that_divides_nothing_is_refused(wrong: dict[str, Any]) -> None:
    """Neither key, no temperature above 0, no count."""
    with pytest.raises(ValueError, match=r"neither|greater than|at least|whole"):
        TaskShares(**wrong)


def frame(tasks: dict[str, int]) -> pl.DataFrame:
    """Conversations of tasks, as `with_tasks` gives them."""
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rows = [(f"s/{task}#{n}", turns, task, f"Do {task}.") for task, count in tasks.items() for n in range(count)]
    return pl.DataFrame(rows, schema=["doc_id", "turns", "task", "definition"], orient="row")


REWRITES = {"a": ["Do it.", "Do  a.", "Act."], "b": ["Be."]}


def test_draws_and_wordings_do_not_depend_on_the_order_of_rows() -> None:
    """Nor on what other tasks there are; another seed draws others."""
    rows = frame({"a": 40, "b": 30})
    drawn = instructed(drawn_of_tasks(rows, {"a": 9, "b": 4}, 1), REWRITES, 1)
    columns = ["doc_id", "wording", "turns"]
    shuffled = instructed(
        drawn_of_tasks(rows.sample(fraction=1.0, shuffle=True, seed=3), {"a": 9, "b": 4}, 1), REWRITES, 1
    )
    assert shuffled.select(columns).rows() == drawn.select(columns).rows()
    alone = instructed(drawn_of_tasks(rows.filter(task="a"), {"a": 9}, 1), REWRITES, 1)
    assert alone.select(columns).rows() == drawn.filter(task="a").select(columns).rows()
    both = (instructed(each, REWRITES, 1).select("doc_id", "wording").sort("doc_id") for each in (rows, rows.reverse()))
    assert next(both).equals(next(both))
    other = instructed(drawn_of_tasks(rows, {"a": 9, "b": 4}, 2), REWRITES, 2)
    assert set(other["doc_id"]) != set(drawn["doc_id"])
    assert drawn.group_by("task").len().sort("task").rows() == [("a", 9), ("b", 4)]


def test_every_wording_is_as_likely_and_is_the_one_that_is_said() -> None:
    """The file's own and two others of three, since one is the file's own but for a blank; its number is on record."""
    found = instructed(frame({"a": 3000}), REWRITES, 5)
    counts = Counter(found["wording"])
    assert set(counts) == {0, 1, 3}
    assert all(900 < count < 1100 for count in counts.values())
    texts = ["Do a.", *REWRITES["a"]]
    for wording, turns in found.select("wording", "turns").iter_rows():
        assert [turn["content"] for turn in turns] == [f"{texts[wording]}\n\nq", "a"]
    assert set(instructed(frame({"c": 5}), REWRITES, 5)["wording"]) == {0}


def test_a_conversation_that_is_read_again_comes_in_another_epoch() -> None:
    """Each once before any twice, in wordings of their own."""
    rows = frame({"a": 30})
    drawn = drawn_of_tasks(rows, {"a": 70}, 1)
    assert sorted(Counter(drawn["doc_id"]).values()) == [2] * 20 + [3] * 10
    assert drawn.group_by("epoch").len().sort("epoch").rows() == [(0, 30), (1, 30), (2, 10)]
    said = instructed(drawn, REWRITES, 1)
    several = said.group_by("doc_id").agg(pl.col("wording").n_unique())
    assert several["wording"].max() > 1  # type: ignore[operator]


def build(folder: Path, tasks: dict[str, Any] | None, **changed: Any) -> tuple[dict[str, Any], pl.DataFrame]:
    """Files of two tasks through `ingest` and `instruct`, in rows of 64.

    What the metrics say of the source, and the rows' documents.
    """
    raw = folder / "raw"
    if not raw.exists():
        task_file(raw, "task1_tea.json", [instance(n, ["fern tea"]) for n in range(40)], "What treats it?")
        task_file(raw, "task2_wrap.json", [instance(n, "honey wrap") for n in range(10)], "Name the wrap.")
        (raw / "more.json").write_text(json.dumps({"task1": {"auto_rewrite_def": ["Treat it.", "Give a tea."]}}))
        documents, _ = ingested(folder, None, meds(rewrites="more.json"))
        (folder / "keep").mkdir()
        documents.select("doc_id").write_parquet(folder / "keep/notes.parquet")
        (folder / "documents").rename(folder / "notes")
        (folder / "all").mkdir()
        (folder / "notes").rename(folder / "all/notes")
        tiny_tokenizer().save_pretrained(folder / "tokenizer")
        (folder / "template").write_text(TEMPLATE)
    values = {
        "weights": {"notes": 1.0},
        "conversations": None,
        "seed": 1,
        "overlong": "drop",
        "benchmark_training_splits": {},
    }
    section = Instruct.model_validate_json(json.dumps(values | changed | {"tasks": tasks}))
    out = folder / f"out{len(list(folder.glob('out*')))}"
    paths = {name: folder / name for name in ("keep", "template", "tokenizer")} | {"documents": folder / "all"}
    files = {
        "ledger": out / "ledger.parquet",
        "conversations": out / "conversations.json",
        "instructions": out / "instructions",
    }
    instruct.main(**paths, **files, instruct=section, sequence_length_tokens=64)
    (found,) = json.loads(files["conversations"].read_text())["sources"]
    return found, pl.read_parquet(files["instructions"] / "documents.parquet")


def test_from_files_of_tasks_to_packed_rows(tmp_path: Path) -> None:
    """At temperature 2, 24 of 50: 2 to 1 where there are 4 to 1; each row says its definition, and the answer alone is learned."""
    found, documents = build(tmp_path, {"notes": {"temperature": 2.0}}, conversations=24)
    assert [(own["task"], own["kept"], own["conversations"]) for own in found["tasks"]] == [
        ("task1", 40, 16),
        ("task2", 10, 8),
    ]
    assert found["tasks"][0]["share"] == found["tasks"][0]["share_asked"] == 0.666667
    assert sum(own["tokens"] for own in found["tasks"]) == found["tokens"]
    assert sum(own["learned_tokens"] for own in found["tasks"]) == found["learned_tokens"]
    ledger = pl.read_parquet(tmp_path / "out0/ledger.parquet")
    assert len(ledger) + len(documents) == 50
    assert set(ledger["detail"]) == {"16 of 40 of task1 were", "8 of 10 of task2 were"}
    texts = {
        ("task1", 0): "What treats it?",
        ("task1", 1): "Treat it.",
        ("task1", 2): "Give a tea.",
        ("task2", 0): "Name the wrap.",
    }
    answers = {"task1": "fern tea", "task2": "honey wrap"}
    assert set(documents.select("task", "wording").rows()) == set(texts)
    assert found["tasks"][0]["wordings"] == 3
    assert found["tasks"][0]["own_wording"] == documents.filter(task="task1", wording=0).height
    tokenizer, rows = tiny_tokenizer(), PackedRows.open(tmp_path / "out0/instructions")
    assert rows.labels_RT is not None
    order, segment = np.load(tmp_path / "out0/instructions/documents.npy"), 0
    for row in range(len(rows.row_ends_R)):
        start = 0
        for length in rows.segment_lengths(row):
            doc_id, task, wording = documents.row(int(order[segment]))
            ids, learned = (every[row][start : start + length] for every in (rows.tokens_RT, rows.labels_RT))
            text = tokenizer.decode(ids.tolist())
            number = int(doc_id.rpartition("#")[2]) - 1
            assert f"Question: {texts[task, wording]}\n\nitch {number}\nAnswer: {answers[task]}" in text
            assert tokenizer.decode(ids[learned > 0].tolist()).strip() == f"{answers[task]}</s>"
            start, segment = start + length, segment + 1
    assert segment == 24
    shown = markdown(instruction_blocks({"sources": [found]}))
    assert "| notes | `task1` | 40 | 16 | 66.7 % | 66.7 % |" in shown
    assert instruction_blocks({"sources": [{"source": "a"}]}) == []


def test_without_shares_a_source_of_tasks_is_drawn_as_any_other(tmp_path: Path) -> None:
    """Its definitions are said all the same; shares by temperature draw other rows, and both the same twice."""
    plain, documents = build(tmp_path, None, conversations=20)
    assert sum(own["conversations"] for own in plain["tasks"]) == 20
    assert set(documents["task"]) == {"task1", "task2"}
    again, same = build(tmp_path, None, conversations=20)
    assert (again, same.rows()) == (plain, documents.rows())
    other, _ = build(tmp_path, {"notes": {"temperature": 1e6}})
    assert [own["conversations"] for own in other["tasks"]] == [10, 10]
    with pytest.raises(BuildError, match=r"instruct.tasks: other: not in instruct.weights"):
        build(tmp_path, {"other": {"temperature": 1.0}})


def test_the_key_is_absent_unless_set() -> None:
    """So that params and artifacts of builds without it stay as they are."""
    values = {
        "weights": {"a": 1.0},
        "conversations": None,
        "seed": 1,
        "overlong": "drop",
        "benchmark_training_splits": {},
    }
    assert "tasks" not in Instruct(**values).model_dump()  # type: ignore[arg-type]
    assert set(TaskShares(temperature=1.0).model_dump()) == {"temperature"}
