"""Scores of generative tasks and their intervals, by hand."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import polars as pl
import pytest

from osler.evaluation.task_predictions import GENERATIONS, scored
from osler.evaluation.tasks import Task
from osler.statistics.intervals import Interval
from osler.statistics.task_scores import clustered, generation_metrics, jackknife_interval, macro_f1, scores_of
from tests.evaluation.test_tasks import task


def generations(pairs: Sequence[tuple[str, str]], section: Task, groups: Sequence[str] | None = None) -> pl.DataFrame:
    """Rows of GENERATIONS for (text, target), each in a group of its own unless told."""
    rows = pl.DataFrame(
        [
            ("t/1", "t", group, section.metric, "cpt", 1, target, text, 7, 2, False)
            for (text, target), group in zip(pairs, groups or [f"g{n}" for n in range(len(pairs))], strict=True)
        ],
        schema=list(GENERATIONS.items())[:11],
        orient="row",
    )
    return pl.concat([pl.DataFrame(schema=GENERATIONS), scored(rows, section)], how="diagonal")


PAIRS = [("x, y", "x, y, z"), ("q", "x"), ("", "y")]


def test_entity_f1_is_over_all_entities_or_a_mean_over_items() -> None:
    """2 of 3 named are right and 5 were wanted: 2 x 2 / 8 together; 0.8, 0 and 0 one by one."""
    section = task(metric="entities", separator=",")
    found = scores_of(generations(PAIRS, section), "entities", 0.95)
    assert found["entity_f1"].estimate == pytest.approx(4 / 8)
    assert found["item_entity_f1"].estimate == pytest.approx(0.8 / 3)
    assert list(found) == ["entity_f1", "item_entity_f1", "token_f1", "length_ratio"]
    assert found["length_ratio"].estimate == pytest.approx(3 / 5)


def test_bertscore_is_a_score_of_texts_where_it_was_computed() -> None:
    """Means over items, after ROUGE; each of them where it is there, as F1 of shuffled targets is not for one item."""
    rows = generations(PAIRS[:2], task(metric="text"))
    assert "bertscore_f1" not in scores_of(rows, "text", 0.95)
    rows = rows.with_columns(bertscore_f1=pl.Series([0.8, 0.5]), bertscore_recall=pl.Series([0.7, 0.1]))
    found = scores_of(rows, "text", 0.95)
    assert list(found)[:6] == ["rouge_l", "rouge_2", "rouge_1", "bertscore_f1", "bertscore_recall", "token_f1"]
    assert found["bertscore_recall"].estimate == pytest.approx(0.4)
    assert found["bertscore_f1"].estimate == pytest.approx(0.65)


def test_an_unread_label_is_wrong_and_counted() -> None:
    """Two of four right, one unread; F1 of gout is 2 x 1 / (2 + 2), of cold 2 x 1 / (1 + 2)."""
    section = task(metric="label", labels=["gout", "cold"])
    rows = generations([("Gout.", "gout"), ("a cold", "cold"), ("gout", "cold"), ("fever", "gout")], section)
    entry = generation_metrics(rows, 0.95)["detail"][0]
    assert entry["scores"]["accuracy"]["estimate"] == 0.5
    assert entry["scores"]["macro_f1"]["estimate"] == pytest.approx(7 / 12, abs=1e-6)
    assert entry["unread"] == 0.25


def test_groups_are_what_an_interval_counts() -> None:
    """The same items in half as many groups, alike within each, know less: the interval is wider."""
    values = pl.Series([0.0, 0.0, 1.0, 1.0, 0.2, 0.2, 0.7, 0.7])
    ones = pl.Series([1.0] * 8)
    alone = clustered(values, ones, pl.Series([f"g{n}" for n in range(8)]), 0.95)
    paired = clustered(values, ones, pl.Series([f"g{n // 2}" for n in range(8)]), 0.95)
    assert alone.estimate == paired.estimate == pytest.approx(3.8 / 8)
    assert paired.high - paired.low > 1.3 * (alone.high - alone.low)
    assert 0 <= paired.low <= paired.high <= 1


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_score_of_zero_everywhere_is_not_certain(value: float) -> None:
    """Eight groups without a hit do not show that there are none."""
    found = clustered(pl.Series([value] * 8), pl.Series([1.0] * 8), pl.Series([f"g{n}" for n in range(8)]), 0.95)
    assert found.estimate == pytest.approx(value)
    assert found.high - found.low > 0.2
    assert 0 <= found.low <= value <= found.high <= 1
    rows = pl.DataFrame({"group": [f"g{n}" for n in range(8)]})
    jackknife = jackknife_interval(rows, lambda _: value, 0.95)
    assert asdict(jackknife) == pytest.approx(asdict(found))


def test_the_jackknife_of_a_mean_is_the_mean_with_students_t() -> None:
    """For a mean it is the textbook interval, s / sqrt(n) with n - 1; one group says nothing."""
    values = [0.4, 0.4, 0.5, 0.5]
    rows = pl.DataFrame({"group": list("abcd"), "value": values})

    def mean(some: pl.DataFrame) -> float:
        return float(np.mean(some["value"].to_numpy()))

    found = jackknife_interval(rows, mean, 0.95)
    half = 3.182446 * np.std(values, ddof=1) / 2
    assert (found.low, found.high) == pytest.approx((0.45 - half, 0.45 + half), abs=1e-6)
    assert jackknife_interval(rows[:1], mean, 0.95) == Interval(0.4, 0.0, 1.0)


def test_a_headline_for_each_task_and_model_and_the_rest_in_a_list() -> None:
    """DVC compares the scalars under `scores`; the file holds no number that JSON cannot, and no task gives {}."""
    rows = generations(PAIRS[:1], task(metric="entities", separator=","))
    other = rows.with_columns(model=pl.lit("base"))
    found = generation_metrics(pl.concat([rows, other]), 0.95)
    assert found["scores"] == {"t": {"entity_f1": {"base": 0.8, "cpt": 0.8}}}
    assert [entry["model"] for entry in found["detail"]] == ["base", "cpt"]
    assert found["detail"][0]["scores"]["length_ratio"] == {"estimate": 0.666667, "low": None, "high": None}
    json.dumps(found, allow_nan=False)
    assert generation_metrics(pl.DataFrame(schema=GENERATIONS), 0.95) == {}


def test_macro_f1_is_the_mean_over_the_labels_that_occur() -> None:
    """Labels a, a, b: F1 of a is 2 x 1 / (1 + 2), of b 2 x 1 / (2 + 1); c is nobody's, an unread answer is wrong."""
    assert macro_f1(["a", "b", "b"], ["a", "a", "b"]) == pytest.approx(2 / 3)
    assert macro_f1(["a", "c", None], ["a", "a", "b"]) == pytest.approx((2 / 3 + 0) / 2)
    assert macro_f1(["a", "a", "b"], ["a", "a", "b"]) == 1.0


