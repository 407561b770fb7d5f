"""The sliced head is the head."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from osler.training import cross_entropy as module
from osler.training.cross_entropy import linear_cross_entropy


@pytest.mark.parametrize("at_once", [1, 40, 1 << 22])
def test_loss_and_gradients_equal_those_of_the_whole(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """In float64 and to 1e-12, in slices of one position, of some, and of all; the incoming gradient is honored."""
    monkeypatch.setitem(module.LOGITS_AT_ONCE, "cpu", at_once)
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(7, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.randn(11, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    labels = torch.randint(0, 11, (7,), generator=generator)
    results = []
    for loss in (
        linear_cross_entropy(hidden, weight, labels),
        cross_entropy(hidden @ weight.T, labels, reduction="sum"),
    ):
        results.append((loss.detach(), *torch.autograd.grad(3 * loss, (hidden, weight))))
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-12, rtol=1e-12)


def test_slices_in_bfloat16_are_added_up_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand slices whose gradients are alike: the sum is theirs to 1 %, where a bfloat16 sum would stop growing."""
    monkeypatch.setitem(module.LOGITS_AT_ONCE, "cpu", 3)
    hidden = torch.ones(1000, 2, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.zeros(3, 2, dtype=torch.bfloat16, requires_grad=True)
    linear_cross_entropy(hidden, weight, torch.zeros(1000, dtype=torch.int64)).backward()
    assert weight.grad is not None
    assert weight.grad.float() == pytest.approx(1000 * torch.tensor([[-2 / 3] * 2, [1 / 3] * 2, [1 / 3] * 2]), rel=0.01)


def test_huge_logits_do_not_overflow() -> None:
    """A logit of 1000 is a certainty, not an infinity."""
    loss = linear_cross_entropy(torch.tensor([[1000.0]]), torch.tensor([[1.0], [-1.0]]), torch.tensor([1]))
    assert float(loss) == 2000.0


def test_no_positions_cost_nothing() -> None:
    """A process without labels in a step contributes 0 and zero gradients."""
    weight = torch.ones(3, 2, requires_grad=True)
    loss = linear_cross_entropy(torch.ones(0, 2, requires_grad=True), weight, torch.empty(0, dtype=torch.int64))
    loss.backward()
    assert float(loss) == 0.0
    assert weight.grad is not None
    assert not weight.grad.any()
