"""Estimates against numbers of others: the models' known sizes, the ZeRO paper's figure, and what torch holds."""

from typing import Any

import pytest
import torch
import yaml

from osler.build.pipeline import ROOT
from osler.model import cost_estimates
from osler.model.architecture import Architecture
from osler.model.cost_estimates import (
    HeldBytes,
    Placement,
    activation_bytes,
    device_memory,
    parameters,
    planned_flops,
    state_bytes,
)
from osler.model.folder import configuration
from osler.training.packed_loss import PackedLoss
from tests.support.params import profile_params
from tests.support.saved_bytes import sums_and_saved_bytes

TINY = {
    "hidden_size": 64, "layers": 3, "heads": 4, "key_value_heads": 2, "intermediate_size": 192, "initializer_range": 0.02,
    "tie_embeddings": False, "maximum_positions": 128, "experts": None,
}  # fmt: skip
MIXTURE = {"number": 4, "per_token": 2, "router_loss_coefficient": 0.02}


def placed(engine: Any, zero_stage: Any, processes: int, rows: int | None, checkpointing: bool) -> Placement:
    return Placement(
        engine=engine, zero_stage=zero_stage, processes=processes, nodes=1, micro_batch_rows=rows,
        activation_checkpointing=checkpointing,
    )  # fmt: skip


ALONE = placed("python", None, 1, None, False)


def profile(name: str) -> tuple[Architecture, int]:
    params = profile_params(name)
    return Architecture.model_validate(params["architecture"]), params["tokenizer"]["vocabulary_size"]


def built(architecture: Architecture, vocabulary: int) -> Any:
    from transformers import MistralForCausalLM, MixtralForCausalLM

    config = configuration(architecture, vocab_size=vocabulary)
    return (MixtralForCausalLM if architecture.experts else MistralForCausalLM)(config)


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [("mistral-7b", 7_241_732_096, 7_241_732_096), ("mixtral-8x7b", 46_702_792_704, 12_879_925_248)],
)
def test_full_size_models_have_the_parameters_they_are_known_for(name: str, total: int, active: int) -> None:
    """Built on the meta device: 7.24 billion; 46.7 billion of which a token goes through 12.9, two of eight experts."""
    architecture, vocabulary = profile(name)
    with torch.device("meta"):
        model = built(architecture, vocabulary)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    of_experts = sum(size for name, size in sizes.items() if ".experts." in name)
    assert sum(sizes.values()) == total
    assert total - of_experts * 6 // 8 == active
    counted = parameters(architecture, vocabulary)
    assert (counted.total, counted.active) == (total, active)
    assert counted.layer == sum(size for name, size in sizes.items() if ".layers.7." in name)


def test_tied_embeddings_count_once() -> None:
    """The default's 230,000 parameters are those of its model."""
    architecture = Architecture.model_validate(yaml.safe_load((ROOT / "params.yaml").read_text())["architecture"])
    expected = sum(parameter.numel() for parameter in built(architecture, 2048).parameters())
    assert parameters(architecture, 2048).total == expected


def test_flops_by_hand() -> None:
    """6 N D for 260 billion tokens is 1.1e22 of Mistral and 2.0e22 of Mixtral, whose N is the active 12.9 billion; attention
    over rows of 8192 adds 6 x 32 x 4096 x 8192 a token."""
    for name, expected in (("mistral-7b", 1.13e22), ("mixtral-8x7b", 2.01e22)):
        architecture, vocabulary = profile(name)
        attention = 6 * 32 * 4096 * 8192 * 260_000_000_000
        assert planned_flops(architecture, vocabulary, 260_000_000_000, 8192) - attention == pytest.approx(
            expected, rel=5e-3
        )


def divided(state: HeldBytes) -> tuple[float, float, float]:
    return state.weights, state.gradients, state.optimizer


@pytest.mark.parametrize(("stage", "gigabytes"), [(1, 31.4), (2, 16.6), (3, 1.88)])
def test_zero_divides_as_its_paper_says(stage: int, gigabytes: float) -> None:
    """7.5 billion parameters on 64 devices: 31.4, 16.6 and 1.88 GB in stages 1 to 3 (figure 1); of 7.24, as much less."""
    architecture, vocabulary = profile("mistral-7b")
    state = state_bytes(architecture, vocabulary, "bfloat16", placed("deepspeed", stage, 64, None, False))
    share = parameters(architecture, vocabulary).total / 7.5e9
    assert sum(divided(state)) / 1e9 == pytest.approx(gigabytes * share, rel=3e-3)


