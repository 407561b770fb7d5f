"""Costs of adapters against what peft and torch really hold."""

from typing import Any

import pytest
import torch

from osler.build.packages import installed
from osler.model.adapter_costs import (
    adapter_activations,
    adapter_bytes,
    adapter_flops,
    adapter_memory,
    quantized_bytes,
    trained_parameters,
)
from osler.model.adapters import adapt
from osler.model.architecture import Architecture
from osler.model.cost_estimates import LOGITS_AT_ONCE_BYTES, parameters, planned_flops, state_bytes
from osler.model.quantization import VERSION, compute_in
from osler.training.engine import trainable
from osler.training.prompted_loss import loss_of
from tests.model.test_cost_estimates import ALONE, MIXTURE, TINY, built, placed, profile
from tests.support.saved_bytes import sums_and_saved_bytes

ALL = {"target_modules": "all-linear", "rank": 4, "alpha": 8.0}
SOME = {"target_modules": ["q_proj", "self_attn.v_proj"], "rank": 3, "alpha": 8.0}
METHODS: dict[str, dict[str, Any]] = {
    "lora of all": ALL | {"method": "lora"},
    "lora of some": SOME | {"method": "lora"},
    "dora": SOME | {"method": "dora"},
    "ia3": {"method": "ia3", "target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
    "prompt_tuning": {"method": "prompt_tuning", "virtual_tokens": 5},
    "prefix_tuning": {"method": "prefix_tuning", "virtual_tokens": 5},
    "gated_residual": {"method": "gated_residual", "inner_width": 24},
}
QLORA = ALL | {"method": "qlora"}
needs_bitsandbytes = pytest.mark.skipif(installed("bitsandbytes") != VERSION, reason="make qlora")


def architecture_of(experts: Any = None) -> Architecture:
    return Architecture.model_validate(TINY | {"experts": experts})


def held_and_saved(model: Any) -> tuple[list[int], int]:
    """Bytes of weights, gradients and moments after a step, and of tensors saved for the backward pass."""
    module = loss_of(model)
    sums, kept = sums_and_saved_bytes(module)
    sums[0].backward()
    optimizer = torch.optim.AdamW(trainable(model).values())
    optimizer.step()
    held = [
        sum(value.nbytes for value in module.parameters()),
        sum(value.grad.nbytes for value in module.parameters() if value.grad is not None),
        sum(state[key].nbytes for state in optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")),
    ]
    return held, kept


@pytest.mark.parametrize("experts", [None, MIXTURE], ids=["dense", "mixture"])
@pytest.mark.parametrize("method", METHODS)
def test_torch_holds_the_bytes_that_were_estimated(method: str, experts: Any) -> None:
    """Weights, gradients and moments to the byte, and only trained weights have the last two."""
    section, architecture = dict(METHODS[method]), architecture_of(experts)
    if experts and method == "ia3":
        section |= {"target_modules": ["k_proj"], "feedforward_modules": []}
    model = built(architecture, 256).train()
    adapt(model, section, 1, "adapter.x", 120)
    held, _ = held_and_saved(model)
    trained = trained_parameters(architecture, section)
    assert trained == sum(value.numel() for value in trainable(model).values())
    found = adapter_bytes(architecture, 256, section, "float32", ALONE)
    assert held == [found.weights, found.gradients, found.optimizer]
    assert held[1:] == [4 * trained, 8 * trained]


@pytest.mark.parametrize("method", ["lora of all", "lora of some", "gated_residual"])
def test_what_is_saved_for_the_backward_pass(method: str) -> None:
    """Within 3 %; a whole model's would be half as much again as LoRA's."""
    section, architecture = METHODS[method], architecture_of()
    model = built(architecture, 256).train()
    adapt(model, section, 1, "adapter.x", 128)
    _, saved = held_and_saved(model)
    found = adapter_activations(architecture, 256, section, "float32", 512, False) - LOGITS_AT_ONCE_BYTES
    assert found == pytest.approx(saved, rel=0.03)


@needs_bitsandbytes
def test_weights_in_4_bits_take_what_was_estimated() -> None:
    """With their scales and tables, to the byte."""
    architecture = architecture_of()
    model = built(architecture, 256).train()
    adapt(model, QLORA, 1, "adapter.x", 128)
    states = [value.quant_state for value in model.parameters() if hasattr(value, "quant_state")]
    scales = sum(one.absmax.nbytes + one.state2.absmax.nbytes for one in states)
    tables = sum(one.code.nbytes + one.state2.code.nbytes + one.offset.nbytes for one in states)
    packed = sum(value.nbytes for value in model.parameters() if hasattr(value, "quant_state"))
    assert quantized_bytes(architecture) == packed + scales + tables
    held, _ = held_and_saved(model)
    found = adapter_bytes(architecture, 256, QLORA, "float32", ALONE)
    assert [held[0] + scales + tables, *held[1:]] == [found.weights, found.gradients, found.optimizer]


def test_flops_by_hand() -> None:
    """Two thirds of a whole model's, and 6 a trained weight; attention as it was."""
    architecture, vocabulary = profile("mistral-7b")
    trained = trained_parameters(architecture, METHODS["lora of all"])
    whole = planned_flops(architecture, vocabulary, 1000, 8192)
    saved = 1000 * (2 * parameters(architecture, vocabulary).active - 6 * trained)
    assert adapter_flops(architecture, vocabulary, METHODS["lora of all"], 1000, 8192) == pytest.approx(whole - saved)


@pytest.mark.parametrize(("method", "passes"), [("lora of all", 4), ("gated_residual", 2)])
def test_flops_are_those_that_torch_counts(method: str, passes: int) -> None:
    """Without attention's: within 3 % where the table of embeddings, which is no product, is left out."""
    from torch.utils.flop_counter import FlopCounterMode

    section, architecture = METHODS[method], architecture_of()
    model = built(architecture, 256).train()
    adapt(model, section, 1, "adapter.x", 128)
    module = loss_of(model)
    tokens_BT = torch.randint(0, 256, (1, 128), generator=torch.Generator().manual_seed(1))
    kept_BT = torch.ones_like(tokens_BT, dtype=torch.bool)
    with FlopCounterMode(display=False) as counter:
        module(tokens_BT, torch.arange(128)[None], tokens_BT, kept_BT, None)[0].backward()
    products = sum(count for kind, count in counter.get_flop_counts()["Global"].items() if "attention" not in str(kind))
    table = passes * 128 * 256 * architecture.hidden_size
    own = adapter_flops(architecture, 256, section, 128, 0) - table
    assert own == pytest.approx(products, rel=0.03)


def test_qlora_of_mistral_7b_on_24_gigabytes() -> None:
    """The figures of docs/adapters.md: rank 16 on all maps, a row of 2,048 tokens, recomputed."""
    architecture, vocabulary = profile("mistral-7b")
    section = QLORA | {"rank": 16}
    placement = placed("python", None, 1, 1, True)
    memory = adapter_memory(architecture, vocabulary, section, "bfloat16", placement, 8, 2048)
    assert trained_parameters(architecture, section) == 41_943_040
    sizes = (memory.weights, memory.gradients, memory.optimizer, memory.whole, memory.activations, memory.total)
    assert [round(size / 1e9, 2) for size in sizes] == [5.43, 0.17, 0.34, 0.12, 2.16, 8.21]
    lora = adapter_memory(
        architecture, vocabulary, ALL | {"method": "lora", "rank": 16}, "bfloat16", placement, 8, 2048
    )
    assert lora.total > 24e9 > memory.total


@pytest.mark.parametrize("section", METHODS.values(), ids=METHODS)
def test_an_adapter_takes_less_than_the_whole_model(section: dict[str, Any]) -> None:
    """On every engine, and under fsdp on two devices half of one's frozen weights each."""
    architecture, vocabulary = profile("mistral-7b")
    for engine, devices in (("python", 1), ("ddp", 2), ("fsdp", 2)):
        placement = placed(engine, None, devices, 1, False)
        own = adapter_bytes(architecture, vocabulary, section, "bfloat16", placement)
        whole = state_bytes(architecture, vocabulary, "bfloat16", placement)
        assert own.gradients + own.optimizer < (whole.gradients + whole.optimizer) / 100
        if engine == "fsdp":
            assert own.weights == pytest.approx(2 * parameters(architecture, vocabulary).total, rel=0.02)


@pytest.mark.parametrize(
    "section",
    [*METHODS.values(), pytest.param(QLORA, marks=needs_bitsandbytes)],
    ids=[*METHODS, "qlora"],
)
def test_what_autocast_saves_is_within_the_bound(section: dict[str, Any]) -> None:
    """Of a whole model's activations at most 0.97, and of what was planned in all less: weights' copies are among it."""
    architecture = architecture_of()
    model = built(architecture, 256).train()
    adapt(model, section, 1, "adapter.x", 120)
    compute_in(model, torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        _, saved = held_and_saved(model)
    found = adapter_memory(architecture, 256, section, "bfloat16", ALONE, 4, 128)
    frozen = adapter_memory(architecture, 256, section, "float32", ALONE, 4, 128)
    copies = found.weights - frozen.weights
    assert 0.5 < saved / (found.activations - LOGITS_AT_ONCE_BYTES + copies) < 0.97
