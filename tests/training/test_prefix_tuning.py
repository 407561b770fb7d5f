"""Prefix tuning: what peft makes of a written prefix on one text, each segment of a packed row sees, and no other."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from osler.build.section import BuildError
from osler.model.adapters import adapt, write_adapter
from osler.model.prefix_tuning import KEYS, Replaced
from osler.model.recomputation import recompute
from osler.model.virtual_tokens import VIRTUAL
from osler.training.batches import batch_of
from osler.training.prompted_loss import loss_of
from tests.support.families import FAMILIES, tiny
from tests.support.runs import VOCABULARY, rows_of
from tests.support.tiny import tiny_model

SETTINGS = {"method": "prefix_tuning", "virtual_tokens": 3}
LENGTHS = [[7, 1, 4], [9, 3]]  # of the segments of two rows of 16 tokens, of which 4 are padding


def put(model: Any, **changes: Any) -> Any:
    """The config of a fresh prefix on `model`, of peft's."""
    return adapt(model, SETTINGS | changes, 3, "adapter.x", 16)


def moved(model: Any) -> dict[str, Tensor]:
    """Weights after a training that is not told: each is changed by what another draw gives."""
    learned = {name: value for name, value in model.named_parameters() if value.requires_grad}
    with torch.no_grad():
        for number, value in enumerate(learned.values()):
            value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(number)))
    return learned


def by_peft(model: Any, folder: Path, ids: list[int]) -> Tensor:
    """Logits (T, V) of one text, by peft with a written prefix."""
    from peft import PeftModel

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        loaded = PeftModel.from_pretrained(model, str(folder)).eval()
        logits: Tensor = loaded(input_ids=torch.tensor([ids])).logits[0]
    return logits


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_each_segment_of_a_packed_row_has_the_logits_of_peft_on_its_text(
    family: str, attention: str, tmp_path: Path
) -> None:
    """To 1e-5, in every place of a row; four tokens' windows of Mistral and Gemma leave the prefix behind."""
    model = tiny(family)
    model.set_attn_implementation(attention)
    adapter = put(model)
    write_adapter(adapter, moved(model), tmp_path, tmp_path / "adapter", {})
    packed = rows_of(LENGTHS)
    batch = batch_of([(packed, 0), (packed, 1)])
    with torch.no_grad():
        logits_BTV = model.lm_head(loss_of(model).hidden(batch.tokens_BT, batch.positions_BT, None)[0])
    for row, lengths in enumerate(LENGTHS):
        start = 0
        for length in lengths:
            other = tiny(family)
            other.set_attn_implementation(attention)
            ids = batch.tokens_BT[row, start : start + length].tolist()
            wanted_TV = by_peft(other, tmp_path / "adapter", ids)
            assert float((logits_BTV[row, start : start + length] - wanted_TV).abs().max()) < 1e-5
            start += length
    with torch.no_grad():  # a model that has not read the prefix is far from it
        assert float((wanted_TV - tiny(family)(torch.tensor([ids])).logits[0]).abs().max()) > 1e-2


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_prefix_is_what_its_tokens_would_be_before_the_text(family: str) -> None:
    """The same tokens as prompt tuning begins with: both give one loss, which is not the untouched model's."""
    packed = rows_of(LENGTHS)
    losses = []
    for method in ("prefix_tuning", "prompt_tuning"):
        model = tiny(family)
        put(model, method=method)
        losses.append(loss_of(model)(*batch_of([(packed, 0), (packed, 1)]).tensors())[0].item())
    untouched = tiny(family)
    untouched.config.router_aux_loss_coef = 0.0
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    plain = loss_of(untouched)(*batch_of([(packed, 0), (packed, 1)]).tensors())[0].item()
    assert abs(losses[0] - plain) > 1e-2


def test_the_loss_and_its_gradient_are_those_of_peft_on_one_text() -> None:
    """To 1e-5, in every layer's keys and values."""
    from peft import get_peft_model

    model = tiny_model(VOCABULARY)
    adapter = put(model)
    one = rows_of([[16]])
    batch = batch_of([(one, 0)])
    (ours := loss_of(model)(*batch.tensors())[0]).backward()
    other = get_peft_model(tiny_model(VOCABULARY), adapter.config)
    layers = [layer.self_attn.get_parameter(KEYS) for layer in model.model.layers]
    with torch.no_grad():
        other.prompt_encoder.default.embedding.weight.copy_(torch.cat(layers, 1))
    labels = torch.cat([torch.full((1, 1), -100), batch.labels_BT[:, :-1]], 1)
    theirs = other(input_ids=batch.tokens_BT, labels=labels).loss * 15
    theirs.backward()
    assert float(ours) == pytest.approx(float(theirs), rel=1e-6)
    gradient = other.prompt_encoder.default.embedding.weight.grad
    assert float((torch.cat([layer.grad for layer in layers], 1) - gradient).abs().max()) < 1e-5
    assert all(float(layer.grad.abs().max()) > 1e-3 for layer in layers)


