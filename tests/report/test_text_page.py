"""What models wrote side by side: scores, differences and every text."""

from dataclasses import astuple

import numpy as np
import polars as pl
import pytest

from osler.report.page import html, markdown
from osler.report.text_page import gains, page_blocks, terminal_lines
from osler.statistics.intervals import Pairs, difference_interval, ratio_interval
from tests.evaluation.test_tasks import task
from tests.statistics.test_task_scores import generations

TARGET = "takes aspirin daily"
TEXTS = {"base": ["she takes it", "no", "x"], "adapter-thin": ["takes aspirin daily", "no", "daily"]}
SOURCES = pl.DataFrame(
    {"item_id": ["t/1", "t/2", "t/3"], "source": ["CC\n\nDoctor: <b>Any</b> drugs?\nPatient: Aspirin.", "ROS", "PLAN"]}
)


def answered(texts: dict[str, list[str]] = TEXTS) -> pl.DataFrame:
    """Items as each model wrote them, the second and third of one group; the adapter's rows in another order."""
    frames = []
    for model, own in texts.items():
        rows = generations(
            [(text, TARGET) for text in own], task(metric="text"), groups=["a", "b", "b", "c", "d"][: len(own)]
        )
        named = rows.with_columns(
            item_id=pl.Series([f"t/{number + 1}" for number in range(len(own))]), model=pl.lit(model)
        )
        frames.append(named.reverse() if model.startswith("adapter") else named)
    return pl.concat(frames)


def test_gains_are_paired_by_item_and_over_groups() -> None:
    """ROUGE-L: 1/3, 0, 0, 0, 0 before and 1, 0, 1/2, 0, 0 after; items 2 and 3 are of one group."""
    texts = {"base": [*TEXTS["base"], "x", "y"], "adapter-thin": [*TEXTS["adapter-thin"], "z", "no"]}
    found = gains(answered(texts), 0.95)
    groups, differences = ["a", "b", "b", "c", "d"], [2 / 3, 0.0, 0.5, 0.0, 0.0]
    wanted = ratio_interval(differences, [1.0] * 5, 0.95, groups)
    assert list(found) == ["adapter-thin"]
    assert astuple(found["adapter-thin"]) == pytest.approx(astuple(wanted))
    assert wanted.estimate == pytest.approx(7 / 30)
    assert -1 < wanted.low < 0
    assert gains(answered().filter(pl.col("model") == "base"), 0.95) == {}


def test_gains_of_labels_are_those_of_accuracies() -> None:
    """Which have two groups besides, one all for and one all against; a score in between has not."""
    pairs = {"base": ["x", "y", "y"], "adapter-thin": ["y", "y", "y"]}
    frames = [generations([(text, "y") for text in own], task(metric="label")) for own in pairs.values()]
    items = pl.Series(["t/1", "t/2", "t/3"])
    rows = pl.concat(
        [one.with_columns(item_id=items, model=pl.lit(model)) for one, model in zip(frames, pairs, strict=True)]
    )
    wanted = difference_interval(Pairs(["t"] * 3, ["g0", "g1", "g2"], np.array([1.0, 0.0, 0.0])), 0.95)
    assert astuple(gains(rows, 0.95)["adapter-thin"]) == pytest.approx(astuple(wanted))


def test_gains_are_paired_by_seed_where_there_are_several() -> None:
    """Whatever the order of the rows; seeds that disagree widen the interval. BERTScore has its own column."""
    first, second = answered(), answered({"base": TEXTS["base"], "adapter-thin": ["no", "no", "no"]})
    both = pl.concat([first, second.with_columns(seed=pl.lit(2, pl.Int64))])
    rows = both.with_columns(bertscore_f1=pl.col("score") / 2)
    found = gains(rows, 0.95)["adapter-thin"]
    assert astuple(gains(rows.sample(fraction=1.0, shuffle=True, seed=3), 0.95)["adapter-thin"]) == astuple(found)
    assert found.estimate == pytest.approx((7 / 6 - 1 / 3) / 6)
    alone = gains(rows.filter(pl.col("seed") == 1), 0.95)["adapter-thin"]
    assert found.high - found.low > alone.high - alone.low or found.low == -1
    assert gains(rows, 0.95, "bertscore_f1")["adapter-thin"].estimate == pytest.approx(found.estimate / 2)
    text = markdown(page_blocks(rows, SOURCES, 0.95))
    assert "item by item, with intervals over groups of items and training seeds." in text
    assert "| model | ROUGE-L | BERTScore |" in text
    assert "BERTScore" not in markdown(page_blocks(first, SOURCES, 0.95))


def test_the_page_has_every_text_and_no_markup_of_theirs() -> None:
    """Each item with its source's lines, its target, and the models in their order, each with its own score."""
    blocks = page_blocks(answered(), SOURCES, 0.95)
    text, page = markdown(blocks), html(blocks, {})
    assert "| `adapter-thin` | +38.9 [" in text
    assert (
        "| target | takes aspirin daily |  |\n| `base` | she takes it | 33.3 |\n| `adapter-thin` | takes aspirin daily | 100.0 |"
        in text
    )
    assert "| `adapter-thin` | daily | 50.0 |" in text
    assert "&lt;b&gt;Any&lt;/b&gt; drugs?" in page
    assert "<b>" not in page
    assert text.count("### t/") == 3


def test_one_model_alone_has_no_differences() -> None:
    """But its texts."""
    blocks = page_blocks(answered({"cpt": TEXTS["base"]}), SOURCES, 0.95)
    assert "Beside" not in markdown(blocks)
    assert "she takes it" in markdown(blocks)


def test_a_terminal_has_the_items_that_are_asked_for() -> None:
    """Source, target and texts, as they are."""
    lines = list(terminal_lines(answered(), SOURCES, ["t/1"]))
    assert lines == [
        "--- t/1",
        SOURCES["source"][0],
        f"=== target\n{TARGET}",
        "=== base, ROUGE-L 33.3\nshe takes it",
        "=== adapter-thin, ROUGE-L 100.0\ntakes aspirin daily",
    ]
