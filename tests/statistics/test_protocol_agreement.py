"""Protocols are compared item by item, and a liking for a position is told from chance."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from scipy import stats

from osler.statistics.protocol_agreement import (
    Unparsed,
    agreements,
    cohen_kappa,
    position_biases,
    protocol_accuracies,
    stuart_maxwell_p,
    unparsed_counts,
)


def answers(protocol: str, predicted: Sequence[int | None], gold: Sequence[int], benchmark: str = "b") -> pl.DataFrame:
    """One item each, two of a group, four options."""
    return pl.DataFrame(
        {
            "benchmark": benchmark,
            "group": [f"g{number // 2}" for number in range(len(gold))],
            "item_id": [f"{benchmark}/{number:04d}" for number in range(len(gold))],
            "strategy": "zero_shot",
            "protocol": protocol,
            "model": "base",
            "seed": 1,
            "draw": 0,
            "prediction": pl.Series(predicted, dtype=pl.Int64),
            "gold": gold,
            "correct": [one == other for one, other in zip(predicted, gold, strict=True)],
            "scores": [[0.0] * 4] * len(gold),
        }
    )


LETTER = answers("letter", [0, 0, 0, 0, 1, 2, 3, 0], [0, 1, 2, 3, 1, 2, 3, 0])
WRITTEN = answers("generation", [0, 1, None, None, 1, 2, 3, 0], [0, 1, 2, 3, 1, 2, 3, 0])
BOTH = pl.concat([LETTER, WRITTEN])


def test_accuracy_by_protocol_counts_unparsed_as_wrong() -> None:
    """5 of 8 by letter, 6 of 8 written with two that could not be read; benchmarks count the same."""
    found = protocol_accuracies(BOTH, 0.95)
    assert {key: own.estimate for key, own in found.items()} == {
        ("generation", "base"): 0.75,
        ("letter", "base"): 0.625,
    }
    second = answers("letter", [0, 0], [1, 1], "c")
    assert protocol_accuracies(pl.concat([LETTER, second]), 0.95)["letter", "base"].estimate == 0.3125


def test_agreement_is_of_predictions() -> None:
    """The same option on 5 of 8 items; what could not be read agrees with nothing."""
    found = agreements(BOTH, 0.95)
    assert list(found) == [("base", "generation", "letter")]
    own = found["base", "generation", "letter"]
    assert (own.share.estimate, own.items) == (0.625, 8)
    assert own.share.low < 0.625 < own.share.high
    assert own.kappa == pytest.approx(cohen_kappa([0, 1, -1, -1, 1, 2, 3, 0], [0, 0, 0, 0, 1, 2, 3, 0]))


def test_kappa_by_hand() -> None:
    """Of 20 and 15 agreements, 5 and 10 disagreements 0.7 are seen and 0.5 expected; of 40 and 2, 5 and 3, 0.84 and 0.788.

    statsmodels 0.15.0: cohens_kappa([[20, 5], [10, 15]]).kappa is 0.4, of [[40, 5], [3, 2]] 0.245283.
    """
    first = [0] * 25 + [1] * 25
    second = [0] * 20 + [1] * 5 + [0] * 10 + [1] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    first, second = [0] * 45 + [1] * 5, [0] * 40 + [1] * 5 + [0] * 3 + [1] * 2
    assert cohen_kappa(first, second) == pytest.approx(0.245283, rel=1e-5)
    assert cohen_kappa([0, 1], [1, 0]) == pytest.approx(-1.0)
    assert cohen_kappa([0, 0], [0, 0]) == 1.0


def test_positions_by_eye() -> None:
    """The letter's answers stand first in 5 of 8, the right ones in 2: total variation 3 / 8, and always right there."""
    own = position_biases(BOTH, 0.95)["letter", "base"]
    assert own.predicted == (5 / 8, 1 / 8, 1 / 8, 1 / 8)
    assert own.gold == (2 / 8,) * 4
    assert own.total_variation == pytest.approx(3 / 8)
    assert [share.estimate for share in own.accuracy] == [1.0, 0.5, 0.5, 0.5]
    written = position_biases(BOTH, 0.95)["generation", "base"]
    assert (written.predicted, written.total_variation, written.p) == (written.gold, 0.0, 1.0)
    assert [share.estimate for share in written.accuracy] == [1.0, 1.0, 0.5, 0.5]


