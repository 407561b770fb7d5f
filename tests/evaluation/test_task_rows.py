"""Rows of tasks: none vanishes, none that is learned shows what is tested, and equal seeds divide them alike."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from osler.build.files import file_hash, folder_hash
from osler.build.section import BuildError
from osler.evaluation.learned_rows import Guard
from osler.evaluation.task_rows import check_labels, divided, generator, shortened, with_splits, without_copies
from osler.tokens.shards import PackedRows
from tests.support.task_sequence import WITHDRAWN, benchmark, items, project, rules, section, write_rows
from tests.support.tiny import tiny_tokenizer


def texts(**changes: Any) -> dict[str, pl.DataFrame]:
    """Rows of both tasks as `divided` takes them."""
    found = {task: items(task).with_columns(text=pl.col("source")) for task in ("herbs", "tests")}
    return found | changes


def changed(frame: pl.DataFrame, row: int, **values: str) -> pl.DataFrame:
    """A frame with other values in a row."""
    number = pl.arange(pl.len())
    return frame.with_columns(
        pl.when(number == row).then(pl.lit(value)).otherwise(pl.col(name)).alias(name) for name, value in values.items()
    )


def guard(question: str = "what treats an itch", listed: dict[str, str] | None = None) -> Guard:
    """A question of a benchmark, and what is withdrawn."""
    columns = ["item_id", "benchmark", "group", "question", "context", "options", "answer"]
    return Guard(benchmark(question).select(columns), *rules(), listed or {})


def test_every_row_is_used_or_in_the_ledger(tmp_path: Path) -> None:
    """Of each task once: learned, tested, or left out with a reason; a row that was cut is in the ledger besides."""
    project(tmp_path)
    write_rows(tmp_path, source_limit_tokens=20, labels={"tests": {"film": "a film", "swab": "the swab"}})
    used = pl.read_parquet(tmp_path / "rows/rows.parquet")
    ledger = pl.read_parquet(tmp_path / "ledger.parquet")
    left = ledger.filter(pl.col("reason") != "cut")
    for task in ("herbs", "tests"):
        there = sorted(items(task)["item_id"])
        own = [*used.filter(pl.col("task") == task)["item_id"], *left.filter(pl.col("source") == task)["doc_id"]]
        assert sorted(own) == there
    reasons = Counter(left["reason"])
    assert reasons["other_label"] == 20
    assert reasons["not_drawn"] > 0
    assert dict(left.select("doc_id", "reason").iter_rows())[WITHDRAWN] == "withdrawn"
    assert set(used.filter(pl.col("task") == "tests")["label"]) == {"a film", "the swab"}
    assert set(ledger.filter(pl.col("reason") == "cut")["doc_id"]) <= set(used["item_id"])
    assert (ledger["reason"] == "cut").any()


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    """Twice; another seed divides them otherwise."""
    hashes = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        project(tmp_path / name)
        write_rows(tmp_path / name, rows_seed=seed)
        hashes.append((folder_hash(tmp_path / name / "rows"), file_hash(tmp_path / name / "ledger.parquet")))
    assert hashes[0] == hashes[1]
    assert hashes[0][0] != hashes[2][0]


def test_the_label_alone_is_learned(tmp_path: Path) -> None:
    """Its tokens and the end mark; each row of the packing is of one task, with as many conversations as there are rows."""
    project(tmp_path)
    write_rows(tmp_path)
    tokenizer = tiny_tokenizer()
    used = pl.read_parquet(tmp_path / "rows/rows.parquet").filter(pl.col("split") == "train")
    for task, words in (("herbs", {"tea", "wrap"}), ("tests", {"film", "swab", "trace"})):
        packed = PackedRows.open(tmp_path / "rows" / task)
        assert len(packed.lengths_S) == len(used.filter(pl.col("task") == task))
        assert packed.labels_RT is not None
        for row in range(len(packed.row_ends_R)):
            learned = np.asarray(packed.tokens_RT[row])[np.asarray(packed.labels_RT[row], bool)]
            said = [each.strip() for each in tokenizer.decode(learned).split(tokenizer.eos_token) if each.strip()]
            assert set(said) <= words


def test_what_is_tested_or_asked_is_not_learned() -> None:
    """Not with other words around it, not under another task, not of a benchmark; nor of a tested patient, nor withdrawn."""
    plain = divided(texts(), section(), guard())
    split = dict(plain.rows.select("item_id", "split").iter_rows())
    tested = next(item for item, where in split.items() if where == "test" and item.startswith("herbs"))
    learned = [item for item, where in split.items() if where == "train" and item.startswith("tests")]
    text = dict(items("herbs").select("item_id", "source").iter_rows())[tested]
    asked = "Which of these herbs is it that an old man of sixty was given once a day"
    said = {
        learned[0]: (f"as was said: {text} film", "contaminated", tested),
        learned[1]: (f"{asked.upper()}?", "asked", "quiz/1"),
        learned[2]: (f"he read: {asked}; fern tea", "contaminated", "quiz/1"),
    }
    frame = texts()["tests"]
    for item, (words, _, _) in said.items():
        frame = changed(frame, int(item.partition("/")[2]), text=words)
    found = divided(texts(tests=frame), section(), guard(asked, {learned[3]: "on the list"}))
    for item, (_, reason, of) in said.items():
        assert found.dropped["tests"][item][0] == reason
        assert found.dropped["tests"][item][1].startswith(f"{of} ")
    assert found.dropped["tests"][learned[3]] == ("withdrawn", "listed as on the list")
    assert not set(found.rows.filter(pl.col("split") == "train")["item_id"]) & {*said, learned[3]}
    marked = {
        task: frame.with_columns(split=pl.when(pl.arange(pl.len()) < 12).then(pl.lit("test")).otherwise(pl.lit("dev")))
        for task, frame in texts().items()
    }
    marked["herbs"] = changed(marked["herbs"], 40, group="herbs/3")
    left = divided(marked, section(), guard()).dropped["herbs"]
    assert left["herbs/40"] == ("asked_group", "of the group of herbs/3")


def test_copies_count_once_and_not_at_all_under_two_labels() -> None:
    """The first of equal ones stays; case and punctuation are no difference."""
    frame = pl.DataFrame(
        {"item_id": ["a", "b", "c", "d", "e"], "text": ["Fern tea.", "fern TEA", "film", "Film!", "swab"]}
    ).with_columns(label=pl.Series(["x", "x", "x", "y", "x"]))
    dropped: dict[str, tuple[str, str]] = {}
    assert without_copies(frame, dropped)["item_id"].to_list() == ["a", "e"]
    assert dropped == {"b": ("duplicate", "a"), "c": ("two_labels", "x and y"), "d": ("two_labels", "x and y")}


def test_a_group_is_on_one_side_and_a_given_split_is_kept() -> None:
    """Whole groups are drawn where no row is of the split dev; else dev rows are learned, and no draw is made."""
    grouped = items("herbs").with_columns(group=pl.col("item_id").str.slice(0, 7))
    sides = with_splits(grouped, 0.6, 1).group_by("group").agg(pl.col("split").n_unique())
    assert sides["split"].to_list() == [1] * len(sides)
    given = grouped.with_columns(split=pl.when(pl.arange(pl.len()) < 5).then(pl.lit("dev")).otherwise(pl.lit("test")))
    assert with_splits(given, 0.6, 1)["split"].to_list() == ["train"] * 5 + ["test"] * 55


def test_draws_of_a_task_do_not_depend_on_other_tasks() -> None:
    """The name and the seed alone decide."""
    assert generator(1, "split", "a").random() == generator(1, "split", "a").random()
    assert (
        len({generator(seed, *names).random() for seed, names in ((1, ("a", "b")), (2, ("a", "b")), (1, ("ab",)))}) == 3
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"a": ["tea", "wrap"], "b": ["tea", "x"]}, "'tea' of b begins as 'tea' of a"),
        ({"a": ["history", "history of surgery"], "b": ["x", "y"]}, "begins as 'history' of a"),
    ],
)
def test_labels_that_cannot_be_told_apart_are_refused(labels: dict[str, list[str]], message: str) -> None:
    """One that begins with another is never likelier than it."""
    with pytest.raises(BuildError, match=message):
        check_labels(labels)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": {"tests": {"film": "a", "nothing": "b"}}}, "tests.parquet: 1 labels to learn"),
        ({"train_rows": 2}, "raise continual's train_rows"),
    ],
)
def test_too_few_rows_are_refused(changes: dict[str, Any], message: str) -> None:
    """The line names the task's file."""
    with pytest.raises(BuildError, match=message):
        divided(texts(), section(**changes), guard())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ["herbs"]}, "at least 2"),
        ({"tasks": ["herbs", "herbs"]}, "named twice"),
        ({"labels": {"others": {"a": "b", "c": "d"}}}, "which is none of tasks"),
        ({"labels": {"herbs": {"a": "b", "c": "b"}}}, "fewer than two different words"),
        ({"shrinkage": 0.0}, "greater than 0"),
    ],
)
def test_what_a_section_cannot_be(changes: dict[str, Any], message: str) -> None:
    """Each is refused before anything runs."""
    with pytest.raises(ValueError, match=message):
        section(**changes)


def test_an_adapter_depends_on_its_method_alone() -> None:
    """Not on how a task is inferred or how many rows are drawn: rows are told by their hash."""
    assert section(infer_by="head", train_rows=9).method_settings() == {
        "method": "lora", "rank": 4, "alpha": 8.0, "target_modules": "all-linear"
    }  # fmt: skip


def test_a_text_is_cut_behind_a_token() -> None:
    """A longer one keeps the beginning that its first tokens spell, a shorter one all."""
    tokenizer = tiny_tokenizer()
    text = "The fern tea of Vadosis is given twice a day"
    (cut, tokens), (whole, _) = shortened(tokenizer, [text, "fern"], 5)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokens == len(ids)
    assert cut == tokenizer.decode(ids[:5]).strip()
    assert whole == "fern"
    assert shortened(tokenizer, [], 5) == []
