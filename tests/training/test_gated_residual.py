"""A gated residual network: what it computes, that an untrained one changes no bit, and who may load its folder."""

import json
from math import exp
from pathlib import Path
from typing import Any

import pytest
import torch

from osler.inference.forward import hidden_states
from osler.inference.generation import generated
from osler.inference.interface import Sampling
from osler.inference.likelihoods import option_scores, window_scores
from osler.inference.prompt_tokens import Tree
from osler.model.adapters import CONFIG, adapt, is_mergeable, merged, write_adapter
from osler.model.gated_residual import NETWORK, Gated, GatedResidual
from osler.training.batches import batch_of
from osler.training.packed_loss import PackedLoss
from osler.training.prompted_loss import loss_of
from tests.support.families import FAMILIES, tiny
from tests.support.runs import rows_of
from tests.support.tiny import tiny_model

SETTINGS = {"method": "gated_residual", "inner_width": 5}
IDS = [5, 9, 17, 30, 4, 8]


def written(model: Any, folder: Path, size: float = 1.0) -> Path:
    """The folder of an adapter after a training that is not told: what it has learned is drawn anew."""
    adapter = adapt(model, SETTINGS, 3, "adapter.x", 16)
    weights = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
    for number, name in enumerate(weights):
        drawn = torch.randn(weights[name].shape, generator=torch.Generator().manual_seed(number))
        weights[name] = weights[name] + size * drawn
    write_adapter(adapter, weights, folder, folder / "adapter", {})
    return folder / "adapter"


def test_the_network_by_hand() -> None:
    """D = 2 and E = 1: the norm of (1, 3) is (-1, 1), of which -0.5 is made; ELU gives e^-0.5 - 1, twice that goes on."""
    network = GatedResidual(2, 1)
    values = {
        "norm.weight": [1.0, 1.0], "norm.bias": [0.0, 0.0], "first.weight": [[1.0, 0.0]], "first.bias": [0.5],
        "second.weight": [[2.0]], "second.bias": [0.0], "gate.weight": [[1.0], [0.0]], "gate.bias": [0.0, 1.0],
        "value.weight": [[3.0], [0.0]], "value.bias": [0.0, 4.0],
    }  # fmt: skip
    network.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    inner = 2 * (exp(-0.5) - 1)
    wanted = [1 + 3 * inner / (1 + exp(-inner)), 3 + 4 / (1 + exp(-1))]
    assert network(torch.tensor([[1.0, 3.0]]))[0].tolist() == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_untrained_one_changes_no_bit(family: str, tmp_path: Path) -> None:
    """Neither in training nor, written and read again, in evaluation."""
    packed = rows_of([[9, 4], [16]])
    batch = batch_of([(packed, 0), (packed, 1)])
    model, untouched = tiny(family), tiny(family)
    adapter = adapt(model, SETTINGS, 3, "adapter.x", 16)
    fresh = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
    write_adapter(adapter, fresh, tmp_path, tmp_path / "adapter", {})
    own = loss_of(model).hidden(batch.tokens_BT, batch.positions_BT, None)[0]
    assert torch.equal(own, PackedLoss(untouched).hidden(batch.tokens_BT, batch.positions_BT, None)[0])
    answering = merged(tiny(family), tmp_path / "adapter")
    ids = torch.tensor([IDS])
    assert torch.equal(hidden_states(answering, ids, None, None), hidden_states(untouched, ids, None, None))


def test_the_value_alone_begins_at_zero() -> None:
    """Else nothing would ever be learned; other seeds draw other weights."""
    networks = [GatedResidual(4, 3) for _ in range(3)]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        network.draw(seed)
    assert not networks[0].value.weight.any()
    for name in ("first", "second", "gate"):
        weight = networks[0].get_submodule(name).get_parameter("weight")
        assert weight.all()
        assert float(weight.abs().max()) <= weight.shape[1] ** -0.5
        assert torch.equal(weight, networks[1].get_submodule(name).get_parameter("weight"))
        assert not torch.equal(weight, networks[2].get_submodule(name).get_parameter("weight"))


