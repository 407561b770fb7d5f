"""Models as standard Hugging Face folders: safetensors, config, tokenizer, generation config, provenance.json."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from torch import Tensor

from osler.build.files import read_json, write_json
from osler.model.architecture import Architecture
from osler.model.vocabulary import id_limit


def import_ahead() -> None:
    """Import what making or loading a model imports.

    Forked processes then share it.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer, MistralForCausalLM, MixtralForCausalLM

    del AutoModelForCausalLM, AutoTokenizer, MistralForCausalLM, MixtralForCausalLM


def fresh_model(architecture: Architecture, tokenizer: Path, seed: int) -> Any:
    """A Mistral or Mixtral with random weights, drawn from `seed`.

    It has an embedding for every id of `tokenizer`.
    """
    from transformers import AutoTokenizer, MistralForCausalLM, MixtralForCausalLM

    vocabulary = AutoTokenizer.from_pretrained(tokenizer)
    ends = {"bos_token_id": vocabulary.bos_token_id, "eos_token_id": vocabulary.eos_token_id}
    config = configuration(architecture, vocab_size=id_limit(vocabulary), **ends)
    torch.manual_seed(seed)
    return (MixtralForCausalLM if architecture.experts else MistralForCausalLM)(config)


def configuration(architecture: Architecture, **values: Any) -> Any:
    """The transformers config of these sizes; `values` are added as they are."""
    from transformers import MistralConfig, MixtralConfig

    sizes = {
        "hidden_size": architecture.hidden_size,
        "num_hidden_layers": architecture.layers,
        "num_attention_heads": architecture.heads,
        "num_key_value_heads": architecture.key_value_heads,
        "intermediate_size": architecture.intermediate_size,
        "initializer_range": architecture.initializer_range,
        "tie_word_embeddings": architecture.tie_embeddings,
        "max_position_embeddings": architecture.maximum_positions,
        "sliding_window": None,
        "pad_token_id": None,
    } | values
    if architecture.experts is None:
        return MistralConfig(**sizes)
    return MixtralConfig(
        num_local_experts=architecture.experts.number,
        num_experts_per_tok=architecture.experts.per_token,
        router_aux_loss_coef=architecture.experts.router_loss_coefficient,
        **sizes,
    )


def trainable_model(folder: Path, empty: bool = False) -> Any:
    """The causal language model in `folder`, float32, from safetensors, without remote code.

    Args:
        folder: a Hugging Face folder.
        empty: without weights, on the device `meta`, for an engine that brings them from another process.
    """
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    if empty:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, attn_implementation="sdpa"
    )


def write_model(
    model: Any,
    tokenizer: Path,
    folder: Path,
    provenance: dict[str, Any],
    weights: Mapping[str, Tensor] | None = None,
    moments: Path | None = None,
    files: Mapping[str, bytes] | None = None,
) -> None:
    """Write a model to `folder`, whole or not at all.

    With it go the tokenizer files from the folder `tokenizer`, without a chat template.

    Args:
        model: its configuration and buffers count and, without `weights`, its parameters.
        tokenizer: folder that the tokenizer files are copied from.
        folder: an earlier one is replaced.
        provenance: becomes provenance.json.
        weights: parameters by name, whole, where those of `model` are divided among processes.
        moments: a file to move into the folder.
        files: others by name, with their contents.
    """
    from transformers.core_model_loading import revert_weight_conversion

    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        model.config.architectures = [type(model).__name__]
        model.config.save_pretrained(temporary)
        model.generation_config.save_pretrained(temporary)
        # not model.save_pretrained, which imports deepspeed where it is installed: 2 s a stage
        # Tied weights once, under their first name: left to the writer, which name is kept depends on Python's hash seed.
        own = {name for name, _ in [*model.named_parameters(), *model.named_buffers()]}
        state = {name: value for name, value in model.state_dict().items() if name in own} | dict(weights or {})
        known = revert_weight_conversion(model, state)  # each expert by itself, under the names it has on the Hub
        save_torch_state_dict(
            {name: value if name in state else value.clone() for name, value in known.items()}, temporary
        )
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            if (tokenizer / name).is_file():
                shutil.copyfile(tokenizer / name, temporary / name)
        if moments:
            shutil.move(moments, temporary / moments.name)
        write_json(temporary / "provenance.json", provenance)
        for name, content in (files or {}).items():
            (temporary / name).write_bytes(content)
        for file in temporary.iterdir():
            file.chmod(0o444)  # what is linked to from elsewhere is not edited in place
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def provenance_of(folder: Path) -> dict[str, Any]:
    """What `write_model` recorded."""
    value: dict[str, Any] = read_json(folder / "provenance.json")
    return value
