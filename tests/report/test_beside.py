"""A benchmark that asks the items of another one again: told, and in no mean and no claim."""

import json
from pathlib import Path

import polars as pl
import pytest

from tests.report.test_report import METRICS, MODELS, answers, build, folder, read

assert folder  # a fixture


def test_it_is_in_no_mean_and_no_claim(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every metrics file but that of benchmarks is as it was without; there it stands marked, with its accuracies."""
    before = build(folder)
    plain = capsys.readouterr().out
    for model in MODELS:
        place = folder / "predictions" / model
        rows = pl.read_parquet(place / "predictions.parquet")
        typed = answers(model, 5, "b_typed")
        pl.concat([rows, typed]).write_parquet(place / "predictions.parquet")
        facts = json.loads((place / "model.json").read_text())
        (place / "model.json").write_text(json.dumps(facts | {"beside": ["b_typed"]}))
    after = build(folder, "after")
    assert capsys.readouterr().out == plain.replace("metrics/", "after/")
    for name in set(METRICS) - {"benchmarks"}:
        assert read(after / f"{name}.json") == read(before / f"{name}.json")
    known, typed_entry = read(after / "benchmarks.json")["benchmarks"]
    assert known == read(before / "benchmarks.json")["benchmarks"][0]
    assert "beside" not in known
    assert typed_entry["beside"] is True
    assert typed_entry["zero_shot"]["cpt-sft"]["accuracy"] == pytest.approx(5 / 40)
    page = (after / "report.md").read_text()
    assert "b\\_typed in no mean and no claim" in page or "b_typed in no mean and no claim" in page
    assert "### b_typed" in page or "### b\\_typed" in page
