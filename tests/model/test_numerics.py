"""Attention by name, float8, and the allocator: what is taken, what is refused, what is written."""

import importlib.util
import os
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from osler.build.section import BuildError
from osler.model import numerics as module
from osler.model.numerics import Numerics, allocate_in_segments, multiply_in_float8
from tests.support.tiny import NUMERICS, tiny_model

KERNEL = f"kernels-community/vllm-flash-attn3@{'0123456789' * 4}"


def asked(**changes: Any) -> Numerics:
    return Numerics.model_validate(NUMERICS.model_dump() | {"dtype": "bfloat16"} | changes)


@pytest.mark.parametrize(
    "name",
    ["eager", "kernels-community/flash-attn2", "kernels-community/flash-attn2@main", f"someone/flash-attn2@{'0' * 40}"],
)
def test_a_kernel_that_is_not_pinned_is_no_attention(name: str) -> None:
    """Nor one of other people, nor one that would hold T x T scores."""
    with pytest.raises(ValidationError, match="attention"):
        asked(attention=name)


def test_who_is_told_bounds() -> None:
    """All of FlashAttention; the others make a mask from positions."""
    names = ["sdpa", "flex_attention", "flash_attention_2", "flash_attention_3", KERNEL]
    assert [asked(attention=name).by_bounds() for name in names] == [False, False, True, True, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attention": "flash_attention_2"}, "attention: flash_attention_2 needs the package flash-attn; install it"),
        (
            {"attention": "flash_attention_3"},
            r"attention: flash_attention_3 needs the package flash-attn-3 \(the folder",
        ),
        ({"attention": KERNEL}, f"attention: {KERNEL} needs the package kernels; install it"),
        ({"float8": True, "compile": True}, "float8: needs the package torchao; or set false"),
    ],
)
def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    """On a machine with a GPU too: transformers would fetch another kernel in its place."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(module, "find_spec", lambda name: None if name != "torch" else importlib.util.find_spec(name))
    with pytest.raises(BuildError, match=f"^params.yaml: numerics.{message}"):
        asked(**change).check_machine()
    asked(**change).check_machine(elsewhere=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attention": "flash_attention_3"}, "attention: flash_attention_3 cannot train on a CPU; use sdpa"),
        ({"attention": KERNEL}, f"attention: {KERNEL} cannot train on a CPU; use sdpa"),
        (
            {"attention": "flash_attention_3", "dtype": "float32"},
            "attention: flash_attention_3 needs numerics.dtype: bf",
        ),
        ({"float8": True, "compile": True}, "float8: needs a GPU that multiplies it"),
        ({"float8": True}, "float8: needs numerics.dtype: bfloat16 and numerics.compile: true"),
    ],
)
def test_what_a_cpu_cannot_do_is_refused(monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str) -> None:
    """In one line that names the key."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BuildError, match=f"^params.yaml: numerics.{message}"):
        asked(**change).check_machine()


def test_an_old_gpu_multiplies_no_float8(monkeypatch: pytest.MonkeyPatch) -> None:
    """An A100 is 8.0."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    with pytest.raises(BuildError, match="float8: needs a GPU that multiplies it"):
        asked(float8=True, compile=True).check_machine()


def test_float8_is_written_where_it_is_on() -> None:
    """The keys of models that were trained before it was there stay what they were."""
    assert NUMERICS.model_dump().keys() == {"portable", "threads", "dtype", "attention", "compile", "liger"}
    assert asked(float8=True).model_dump()["float8"] is True
    assert Numerics.model_validate_json(asked(float8=True).model_dump_json()).float8


@pytest.mark.parametrize("theirs", ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", None])
def test_the_allocator_is_the_users_where_the_user_says(monkeypatch: pytest.MonkeyPatch, theirs: str | None) -> None:
    """By either name of the variable."""
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.setenv(name, "backend:native")
        if name != theirs:
            monkeypatch.delenv(name)
    allocate_in_segments()
    got = os.environ.get("PYTORCH_ALLOC_CONF")
    assert got == {None: "expandable_segments:True", "PYTORCH_ALLOC_CONF": "backend:native"}.get(theirs)


@pytest.mark.skipif(not importlib.util.find_spec("torchao"), reason="needs torchao")
@pytest.mark.parametrize("experts", [0, 4])
def test_float8_takes_the_layers_and_leaves_head_and_experts(experts: int) -> None:
    """Names of weights stay, gradients are there, and numbers are rounded; emulated, as no GPU is needed for that."""
    model, tokens = tiny_model(50, experts=experts), torch.arange(16)[None]
    names, before = [name for name, _ in model.named_parameters()], model(tokens).logits
    taken = multiply_in_float8(model, emulate=True)
    parts = ["q", "k", "v", "o"] + ([] if experts else ["gate", "up", "down"])
    assert [name.split(".")[-1] for name in taken] == [f"{part}_proj" for _ in range(2) for part in parts]
    assert [name for name, _ in model.named_parameters()] == names
    after = model(tokens).logits
    after.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert not torch.equal(before, after)
    assert torch.corrcoef(torch.stack([before.flatten(), after.flatten()]))[0, 1] > 0.9
