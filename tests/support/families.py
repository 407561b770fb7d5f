"""Tiny random models of families of the Hub."""

from typing import Any

import torch

SIZES: dict[str, Any] = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": None, "bos_token_id": 1, "eos_token_id": 2,
    "initializer_range": 0.2, "max_position_embeddings": 128,
}  # fmt: skip
EXPERTS = {"num_experts_per_tok": 2, "router_aux_loss_coef": 0.01}
FAMILIES: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": 4},
    "mixtral": {"num_local_experts": 4, **EXPERTS},
    "llama": {},
    "qwen3": {},
    "qwen3_moe": {"num_experts": 4, "moe_intermediate_size": 24, **EXPERTS},
    "gemma3_text": {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]},
    "olmo2": {},
    "phi3": {},
    "apertus": {},
}


def tiny(family: str, **values: Any) -> Any:
    """A random model with weights large enough that what it must not see would show."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **SIZES | FAMILIES.get(family, {}) | values)
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()


def without_positions(model: Any) -> Any:
    """The same model as a family that takes no position ids, and so no row of several documents."""
    inner = model.model.forward

    def forward(*given: Any, position_ids: Any = None, **asked: Any) -> Any:  # noqa: ARG001 - what it does not read
        return inner(*given, **asked)

    model.model.forward = forward
    return model


def with_a_state_across_rows(model: Any) -> Any:
    """The same model with a convolution of width 2 before its first layer, which knows no documents."""
    inner = model.model.forward

    def forward(*given: Any, inputs_embeds: Any, **asked: Any) -> Any:
        before = inputs_embeds.roll(1, dims=1)
        before[:, 0] = 0
        return inner(*given, inputs_embeds=inputs_embeds + before, **asked)

    model.model.forward = forward
    return model


def with_places_of_rows(model: Any) -> Any:
    """The same model with an embedding of each place, counted from the beginning of the row."""
    inner = model.model.forward
    places = torch.nn.Embedding(model.config.max_position_embeddings, model.config.hidden_size)

    def forward(*given: Any, inputs_embeds: Any, **asked: Any) -> Any:
        own = places(torch.arange(inputs_embeds.shape[1])).detach()
        return inner(*given, inputs_embeds=inputs_embeds + own, **asked)

    model.model.forward = forward
    return model
