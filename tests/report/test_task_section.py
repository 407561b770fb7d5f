"""The tables of generative tasks show the scores that were written."""

from typing import Any

import polars as pl

from osler.report.page import markdown
from osler.report.task_section import generation_blocks
from osler.statistics.task_scores import generation_metrics
from tests.evaluation.test_tasks import task
from tests.statistics.test_task_scores import PAIRS, generations


def entry(model: str, **changes: Any) -> dict[str, Any]:
    """A row of the detail in generation.json."""
    scores = {"length_ratio": {"estimate": 1.5, "low": 1.0, "high": None}}
    own = {"task": "t", "model": model, "items": 1200, "groups": 1, "scores": scores, "unread": None, "truncated": 0}
    return own | changes


def test_a_score_is_shown_in_percent_with_its_bounds() -> None:
    """0.8 in one group is 80.0, and nothing is known of others; a column that only some texts have is there."""
    rows = generations(PAIRS[:1], task(metric="entities", separator=","))
    assert "| `cpt` | 80.0 [0.0, 100.0] |" in markdown(generation_blocks(generation_metrics(rows, 0.95)))
    texts = generations(PAIRS[:2], task(metric="text")).with_columns(bertscore_f1=pl.Series([0.8, 0.5]))
    assert "| bertscore f1 |" in markdown(generation_blocks(generation_metrics(texts, 0.95)))


def test_a_ratio_of_lengths_is_no_percentage() -> None:
    """1.5 stays 1.5; bounds of which one is unknown are left out, and sizes have separators."""
    text = markdown(generation_blocks({"detail": [entry("cpt")]}))
    assert "| `cpt` | 1.5 |" in text
    assert "1,200 items in 1 groups" in text
    assert "unread" not in text


def test_what_was_unread_or_cut_is_told() -> None:
    """The share of unread answers has a column, and cut prompts are counted over all models."""
    text = markdown(generation_blocks({"detail": [entry("base", unread=0.25, truncated=2), entry("cpt", truncated=1)]}))
    assert "| `base` | 1.5 | 25.0 % |" in text
    assert "3 prompts were cut on the left" in text


def test_without_a_task_there_is_no_section() -> None:
    """Not even a heading."""
    assert generation_blocks({}) == []
