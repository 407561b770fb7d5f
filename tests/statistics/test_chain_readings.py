"""Chains read both ways, and prompts that were cut, by eye."""

from pathlib import Path

import polars as pl
import pytest

from osler.statistics.chain_readings import chain_readings
from osler.statistics.protocol_agreement import Cut, cut_counts
from tests.report.test_report import answers, build, folder, read

__all__ = ["folder"]  # a fixture


def chains(right: int) -> pl.DataFrame:
    """Answers of `cot` under both readings: 30 of 40 right by likelihood, `right` by the chain, two of which name none."""
    likely = answers("cpt", 30).filter(strategy="zero_shot").with_columns(strategy=pl.lit("cot"))
    said = answers("cpt", right, protocol="chain").filter(strategy="zero_shot").with_columns(strategy=pl.lit("cot"))
    unread = said["item_id"].is_in(["b/38", "b/39"])
    return pl.concat([likely, said.with_columns(prediction=pl.when(unread).then(None).otherwise("prediction"))])


def test_a_chain_is_compared_item_by_item() -> None:
    """10 of 40 items fewer: -25 points with an interval, and what named no option is counted."""
    (own,) = chain_readings(pl.concat([chains(20), answers("cpt", 5)]), "full_answer", 0.95).values()
    assert (own.by_likelihood.estimate, own.by_chain.estimate) == (0.75, 0.5)
    assert own.difference.estimate == pytest.approx(-0.25)
    assert own.difference.high < 0
    assert (own.unread, own.answers) == (2, 40)
    assert chain_readings(answers("cpt", 5), "full_answer", 0.95) == {}


def test_cut_prompts_are_told_where_they_are() -> None:
    """Of two benchmarks and strategies the one that was cut."""
    rows = pl.concat([answers("cpt", 5), answers("cpt", 5, "c", truncated=True).filter(strategy="medprompt")])
    assert cut_counts(rows) == {("medprompt", "full_answer", "cpt", "c"): Cut(40, 40)}


def test_the_report_tells_both(folder: Path) -> None:
    """A table each where there is something, and lists in protocols.json."""
    metrics = build(folder)
    assert (read(metrics / "protocols.json")["chains"], read(metrics / "protocols.json")["cut"]) == ([], [])
    text = (metrics / "report.md").read_text()
    assert "Cut prompts" not in text
    assert "Chains read both ways" not in text
    path = folder / "predictions/cpt/predictions.parquet"
    cut = pl.col("truncated") | (pl.col("item_id") == "b/00") & (pl.col("strategy") == "medprompt")
    pl.concat([pl.read_parquet(path), chains(20)]).with_columns(truncated=cut).write_parquet(path)
    text = (build(folder, "again") / "report.md").read_text()
    assert "| `cpt` | cot | 75.0 [" in text
    assert "| 2 of 40 |" in text
    assert "| `cpt` | medprompt | full_answer | b | 1 of 40 |" in text
    assert "Predictions after a prompt that was cut on the left to fit the model: 1; see Cut prompts." in text
    assert read(folder / "again/protocols.json")["cut"][0] == {
        **{
            "strategy": "medprompt",
            "protocol": "full_answer",
            "model": "cpt",
            "benchmark": "b",
            "cut": 1,
            "answers": 40,
        }
    }
