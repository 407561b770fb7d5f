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