def of_seeds(*answers: Sequence[str]) -> pl.DataFrame:
    """Two items under seed 1, 2, ...: targets yes and no."""
    section = task(metric="label", labels=["yes", "no"])
    frames = [
        generations(list(zip(own, ("yes", "no"), strict=True)), section).with_columns(
            seed=pl.lit(seed, pl.Int64), item_id=pl.Series(["t/1", "t/2"])
        )
        for seed, own in enumerate(answers, start=1)
    ]
    return pl.concat(frames)


def test_scores_of_several_seeds_are_means_over_them() -> None:
    """Accuracy 1, 0.5 and 0; macro F1 1, 1/3 and 0, whose mean is not the F1 of all answers together."""
    rows = of_seeds(["yes", "no"], ["yes", "yes"], ["no", "yes"])
    found = scores_of(rows, "label", 0.95)
    assert found["accuracy"].estimate == pytest.approx(0.5)
    assert found["macro_f1"].estimate == pytest.approx((1 + 1 / 3 + 0) / 3)
    [detail] = generation_metrics(rows, 0.95)["detail"]
    assert (detail["items"], detail["groups"]) == (2, 2)
    over = detail["over_seeds"]
    assert over["accuracy"]["seeds"] == {"1": 1.0, "2": 0.5, "3": 0.0}
    half = 4.302653 * 0.5 / 3**0.5  # Student's t of two degrees of freedom, standard deviation 0.5
    assert over["accuracy"]["low"] == pytest.approx(0.5 - half, abs=1e-5)
    assert over["accuracy"]["high"] == pytest.approx(0.5 + half, abs=1e-5)


def test_two_seeds_have_no_interval_and_one_has_no_spread() -> None:
    """Of two the values are told, and their mean."""
    [two] = generation_metrics(of_seeds(["yes", "no"], ["yes", "yes"]), 0.95)["detail"]
    assert two["over_seeds"]["accuracy"] == {
        "estimate": 0.75,
        "low": None,
        "high": None,
        "seeds": {"1": 1.0, "2": 0.5},
    }
    [one] = generation_metrics(of_seeds(["yes", "no"]), 0.95)["detail"]
    assert "over_seeds" not in one
