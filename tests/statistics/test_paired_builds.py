"""osler/statistics/paired_builds.py: which items are paired, and when a difference is called real."""

from collections.abc import Sequence

import polars as pl
import pytest

from osler.statistics.paired_builds import (
    changed_items,
    compared,
    item_scores,
    only_in,
    pairs,
    unpaired,
)

CONFIDENCE = 0.95
NOTHING = pl.DataFrame(schema={"benchmark": pl.String, "item_id": pl.String})


def scores(
    right: Sequence[float],
    model: str = "cpt",
    strategy: str = "zero_shot",
    benchmark: str = "b",
    answers: int = 1,
    seed: int = 1,
) -> pl.DataFrame:
    """`item_scores` of items 00, 01, ... in groups of their own."""
    ids = [f"{benchmark}/{number:02}" for number in range(len(right))]
    return pl.DataFrame(
        {
            "model": model, "strategy": strategy, "benchmark": benchmark, "item_id": ids, "group": ids, "gold": 0,
            "seed": seed, "score": right, "answers": answers,
        },
        schema_overrides={"score": pl.Float64},
    )  # fmt: skip


def questions(answers: list[int], options: list[list[str]]) -> pl.DataFrame:
    ids = [f"b/{number:02}" for number in range(len(answers))]
    return pl.DataFrame(
        {"benchmark": "b", "item_id": ids, "question": "?", "context": "", "options": options, "answer": answers}
    )


def test_an_items_score_is_the_share_of_its_draws_that_are_right() -> None:
    """Three draws, two right: two thirds, and one row; another strategy and another model have rows of their own."""
    answers = pl.DataFrame(
        {
            "model": ["m", "m", "m", "m", "n"],
            "strategy": ["few", "few", "few", "zero", "few"],
            "benchmark": "b",
            "item_id": "b/1",
            "seed": 1,
            "group": "g",
            "gold": 2,
            "correct": [True, False, True, False, True],
        }
    )
    rows = {(row["model"], row["strategy"]): (row["score"], row["answers"]) for row in item_scores(answers).to_dicts()}
    assert rows == {("m", "few"): (pytest.approx(2 / 3), 3), ("m", "zero"): (0.0, 1), ("n", "few"): (1.0, 1)}


def test_an_item_is_paired_with_itself_under_the_same_model_and_strategy() -> None:
    """Of items 00 to 02 and 00 to 03, three pairs; another strategy's answers to the same items are no partners."""
    first, second = scores([1, 0, 1]), pl.concat([scores([0, 0, 1, 1]), scores([1, 1, 1, 1], strategy="few_shot")])
    found = pairs(first, second, NOTHING)
    assert found.select("item_id", "score", "score_second").rows() == [("b/00", 1, 0), ("b/01", 0, 0), ("b/02", 1, 1)]
    assert only_in(second, first) == [("cpt", "few_shot", "b")]
    assert only_in(first, second) == []
    assert unpaired(first, second) == [("zero_shot", "b", 0, 1)]
    assert unpaired(first, first) == []


def test_an_item_that_changed_is_no_item_to_compare() -> None:
    """Another answer, other options in the same number, or options in another order; an item of one build only has not changed."""
    options = [["x", "y"]] * 4
    before = questions([0, 0, 0, 0], options)
    after = questions([0, 1, 0, 0], [["x", "y"], ["x", "y"], ["x", "z"], ["y", "x"]])
    changed = changed_items(before, pl.concat([after, questions([1] * 5, [["p"]] * 5).tail(1)]))
    assert changed["item_id"].to_list() == ["b/01", "b/02", "b/03"]
    assert pairs(scores([1] * 4), scores([1] * 4), changed)["item_id"].to_list() == ["b/00"]
    other_gold = scores([1] * 4).with_columns(gold=pl.Series([0, 1, 0, 0]))
    assert pairs(scores([1] * 4), other_gold, NOTHING).height == 3


def test_the_difference_is_the_second_build_minus_the_first() -> None:
    """8 of 40 right, then 30 of 40: +55 points, and with every interval and test real; the other way round -55."""
    first, second = scores([1] * 8 + [0] * 32), scores([1] * 30 + [0] * 10)
    (row,) = compared(pairs(first, second, NOTHING), NOTHING, CONFIDENCE)
    assert (row.whole.items, row.whole.first, row.whole.second, row.differing) == (40, 0.2, 0.75, 22)
    assert row.whole.difference.estimate == pytest.approx(0.55)
    assert row.whole.difference.low > 0.3
    assert row.verdict == "real"
    assert row.mcnemar_p == pytest.approx(2 * 0.5**22)
    (back,) = compared(pairs(second, first, NOTHING), NOTHING, CONFIDENCE)
    assert back.whole.difference.estimate == pytest.approx(-0.55)
    assert back.verdict == "real"


