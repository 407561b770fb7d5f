"""Accuracies are of items in one protocol: draws neither make items nor hide how far they lie apart."""

import polars as pl
import pytest

from osler.statistics.accuracy import (
    accuracies,
    bits_per_byte,
    chance_levels,
    draw_spreads,
    headline,
    item_means,
    mean_accuracies,
    seed_accuracies,
)


def answers(right: list[list[bool]], strategy: str = "few_shot", benchmark: str = "b") -> pl.DataFrame:
    """A row an item and draw; two items a group, three options whose scores are votes."""
    return pl.DataFrame(
        [
            {
                "item_id": f"{benchmark}/{number:02d}",
                "benchmark": benchmark,
                "group": f"g{number // 2}",
                "strategy": strategy,
                "protocol": "full_answer",
                "model": "base",
                "seed": 1,
                "draw": draw,
                "correct": correct,
                "scores": [0.0, 0.4, 0.6],
            }
            for draw, own in enumerate(right)
            for number, correct in enumerate(own)
        ]
    )


DRAWS = [[True, True, True, False], [True, True, False, False], [True, False, False, False]]


def test_headline_is_one_protocol() -> None:
    """Rows of the others are left out; without it nothing is counted."""
    rows = pl.concat([answers(DRAWS), answers(DRAWS).with_columns(protocol=pl.lit("letter"))])
    assert headline(rows, "letter")["protocol"].unique().to_list() == ["letter"]
    assert accuracies(headline(rows, "letter"), 0.95).keys() == {("b", "few_shot", "base")}
    with pytest.raises(ValueError, match="several protocols"):
        accuracies(rows, 0.95)


def test_draws_of_an_item_are_one_item() -> None:
    """Three draws: items of 1, 2/3, 1/3 and 0, half of them right, four items in two groups."""
    means = item_means(answers(DRAWS))
    assert means["correct"].to_list() == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert means["draws"].to_list() == [3] * 4
    cell = accuracies(answers(DRAWS), 0.95)["b", "few_shot", "base"]
    assert (cell.share.estimate, cell.items, cell.groups) == pytest.approx((0.5, 4, 2))


def test_the_same_answers_in_every_draw_are_those_of_one() -> None:
    """Ten equal draws have the interval of one."""
    own = [number % 3 > 0 for number in range(30)]
    one, ten = (accuracies(answers([own] * draws), 0.95)["b", "few_shot", "base"].share for draws in (1, 10))
    assert (ten.low, ten.high) == pytest.approx((one.low, one.high))


def test_spread_over_draws() -> None:
    """Draws of 75, 50 and 25 %: deviation 25 points. One draw has none; benchmarks are averaged within a draw."""
    rows = pl.concat([answers(DRAWS), answers(DRAWS[:1], "zero_shot")])
    found = draw_spreads(rows)
    assert list(found) == [("few_shot", "base")]
    spread = found["few_shot", "base"]
    assert (spread.draws, spread.minimum, spread.maximum, spread.deviation) == pytest.approx((3, 0.25, 0.75, 0.25))
    second = draw_spreads(pl.concat([answers(DRAWS), answers(DRAWS[::-1], benchmark="c")]))["few_shot", "base"]
    assert (second.minimum, second.maximum, second.deviation) == (0.5, 0.5, 0.0)


def test_chance_of_votes_is_that_of_options() -> None:
    """Three options with shares of votes, one of them none: a guess is right in a third, draws or not."""
    assert chance_levels(answers(DRAWS)) == {"b": pytest.approx(1 / 3)}


def on_seeds(shares: dict[int, int], benchmark: str = "b", strategy: str = "zero_shot") -> pl.DataFrame:
    """Of 40 items so many right under each seed."""
    frames = [
        answers([[number < right for number in range(40)]], strategy, benchmark).with_columns(
            seed=pl.lit(seed, pl.Int64)
        )
        for seed, right in shares.items()
    ]
    return pl.concat(frames)


