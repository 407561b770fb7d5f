"""What training an adapter costs: gradients and optimizer state of its few weights alone.

Computed from sizes and without torch, as osler/model/cost_estimates.py does for whole models, whose symbols these are; n are the
trained weights. Held bytes are exact, under fsdp those of an even part. Activations of dense models are 0.97 to 1.03 of
what torch 2.13 saved for tiny ones in float32 (their test). Under autocast and of mixtures they are those of a whole
model: an upper bound, of which tiny adapters saved 0.7 to 0.96, and with activation checkpointing 0.3.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

from osler.model.architecture import Architecture
from osler.model.cost_estimates import (
    LOGITS_AT_ONCE_BYTES,
    Dtype,
    HeldBytes,
    Memory,
    Placement,
    activation_bytes,
    largest_state,
    parameters,
)
from osler.model.sharding import layer_shapes

BLOCK, BLOCKS = 64, 256  # weights that share a scale of 8 bits, and scales that share one of 4 bytes
TABLES_BYTES = 4 * (16 + 256 + 1)  # of each map in NF4: its values, those of its scales, and their mean
GATED = "gated_residual"  # a method, below whose network nothing gets a gradient
Section = Mapping[str, Any]


def linear_shapes(architecture: Architecture) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of a layer's maps that an adapter may change.

    They are those of `osler.model.adapters.linear_maps`, by the same names.
    """
    shapes = layer_shapes(architecture)
    kept = {name.removesuffix(".weight"): shape for name, shape in shapes.items() if len(shape) == 2}
    return {name: (shape[0], shape[1]) for name, shape in kept.items() if name != "mlp.gate"}


def targets(architecture: Architecture, section: Section) -> dict[str, tuple[int, int]]:
    """Those of a layer that the section of an adapter names."""
    shapes, asked = linear_shapes(architecture), section["target_modules"]
    if asked == "all-linear":
        return shapes
    return {
        name: shape for name, shape in shapes.items() if any(name == one or name.endswith(f".{one}") for one in asked)
    }


def trained_parameters(architecture: Architecture, section: Section) -> int:
    """Weights that an adapter has.

    Of each map with a outputs and b inputs LoRA has r (a + b), DoRA a more; IA3 has a, or b of a feed-forward module. Virtual
    tokens have h each, in prefix tuning 2gd in every layer. A gated residual network of inner width e has a norm (2h), maps
    of h e, e e and twice e h, and their biases.
    """
    method = section["method"]
    if method == "prompt_tuning":
        return int(section["virtual_tokens"]) * architecture.hidden_size
    if method == "prefix_tuning":
        key_value = architecture.key_value_heads * architecture.head_size
        return int(section["virtual_tokens"]) * architecture.layers * 2 * key_value
    if method == GATED:
        h, inner = architecture.hidden_size, section["inner_width"]
        return int(2 * h + (h + 1) * inner + (inner + 1) * inner + 2 * (inner + 1) * h)
    count = 0
    for name, (outputs, inputs) in targets(architecture, section).items():
        if method == "ia3":
            fed = any(name == one or name.endswith(f".{one}") for one in section["feedforward_modules"])
            count += inputs if fed else outputs
        else:
            count += section["rank"] * (outputs + inputs) + (outputs if method == "dora" else 0)
    return architecture.layers * count


