"""The auxiliary loss of a mixture of experts: what transformers computes, without padding, and never silently off."""

from pathlib import Path
from typing import Any

import pytest
import torch

from osler.build.section import BuildError
from osler.inference.expert_loads import expert_loads
from osler.model.router import assignments, router_coefficient, router_loss
from osler.statistics.accuracy import load_entropy
from osler.training.batches import batch_of
from osler.training.checkpoints import Checkpoint
from osler.training.loop import train
from osler.training.packed_loss import PackedLoss
from osler.training.run import Run
from tests.support.runs import VOCABULARY, Killed, a_run, rows_of, same, weights
from tests.support.tiny import NUMERICS, TEXTS, launch, tiny_model, tiny_tokenizer

KEPT = torch.tensor([True, True, False])


def log_probabilities(*rows: list[float]) -> torch.Tensor:
    return torch.log(torch.tensor(rows))


def test_the_loss_by_hand() -> None:
    """Two tokens to the first of two experts at 0.9 and 0.6: f = (1, 0), P = (0.75, 0.25), loss 2 x 0.75 = 1.5."""
    logits = log_probabilities([0.9, 0.1], [0.6, 0.4], [0.1, 0.9])
    assert assignments(logits, 1, KEPT).tolist() == [2, 0]
    assert float(router_loss([logits], 1, KEPT)) == pytest.approx(1.5)
    assert float(router_loss([logits], 1, torch.ones(3, dtype=torch.bool))) == pytest.approx(
        2 * (2 / 3 * 1.6 / 3 + 1 / 3 * 1.4 / 3)
    )


def test_an_even_router_costs_k_and_a_collapsed_one_e() -> None:
    """With 4 experts and 2 a token: 2 where each gets half of the tokens, 4 where two get all."""
    even = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]])
    assert float(router_loss([even * 100], 2, torch.tensor([True, True]))) == pytest.approx(2)
    assert float(router_loss([even[:1] * 100], 2, torch.tensor([True]))) == pytest.approx(4)


def test_without_a_token_there_is_no_loss() -> None:
    """A process without rows in the last step adds 0, not NaN."""
    assert float(router_loss([torch.zeros(3, 4)], 2, torch.zeros(3, dtype=torch.bool))) == 0


def test_it_is_the_loss_of_transformers_with_a_mask() -> None:
    """On random logits of three layers, 8 experts, 2 a token, a third of the tokens padding."""
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    torch.manual_seed(1)
    logits = tuple(torch.randn(30, 8, requires_grad=True) for _ in range(3))
    kept = torch.arange(30) % 3 > 0
    ours, theirs = router_loss(logits, 2, kept), load_balancing_loss_func(logits, 8, 2, kept.reshape(2, 15).long())
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    pairs = zip(torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits), strict=True)
    assert all(torch.allclose(one, other, atol=1e-7) for one, other in pairs)


def test_padding_is_no_token_of_the_router() -> None:
    """What stands in the padding of a row, and how much of it there is, moves neither sum of the loss."""
    loss = PackedLoss(tiny_model(VOCABULARY, experts=4))
    batch = batch_of([(rows_of([[5, 4]]), 0)])
    other = batch.tokens_BT.clone()
    other[0, 9:] = (other[0, 9:] + 7) % VOCABULARY
    with torch.no_grad():
        before, after, shorter = (
            loss(tokens, positions, labels, kept, None)
            for tokens, positions, labels, kept in (
                (batch.tokens_BT, batch.positions_BT, batch.labels_BT, batch.kept_BT),
                (other, batch.positions_BT, batch.labels_BT, batch.kept_BT),
                (batch.tokens_BT[:, :9], batch.positions_BT[:, :9], batch.labels_BT[:, :9], batch.kept_BT[:, :9]),
            )
        )
    assert float(before[1]) > 0
    for changed in (after, shorter):
        assert torch.allclose(before, changed, rtol=1e-5)


def test_a_packed_document_is_read_as_if_it_were_alone() -> None:
    """Hidden states of a Mixtral agree to 1e-5 with those of each segment by itself."""
    model = PackedLoss(tiny_model(VOCABULARY, experts=4))
    batch = batch_of([(rows_of([[5, 7, 4]]), 0)])
    with torch.no_grad():
        packed, _ = model.hidden(batch.tokens_BT, batch.positions_BT, None)
        for start, end in ((0, 5), (5, 12), (12, 16)):
            alone, _ = model.hidden(batch.tokens_BT[:, start:end], torch.arange(end - start)[None], None)
            assert torch.allclose(packed[:, start:end], alone, atol=1e-5)


