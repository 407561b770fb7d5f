"""Families of the Hub: their packed loss is that of their own logits, and they are written and read unchanged."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from osler.build.section import BuildError
from osler.model.folder import write_model
from osler.model.router import router_loss
from osler.training.checkpoints import Checkpoint
from osler.training.loop import train
from osler.training.packed_loss import PackedLoss
from tests.support.families import FAMILIES, tiny
from tests.support.runs import VOCABULARY, KilledAt, a_run, same
from tests.support.tiny import NUMERICS, launch


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_loss_is_that_of_each_document_alone(family: str) -> None:
    """From ids and the model's own head, so that scaled embeddings and windows count, too."""
    model = tiny(family)
    lengths = (9, 7, 8)
    tokens = torch.randint(3, 97, (1, sum(lengths)))
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    labels = tokens.roll(-1)
    labels[positions.roll(-1) == 0] = -100
    with torch.no_grad():
        loss, _ = PackedLoss(model)(tokens, positions, labels, torch.ones_like(tokens, dtype=torch.bool), None)
        alone = sum(
            torch.nn.functional.cross_entropy(model(part).logits[0, :-1], part[0, 1:], reduction="sum")
            for part in tokens.split(lengths, dim=1)
        )
    torch.testing.assert_close(loss, alone, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "values", "said"),
    [
        ("gemma3_text", {"final_logit_softcapping": 30.0}, "final_logit_softcapping 30"),
        ("granite", {"logits_scaling": 8.0}, "logits_scaling 8"),
        ("cohere", {"logit_scale": 0.0625}, "logit_scale 0.0625"),
        ("phi", {}, "a bias of the output head"),
    ],
)
def test_other_heads_are_refused(family: str, values: dict[str, Any], said: str) -> None:
    with pytest.raises(BuildError, match=said):
        PackedLoss(tiny(family, **values))


@pytest.mark.parametrize("family", FAMILIES)
def test_written_and_read_by_transformers_with_equal_logits(family: str, tmp_path: Path) -> None:
    model = tiny(family)
    model.generation_config.eos_token_id = [2, 5]
    write_model(model, tmp_path, tmp_path / "model", {})
    read = AutoModelForCausalLM.from_pretrained(tmp_path / "model", attn_implementation="sdpa").eval()
    tokens = torch.randint(3, 97, (1, 11))
    with torch.no_grad():
        assert torch.equal(read(tokens).logits, model(tokens).logits)
    assert type(read) is type(model)
    assert read.config.architectures == [type(model).__name__]
    assert read.generation_config.eos_token_id == [2, 5]


@pytest.mark.parametrize("family", FAMILIES)
def test_trained_with_noise_it_is_read_as_it_was_trained(family: str, tmp_path: Path) -> None:
    """By the loop with its check of packing; killed and gone on with to the same bytes; logits of what is read are its own."""

    def trained(folder: Path) -> tuple[Any, dict[str, torch.Tensor]]:
        model = tiny(family, vocab_size=VOCABULARY)
        _, found = train(model, a_run(5.0), NUMERICS, Checkpoint(folder, "code", False, {}), launch())
        return model, dict(found)

    model, whole = trained(tmp_path / "whole")
    with KilledAt(5):
        trained(tmp_path / "killed")
    assert same(whole, trained(tmp_path / "killed")[1])
    write_model(model, tmp_path, tmp_path / "model", {}, whole)
    read = AutoModelForCausalLM.from_pretrained(tmp_path / "model", attn_implementation="sdpa").eval()
    tokens = torch.randint(3, VOCABULARY, (1, 11))
    with torch.no_grad():
        found, before = read(tokens).logits, tiny(family, vocab_size=VOCABULARY)(tokens).logits
        assert torch.equal(found, model.eval()(tokens).logits)
    assert float((found - before).abs().max()) > 0.1


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe"])
def test_router_loss_is_that_of_transformers(family: str) -> None:
    model = tiny(family)
    tokens = torch.randint(3, 97, (2, 11))
    with torch.no_grad():
        output = model(tokens, output_router_logits=True)
    kept = torch.ones(tokens.numel(), dtype=torch.bool)
    torch.testing.assert_close(
        router_loss(output.router_logits, model.config.num_experts_per_tok, kept), output.aux_loss
    )
