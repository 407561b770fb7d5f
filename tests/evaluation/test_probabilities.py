"""Probabilities of options, and the likeliest of them."""

import pytest

from osler.evaluation.probabilities import likeliest, softmax


def test_probabilities_add_up_and_a_constant_changes_none() -> None:
    """Log-likelihoods 1 apart are odds of e; far below zero they do not vanish."""
    assert softmax([0.0, 1.0]) == pytest.approx((0.26894142, 0.73105858))
    assert softmax([-2000.0, -1999.0]) == pytest.approx(softmax([0.0, 1.0]))
    assert sum(softmax([3.0, -1.0, 0.5])) == pytest.approx(1)


def test_of_equal_scores_the_first_is_the_likeliest() -> None:
    """No seed and no order of computation decides a tie."""
    assert likeliest([0.1, 0.7, 0.7]) == 1
    assert likeliest([-5.0]) == 0
