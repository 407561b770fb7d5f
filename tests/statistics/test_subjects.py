"""Accuracy by subject, where ids tell it."""

from pathlib import Path

import polars as pl
import pytest

from osler.statistics.subjects import sizes, subject_accuracies
from tests.report.test_report import answers, build, folder, read

__all__ = ["folder"]  # a fixture


def of_subjects(right: int, model: str = "cpt") -> pl.DataFrame:
    """40 items, the first ten of anatomy, the others of clinical_knowledge."""
    rows = answers(model, right).with_columns(number=pl.col("item_id").str.extract(r"(\d+)$").cast(pl.Int64))
    subject = pl.when(pl.col("number") < 10).then(pl.lit("anatomy")).otherwise(pl.lit("clinical_knowledge"))
    named = pl.concat_str(pl.lit("b/"), subject, pl.lit("-"), pl.col("number").cast(pl.String))
    return rows.with_columns(item_id=named).drop("number")


def test_subjects_are_those_of_the_ids() -> None:
    """The first 20 of 40 right: all of anatomy, a third of the rest."""
    found = subject_accuracies(of_subjects(20), "zero_shot", 0.95)["b"]
    assert {name: own.share.estimate for (name, _), own in found.items()} == {
        "anatomy": 1.0,
        "clinical_knowledge": pytest.approx(1 / 3),
    }
    assert sizes(found) == {"anatomy": 10, "clinical_knowledge": 30}


@pytest.mark.parametrize("ids", [["q01", "q02"], ["test-1", "test-2"], ["anatomy-1", "12"]])
def test_ids_without_subjects_tell_none(ids: list[str]) -> None:
    """A number alone, one subject for all, or an item without."""
    rows = answers("cpt", 1, items=2).filter(strategy="zero_shot")
    rows = rows.with_columns(item_id=pl.Series([f"b/{name}" for name in ids]))
    assert subject_accuracies(rows, "zero_shot", 0.95) == {}


def test_a_split_is_no_part_of_the_subject() -> None:
    """MMLU's items of dev and val files have it between subject and number."""
    rows = answers("cpt", 1, items=3).filter(strategy="zero_shot")
    rows = rows.with_columns(item_id=pl.Series(["b/anatomy-val-3", "b/anatomy-0", "b/virology-7"]))
    assert sizes(subject_accuracies(rows, "zero_shot", 0.95)["b"]) == {"anatomy": 2, "virology": 1}


def test_the_report_has_a_table(folder: Path) -> None:
    """Of each such benchmark, and a list in benchmarks.json; of none where ids tell none."""
    metrics = build(folder)
    assert "subjects" not in read(metrics / "benchmarks.json")["benchmarks"][0]
    assert "Subjects of" not in (metrics / "report.md").read_text()
    for place in (folder / "predictions").iterdir():
        of_subjects(20, place.name).write_parquet(place / "predictions.parquet")
    metrics = build(folder, "again")
    text = (metrics / "report.md").read_text()
    assert "### Subjects of b" in text
    assert "| anatomy | 10 | 100.0 [" in text
    [entry, *_] = read(metrics / "benchmarks.json")["benchmarks"][0]["subjects"]
    assert (entry["subject"], entry["items"], entry["accuracy"]) == ("anatomy", 10, 1.0)
