"""Accuracies are of items in one protocol: draws neither make items nor hide how far they lie apart."""

import polars as pl
import pytest

from stages.lib.results import accuracies, chance_levels, draw_spreads, headline, item_means


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
