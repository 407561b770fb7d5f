"""Weights of a frozen model in 4 bits, by bitsandbytes: what makes LoRA QLoRA.

NF4 has 16 values, quantiles of a normal distribution. A block of 64 weights shares a scale, in 8 bits too, of which 256 share two
numbers more: 0.516 bytes a weight. Products are with the weights put back into what is computed with, so a model answers as
its `rounded` self does. bitsandbytes is imported by name, so that no stage's fingerprint depends on whether it is installed; torch
is not imported, for `osler check`.

Source:
    Dettmers et al. 2023 (QLoRA), arXiv 2305.14314, section 3.
"""

import importlib
from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING, Any

from osler.build.packages import installed
from osler.build.section import BuildError

if TYPE_CHECKING:
    from torch import Tensor, dtype

PACKAGE, VERSION = "bitsandbytes", "0.50.2"  # of requirements-qlora.lock


def check_bitsandbytes(key: str) -> None:
    """Check that bitsandbytes is there.

    Raises:
        BuildError: it is not, or of another version, which may round otherwise.
    """
    if (there := installed(PACKAGE)) != VERSION:
        found = f"{there} is installed" if there else "it is not installed"
        raise BuildError(f"{key}: qlora needs {PACKAGE} {VERSION}, and {found}; run `make qlora`, or take lora")


def quantized(model: Any, names: Iterable[str], key: str) -> None:
    """Put the linear maps of `names` into NF4, in place.

    They stay on their device.

    Raises:
        BuildError: bitsandbytes is not there, the model is a mixture, or its weights are not here.
    """
    check_bitsandbytes(key)
    if any(".experts." in name for name, _ in model.named_parameters()):
        raise BuildError(
            f"{key}: qlora: experts of a mixture are no linear maps, and would stay as they are; take lora"
        )
    layers = importlib.import_module("bitsandbytes").nn
    for name in names:
        given = model.get_submodule(name)
        if given.weight.is_meta:
            raise BuildError(f"{key}: qlora: divides no model; set launch.engine python or ddp for it, or take lora")
        made = layers.Linear4bit(
            given.in_features, given.out_features, given.bias is not None, quant_type="nf4", device="meta"
        )
        weight = layers.Params4bit(given.weight.detach(), requires_grad=False, quant_type="nf4", module=made)
        made.weight, made.bias = weight.to(given.weight.device), given.bias
        made.support_avx512bf16_for_cpu = False  # or an answer packs the weights anew, in bfloat16, on some CPUs alone
        owner, _, own = name.rpartition(".")
        setattr(model.get_submodule(owner), own, made)
    model.is_loaded_in_4bit = True  # peft asks for it


def is_quantized(model: Any) -> bool:
    """Whether `quantized` has been at a model."""
    return bool(getattr(model, "is_loaded_in_4bit", False))


def compute_in(model: Any, kind: "dtype") -> None:
    """Have quantized maps multiply in `kind`, and answer in it.

    As autocast has other maps do. Left alone they answer in what the norm before them gives, float32, and what is kept for the
    backward pass is twice as large.
    """

    def cast(_module: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return (given[0].to(kind), *given[1:])

    for module in model.modules():
        if hasattr(module, "compute_type_is_set"):
            module.compute_dtype, module.compute_type_is_set = kind, True
            module.register_forward_pre_hook(cast)


def rounded(model: Any, names: Iterable[str]) -> None:
    """Give linear maps the values that NF4 keeps of theirs.

    In place, and in their own type.
    """
    functional = importlib.import_module("bitsandbytes").functional
    for name in names:
        weight = model.get_submodule(name).weight
        packed, state = functional.quantize_4bit(weight.data, quant_type="nf4", compress_statistics=True)
        weight.data.copy_(functional.dequantize_4bit(packed, state))


def whole_elements(parameter: "Tensor") -> int:
    """Weights that a parameter stands for.

    Of one in 4 bits they are two a byte.
    """
    state = getattr(parameter, "quant_state", None)
    return prod(state.shape) if state is not None else parameter.numel()
