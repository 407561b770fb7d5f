"""Weights of adapters as they lie in peft's folders: to start from, and between two of them."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from osler.build.section import BuildError
from osler.model.adapters import CONFIG, OWN, WEIGHTS, Adapter

Tensors = dict[str, Tensor]


def adapter_weights(folder: Path) -> Tensors:
    """The tensors of an adapter, by peft's names, sorted."""
    from safetensors.torch import load_file

    return dict(sorted(load_file(folder / WEIGHTS).items()))


def start_from(adapter: Adapter, model: Any, folder: Path) -> None:
    """Give a fresh adapter the weights of one that was written.

    Args:
        adapter: what was put on `model`, of the same method, sizes and modules.
        model: in place.
        folder: of peft's format.
    Raises:
        BuildError: the other one is of another kind.
    """
    found, own_method = adapter_weights(folder), OWN.get(adapter.settings["method"])
    if own_method:
        own = own_method.written({name: value for name, value in model.named_parameters() if value.requires_grad})
    else:
        from peft import get_peft_model_state_dict, set_peft_model_state_dict

        own = get_peft_model_state_dict(adapter.peft_model)
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in found.items()}:
        raise BuildError(f"{folder}: an adapter of another kind; it cannot be gone on from")
    if own_method:
        with torch.no_grad():
            for name, value in own_method.read(found, model).items():
                model.get_parameter(name).copy_(value)
        return
    set_peft_model_state_dict(adapter.peft_model, found)


def moved(first: Tensors, second: Tensors, share: float) -> Tensors:
    """Weights on the way from one adapter to another of its kind.

    Args:
        share: of the way; 0 is the first to the bit, 1 the second.
    """
    if share in (0.0, 1.0):
        return dict((first, second)[int(share)])
    return {name: torch.lerp(value, second[name], share) for name, value in first.items()}


def write_between(first: Path, second: Path, share: float, folder: Path) -> None:
    """Write the adapter between those of two folders (`moved`).

    Args:
        folder: is there.
    """
    from safetensors.torch import save

    found = moved(adapter_weights(first), adapter_weights(second), share)
    config = json.loads((second / CONFIG).read_text(encoding="utf-8"))
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (folder / WEIGHTS).write_bytes(save({name: value.contiguous() for name, value in found.items()}, {"format": "pt"}))
