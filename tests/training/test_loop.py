"""The training loop: a killed run ends as if it was not, and noise is off at alpha 0."""

from pathlib import Path

import pytest
import torch

from osler.build.section import BuildError
from osler.training.checkpoints import Checkpoint
from osler.training.loop import train
from tests.support.runs import VOCABULARY, KilledAt, a_run, same, weights
from tests.support.tiny import NUMERICS, launch, tiny_model


def test_alpha_zero_is_plain_training_bit_for_bit_and_alpha_five_is_not(tmp_path: Path) -> None:
    """NEFTune without noise is SFT."""
    results = []
    for index, alpha in enumerate((0.0, 0.0, 5.0)):
        model = tiny_model(VOCABULARY)
        train(model, a_run(alpha), NUMERICS, Checkpoint(tmp_path / str(index), "code", False), launch())
        results.append(weights(model))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


@pytest.mark.parametrize("alpha", [0.0, 5.0])
@pytest.mark.parametrize("last_step", [4, 7])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path, alpha: float, last_step: int) -> None:
    """Weights and loss log of a run killed between checkpoints and resumed equal those of an uninterrupted one."""
    model = tiny_model(VOCABULARY)
    state, _ = train(model, a_run(alpha), NUMERICS, Checkpoint(tmp_path / "whole", "code", False), launch())
    with KilledAt(last_step):
        train(tiny_model(VOCABULARY), a_run(alpha), NUMERICS, Checkpoint(tmp_path / "part", "code", False), launch())
    resumed = tiny_model(VOCABULARY)
    torch.manual_seed(99)  # whatever state the new process starts in
    again, _ = train(resumed, a_run(alpha), NUMERICS, Checkpoint(tmp_path / "part", "code", False), launch())
    assert same(weights(model), weights(resumed))
    assert again.log == state.log
    assert again.tokens == state.tokens == 20 // 2 * (13 + 16)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    """A diverged model is not written."""
    model = tiny_model(VOCABULARY)
    with torch.no_grad():
        model.lm_head.weight.fill_(float("inf"))
    with pytest.raises(BuildError, match="lower the learning rate"):
        train(model, a_run(), NUMERICS, Checkpoint(tmp_path, "code", False), launch())


def test_the_loss_without_noise_is_that_of_the_same_weights_and_rows(tmp_path: Path) -> None:
    """Of the first step under heavy noise it is the loss of the run without noise, which has none of its own."""
    clean, _ = train(
        tiny_model(VOCABULARY), a_run(0.0, rows=2), NUMERICS, Checkpoint(tmp_path / "a", "", False), launch()
    )
    noisy, _ = train(
        tiny_model(VOCABULARY), a_run(1e3, rows=2), NUMERICS, Checkpoint(tmp_path / "b", "", False), launch()
    )
    assert noisy.log[0].noise_free_loss == clean.log[0].loss != noisy.log[0].loss
    assert clean.log[0].noise_free_loss is None
