"""Probabilities of options from their scores."""

from collections.abc import Sequence

import numpy as np

SCORE_DIGITS = 5  # of log-likelihoods, probabilities and shares of votes in artifacts


def softmax(scores: Sequence[float]) -> tuple[float, ...]:
    """Probabilities of options from their log-likelihoods, taken as the only possible answers."""
    shifted = np.exp(np.asarray(scores) - max(scores))
    return tuple((shifted / shifted.sum()).tolist())


def option_probabilities(scores: Sequence[float]) -> tuple[float, ...]:
    """Of the options, from scores of any protocol.

    Log-likelihoods, which are never positive, go through `softmax`; shares of votes and probabilities stand for themselves.
    """
    return tuple(scores) if max(scores) > 0 else softmax(scores)


def likeliest(scores: Sequence[float]) -> int:
    """The first option of the highest score."""
    return max(range(len(scores)), key=lambda index: scores[index])
