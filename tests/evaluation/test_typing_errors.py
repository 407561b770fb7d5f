"""Questions with typing errors: some words, one error each, the same ones every time."""

import json
from pathlib import Path
from typing import Any

import pytest

from osler.build.section import BuildError
from osler.commands.references import refuse_errors_alone
from osler.evaluation.benchmarks import Benchmark, read_items
from osler.evaluation.typing_errors import WORD, with_errors

TEXT = "A 54-year-old woman takes Metformin 500mg (twice daily) and reports Übelkeit; what next step? " * 40


def distance(one: str, other: str) -> int:
    """Edits from one to the other: a letter more, less or another, or two that change places."""
    rows = [
        [column + row if not (column and row) else 0 for column in range(len(other) + 1)] for row in range(len(one) + 1)
    ]
    for row in range(1, len(one) + 1):
        for column in range(1, len(other) + 1):
            last = one[row - 1] != other[column - 1]
            best = min(rows[row - 1][column] + 1, rows[row][column - 1] + 1, rows[row - 1][column - 1] + last)
            if row > 1 and column > 1 and one[row - 2 : row] == other[column - 2 : column][::-1]:
                best = min(best, rows[row - 2][column - 2] + 1)
            rows[row][column] = best
    return rows[-1][-1]


def test_a_share_of_the_long_words_has_one_error_each() -> None:
    """Short words, numbers, what has a digit, first letters and all between the words stay."""
    typed = with_errors(TEXT, 0.3, "a")
    before, after = WORD.findall(TEXT), WORD.findall(typed)
    assert WORD.sub("", TEXT) == WORD.sub("", typed)
    changed = [(one, other) for one, other in zip(before, after, strict=True) if one != other]
    long = [word for word in before if len(word) > 3 and word.isalpha()]
    assert all(len(one) > 3 and one.isalpha() and one[0] == other[0] for one, other in changed)
    assert {distance(one, other) for one, other in changed} == {1}
    assert abs(len(changed) / len(long) - 0.3) < 0.08
    kinds = {len(other) - len(one) for one, other in changed}
    assert kinds == {-1, 0, 1}


def test_the_key_alone_draws() -> None:
    """The same text has the same errors, under another key others, and of share 0 none."""
    assert with_errors(TEXT, 0.3, "a") == with_errors(TEXT, 0.3, "a") != with_errors(TEXT, 0.3, "b")
    assert with_errors(TEXT, 0.0, "a") == TEXT


def test_items_to_test_on_have_errors_and_exemplars_have_none(tmp_path: Path) -> None:
    """Options and answers stay."""
    row = {"question": "Which medicine relieves chronic headaches?", "context": "Several patients reported nothing."}
    rows = [
        row | {"id": name, "options": ["aspirin", "quartz"], "answer": 0, "split": name} for name in ("dev", "test")
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plain, typed = (
        {
            item.id: item
            for item in read_items(tmp_path / "a.jsonl", Benchmark(path="a", format="jsonl", typing_errors=share))
        }
        for share in (None, 1.0)
    )
    assert plain["dev"] == typed["dev"]
    assert plain["test"].question != typed["test"].question
    assert plain["test"].context != typed["test"].context
    assert (plain["test"].options, plain["test"].answer) == (typed["test"].options, typed["test"].answer)


def test_errors_stand_beside_the_benchmark_without() -> None:
    """So that the corpus is searched for its questions as they are."""
    typed: dict[str, Any] = {"path": "quiz/", "format": "jsonl", "typing_errors": 0.1}
    refuse_errors_alone({"benchmark": {"typed": typed, "quiz": {"path": "quiz", "format": "jsonl"}}})
    with pytest.raises(BuildError, match="benchmark.typed.typing_errors: .* add a benchmark with the path quiz/"):
        refuse_errors_alone({"benchmark": {"typed": typed}})