def test_no_gradient_goes_through_the_model() -> None:
    """What the network reads asks for none, and what is below gets none."""
    model = tiny("llama").train()
    adapt(model, SETTINGS, 3, "adapter.x", 16)
    read: list[torch.Tensor] = []
    model.get_submodule(NETWORK).register_forward_pre_hook(lambda _, given: read.append(given[0]))
    packed = rows_of([[9, 4]])
    loss_of(model)(*batch_of([(packed, 0)]).tensors())[0].backward()
    assert not read[0].requires_grad
    with_gradient = {name for name, value in model.named_parameters() if value.grad is not None}
    assert with_gradient == {name for name, _ in model.named_parameters() if name.startswith(NETWORK)}


def test_evaluation_asks_the_model_with_its_network(tmp_path: Path) -> None:
    """Options, documents and texts are those of the network's states through the head, computed one token after another."""
    folder = written(tiny_model(50), tmp_path)
    ours, untouched = merged(tiny_model(50), folder), tiny_model(50)
    assert isinstance(ours, Gated)

    def logs(ids: list[int]) -> torch.Tensor:
        with torch.no_grad():
            states = untouched.model(torch.tensor([ids]), use_cache=False).last_hidden_state
            found: torch.Tensor = untouched.lm_head(ours.network(states))[0].log_softmax(1)
        return found

    prompts, options = [IDS, [*IDS, 3]], [[4], [6, 7]]
    for prompt, row in zip(
        prompts, option_scores(ours, [Tree(prompt, options, False) for prompt in prompts], 64), strict=True
    ):
        for option, score in zip(options, row, strict=True):
            rows = logs(prompt + option)
            wanted = sum(float(rows[len(prompt) - 1 + place, token]) for place, token in enumerate(option))
            assert score == pytest.approx(wanted, abs=1e-4)
    [scores] = window_scores(ours, [IDS], 64)
    assert scores == pytest.approx([float(logs(IDS)[place, token]) for place, token in enumerate(IDS[1:])], abs=1e-5)
    [text] = generated(ours, [IDS], Sampling(5, 0.0), [0], (2,), 64)
    ids = list(IDS)
    while len(ids) < len(IDS) + 5 and (len(ids) == len(IDS) or ids[-1] != 2):
        ids.append(int(logs(ids)[-1].argmax()))
    assert text == ids[len(IDS) :]
    with torch.no_grad():
        assert float((logs(IDS) - untouched(torch.tensor([IDS])).logits[0].log_softmax(1)).abs().max()) > 1e-2


def test_peft_refuses_the_folder_by_its_name(tmp_path: Path) -> None:
    """And it cannot be merged; the config says what it is."""
    from peft import PeftModel

    folder = written(tiny_model(50), tmp_path)
    assert json.loads((folder / CONFIG).read_text()) == {
        "base_model_name_or_path": None,
        "hidden_size": 32,
        "inference_mode": True,
        "inner_width": 5,
        "peft_type": "OSLER_GATED_RESIDUAL",
        "task_type": "CAUSAL_LM",
    }
    with pytest.raises(KeyError, match="OSLER_GATED_RESIDUAL"):
        PeftModel.from_pretrained(tiny_model(50), str(folder))
    assert not is_mergeable(folder)


def test_it_learns() -> None:
    """In thirty steps on one row its loss falls by half; nothing else has changed."""
    model = tiny_model(50).train()
    adapt(model, SETTINGS | {"inner_width": 32}, 3, "adapter.x", 16)
    before = {name: value.clone() for name, value in model.named_parameters() if not value.requires_grad}
    packed = rows_of([[9, 4]])
    loss, batch = loss_of(model), batch_of([(packed, 0)])
    optimizer = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        (value := loss(*batch.tensors())[0]).backward()
        losses.append(value.item())
        optimizer.step()
    assert losses[-1] < losses[0] / 2
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters() if name in before)