def test_stuart_maxwell_of_single_items_is_the_textbook_s() -> None:
    """Of two labels it is McNemar's chi-square without correction; a table of three labels gives statsmodels' p."""
    first, second = [0] * 14 + [1] * 5 + [0] * 30, [1] * 14 + [0] * 5 + [0] * 30
    names = [str(number) for number in range(49)]
    assert stuart_maxwell_p(first, second, names) == pytest.approx(stats.chi2.sf(81 / 19, 1))
    table = np.array([[20, 10, 5], [3, 30, 15], [0, 5, 40]])
    one, other = (np.repeat(index.ravel(), table.ravel()).tolist() for index in np.indices(table.shape))
    # statsmodels 0.15.0: SquareTable(table, shift_zeros=False).homogeneity(method="stuart_maxwell").pvalue
    assert stuart_maxwell_p(one, other, [str(n) for n in range(128)]) == pytest.approx(0.0010257277265580678, rel=1e-9)
    assert stuart_maxwell_p([], [], []) == 1.0


def test_a_model_that_guesses_without_a_liking_is_seldom_called_biased() -> None:
    """p < 0.05 in 5 +- 2 % of 1,000 simulations where groups share their answer; item by item it would be far more."""
    generator = np.random.default_rng(3)
    rejected = naive = 0
    for _ in range(1000):
        index = np.repeat(np.arange(80), 4)
        first, second = (generator.integers(0, 4, size=80)[index].tolist() for _ in range(2))
        rejected += stuart_maxwell_p(first, second, [str(number) for number in index]) < 0.05
        naive += stuart_maxwell_p(first, second, [str(number) for number in range(320)]) < 0.05
    assert rejected / 1000 == pytest.approx(0.05, abs=0.02)
    assert naive / 1000 > 0.3


def test_unparsed_answers_are_counted() -> None:
    """Two of eight written answers, none by letter."""
    assert unparsed_counts(BOTH) == {
        ("zero_shot", "generation", "base"): Unparsed(2, 8),
        ("zero_shot", "letter", "base"): Unparsed(0, 8),
    }


def test_protocols_of_three_seeds_are_means_over_them() -> None:
    """5, 5 and 8 of 8 by letter: 75 %, with an interval wider than that of 6 of 8 on one seed; agreement is within a seed."""
    right = answers("letter", LETTER["gold"].to_list(), LETTER["gold"].to_list())
    seeds = pl.concat(
        [rows.with_columns(seed=pl.lit(seed, pl.Int64)) for seed, rows in enumerate((LETTER, LETTER, right))]
    )
    share = protocol_accuracies(seeds, 0.95)["letter", "base"]
    one = protocol_accuracies(WRITTEN, 0.95)["generation", "base"]
    assert share.estimate == one.estimate == 0.75
    assert share.low < share.estimate < share.high
    written = pl.concat([WRITTEN.with_columns(seed=pl.lit(seed, pl.Int64)) for seed in range(3)])
    found = agreements(pl.concat([seeds, written]), 0.95)["base", "generation", "letter"]
    assert found.items == 8
    assert found.share.estimate == pytest.approx((5 + 5 + 6) / 24)


def test_agreement_that_depends_on_the_seed_is_less_sure() -> None:
    """The same answers on all, half and none of 200 items: 50 %, with an interval far wider than that of half on one seed."""
    gold = [0] * 200
    letter = [answers("letter", [0] * 200, gold).with_columns(seed=pl.lit(seed, pl.Int64)) for seed in range(3)]
    written = [
        answers("generation", [0] * same + [1] * (200 - same), gold).with_columns(seed=pl.lit(seed, pl.Int64))
        for seed, same in enumerate((200, 100, 0))
    ]
    three = agreements(pl.concat([*letter, *written]), 0.95)["base", "generation", "letter"].share
    one = agreements(pl.concat([letter[1], written[1]]), 0.95)["base", "generation", "letter"].share
    assert three.estimate == one.estimate == 0.5
    assert three.high - three.low > 3 * (one.high - one.low)
