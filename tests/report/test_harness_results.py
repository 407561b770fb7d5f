"""Results in lm-evaluation-harness's format."""

import json

import polars as pl
import pytest

from osler.report.harness_results import BenchmarkFacts, harness_results
from tests.report.test_report import answers

FACTS = {"b": BenchmarkFacts(100, "0a1b"), "c": BenchmarkFacts(7, "2c3d")}


def test_mean_and_error_are_the_harnesses_own() -> None:
    """10 of 40 right: 0.25 with the sample's standard error, sqrt(0.25 * 0.75 / 39), of items alone."""
    rows = answers("cpt", 10).filter(pl.col("strategy") == "zero_shot")
    found = json.loads(json.dumps(harness_results(rows, FACTS, 0, "f00", 0.95)))
    own = found["results"]["b"]
    assert own["acc,none"] == 0.25
    assert own["acc_stderr,none"] == pytest.approx((0.25 * 0.75 / 39) ** 0.5, rel=1e-12)
    assert found["n-samples"]["b"] == {"original": 100, "effective": 40}
    assert found["n-shot"] == {"b": 0}
    assert found["versions"] == {"b": "0a1b"}
    assert found["higher_is_better"] == {"b": {"acc": True}}
    bounds = found["osler"]["intervals"]["b"]
    assert bounds["low"] < 0.25 < bounds["high"]
    assert bounds["groups"] == 20


def test_an_item_counts_once_over_draws_and_seeds() -> None:
    """Two draws of one seed and one of another: the mean of its seeds, not of three answers."""
    rows = answers("cpt", 10).filter(pl.col("strategy") == "zero_shot")
    none = answers("cpt", 0, seed=2).filter(pl.col("strategy") == "zero_shot")
    again = rows.with_columns(draw=pl.lit(1, pl.Int64))
    found = harness_results(pl.concat([rows, again, none]), FACTS, 5, "f00", 0.95)
    assert found["results"]["b"]["acc,none"] == pytest.approx(0.125)
    assert found["osler"]["seeds"] == [1, 2]
    assert found["configs"]["b"]["num_fewshot"] == 5


def test_benchmarks_stand_beside_each_other() -> None:
    """And one of a single item has no error to tell."""
    rows = pl.concat([answers("cpt", 10), answers("cpt", 1, benchmark="c", items=1)])
    found = harness_results(rows.filter(pl.col("strategy") == "zero_shot"), FACTS, 0, "f00", 0.95)
    assert list(found["results"]) == ["b", "c"]
    assert found["results"]["c"]["acc_stderr,none"] == "N/A"
