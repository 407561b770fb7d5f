"""Adapters of a model, with peft: LoRA, QLoRA, DoRA and IA3, and those of OWN.

Weights of the base get no gradient. peft changes a model's modules in place, so that engines and losses see the model that they
know. What is written is a folder of peft's format.

Prompt tuning (virtual_tokens.py) and prefix tuning (prefix_tuning.py) are done here and only written in that format. A gated
residual network (gated_residual.py) is no method of peft's, which refuses its folder by its `peft_type`.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from osler.build.files import read_json
from osler.build.section import BuildError
from osler.model.gated_residual import gated, put_network, read_network, written_network
from osler.model.prefix_tuning import prefixed, put_prefix, read_prefix, written_prefix
from osler.model.quantization import PACKAGE, VERSION, check_bitsandbytes, quantized, rounded
from osler.model.virtual_tokens import prompted, put_prompt, read_prompt, written_prompt

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
QUANTIZED = "qlora"  # a method
PROVENANCE = "provenance.json"


class OwnMethod(NamedTuple):
    """A method that is done here and not by peft.

    Args:
        put: on a model: (model, settings, seed, key, longest) as `adapt` has them. It gives the config to write.
        written: weights by their names in the model -> what the file holds.
        read: what the file holds, and a model -> weights by their names in the model.
        answering: a frozen model, and what the file holds -> what evaluation asks.
    """

    put: Callable[[Any, Mapping[str, Any], int, str, int], Any]
    written: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    read: Callable[[Mapping[str, Tensor], Any], dict[str, Tensor]]
    answering: Callable[[Any, Mapping[str, Tensor]], Any]


OWN = {
    "prompt_tuning": OwnMethod(put_prompt, written_prompt, read_prompt, prompted),
    "prefix_tuning": OwnMethod(put_prefix, written_prefix, read_prefix, prefixed),
    "gated_residual": OwnMethod(put_network, written_network, read_network, gated),
}


@dataclass(frozen=True)
class Adapter:
    """What was put on a model.

    `peft_model` is peft's around the model, None for a method of OWN; `config` is peft's; `start` names the model's folder.
    """

    config: Any
    settings: dict[str, Any]
    peft_model: Any = None
    start: str = ""


def linear_maps(model: Any) -> list[str]:
    """Names of the linear maps that an adapter may change.

    The head is none, since the loss multiplies with its weight itself, and no router is.
    """
    head = model.get_output_embeddings()
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and name.rpartition(".")[2] not in ("gate", "router")
    ]


def targets(model: Any, asked: Any, key: str) -> list[str]:
    """The last names of the linear maps that are meant, sorted.

    Raises:
        BuildError: `model` has no such map.
    """
    known = linear_maps(model)
    if asked == "all-linear":
        return sorted({name.rpartition(".")[2] for name in known})
    for name in asked:
        if not any(one == name or one.endswith(f".{name}") for one in known):
            there = ", ".join(sorted({one.rpartition(".")[2] for one in known}))
            raise BuildError(f"{key}: {name}: no linear map of the model that an adapter may change; there are {there}")
    return sorted(asked)


def adapt(model: Any, settings: dict[str, Any], seed: int, key: str, longest: int) -> Adapter:
    """Put a fresh adapter on `model`, in place, and freeze all else.

    Args:
        model: a causal language model; it may lie on the device `meta`.
        settings: `method` and what belongs to it (osler/training/adapters.py).
        seed: of what is drawn.
        key: of the section, for errors.
        longest: tokens of the longest conversation.
    Raises:
        BuildError: the model has not what the settings name, or too few positions.
    """
    if getattr(model.config, "router_aux_loss_coef", None):
        model.config.router_aux_loss_coef = 0.0  # routers stay as they are: nothing of theirs is learned
    torch.manual_seed(seed)
    if own := OWN.get(settings["method"]):
        return Adapter(own.put(model, settings, seed, key, longest), settings)
    from peft import IA3Config, LoraConfig, get_peft_model

    names = targets(model, settings["target_modules"], f"{key}.target_modules")
    config: Any
    if settings["method"] == "ia3":
        config = IA3Config(
            task_type="CAUSAL_LM", target_modules=names, feedforward_modules=sorted(settings["feedforward_modules"])
        )
    else:
        if settings["method"] == QUANTIZED:
            quantized(model, linear_maps(model), f"{key}.method")
            settings = settings | {PACKAGE: VERSION}
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=settings["rank"],
            lora_alpha=settings["alpha"],
            target_modules=names,
            use_dora=settings["method"] == "dora",
        )
    return Adapter(config, settings, get_peft_model(model, config))


def adapter_files(adapter: Adapter, weights: Mapping[str, Tensor]) -> dict[str, bytes]:
    """The two files of peft's format.

    Args:
        weights: of the trained parameters, by their names in the model.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save

    if own := OWN.get(adapter.settings["method"]):
        state = own.written(weights)
    else:
        named = {f"base_model.model.{name}": value for name, value in weights.items()}
        state = get_peft_model_state_dict(adapter.peft_model, state_dict=named)
    tensors = {name: state[name].detach().cpu().contiguous() for name in sorted(state)}
    values = adapter.config.to_dict() | {"inference_mode": True, "base_model_name_or_path": adapter.start or None}
    plain = {key: _plain(value) for key, value in values.items()}
    text = json.dumps(plain, indent=2, sort_keys=True) + "\n"
    return {CONFIG: text.encode(), WEIGHTS: save(tensors, {"format": "pt"})}


def _plain(value: Any) -> Any:
    """As JSON has it: sets come in another order from run to run."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    return getattr(value, "value", value)


def write_adapter(
    adapter: Adapter,
    weights: Mapping[str, Tensor],
    tokenizer: Path,
    folder: Path,
    files: Mapping[str, bytes],
) -> None:
    """Write peft's folder, with tokenizer files and other `files`.

    Args:
        weights: see `adapter_files`.
        tokenizer: folder that the tokenizer files are copied from.
        folder: is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {**adapter_files(adapter, weights), **files}.items():
        (folder / name).write_bytes(content)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)


def is_adapter(folder: Path) -> bool:
    """Whether a folder of models/ holds an adapter and no whole model."""
    return (folder / CONFIG).is_file()


def written_method(folder: Path) -> str:
    """The method that an adapter's config names; LoRA's kin are all `lora`."""
    return str(read_json(folder / CONFIG)["peft_type"]).lower().removeprefix("osler_")


def is_mergeable(folder: Path) -> bool:
    """Whether an adapter can be merged into its model's weights."""
    return written_method(folder) not in OWN


def stands_on_4_bits(folder: Path) -> bool:
    """Whether an adapter was trained beside weights in 4 bits.

    Its provenance has it; peft's config has no word of it.
    """
    made = folder / PROVENANCE
    settings = read_json(made).get("settings", {}) if made.is_file() else {}
    return bool(settings.get("adapter", {}).get("method") == QUANTIZED)


def merged(model: Any, folder: Path) -> Any:
    """`model` with the adapter of a folder.

    It is in the weights; of a method in OWN, which cannot be, it is around them. Of an adapter of QLoRA the weights are
    rounded first to what it was trained beside.

    Args:
        model: in float32 for QLoRA, as it was when it was quantized.
    """
    if stands_on_4_bits(folder):
        check_bitsandbytes(folder.name)
        rounded(model, linear_maps(model))
    if own := OWN.get(written_method(folder)):
        from safetensors.torch import load_file

        return own.answering(model, load_file(folder / WEIGHTS))
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