def test_a_benchmark_beside_is_in_no_mean() -> None:
    """It has a row of its own; of two others there is a mean, and of one none."""
    gains = {"b": [1] * 12, "c": [0] * 6 + [1] * 6, "c_typed": [0] * 12}
    first = pl.concat([scores([0] * 12, benchmark=name) for name in gains])
    second = pl.concat([scores(own, benchmark=name) for name, own in gains.items()])
    found = compared(pairs(first, second, NOTHING), NOTHING, CONFIDENCE, {"c_typed"})
    assert {row.benchmark: row.whole.difference.estimate for row in found} == pytest.approx(
        {"b": 1.0, "c": 0.5, "c_typed": 0.0, "mean": 0.75}
    )
    alone = [side.filter(pl.col("benchmark") != "b") for side in (first, second)]
    found = compared(pairs(alone[0], alone[1], NOTHING), NOTHING, CONFIDENCE, {"c_typed"})
    assert [row.benchmark for row in found] == ["c", "c_typed"]


def test_a_difference_of_two_items_is_not_shown() -> None:
    """2 of 40 gained and none lost: p is about 0.3 (0.5 by sign flips of two groups, which can give no other value)."""
    (row,) = compared(pairs(scores([0] * 40), scores([1] * 2 + [0] * 38), NOTHING), NOTHING, CONFIDENCE)
    assert row.p == pytest.approx(0.31, abs=0.01)
    assert row.verdict == "not shown"


def test_same_scores_are_a_difference_of_zero_at_p_1() -> None:
    """And no test is made of them."""
    (row,) = compared(pairs(scores([1, 0, 1]), scores([1, 0, 1]), NOTHING), NOTHING, CONFIDENCE)
    assert (row.whole.difference.estimate, row.whole.difference.low, row.whole.difference.high) == (0, 0, 0)
    assert (row.p, row.holm_p, row.mcnemar_p, row.verdict) == (1, 1, 1, "same")


def test_rows_in_which_nothing_differs_cost_the_others_nothing() -> None:
    """Beside 50 models that did not change, one that gained 6 of 40 is real as it is alone; beside another changed one its p
    doubles, and it is not."""
    still = [scores([1, 0] * 20, model=f"still-{number}") for number in range(50)]
    first, second = scores([0] * 40), scores([1] * 6 + [0] * 34)
    found = compared(pairs(pl.concat([*still, first]), pl.concat([*still, second]), NOTHING), NOTHING, CONFIDENCE)
    (row,) = (row for row in found if row.verdict != "same")
    assert row.holm_p == row.p < 0.05
    assert row.verdict == "real"
    also = [side.with_columns(model=pl.lit("other")) for side in (first, second)]
    both = compared(pairs(pl.concat([first, also[0]]), pl.concat([second, also[1]]), NOTHING), NOTHING, CONFIDENCE)
    assert [one.holm_p for one in both] == [pytest.approx(2 * row.p)] * 2
    assert [one.verdict for one in both] == ["not shown"] * 2
    assert both[0].whole.difference.low > 0


def test_a_sure_difference_survives_the_correction_over_many_rows() -> None:
    """60 rows of 25 groups gained each: p is far below 0.05 / 60, and all are real."""
    models = [f"m{number}" for number in range(60)]
    first = pl.concat([scores([0] * 40, model=model) for model in models])
    second = pl.concat([scores([1] * 25 + [0] * 15, model=model) for model in models])
    found = compared(pairs(first, second, NOTHING), NOTHING, CONFIDENCE)
    assert {row.verdict for row in found} == {"real"}


def test_untouched_items_are_those_that_neither_build_touches() -> None:
    """Of 40 items the first 10 are touched and all that was gained: untouched, 30 items without a difference."""
    paired = pairs(scores([0] * 40), scores([1] * 10 + [0] * 30), NOTHING)
    touched = pl.DataFrame({"benchmark": "b", "item_id": [f"b/{number:02}" for number in range(10)]})
    (row,) = compared(paired, pl.concat([touched.head(4), touched]), CONFIDENCE)
    assert row.untouched
    assert (row.untouched.items, row.untouched.second, row.untouched.difference.estimate) == (30, 0, 0)
    assert row.whole.second == 0.25
    (row,) = compared(paired, touched.with_columns(benchmark=pl.lit("another")), CONFIDENCE)
    assert row.untouched is None


