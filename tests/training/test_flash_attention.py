"""What FlashAttention is told, shown with its functions in plain torch: no GPU is needed, and none has been used."""

from typing import Any

import pytest
import torch

from osler.model.numerics import forget_a_warning
from osler.training.batches import Batch, batch_of
from osler.training.packed_loss import PackedLoss
from osler.training.run import Run
from tests.support import flash
from tests.support.runs import VOCABULARY, a_run, rows_of
from tests.support.tiny import tiny_model

LENGTHS = [[5, 7, 4], [1, 1, 10], [16]]


def batch() -> Batch:
    return batch_of([(rows_of(LENGTHS, learned=True), row) for row in range(3)])


def test_bounds_by_hand() -> None:
    """Of three rows one after another: each segment's end, the four tokens of padding, the longest of 16."""
    segments = batch().segments()
    assert segments.bounds_S1.tolist() == [0, 5, 12, 16, 17, 18, 28, 32, 48]
    assert (segments.bounds_S1.dtype, segments.longest) == (torch.int32, 16)


def test_a_process_without_a_row_has_bounds_too() -> None:
    """It takes part with another's tokens and has no lengths of its own."""
    run: Run = a_run(rows=3)
    (idle,) = run.micro_batches(1, 1, 2, None, 8)
    assert idle.lengths == []
    assert idle.segments().bounds_S1.equal(batch_of(run.global_batch(1)[:1]).segments().bounds_S1)
    places = idle.flat()[5]
    assert places is not None
    assert len(places) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("experts", [0, 4])
def test_loss_and_gradients_are_those_of_masks(monkeypatch: pytest.MonkeyPatch, experts: int) -> None:
    """In float64, with padding, labels on some tokens and a router: by bounds as by masks made from positions."""
    found = []
    for by_bounds in (False, True):
        module = PackedLoss(tiny_model(VOCABULARY, experts=experts).double())
        module.model.set_experts_implementation("eager")  # products of groups have no float64
        if by_bounds:
            flash.use(module.model, monkeypatch)
        sums = module(*(batch().flat() if by_bounds else batch().tensors()))
        sums.sum().backward()
        found.append((sums, [parameter.grad for parameter in module.parameters()]))
    assert torch.allclose(found[0][0], found[1][0], rtol=1e-12)
    assert all(
        torch.allclose(one, other, rtol=1e-9, atol=1e-11) for one, other in zip(found[0][1], found[1][1], strict=True)
    )


def test_each_layer_gets_the_same_bounds_and_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tensor itself, not one made anew in each layer, and the longest as a number, which no device is asked for."""
    module = PackedLoss(tiny_model(VOCABULARY))
    flash.use(module.model, monkeypatch)
    tensors = batch().flat()
    module(*tensors)
    segments: Any = tensors[-1]
    assert len(flash.CALLS) == 2
    for call in flash.CALLS:
        assert all(one is segments.bounds_S1 for one in call["bounds"])
        assert call["longest"] == (16, 16)
        assert type(call["longest"][0]) is int
        assert (call["causal"], call["dropout"]) == (True, 0.0)


@pytest.mark.parametrize("autocast", [True, False])
@pytest.mark.parametrize("told", [True, False])
def test_graphs_do_not_break(monkeypatch: pytest.MonkeyPatch, told: bool, autocast: bool) -> None:
    """torch.compile keeps the base model whole; by positions alone it breaks in every layer."""
    module = PackedLoss(tiny_model(VOCABULARY).to(torch.float32 if autocast else torch.bfloat16))
    flash.use(module.model, monkeypatch, flash.compiled_varlen_func)
    tokens, positions, *_, segments = batch().flat()
    torch._dynamo.reset()
    forget_a_warning()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = torch._dynamo.explain(module.hidden)(tokens, positions, None, segments if told else None)
    assert (found.graph_break_count == 0) == told, found.break_reasons


def test_other_lengths_compile_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of other lengths, and another number of segments, are two graphs in all, not one each."""
    module = PackedLoss(tiny_model(VOCABULARY).bfloat16())
    flash.use(module.model, monkeypatch, flash.compiled_varlen_func)
    graphs: list[Any] = []

    def counting(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph

    torch._dynamo.reset()
    hidden = torch.compile(module.hidden, backend=counting)
    with torch.no_grad():
        for lengths in ([[5, 7, 4]], [[8, 8]], [[3, 3, 3, 3]], [[16]], [[2, 14]], [[1, 2, 3, 4, 5]]):
            tokens, positions, *_, segments = batch_of([(rows_of(lengths), 0)]).flat()
            hidden(tokens, positions, None, segments)
    assert len(graphs) <= 2
