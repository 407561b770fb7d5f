"""Which files of a benchmark are read."""

import json
from pathlib import Path

import pytest

from osler.build.section import BuildError
from osler.evaluation.benchmarks import Benchmark, read_items


def test_of_a_benchmark_folder_only_files_of_its_format_are_read(tmp_path: Path) -> None:
    """A note beside the items is no item; a link out of the folder is an error, as a bad item is."""
    (tmp_path / "quiz").mkdir()
    row = {"id": "a", "question": "Why?", "options": ["x", "y"], "answer": 0}
    (tmp_path / "quiz/a.jsonl").write_text(json.dumps(row))
    (tmp_path / "quiz/README.md").write_text("About the quiz")
    assert len(list(read_items(tmp_path / "quiz", Benchmark(path="quiz", format="jsonl")))) == 1
    (tmp_path / "quiz/b.jsonl").symlink_to("/etc/passwd")
    with pytest.raises(BuildError, match="quiz/b.jsonl: a link that leads out .*; take it out of the folder"):
        list(read_items(tmp_path / "quiz", Benchmark(path="quiz", format="jsonl")))


def test_items_may_be_in_any_encoding(tmp_path: Path) -> None:
    """A mark, UTF-16, windows-1252, and one lone byte of that; what can be none of them is one line."""
    row = {"id": "a", "question": "The patient’s fièvre élevée répétée?", "options": ["x", "y"], "answer": 0}
    text = json.dumps(row, ensure_ascii=False) + "\n"
    lone = text.encode().replace("’".encode(), b"\x92")
    for content in (text.encode("utf-8-sig"), text.encode("utf-16"), text.encode("cp1252"), lone):
        (tmp_path / "a.jsonl").write_bytes(content)
        [item] = read_items(tmp_path / "a.jsonl", Benchmark(path="a.jsonl", format="jsonl"))
        assert item.question == row["question"]
    (tmp_path / "a.jsonl").write_bytes(lone.replace(b"\x92", b"\x81"))
    with pytest.raises(BuildError, match=r"a.jsonl#1: no UTF-8 at byte \d+; correct the row"):
        list(read_items(tmp_path / "a.jsonl", Benchmark(path="a.jsonl", format="jsonl")))
    for split in ("dev", "val", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / f"anatomy_{split}.csv").write_bytes(b"The patient\x92s bone?,a,b,c,d,A\n")
    items = list(read_items(tmp_path, Benchmark(path="q", format="mmlu")))
    assert {item.question for item in items} == {"The patient’s bone?"}