def test_engines_differ_by_hand() -> None:
    """On two devices: what each engine keeps whole and what it divides, of N parameters, n of them in a layer."""
    architecture = Architecture.model_validate(TINY)
    counted = parameters(architecture, 256)
    total, layer = counted.total, counted.layer
    rest = total - 3 * layer

    def state(dtype: Any, engine: str, stage: int | None, devices: int) -> HeldBytes:
        return state_bytes(architecture, 256, dtype, placed(engine, stage, devices, None, False))

    assert divided(state("float32", "python", None, 1)) == (4 * total, 4 * total, 8 * total)
    assert divided(state("bfloat16", "python", None, 1)) == (6 * total, 4 * total, 8 * total)
    assert divided(state("float32", "ddp", None, 2)) == (4 * total, 8 * total, 8 * total)
    fsdp, zero = state("bfloat16", "fsdp", None, 2), state("bfloat16", "deepspeed", 3, 2)
    assert divided(fsdp) == (2 * total, 2 * total, 4 * total)
    assert fsdp.whole == 2 * 2 * layer + 6 * layer + 2 * 2 * rest
    assert divided(zero) == (total, total, 6 * total)
    assert zero.whole == 2 * 2 * layer + 2 * total + (4 + 4) * total  # all fits one bucket
    assert fsdp.host == zero.host == 0


@pytest.mark.parametrize(
    ("engine", "stage", "offload", "device", "host"),
    [
        ("fsdp", None, "all", 0, 16),
        ("deepspeed", 1, "optimizer", 2 + 2, 12 / 2 + 4 / 2),
        ("deepspeed", 2, "optimizer", 2, 12 / 2 + 4 / 2 + 2 / 2),
        ("deepspeed", 3, "optimizer", 2 / 2, 12 / 2 + 4 / 2 + 2 / 2),
        ("deepspeed", 3, "all", 0, 12 / 2 + 4 / 2 + 2 / 2 + 2 / 2),
    ],
)
def test_offload_moves_bytes_to_the_machine(engine: Any, stage: Any, offload: Any, device: float, host: float) -> None:
    """Bytes a parameter on each of two devices, and for each in the machine's memory (fsdp: on one)."""
    architecture = Architecture.model_validate(TINY)
    placement = placed(engine, stage, 1 if engine == "fsdp" else 2, None, False)
    state = state_bytes(architecture, 256, "bfloat16", placement.model_copy(update={"offload": offload}))
    total = parameters(architecture, 256).total
    assert sum(divided(state)) == device * total
    assert state.host == host * total


@pytest.mark.parametrize("experts", [None, MIXTURE])
def test_torch_holds_the_bytes_that_were_estimated(experts: dict[str, Any] | None) -> None:
    """Weights, gradients and AdamW's moments to the byte; the tensors saved for the backward pass within 3 %."""
    architecture = Architecture.model_validate(TINY | {"experts": experts})
    module = PackedLoss(built(architecture, 256).train())
    sums, activations = sums_and_saved_bytes(module)
    sums.sum().backward()
    optimizer = torch.optim.AdamW(module.parameters())
    optimizer.step()
    held = [
        sum(parameter.nbytes for parameter in module.parameters()),
        sum(parameter.grad.nbytes for parameter in module.parameters()),
        sum(state[key].nbytes for state in optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")),
    ]
    memory = device_memory(architecture, 256, "float32", ALONE, 4, 128)
    assert held == [memory.weights, memory.gradients, memory.optimizer]
    assert memory.activations - cost_estimates.LOGITS_AT_ONCE_BYTES == pytest.approx(activations, rel=0.03)


def test_checkpointing_keeps_an_input_a_layer_and_smaller_parts_keep_less() -> None:
    """Activations of Mistral 7B fall from 7.0 MB a token to 0.8; two rows a process hold twice what one does."""
    architecture, vocabulary = profile("mistral-7b")
    kept = [
        activation_bytes(architecture, vocabulary, "bfloat16", 8192, checkpointing)
        - activation_bytes(architecture, vocabulary, "bfloat16", 0, checkpointing)
        for checkpointing in (False, True)
    ]
    assert [round(bytes_ / 8192 / 1e6, 1) for bytes_ in kept] == [7.0, 0.8]
    one, two, whole = (
        device_memory(architecture, vocabulary, "bfloat16", placed("fsdp", None, 64, rows, True), 512, 8192)
        for rows in (1, 2, None)
    )
    assert one.activations < two.activations < whole.activations
    assert whole.activations == activation_bytes(architecture, vocabulary, "bfloat16", 8 * 8192, True)