def test_benchmarks_count_the_same_in_their_mean() -> None:
    """+50 points on 10 items and 0 on 40 are +25, not +10; McNemar's test stands beside single benchmarks only."""
    first = pl.concat([scores([0] * 10), scores([1] * 40, benchmark="c")])
    second = pl.concat([scores([1] * 5 + [0] * 5), scores([1] * 40, benchmark="c")])
    rows = {row.benchmark: row for row in compared(pairs(first, second, NOTHING), NOTHING, CONFIDENCE)}
    assert list(rows) == ["b", "c", "mean"]
    assert rows["mean"].whole.difference.estimate == pytest.approx(0.25)
    assert (rows["mean"].whole.first, rows["mean"].whole.second) == (0.5, 0.75)
    assert rows["mean"].mcnemar_p is None
    assert rows["b"].mcnemar_p == pytest.approx(0.0625)


def test_of_several_draws_there_is_no_mcnemar_test() -> None:
    """It takes answers that are right or wrong."""
    paired = pairs(scores([0.5] * 9, answers=2), scores([1] * 9), NOTHING)
    (row,) = compared(paired, NOTHING, CONFIDENCE)
    assert row.mcnemar_p is None
    assert row.whole.difference.estimate == 0.5


def on_seeds(shares: dict[int, int]) -> pl.DataFrame:
    """Of 200 items so many right under each seed."""
    return pl.concat([scores([1] * right + [0] * (200 - right), seed=seed) for seed, right in shares.items()])


def test_seeds_of_both_builds_are_paired() -> None:
    """Seeds 1 to 3 of the one and 2 to 4 of the other: seeds 2 and 3, a gain of 20 points within each, whatever they are."""
    found = pairs(on_seeds({1: 9, 2: 60, 3: 120}), on_seeds({2: 100, 3: 160, 4: 7}), NOTHING)
    (row,) = compared(found, NOTHING, CONFIDENCE)
    assert (found.height, row.whole.items, row.seeds, row.paired, row.differing) == (400, 200, (2, 2), True, 80)
    assert (row.whole.first, row.whole.second) == pytest.approx((0.45, 0.65))
    assert row.whole.difference.estimate == pytest.approx(0.2)
    assert row.mcnemar_p is None


def test_without_a_common_seed_their_variances_add() -> None:
    """Seeds 1 to 3 that lie 30 points apart against seed 7: no difference is shown, where seeds 1 to 3 and 1 to 3 show one."""
    first = on_seeds({1: 60, 2: 90, 3: 120})
    (loose,) = compared(pairs(first, on_seeds({7: 130}), NOTHING), NOTHING, CONFIDENCE)
    (tight,) = compared(pairs(first, on_seeds({1: 100, 2: 130, 3: 160}), NOTHING), NOTHING, CONFIDENCE)
    assert (loose.seeds, loose.paired, loose.whole.items) == ((3, 1), False, 200)
    assert (loose.whole.first, loose.whole.second) == pytest.approx((0.45, 0.65))
    assert loose.whole.difference.estimate == pytest.approx(tight.whole.difference.estimate) == pytest.approx(0.2)
    assert (loose.verdict, tight.verdict) == ("not shown", "real")
    half = loose.whole.difference.high - loose.whole.difference.estimate
    assert half > 4.3 * 0.15 * (1 / 3 + 1) ** 0.5


def test_one_seed_of_each_is_compared_over_items() -> None:
    """Seed 1 against seed 2: items are paired as ever."""
    (row,) = compared(pairs(on_seeds({1: 60}), on_seeds({2: 70}), NOTHING), NOTHING, CONFIDENCE)
    assert (row.seeds, row.paired, row.differing, row.verdict) == ((1, 1), True, 10, "real")
    assert row.mcnemar_p == pytest.approx(2 * 0.5**10)


def test_equal_means_of_unpaired_seeds_are_the_same() -> None:
    """Seeds 1 and 2 against 3 and 4 with the same answers: no item differs."""
    (row,) = compared(pairs(on_seeds({1: 60, 2: 60}), on_seeds({3: 60, 4: 60}), NOTHING), NOTHING, CONFIDENCE)
    assert (row.differing, row.p, row.verdict) == (0, 1, "same")
