"""Tests of paired differences agree with their textbooks and err as often as they say."""

import math

import numpy as np
import pytest
from scipy import stats

from osler.statistics.intervals import Pairs, mean_difference, standard_error
from osler.statistics.paired_tests import holm, mcnemar_p, minimum_detectable_effect, noninferiority_p, tost_p
from tests.statistics.test_intervals import SIMULATIONS, simulated


@pytest.mark.parametrize(("wins", "losses", "expected"), [(0, 0, 1.0), (5, 5, 1.0), (6, 0, 2 / 64), (1, 8, 20 / 512)])
def test_mcnemar_counts_the_items_that_one_got_right(wins: int, losses: int, expected: float) -> None:
    """Two-sided binomial tails, by hand; items that both got right or wrong do not count.

    statsmodels 0.15.0: mcnemar([[0, 1], [8, 0]], exact=True).pvalue is 0.0390625, with 6 and 0 it is 0.03125.
    """
    first = [True] * wins + [False] * losses + [True, False] * 9
    second = [False] * wins + [True] * losses + [True, False] * 9
    assert mcnemar_p(first, second) == pytest.approx(expected)
    assert mcnemar_p(second, first) == pytest.approx(expected)


def test_mcnemar_errs_at_most_as_often_as_it_says() -> None:
    """Two models of one accuracy on 200 unrelated items: p < 0.05 in at most 5 % of simulations, p < 0.2 in at most 20 %."""
    generator = np.random.default_rng(10)
    p = []
    for _ in range(SIMULATIONS):
        first, second = generator.random((2, 200)) < 0.6
        p.append(mcnemar_p(first.tolist(), second.tolist()))
    assert 0.02 < np.mean(np.array(p) < 0.05) <= 0.05
    assert np.mean(np.array(p) < 0.2) <= 0.2


def rejects(pairs: Pairs) -> bool:
    """Two-sided t test at 5 % that the mean difference is zero."""
    freedom = len(set(zip(pairs.benchmark, pairs.group, strict=True))) - len(set(pairs.benchmark))
    return bool(abs(mean_difference(pairs)) > stats.t.ppf(0.975, freedom) * standard_error(pairs))


def test_an_effect_of_the_minimum_detectable_size_is_found_four_times_in_five() -> None:
    """Simulated with the effect that 200 simulations call detectable on average, the test finds it in 80 +- 3 %."""
    generator = np.random.default_rng(13)
    effect = float(np.mean([minimum_detectable_effect(simulated(generator, 0.15, 120), 0.95, 0.8) for _ in range(200)]))
    assert 0.1 < effect < 0.25
    found = np.mean([rejects(simulated(generator, effect, 120)) for _ in range(2000)])
    assert found == pytest.approx(0.8, abs=0.03)
    assert minimum_detectable_effect(Pairs(["b"], ["g"], np.ones(1)), 0.95, 0.8) == math.inf


def test_equivalence_is_wrongly_found_in_5_percent_at_the_margin() -> None:
    """With a true difference of just the margin TOST and the test of no loss err in 5 +- 1 %; within it they find it."""
    generator = np.random.default_rng(14)
    gains = [simulated(generator, 0.12, 200) for _ in range(SIMULATIONS)]
    losses = [Pairs(pairs.benchmark, pairs.group, -pairs.difference) for pairs in gains]
    assert np.mean([tost_p(pairs, 0.12) < 0.05 for pairs in gains]) == pytest.approx(0.05, abs=0.01)
    assert np.mean([noninferiority_p(pairs, 0.12) < 0.05 for pairs in losses]) == pytest.approx(0.05, abs=0.01)
    none = [simulated(generator, 0.0, 1200) for _ in range(100)]
    assert np.mean([tost_p(pairs, 0.12) < 0.05 for pairs in none]) == 1.0


def test_one_sided_tests_are_scipy_s_but_for_the_groups_added() -> None:
    """Of 400 single items, each in its own group: scipy's one-sided t tests against -0.1 and 0.1, a little shyer.

    statsmodels 0.15.0: DescrStatsW(difference).ttost_mean(-0.1, 0.1)[0] is 0.00114063, scipy's larger p.
    """
    difference = np.random.default_rng(15).choice([1.0, 0.0, -1.0], p=[0.1, 0.8, 0.1], size=400)
    pairs = Pairs(["b"] * 400, [str(number) for number in range(400)], difference)
    below = stats.ttest_1samp(difference, -0.1, alternative="greater").pvalue
    above = stats.ttest_1samp(difference, 0.1, alternative="less").pvalue
    assert noninferiority_p(pairs, 0.1) == pytest.approx(below, rel=0.5)
    assert tost_p(pairs, 0.1) == pytest.approx(max(below, above), rel=0.5)
    assert tost_p(pairs, 0.1) > max(below, above) == pytest.approx(0.00114063, rel=1e-5)
    assert tost_p(Pairs(["b"], ["g"], np.zeros(1)), 0.1) == 1.0


def test_holm_by_hand() -> None:
    """Of four the smallest counts four times, the next three, two, once, never below the one before; at most 1.

    statsmodels 0.15.0: multipletests([0.01, 0.04, 0.03, 0.005], method="holm")[1] is [0.03, 0.06, 0.06, 0.02].
    """
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_holm_errs_anywhere_in_at_most_5_percent() -> None:
    """Seven true nulls, related, among three that are false: some wrong rejection in at most 5 % of simulations, not far less.

    Uncorrected it is 27 %.
    """
    generator = np.random.default_rng(16)
    shared = generator.normal(size=(SIMULATIONS, 1))
    scores = (shared + generator.normal(size=(SIMULATIONS, 7)) * 2) / 5**0.5
    null = 2 * stats.norm.sf(np.abs(scores))
    adjusted = np.array([holm([*own, 1e-6, 1e-5, 1e-7])[:7] for own in null.tolist()])
    assert 0.035 < np.mean((adjusted <= 0.05).any(axis=1)) <= 0.053
    assert np.mean((null <= 0.05).any(axis=1)) > 0.2
