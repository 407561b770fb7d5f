"""What a finished training is known by."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from osler.training.trained_model import Training, _settings
from stages.pretrain import Pretrain
from tests.support.runs import VOCABULARY, a_run, recipe
from tests.support.tiny import NUMERICS, tiny_model


def settings(**changes: Any) -> dict[str, Any]:
    """Of a pretraining on the same rows."""
    section = {"tokens": 20, "maximum_epochs": 2.0, "weights": {"x": 1.0}} | recipe().model_dump() | changes
    run = replace(a_run(), recipe=Pretrain.model_validate(section))
    return _settings(Training(tiny_model(VOCABULARY), run, {}, Path()), NUMERICS)


def test_a_limit_that_was_not_reached_is_no_part_of_a_result() -> None:
    """Nor are shares and tokens, but by the rows they come to; the learning rate is."""
    assert settings() == settings(maximum_epochs=9.0) == settings(weights={"x": 2.0}, tokens=19)
    assert settings() != settings(learning_rate=2e-3)