@pytest.mark.parametrize("asked", [True, "selective"])
def test_recomputation_changes_no_bit(asked: Any) -> None:
    """Of loss and gradient, with noise; transformers takes caches away under it, which this one is not."""
    found = []
    for checkpointing in (False, asked):
        model = tiny("qwen3").train()
        put(model)
        recompute(model, checkpointing)
        packed = rows_of(LENGTHS)
        batch = batch_of([(packed, 0), (packed, 1)])
        batch.noise_BTD = 0.1 * torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(1))
        loss = loss_of(model)(*batch.tensors())[0]
        loss.backward()
        found.append([loss.detach(), *(value.grad for value in model.parameters() if value.requires_grad)])
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_keys_and_values_are_replaced_at_their_places_alone() -> None:
    """By hand: one head of width 1, two places of two virtual tokens; the keys are 10 and 20, the values 11 and 21."""
    prefix_VK = torch.tensor([[10.0, 11.0], [20.0, 21.0]])
    read_BHWd = torch.arange(4.0).reshape(1, 1, 4, 1)
    keys, values = Replaced(prefix_VK, torch.tensor([[-1, 1, -1, 0]])).update(read_BHWd, -read_BHWd, 7)
    assert keys.flatten().tolist() == [0, 20, 2, 10]
    assert values.flatten().tolist() == [0, 21, -2, 11]


def test_the_seed_draws_the_tokens_of_a_fresh_prefix() -> None:
    """Equal seeds the same, others other ones; keys and values are those that the model itself computes."""
    first, again, other = tiny("llama"), tiny("llama"), tiny("llama")
    for model, seed in ((first, 3), (again, 3), (other, 4)):
        adapt(model, SETTINGS, seed, "adapter.x", 16)
    name = f"model.layers.1.self_attn.{KEYS}"
    assert torch.equal(first.get_parameter(name), again.get_parameter(name))
    assert not torch.equal(first.get_parameter(name), other.get_parameter(name))
    prompt = tiny("llama")
    adapt(prompt, {"method": "prompt_tuning", "virtual_tokens": 3}, 3, "adapter.x", 16)
    inner = prompt.model.layers[1]
    with torch.no_grad():
        states = prompt.model(
            inputs_embeds=prompt.get_parameter(VIRTUAL)[None], output_hidden_states=True, use_cache=False
        ).hidden_states[1]
        values = inner.self_attn.v_proj(inner.input_layernorm(states))[0]
    assert float((first.get_parameter(name)[:, 16:] - values).abs().max()) < 1e-6


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("stablelm", {}, "stablelm: StableLmAttention is not told where a prefix stands"),
    (
        "deepseek_v3",
        {
            "num_key_value_heads": 4,
            "q_lora_rank": 8,
            "kv_lora_rank": 8,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 4,
            "first_k_dense_replace": 2,
            "n_routed_experts": 4,
        },
        "deepseek_v3: not all layers keep keys and values of 4 heads of 8",
    ),
    ("lfm2", {"layer_types": ["conv", "full_attention"]}, "lfm2: has layers whose attention is not known here"),
    (
        "gemma4_text",
        {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 4, "global_head_dim": 16},
        "gemma4_text: has layers of different sizes",
    ),
    ("minimax", {"layer_types": ["linear_attention", "full_attention"]}, "minimax: MiniMax uses cache of its own"),
]


@pytest.mark.parametrize(("family", "values", "said"), REFUSED, ids=[family for family, _, _ in REFUSED])
def test_a_family_that_reads_no_prefix_is_refused(family: str, values: dict[str, Any], said: str) -> None:
    """By the key, before anything is trained, and the line names a way out."""
    with pytest.raises(
        BuildError, match=f"adapter.x.method: prefix_tuning: {said}.*; take another base, or prompt_tuning"
    ):
        put(tiny(family, **values))


def test_a_family_that_reads_it_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here one whose keys are doubled behind the cache."""
    whole = Replaced.update

    def doubled(self: Replaced, *given: Any) -> tuple[Tensor, Tensor]:
        keys, values = whole(self, *given)
        return 2 * keys, values

    monkeypatch.setattr(Replaced, "update", doubled)
    with pytest.raises(BuildError, match="llama: reads a prefix otherwise than its tokens"):
        put(tiny("llama"))


def test_a_model_under_prefix_tuning_is_never_asked_without_it() -> None:
    """Its own forward pass has no places for the prefix, and says so; positions of the model are counted."""
    model = tiny("llama")
    put(model)
    with pytest.raises(BuildError, match="LlamaAttention is not told where a prefix stands"):
        model(torch.tensor([[3, 4]]))
    with pytest.raises(
        BuildError, match=r"adapter.x.virtual_tokens: 113 before a conversation of 16 tokens .* 128 positions"
    ):
        put(tiny("llama"), virtual_tokens=113)