def trained(folder: Path, coefficient: float, rows: int = 20) -> tuple[Any, Any]:
    model = tiny_model(VOCABULARY, experts=4)
    model.config.router_aux_loss_coef = coefficient
    checkpoint = Checkpoint(folder, "code", False)
    return model, train(model, a_run(rows=rows, weight_decay=0.0), NUMERICS, checkpoint, launch())[0]


def test_the_router_learns_from_its_loss_and_the_log_keeps_both_apart(tmp_path: Path) -> None:
    """With a coefficient that drowns the rest, AdamW's first step goes against the sign of the router loss's gradient; the
    language-model loss in the log has nothing of it, and a coefficient of 0 logs none."""
    fresh = PackedLoss(tiny_model(VOCABULARY, experts=4))
    batch = batch_of(a_run(rows=2).global_batch(0))
    _, router_sum = fresh(batch.tokens_BT, batch.positions_BT, batch.labels_BT, batch.kept_BT, None)
    gate = fresh.model.model.layers[0].mlp.gate.weight
    (slope,) = torch.autograd.grad(router_sum, gate)
    (model, large), (_, dense) = (trained(tmp_path / str(n), n, rows=2) for n in (1e6, 0.0))
    step = model.model.layers[0].mlp.gate.weight - gate
    clear = slope.abs() > slope.abs().max() / 100
    assert clear.float().mean() > 0.5
    assert torch.equal(step[clear].sign(), -slope[clear].sign())
    assert large.log[0][2] == dense.log[0][2]
    assert large.log[0][4] == pytest.approx(float(router_sum.detach()) / int(batch.kept_BT.sum()), abs=1e-6)
    assert dense.log[0][4] == 0


def test_a_router_loss_that_is_not_produced_stops_training_before_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without router logits, or with logits that carry no gradient, the weights stay as they were."""
    model = tiny_model(VOCABULARY, experts=4)
    before = weights(model)
    original = type(model.model).forward

    def silent(self: Any, *arguments: Any, output_router_logits: bool = False, **keywords: Any) -> Any:
        assert output_router_logits
        return original(self, *arguments, **keywords)

    def detached(self: Any, *arguments: Any, **keywords: Any) -> Any:
        output = original(self, *arguments, **keywords)
        output.router_logits = tuple(layer.detach() for layer in output.router_logits)
        return output

    for wrong in (silent, detached):
        monkeypatch.setattr(type(model.model), "forward", wrong)
        with pytest.raises(BuildError, match="no router loss is produced"):
            train(model, a_run(), NUMERICS, Checkpoint(tmp_path, "code", False), launch())
    assert same(before, weights(model))


def test_a_killed_run_of_a_mixture_ends_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights and both losses of the log."""
    model, state = trained(tmp_path / "whole", 0.02)
    original = Run.global_batch

    def killed(run: Run, step: int) -> Any:
        if step == 5:
            raise Killed
        return original(run, step)

    monkeypatch.setattr(Run, "global_batch", killed)
    with pytest.raises(Killed):
        trained(tmp_path / "part", 0.02)
    monkeypatch.undo()
    resumed, again = trained(tmp_path / "part", 0.02)
    assert same(weights(model), weights(resumed))
    assert again.log == state.log


def test_a_dense_model_has_no_router() -> None:
    """Its coefficient is 0 and it has no loads."""
    dense = tiny_model(VOCABULARY)
    assert router_coefficient(dense.config) == 0
    assert expert_loads(dense, None, TEXTS, 16, 64).is_empty()


def test_every_token_of_a_text_is_sent_to_two_experts_once_in_each_layer() -> None:
    """Counts sum to twice the tokens without BOS and padding, however the texts are batched."""
    tokenizer = tiny_tokenizer()
    model = tiny_model(len(tokenizer), experts=4)
    tokens = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in TEXTS)
    loads = expert_loads(model, tokenizer, TEXTS, 16, 64)
    assert loads.group_by("layer").agg(n=loads["tokens"].sum()).height == 2
    assert loads.filter(layer=0)["tokens"].sum() == loads.filter(layer=1)["tokens"].sum() == 2 * tokens
    assert loads.equals(expert_loads(model, tokenizer, TEXTS, 16, 1))


@pytest.mark.parametrize(
    ("tokens", "entropy"),
    [([5, 5, 5, 5], 1.0), ([9, 0], 0.0), ([2, 1, 1], 1.5 * 0.6931472 / 1.0986123), ([0, 0], None)],
)
def test_entropy_by_hand(tokens: list[int], entropy: float | None) -> None:
    """1 where all experts have the same load, 0 where one has all."""
    assert load_entropy(tokens) == (None if entropy is None else pytest.approx(entropy))
