"""Tokens of an answer, and which strategies are worth theirs."""

import polars as pl
import pytest

from osler.statistics.prompt_costs import Cost, costs, pareto_frontier


def rows(strategy: str, read: list[int], written: list[int], benchmark: str = "b", draw: int = 0) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "item_id": [f"{benchmark}/{number}" for number in range(len(read))],
            "benchmark": benchmark,
            "strategy": strategy,
            "model": "m",
            "draw": draw,
            "prompt_tokens": read,
            "generated_tokens": written,
        }
    )


def test_tokens_by_eye() -> None:
    """Means over answers, then over benchmarks whatever their size; two draws cost what one does."""
    found = costs(
        pl.concat(
            [
                *(rows("few_shot", [10, 30], [0, 4], draw=draw) for draw in (0, 1)),
                rows("zero_shot", [10, 20], [0, 0]),
                rows("zero_shot", [100] * 3, [2] * 3, "c"),
            ]
        )
    )
    assert found == {("few_shot", "m"): Cost(20.0, 2.0), ("zero_shot", "m"): Cost(57.5, 1.0)}
    assert found["zero_shot", "m"].tokens == 58.5


def test_the_frontier_is_what_nothing_beats() -> None:
    """Dearer and no better is not on it, nor is what equals the cheaper one; order of input does not matter."""
    points = {"cot": (90.0, 0.6), "zero": (10.0, 0.4), "few": (40.0, 0.4), "vote": (300.0, 0.7), "med": (90.0, 0.55)}
    assert pareto_frontier(points) == ["zero", "cot", "vote"]
    assert pareto_frontier(dict(reversed(points.items()))) == ["zero", "cot", "vote"]
    assert pareto_frontier({}) == []


@pytest.mark.parametrize("accuracy", [0.3, 0.5])
def test_one_strategy_is_its_own_frontier(accuracy: float) -> None:
    """However good."""
    assert pareto_frontier({"only": (1.0, accuracy)}) == ["only"]
