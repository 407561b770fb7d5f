"""Scores of judges, whose every number can be checked by hand; judges with planted faults are found out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from osler.evaluation.judgements import JUDGEMENTS
from osler.report.judged_section import judged_blocks
from osler.report.page import markdown
from osler.statistics.judged_scores import judged_metrics, winner
from osler.statistics.settings import Statistics
from tests.support.params import PARAMS

STATISTICS = Statistics.model_validate(PARAMS["statistics"])
NOBODY = pl.DataFrame(schema={"key": pl.String, "rater": pl.String, "verdict": pl.String})


def rubric(
    item: str, verdicts: Sequence[tuple[float, str | None]], model: str = "m", tags: Sequence[str] = ()
) -> pl.DataFrame:
    """Judgements of one text: points and verdict of each criterion."""
    rows = [
        {"judge": "j", "kind": "rubric", "task": "t", "item_id": item, "group": item, "seed": 1, "model": model}
        | {"criterion": place, "points": points, "verdict": verdict, "tags": list(tags), "key": f"{model}{item}{place}"}
        for place, (points, verdict) in enumerate(verdicts)
    ]
    return pl.DataFrame(rows, schema=JUDGEMENTS)


def pair(item: str, plain: str | None, turned: str | None) -> pl.DataFrame:
    """Judgements of two texts in both orders."""
    common: dict[str, Any] = {
        "judge": "j",
        "kind": "preference",
        "task": "t",
        "item_id": item,
        "group": item,
        "seed": 1,
    }
    rows = [
        common | {"model": "a", "other": "b", "turned": order, "verdict": verdict, "key": f"{item}{order}"}
        for order, verdict in ((False, plain), (True, turned))
    ]
    return pl.DataFrame(rows, schema=JUDGEMENTS)


def test_points_are_those_earned_over_those_to_be_earned() -> None:
    """Two items: 5 of 7 with 3 lost, and 4 of 4: mean of 2/7 and 1. What is unread counts on neither side."""
    rows = pl.concat(
        [
            rubric("1", [(5.0, "met"), (2.0, "unmet"), (-3.0, "met"), (-1.0, "unmet")], tags=["x"]),
            rubric("2", [(4.0, "met"), (6.0, None)]),
        ]
    )
    [entry] = judged_metrics(rows, NOBODY, STATISTICS)["points"]
    assert entry["points"]["estimate"] == pytest.approx((2 / 7 + 1) / 2, abs=1e-6)
    assert (entry["items"], entry["judgements"]) == (2, 6)
    assert entry["unread"] == pytest.approx(1 / 6, abs=1e-6)
    assert entry["met"] == pytest.approx(3 / 5, abs=1e-6)
    assert entry["by_tag"]["x"]["estimate"] == pytest.approx(2 / 7, abs=1e-6)


def test_points_of_single_items_may_be_negative_and_their_mean_is_not() -> None:
    """As in HealthBench: items are not clipped, the mean is."""
    bad = rubric("1", [(1.0, "unmet"), (-3.0, "met")])
    mixed = pl.concat([bad, *(rubric(str(number), [(1.0, "met")]) for number in (2, 3, 4, 5))])
    [alone] = judged_metrics(bad, NOBODY, STATISTICS)["points"]
    assert alone["points"]["estimate"] == 0
    [entry] = judged_metrics(mixed, NOBODY, STATISTICS)["points"]
    assert entry["points"]["estimate"] == pytest.approx((4 - 3) / 5, abs=1e-6)


def test_no_spread_is_no_certainty() -> None:
    """Six items alike have intervals, and six ties; a person who says the same has a share, if no kappa."""
    for verdict, estimate in (("met", 1), ("unmet", 0)):
        rows = pl.concat([rubric(str(number), [(1.0, verdict)]) for number in range(6)])
        found = judged_metrics(
            rows, pl.DataFrame({"key": ["m10"], "rater": ["anna"], "verdict": [verdict]}), STATISTICS
        )
        points = found["points"][0]["points"]
        assert points["estimate"] == estimate
        assert points["high"] - points["low"] > 0.2
        [rater] = found["agreement"][0]["raters"]
        assert (rater["agreed"], rater["kappa"]["estimate"]) == (1, None)
    half = pl.concat([rubric(str(number), [(1.0, "met"), (1.0, "unmet")]) for number in range(6)])
    points = judged_metrics(half, NOBODY, STATISTICS)["points"][0]["points"]
    assert points["low"] < 0.4
    assert points["high"] > 0.6
    ties = pl.concat([pair(str(number), "tie", "tie") for number in range(6)])
    preferred = judged_metrics(ties, NOBODY, STATISTICS)["preferences"][0]["preference"]
    assert preferred["estimate"] == 0.5
    assert preferred["low"] < 0.4
    assert preferred["high"] > 0.6


def test_a_judge_that_nobody_can_read_has_no_score() -> None:
    found = judged_metrics(rubric("1", [(1.0, None)]), NOBODY, STATISTICS)
    assert found["scores"] == {"j": {"t": {"points": {"m": None}}}}
    assert found["points"][0]["unread"] == 1
    assert judged_metrics(pl.DataFrame(schema=JUDGEMENTS), NOBODY, STATISTICS) == {}


@pytest.mark.parametrize(
    ("plain", "turned", "who"),
    [
        ("first", "second", "first"),
        ("second", "first", "second"),
        ("first", "first", "tie"),  # it likes what stands first
        ("second", "second", "tie"),
        ("first", "tie", "first"),
        ("tie", "first", "second"),
        ("tie", "tie", "tie"),
        ("same", "same", "tie"),
        ("first", None, None),
        (None, None, None),
    ],
)
def test_who_wins_an_item(plain: str | None, turned: str | None, who: str | None) -> None:
    assert winner({False: plain, True: turned}) == who


def test_a_judge_that_takes_what_stands_first_is_found_out() -> None:
    """It prefers nobody, always the first, and never says the same of both orders; a fair one is seen to be fair."""
    biased = pl.concat([pair(str(number), "first", "first") for number in range(20)])
    [entry] = judged_metrics(biased, NOBODY, STATISTICS)["preferences"]
    assert entry["preference"]["estimate"] == 0.5
    assert entry["first_shown"]["estimate"] == 1
    assert entry["first_shown"]["low"] > 0.5
    assert (entry["consistent"], entry["ties"]) == (0, 20)
    fair = pl.concat([pair(str(number), "first", "second") for number in range(20)])
    [entry] = judged_metrics(fair, NOBODY, STATISTICS)["preferences"]
    assert (entry["preference"]["estimate"], entry["wins"], entry["consistent"]) == (1, 20, 1)
    assert entry["preference"]["low"] < 1  # twenty items are not all there are
    assert entry["first_shown"]["estimate"] == 0.5


def test_equal_texts_are_ties_and_say_nothing_of_the_judge() -> None:
    rows = pl.concat([pair("1", "same", "same"), pair("2", "first", "second"), pair("3", None, "first")])
    [entry] = judged_metrics(rows, NOBODY, STATISTICS)["preferences"]
    assert (entry["wins"], entry["ties"], entry["losses"], entry["items"]) == (1, 1, 0, 3)
    assert entry["preference"]["estimate"] == 0.75
    assert (entry["consistent"], entry["unread"]) == (1, pytest.approx(1 / 3, abs=1e-6))


def test_agreement_with_people_is_planted_and_found() -> None:
    """One person says what the judge says, one flips a coin; ratings of other texts count for nothing."""
    draws = np.random.default_rng(3).integers(0, 2, (2, 120))
    words = ["met", "unmet"]
    rows = pl.concat([rubric(str(number), [(1.0, words[one])]) for number, one in enumerate(draws[0])])
    ratings = [(f"m{number}0", "anna", words[one]) for number, one in enumerate(draws[0])]
    ratings += [(f"m{number}0", "ben", words[one]) for number, one in enumerate(draws[1])]
    ratings += [("another", "anna", "met")]
    frame = pl.DataFrame(ratings, schema=["key", "rater", "verdict"], orient="row")
    [entry] = judged_metrics(rows, frame, STATISTICS)["agreement"]
    anna, ben = entry["raters"]
    assert (anna["rater"], anna["rated"], anna["kappa"]["estimate"]) == ("anna", 120, 1)
    assert ben["kappa"]["low"] < 0 < ben["kappa"]["high"]
    assert entry["alpha_of_people"]["low"] < 0 < entry["alpha_of_people"]["high"]
    assert 0.2 < entry["alpha"]["estimate"] < 0.5  # two of three are one voice
    shown = markdown(judged_blocks(judged_metrics(rows, frame, STATISTICS)))
    assert "| anna | 120 | 100.0 | 1.00" in shown
    assert anna["agreed"] == 1


def test_the_report_tells_of_judges_and_is_silent_without() -> None:
    rows = pl.concat([rubric("1", [(1.0, "met"), (1.0, None)], tags=["axis:accuracy"]), pair("2", "first", "second")])
    shown = markdown(judged_blocks(judged_metrics(rows, NOBODY, STATISTICS)))
    for part in ("## Judges", "axis:accuracy", "1, 0, 0", "50.0"):
        assert part in shown
    assert judged_blocks({}) == []
