"""NEFTune noise of one row."""

import math

import pytest
import torch

from osler.training.neftune_noise import neftune_noise


def draw(lengths: list[int], hidden: int = 512, alpha: float = 5.0, seed: int = 0) -> torch.Tensor:
    return neftune_noise(torch.tensor(lengths), hidden, alpha, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("lengths", [[8], [3, 5], [1, 1, 6], [64, 2, 16]])
def test_noise_norm_is_the_same_for_every_segment(lengths: list[int]) -> None:
    """Each segment's noise has L2 norm alpha / sqrt(3), within 10 %, however the row is packed."""
    for part in draw(lengths).split(lengths):
        assert float(part.norm()) == pytest.approx(5 / math.sqrt(3), rel=0.1)


def test_noise_is_uniform_and_two_sided() -> None:
    """Bounded by alpha / sqrt(L d), mean 0 and a quarter in each quarter of the interval: one-sided noise has the same norm."""
    bound = 5 / math.sqrt(40 * 512)
    noise = draw([40]).flatten() / bound
    assert float(noise.abs().max()) <= 1
    counts = torch.histc(noise, 4, -1, 1) / len(noise)
    assert torch.allclose(counts, torch.full((4,), 0.25), atol=0.02)


def test_alpha_scales_and_zero_is_silent() -> None:
    """Twice the alpha is twice the same noise; alpha 0 is zeros."""
    assert torch.equal(draw([4, 4], alpha=10.0), 2 * draw([4, 4], alpha=5.0))
    assert not draw([4], alpha=0.0).any()


def test_impossible_arguments_are_refused() -> None:
    """A negative alpha and an empty segment are mistakes."""
    for lengths, alpha in (([2], -1.0), ([2, 0], 5.0)):
        with pytest.raises(ValueError, match="at least"):
            draw(lengths, alpha=alpha)