def test_items_under_three_seeds_are_the_same_items() -> None:
    """10, 20 and 30 of 40 right: half, of 40 items in 20 groups on 3 seeds, with an interval far wider than that of one seed."""
    cell = accuracies(on_seeds({1: 10, 2: 20, 3: 30}), 0.95)["b", "zero_shot", "base"]
    one = accuracies(on_seeds({2: 20}), 0.95)["b", "zero_shot", "base"]
    assert (cell.share.estimate, cell.items, cell.groups, cell.seeds) == (0.5, 40, 20, 3)
    assert (one.share.estimate, one.seeds) == (0.5, 1)
    assert 0 < cell.share.low < one.share.low - 0.1 < one.share.high + 0.1 < cell.share.high < 1
    same = accuracies(on_seeds({1: 20, 2: 20, 3: 20}), 0.95)["b", "zero_shot", "base"].share
    assert (same.low, same.high) == pytest.approx((one.share.low, one.share.high))


def test_intervals_end_at_0_and_1_and_have_a_width_there() -> None:
    """All of 40 right under three seeds: below 1 at the lower end, and not above it at the upper one."""
    share = accuracies(on_seeds({1: 40, 2: 40, 3: 40}), 0.95)["b", "zero_shot", "base"].share
    assert share.low < 0.95 < share.estimate == share.high == 1


def test_the_mean_over_benchmarks_shares_its_seeds() -> None:
    """Two benchmarks that seeds move together have, in the mean, the interval that seeds give one of them, and not less of it."""
    seeds = {1: 10, 2: 20, 3: 30}
    both = mean_accuracies(pl.concat([on_seeds(seeds), on_seeds(seeds, "c")]), 0.95)["zero_shot", "base"]
    apart = mean_accuracies(pl.concat([on_seeds(seeds), on_seeds({4 - s: n for s, n in seeds.items()}, "c")]), 0.95)
    one = accuracies(on_seeds(seeds), 0.95)["b", "zero_shot", "base"].share
    against = apart["zero_shot", "base"]
    assert both.estimate == against.estimate == 0.5
    assert both.high - both.low > 0.9 * (one.high - one.low)
    assert against.high - against.low < 0.5 * (one.high - one.low)


def test_accuracies_of_seeds_stand_apart() -> None:
    """By seed, the mean over benchmarks; a seed that one benchmark lacks is left out, and draws of one seed are no seeds."""
    rows = pl.concat([on_seeds({1: 10, 2: 20}), on_seeds({1: 20, 2: 40, 3: 40}, "c"), answers(DRAWS)])
    assert seed_accuracies(rows) == {
        ("few_shot", "base"): {1: pytest.approx(0.5)},
        ("zero_shot", "base"): {1: 0.375, 2: 0.75},
    }
    assert list(draw_spreads(rows)) == [("few_shot", "base")]


def test_bits_per_byte_are_over_documents_and_seeds() -> None:
    """Three seeds of the same 30 documents: the mean ratio, wider than without a column of seeds where seeds lie apart."""

    def documents(seeds: dict[int, float]) -> pl.DataFrame:
        rows = [
            (f"d{n}", "general", "cpt", seed, factor * (90 + n % 7), 90 + n)
            for seed, factor in seeds.items()
            for n in range(30)
        ]
        return pl.DataFrame(rows, schema=["doc_id", "domain", "model", "seed", "bits", "bytes"], orient="row")

    one, plain = documents({1: 1.5}), documents({1: 1.5}).drop("seed")
    assert bits_per_byte(one, 0.95) == bits_per_byte(plain, 0.95)
    single = bits_per_byte(one, 0.95)["general", "cpt"]
    three = bits_per_byte(documents({1: 1.3, 2: 1.5, 3: 1.7}), 0.95)["general", "cpt"]
    assert three.estimate == pytest.approx(single.estimate)
    assert three.high - three.low > 2 * (single.high - single.low)