def quantized_bytes(architecture: Architecture) -> int:
    """Bytes of the linear maps of all layers in NF4.

    Half a byte a weight, a byte for each BLOCK of them and 4 bytes for each BLOCKS of those, and tables.
    """
    count = 0
    for outputs, inputs in linear_shapes(architecture).values():
        weights = outputs * inputs
        blocks = -(-weights // BLOCK)
        count += -(-weights // 2) + blocks + 4 * -(-blocks // BLOCKS) + TABLES_BYTES
    return architecture.layers * count


def adapter_flops(architecture: Architecture, vocabulary: int, section: Section, tokens: int, row_tokens: int) -> float:
    """FLOPs of forward and backward pass over `tokens`.

    They are D (4 N_active + 6 n + 6 L h T): frozen weights get no gradient, but what is below them does. Virtual tokens, which
    are read besides, are not counted. Below a gated residual network there is no backward pass, behind it that through the head
    of V h weights: D (2 N_active + 2 V h + 6 n + 2 L h T).
    """
    active, trained = parameters(architecture, vocabulary).active, trained_parameters(architecture, section)
    attention = architecture.layers * architecture.hidden_size * row_tokens
    if section["method"] == GATED:
        head = vocabulary * architecture.hidden_size
        return tokens * (2.0 * (active + head + attention) + 6.0 * trained)
    return tokens * (4.0 * active + 6.0 * trained + 6.0 * attention)


def adapter_bytes(
    architecture: Architecture, vocabulary: int, section: Section, dtype: Dtype, placement: Placement
) -> HeldBytes:
    """Bytes of weights, gradients and optimizer state on each device.

    Frozen weights are float32, in qlora those of linear maps NF4. The n trained ones are float32, with gradients of 4 bytes (8
    under ddp) and moments of 8. Where autocast computes in bfloat16 each map's copy is kept for its backward pass: of all
    layers, or with activation checkpointing of one. Maps in NF4 are put back one at a time: `whole`.
    """
    counted, trained = parameters(architecture, vocabulary), trained_parameters(architecture, section)
    width = 2 if dtype == "bfloat16" else 4
    if placement.engine == "fsdp":
        part = largest_state(architecture, vocabulary, placement.parts)
        own = trained / placement.parts
        rest = counted.total - architecture.layers * counted.layer
        held = (4 * (part + own), 4 * own, 8 * own)
        whole = 2 * counted.layer * width + rest * width
        return HeldBytes(0, 0, 0, whole, sum(held)) if placement.offload else HeldBytes(*held, whole)
    frozen: float = 4 * counted.total
    copied, widest = counted.total, 0.0
    if section["method"] == "qlora":
        maps = [prod(shape) for shape in linear_shapes(architecture).values()]
        frozen += quantized_bytes(architecture) - 4 * architecture.layers * sum(maps)
        copied, widest = counted.total - architecture.layers * sum(maps), width * max(maps)
    elif section["method"] == GATED:
        copied = vocabulary * architecture.hidden_size  # the head's; those below it are not kept
    elif placement.activation_checkpointing:
        copied = counted.total - (architecture.layers - 1) * counted.layer
    copy = 2 * (copied + trained) if dtype == "bfloat16" else 0
    gradients = (8 if placement.engine == "ddp" else 4) * trained
    return HeldBytes(frozen + 4 * trained + copy, gradients, 8 * trained, widest)


def adapter_activations(
    architecture: Architecture, vocabulary: int, section: Section, dtype: Dtype, tokens: int, checkpointing: Any
) -> float:
    """Bytes that a process keeps for the backward pass of `tokens`.

    A frozen map needs no input, and a frozen norm no output. Elements a token and layer are 4h + 2gd + 3f: two norms' inputs
    (2h), queries and attention's output (2h), keys and values (2gd), gate, its activation and up (3f). LoRA adds r for each
    map, and its input where nothing else keeps it: h for those behind a norm, and f. Of a model below a gated residual network
    nothing is kept: 5h + 3e of the network and the head's input (under autocast 12h + 6e bytes), and places and labels.
    """
    if section["method"] == GATED:
        h, inner = architecture.hidden_size, section["inner_width"]
        wide = 12 * h + 6 * inner if dtype == "bfloat16" else 20 * h + 12 * inner
        return float(tokens * (wide + 16) + 4 * vocabulary * h + LOGITS_AT_ONCE_BYTES)
    bound: float = activation_bytes(architecture, vocabulary, dtype, tokens, checkpointing)
    h, f = architecture.hidden_size, architecture.intermediate_size
    if section["method"] not in ("lora", "qlora") or architecture.experts or dtype == "bfloat16" or checkpointing:
        return bound
    found = targets(architecture, section)
    kinds = {name.rpartition(".")[2] for name in found}
    inputs = h * bool(kinds & {"q_proj", "k_proj", "v_proj"}) + h * bool(kinds & {"gate_proj", "up_proj"})
    inputs += f * ("down_proj" in kinds) + section["rank"] * len(found)
    key_value = architecture.key_value_heads * architecture.head_size
    layers = architecture.layers * (4 * h + 2 * key_value + 3 * f + inputs)
    return float(4 * tokens * (layers + 2 * h) + LOGITS_AT_ONCE_BYTES)


def adapter_memory(
    architecture: Architecture,
    vocabulary: int,
    section: Section,
    dtype: Dtype,
    placement: Placement,
    batch_rows: int,
    row_tokens: int,
) -> Memory:
    """What each device holds.

    `batch_rows` are those of a step over all processes.
    """
    share = -(-batch_rows // placement.devices)
    tokens = min(share, placement.micro_batch_rows or share) * row_tokens
    held = adapter_bytes(architecture, vocabulary, section, dtype, placement)
    kept = adapter_activations(architecture, vocabulary, section, dtype, tokens, placement.activation_checkpointing)
    return Memory(**vars(held), activations=kept)
