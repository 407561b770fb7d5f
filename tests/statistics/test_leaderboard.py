"""Models of several builds in one order."""

import numpy as np
import polars as pl
import pytest

from osler.statistics.leaderboard import benchmarks_of, common_items, places
from osler.statistics.paired_builds import ITEM, MEAN
from tests.report.test_report import answers

NONE = pl.DataFrame(schema={"benchmark": pl.String, "item_id": pl.String})


def asked(right: int, benchmark: str = "b", items: int = 40, model: str = "cpt", seed: int = 1) -> pl.DataFrame:
    """Zero-shot answers, the first `right` of `items` right."""
    return answers(model, right, benchmark, items, seed=seed).filter(pl.col("strategy") == "zero_shot")


def test_the_best_stands_first_whatever_its_build_and_name() -> None:
    """30 of 40 before 10 and before 10 again, which is one with the same of another build."""
    given = {("one", "cpt"): asked(10), ("two", "tuned"): asked(30), ("two", "cpt"): asked(10)}
    found = places(given, common_items(given, NONE), 0.95)
    assert [(place.builds, place.model) for place in found] == [(("two",), "tuned"), (("one", "two"), "cpt")]
    assert [place.accuracies["b"].estimate for place in found] == [0.75, 0.25]
    assert [place.verdict for place in found] == ["first", "behind"]
    assert (found[0].behind, found[0].p) == (None, None)
    assert found[1].behind is not None
    assert found[1].behind.estimate == pytest.approx(-0.5)
    assert found[1].behind.high < 0


def test_p_allows_for_the_choice_of_the_first() -> None:
    """Of three models each difference counts twice, and a model that is the same on every item may be the best."""
    given = {("a", "m"): asked(20), ("b", "m"): asked(24), ("c", "m"): asked(10)}
    found = places(given, common_items(given, NONE), 0.95)
    assert [place.builds for place in found] == [("b",), ("a",), ("c",)]
    pair = {name: rows for name, rows in given.items() if name != ("c", "m")}
    alone = places(pair, common_items(pair, NONE), 0.95)[1].p
    assert alone is not None
    assert found[1].p == pytest.approx(2 * alone)
    both = places(given, common_items(given, NONE), 0.95)[1].behind
    own = places(pair, common_items(pair, NONE), 0.975)[1].behind
    assert both == own  # intervals hold together, as p does
    same = {("a", "m"): asked(20), ("b", "n"): asked(20)}
    assert [(place.verdict, place.p) for place in places(same, common_items(same, NONE), 0.95)] == [
        ("first", None),
        ("may be best", 1.0),
    ]


def test_the_best_is_seldom_called_behind() -> None:
    """Six models of one skill, 40 times: without the factor of five one of them is called behind more often."""
    draw = np.random.default_rng(5)
    called = plain = 0
    for _ in range(40):
        rights = draw.random((6, 60)) < 0.5
        given = {
            (f"{number:02}", "m"): asked(0, items=60).with_columns(correct=pl.Series(right), group=pl.col("item_id"))
            for number, right in enumerate(rights)
        }
        own = next(place for place in places(given, common_items(given, NONE), 0.95) if "00" in place.builds)
        called += own.verdict == "behind"
        plain += own.p is not None and own.p / 5 <= 0.05
    assert called <= 2
    assert plain > called


def test_only_items_that_all_answered_count() -> None:
    """One model answered 20 of 40, one item has changed, and a benchmark that one lacks is nobody's."""
    given = {("a", "m"): pl.concat([asked(10), asked(5, "c", 10)]), ("b", "m"): asked(11, items=20)}
    changed = pl.DataFrame([("b", "b/00")], schema=ITEM, orient="row")
    items = common_items(given, changed)
    assert items["item_id"].to_list() == [f"b/{number:02}" for number in range(1, 20)]
    first, second = places(given, items, 0.95)
    assert [place.accuracies["b"].estimate for place in (first, second)] == [
        pytest.approx(10 / 19),
        pytest.approx(9 / 19),
    ]
    assert benchmarks_of([first, second]) == ["b"]


def test_benchmarks_count_the_same() -> None:
    """The order is by their mean: 0.5 and 1.0 before 0.75 and 0.5, though the latter has more items right."""
    given = {
        ("a", "m"): pl.concat([asked(20), asked(4, "c", 4)]),
        ("b", "m"): pl.concat([asked(30), asked(2, "c", 4)]),
    }
    first, second = places(given, common_items(given, NONE), 0.95)
    assert first.builds == ("a",)
    assert (first.accuracies[MEAN].estimate, second.accuracies[MEAN].estimate) == (0.75, 0.625)
    assert benchmarks_of([first]) == ["b", "c", MEAN]


def test_seeds_of_two_builds_need_not_be_the_same() -> None:
    """Three seeds against one other: independent samples, whose interval covers seeds."""
    three = pl.concat([asked(right, seed=seed) for seed, right in ((1, 20), (2, 24), (3, 28))])
    given = {("a", "m"): three, ("b", "m"): asked(10, seed=7)}
    first, second = places(given, common_items(given, NONE), 0.95)
    assert (first.seeds, second.seeds) == (3, 1)
    assert second.behind is not None
    assert second.behind.estimate == pytest.approx(0.25 - 0.6)
