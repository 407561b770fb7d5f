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
