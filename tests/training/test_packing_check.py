"""The check before the first step that documents of a packed row do not see each other."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState

from osler.build.section import BuildError
from osler.model.adapters import adapt
from osler.tokens.shards import PackedRows
from osler.training import packing_check
from osler.training.checkpoints import Checkpoint
from osler.training.engines import started_engine
from osler.training.loop import train
from osler.training.packing_check import check_packing
from osler.training.prompted_loss import loss_of
from osler.training.run import Run
from tests.support.families import FAMILIES, tiny, with_a_state_across_rows, with_places_of_rows, without_positions
from tests.support.runs import a_run, recipe, rows_of, same, weights
from tests.support.tiny import NUMERICS, launch

WRONG: list[tuple[Callable[[Any], Any], str]] = [
    (without_positions, "documents of a packed row see each other: states change by"),
    (with_a_state_across_rows, "documents of a packed row see each other: states change by"),
    (with_places_of_rows, "a document's states differ by .* with its place in a packed row"),
]


@pytest.fixture(autouse=True)
def any_precision() -> Iterator[None]:
    """accelerate keeps the first one that a process asks for."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def looked_at(model: Any, dtype: str = "float32", run: Run | None = None) -> None:
    numerics = NUMERICS.model_copy(update={"dtype": dtype})
    engine = started_engine(loss_of(model.train()), recipe(), numerics, launch())
    check_packing(engine, run or a_run(), numerics, model.config, None)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_families_pass_and_the_same_without_positions_do_not(family: str, dtype: str) -> None:
    """With weights as they are before training and ten times larger."""
    for size in (0.02, 0.2):
        looked_at(tiny(family, initializer_range=size), dtype)
        with pytest.raises(BuildError, match="see each other"):
            looked_at(without_positions(tiny(family, initializer_range=size)), dtype)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_right_families_show_is_far_below_what_is_borne(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred-thousandth of it in float32."""
    monkeypatch.setattr(packing_check, "SEEN", 5e-7)
    monkeypatch.setattr(packing_check, "MOVED", 2e-6)
    looked_at(tiny(family))


@pytest.mark.parametrize(("change", "said"), WRONG)
def test_nothing_is_learned_by_a_model_that_packs_wrongly(
    change: Callable[[Any], Any], said: str, tmp_path: Path
) -> None:
    """It is refused by name before the first step: no checkpoint is there, and no weight has changed."""
    model = change(tiny("llama"))
    before = weights(model)
    with pytest.raises(BuildError, match=f"^test seed 3: llama: {said}"):
        train(model, a_run(), NUMERICS, Checkpoint(tmp_path, "x", False), launch(checkpoint_every_steps=1))
    assert same(before, weights(model))
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "lora", "rank": 2, "alpha": 4.0, "target_modules": "all-linear"},
        {"method": "prompt_tuning", "virtual_tokens": 3},
        {"method": "prefix_tuning", "virtual_tokens": 3},
        {"method": "gated_residual", "inner_width": 8},
    ],
    ids=str,
)
def test_adapters_are_looked_at_too(settings: dict[str, Any]) -> None:
    """On the model as it is, and on one that packs wrongly."""
    model = tiny("qwen3")
    adapt(model, settings, 1, "adapter.x", 16)
    looked_at(model)
    with pytest.raises(BuildError, match="see each other"):
        looked_at(without_positions(model))


def test_the_check_leaves_no_trace() -> None:
    """Weights, gradients and generators are as before; a run's first random number is the one that it was."""
    model = tiny("mixtral").train()
    engine = started_engine(loss_of(model), recipe(), NUMERICS, launch())
    before, state = weights(model), torch.get_rng_state()
    check_packing(engine, a_run(), NUMERICS, model.config, None)
    assert same(before, weights(model))
    assert torch.equal(state, torch.get_rng_state())
    assert all(value.grad is None for value in model.parameters())
    assert not engine.optimizer.state


@pytest.mark.parametrize("limit", [None, 1])
def test_rows_of_the_check_are_those_of_a_batch(limit: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing is compiled for another shape, and no more memory needed."""
    shapes = set()
    made = packing_check._rows_of

    def seen(*given: Any) -> Any:
        batch = made(*given)
        shapes.add(tuple(batch.tokens_BT.shape))
        return batch

    monkeypatch.setattr(packing_check, "_rows_of", seen)
    model, run = tiny("llama"), a_run()
    engine = started_engine(loss_of(model), recipe(), NUMERICS, launch())
    check_packing(engine, run, NUMERICS, model.config, limit)
    assert shapes == {tuple(run.prepared(0, 0, 1, limit, 8).parts[0].tokens_BT.shape)}


def test_rows_of_one_document_and_of_few_tokens_are_enough() -> None:
    """What it asks are documents of its own making."""
    one = rows_of([[16], [16]])
    run = replace(a_run(), sources={"x": one})
    looked_at(tiny("olmo2"), run=run)
    with pytest.raises(BuildError, match="see each other"):
        looked_at(without_positions(tiny("olmo2")), run=run)


def test_a_leak_of_a_narrow_window_is_seen_in_wide_rows() -> None:
    """Where most tokens of a document are too far from the one before it."""
    tokens_RT = np.random.default_rng(0).integers(3, 97, (2, 64)).astype(np.uint16)
    wide = PackedRows(tokens_RT, np.array([1, 2]), np.array([64, 64], np.int32), None)
    run = replace(a_run(batch_tokens=64), sources={"x": wide})
    looked_at(tiny("mistral"), run=run)
    with pytest.raises(BuildError, match="see each other"):
        looked_at(without_positions(tiny("mistral")), run=run)
