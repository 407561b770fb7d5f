"""Numbers as the cells of tables show them."""

import math
from collections.abc import Mapping, Sequence

from osler.report.page import Code, Table
from osler.statistics.accuracy import in_order
from osler.statistics.intervals import Interval

MARK = " †"  # of a result that guessing may give


def percent(interval: Interval, digits: int = 1) -> str:
    """`91.2 [88.9, 93.1]`, from fractions."""
    share, low, high = (f"{100 * value:.{digits}f}" for value in (interval.estimate, interval.low, interval.high))
    return f"{share} [{low}, {high}]"


def points(interval: Interval) -> str:
    """`+1.2 [-0.3, +2.7]`, from fractions."""
    gain, low, high = (f"{100 * value:+.1f}" for value in (interval.estimate, interval.low, interval.high))
    return f"{gain} [{low}, {high}]"


def bits(interval: Interval) -> str:
    """`1.234 [1.200, 1.268]`; without bounds where one document gives none."""
    if math.isinf(interval.high):
        return f"{interval.estimate:.3f}"
    return f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def p_value(p: float) -> str:
    """`0.031`, `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def counted(number: int, what: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def on_seeds(seeds: int) -> str:
    """What an interval is over, in words.

    It reads `on 1 seed, over items alone`, or `over items and 3 seeds`.
    """
    return f"over items and {seeds} seeds" if seeds > 1 else "on 1 seed, over items alone"


def grid(cells: Mapping[tuple[str, str], str], columns: Sequence[str]) -> Table:
    """A table of models by `columns`.

    Its cells are by column and model; a missing one is empty.
    """
    models = in_order(model for _, model in cells)
    return Table(
        ["model", *columns],
        [[Code(model), *(cells.get((column, model), "") for column in columns)] for model in models],
    )


def at_chance(interval: Interval, chance: float) -> bool:
    """Whether guessing is among what the interval allows."""
    return interval.low <= chance <= interval.high
