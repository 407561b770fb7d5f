"""Credit of each technique (continued pretraining, tuning, noise, prompting) in what they gain together: Shapley values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from stages.lib.intervals import Interval

if TYPE_CHECKING:
    from stages.lib.claims import Test


@dataclass(frozen=True)
class Credit:
    """What the steps from a reference cell of the factorial to a target cell are worth; fractions of accuracy.

    `steps` are cpt, sft, neftune and the strategy's name; their estimates add up to `total`'s.
    """

    reference: tuple[str, str, str]
    target: tuple[str, str, str]
    steps: dict[str, Interval]
    total: Interval
    items: int


def shapley_credit(predictions: pl.DataFrame, test: "Test", strategies: Sequence[str] | None = None) -> Credit | None:
    """Shapley credit from (base, none, zero_shot) to (cpt, neftune, best strategy); None without the full factorial."""
    raise NotImplementedError
