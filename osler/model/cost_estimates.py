"""What training a model costs: parameters, FLOPs, bytes on each device.

Computed from sizes alone and without torch.

Counts of parameters are exact. FLOPs follow the usual accounting (6 a parameter and token, and attention), which leaves out what
is less than 1 % of them. Weights, gradients and optimizer state are exact; activations count the tensors that the backward pass
needs: of what torch 2.13 saved for tiny models 0.98 to 0.99 in float32 (its test), 0.96 to 1.17 in bfloat16 as
FSDP and DeepSpeed have it, 0.81 to 0.85 under autocast (python, ddp), and 0.6 of a mixture under autocast, which leaves its
experts in float32. What an allocator loses and kernels' work space come on top.

Symbols: h hidden size, f intermediate size, L layers, V vocabulary, a heads, g key-value heads, d = h / a, E experts, K of them
a token, N parameters, D tokens, T tokens a row, P processes.
"""

from dataclasses import dataclass
from math import prod
from typing import Literal

from pydantic import Field

from osler.build.section import Section
from osler.model.architecture import Architecture
from osler.model.devices import EngineName, Recomputed
from osler.model.sharding import DEEPSPEED_BUCKET, elements, largest_part, layer_shapes, other_shapes

LOGITS_AT_ONCE_BYTES = 1 << 24  # of osler.training.cross_entropy, which never holds all logits
Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Parameters:
    """How many parameters a model has.

    Counted are all, those that one token goes through, and those of the largest layer.
    """

    total: int
    active: int
    layer: int


def parameters(architecture: Architecture, vocabulary: int) -> Parameters:
    """Count the parameters of a Mistral or Mixtral.

    They are those of `osler.model.sharding.layer_shapes` in each layer, and of `other_shapes`. Of E experts a token uses K.
    """
    shapes = layer_shapes(architecture)
    layer = elements(shapes)
    idle = 0
    if architecture.experts:
        of_experts = sum(prod(shape) for name, shape in shapes.items() if ".experts." in name)
        idle = of_experts - of_experts // architecture.experts.number * architecture.experts.per_token
    rest = elements(other_shapes(architecture, vocabulary))
    return Parameters(rest + architecture.layers * layer, rest + architecture.layers * (layer - idle), layer)


def planned_flops(architecture: Architecture, vocabulary: int, tokens: int, row_tokens: int) -> float:
    """FLOPs of forward and backward pass over `tokens`.

    They are D (6 N_active + 6 L h T). The first term is two FLOPs a parameter and token forward, four backward, of
    active parameters (embeddings counted, as is usual). The second is the two products of attention with a causal mask:
    12 L h T in the source, without a mask. Since documents in a row do not see each other it is an upper bound.
    Activation checkpointing adds a third, which is no part of this number nor of MFU.

    Source:
        Kaplan et al. 2020, arXiv 2001.08361, section 2.1; Chowdhery et al. 2022 (PaLM), arXiv 2204.02311, appendix B.
    """
    active = parameters(architecture, vocabulary).active
    attention = architecture.layers * architecture.hidden_size * row_tokens
    return 6.0 * tokens * (active + attention)


class Placement(Section):
    """The keys of section `launch` that decide what a device holds."""

    engine: EngineName
    zero_stage: Literal[1, 2, 3] | None = None
    processes: int = Field(ge=1, description="on each machine, one a device")
    nodes: int = Field(ge=1, description="machines")
    micro_batch_rows: int | None = Field(
        default=None, ge=1, description="rows that a process holds at once; null: its share of a batch"
    )
    activation_checkpointing: Recomputed
    offload: Literal["optimizer", "all"] | None = None
    shard_processes: int | None = Field(default=None, description="that divide one copy of the model; null: all")

    @property
    def devices(self) -> int:
        """On all machines."""
        return self.processes * self.nodes

    @property
    def parts(self) -> int:
        """Processes that divide one copy of the model."""
        return self.shard_processes or self.devices


@dataclass(frozen=True)
class HeldBytes:
    """Bytes of weights, gradients and optimizer state on each device.

    `whole` are those that the layers at work take whole, where they are divided, with their gradients and what these are
    summed in; `host` those in the machine's memory, for each device.
    """

    weights: float
    gradients: float
    optimizer: float
    whole: float = 0
    host: float = 0


@dataclass(frozen=True)
class Memory(HeldBytes):
    """Bytes on each device, with activations."""

    activations: float = 0

    @property
    def total(self) -> float:
        """Of the device."""
        return self.weights + self.gradients + self.optimizer + self.whole + self.activations


def state_bytes(architecture: Architecture, vocabulary: int, dtype: Dtype, placement: Placement) -> HeldBytes:
    """Bytes of weights, gradients and optimizer state on the fullest device.

    The optimizer is AdamW, with two moments in float32.

    python: 4, 4 and 8 a parameter; in bfloat16 autocast keeps a copy of 2 beside the weights during a pass. ddp: the same, and
    its buckets hold the gradients a second time. fsdp: 4, 4 and 8 for each parameter of the first process's part, which is
    the largest (osler/model/sharding.py); with offload these lie in the machine's memory. deepspeed, in bfloat16: 2
    (weights), 2 (gradients) and 12 (moments and a float32 copy); stage 1 divides the last by P, 2 the gradients too, 3 also
    the weights. In float32 its 2, 2, 12 are 4, 4, 12. Its offload moves the 12 and the gradients, which it keeps there in
    float32 besides, and of stage 3 the weights if all is asked for.

    Whole at once, in the dtype that is computed with: under fsdp the layer at work, the next one and the former's gradients,
    these a second time in float32, in which they are summed; and what stands beside the layers, with its gradients, from the
    first forward to the last backward. Under deepspeed two layers (stage 3), and buckets of DEEPSPEED_BUCKET elements: two of
    gradients, one of those in float32, and in stage 3 one of what is fetched.

    Source:
        Rajbhandari et al. 2019 (ZeRO), arXiv 1910.02054, section 3.1 and figure 1; Zhao et al. 2023 (FSDP), arXiv 2304.11277;
        torch's DistributedDataParallel (gradient_as_bucket_view off).
    """
    counted, width = parameters(architecture, vocabulary), 2 if dtype == "bfloat16" else 4
    if placement.engine == "fsdp":
        part = largest_state(architecture, vocabulary, placement.parts)
        rest = counted.total - architecture.layers * counted.layer
        whole = counted.layer * (3 * width + 4) + rest * 2 * width
        held = (4 * part, 4 * part, 8 * part)
        return HeldBytes(0, 0, 0, whole, sum(held)) if placement.offload else HeldBytes(*held, whole)
    if placement.engine == "deepspeed":
        return _deepspeed_bytes(counted, width, placement)
    copy = 2 * counted.total if dtype == "bfloat16" else 0
    return HeldBytes(
        4 * counted.total + copy, (8 if placement.engine == "ddp" else 4) * counted.total, 8 * counted.total
    )


def largest_state(architecture: Architecture, vocabulary: int, parts: int) -> int:
    """Parameters of the largest of `parts` parts.

    They are cut by the rule of osler/model/sharding.py.
    """
    layer = sum(largest_part(shape, parts) for shape in layer_shapes(architecture).values())
    rest = sum(largest_part(shape, parts) for shape in other_shapes(architecture, vocabulary).values())
    return architecture.layers * layer + rest


def _deepspeed_bytes(counted: Parameters, width: int, placement: Placement) -> HeldBytes:
    """Those of `state_bytes`, by stage and offload."""
    total, devices, stage = counted.total, placement.devices, placement.zero_stage or 0
    weights = width * total / (devices if stage == 3 else 1)
    gradients = width * total / (devices if stage >= 2 else 1)
    optimizer = 12 * total / devices
    bucket = min(DEEPSPEED_BUCKET, total)
    whole: float = bucket * (2 * width + 4)
    if stage == 3:
        whole += 2 * counted.layer * width + bucket * width
    host: float = 0
    if placement.offload:
        host, optimizer = optimizer + 4 * total / devices, 0
        if stage >= 2:
            host, gradients = host + gradients, 0
    if placement.offload == "all":
        host, weights = host + weights, 0
    return HeldBytes(weights, gradients, optimizer, whole, host)


def layer_bytes(architecture: Architecture, dtype: Dtype) -> int:
    """Bytes a token that one layer keeps for its backward pass.

    Elements: 8h + 2gd + 4f; in a mixture 8h + 2gd + K(4f + 2h) + 2E. That is, of each of two norms its input, what it scales
    and its output (6h); queries and attention's output (2h), keys and values (2gd); gate, its activation, up and their
    product (4f), of a mixture for each of K experts, with a copy of its input and of its output; the router's logits and
    probabilities. Attention keeps no T x T scores: its kernels compute them again. In bfloat16 an element is 2 bytes, but
    the norms work in float32: 4 of the 8h are 4 bytes (3 where the embeddings are in bfloat16 too, as in FSDP and DeepSpeed).

    Source:
        the count of Korthikanti et al. 2022, arXiv 2205.05198, section 4, for SwiGLU, grouped queries and no dropout.
    """
    h, f = architecture.hidden_size, architecture.intermediate_size
    key_value = architecture.key_value_heads * (h // architecture.heads)
    feed_forward = 4 * f
    if architecture.experts:
        feed_forward = architecture.experts.per_token * (4 * f + 2 * h) + 2 * architecture.experts.number
    elements = 8 * h + 2 * key_value + feed_forward
    return 2 * elements + 2 * 4 * h if dtype == "bfloat16" else 4 * elements


def kept_bytes(architecture: Architecture, dtype: Dtype, checkpointing: Recomputed) -> int:
    """Bytes a token that a layer keeps for its backward pass.

    With checkpointing that is its input, h in float32; with `selective` also keys, attention and the projection after it, and
    one half of what feeds the activation: gd + 2h + f, in a mixture gd + 2h + 2Kf (recomputation.py).
    """
    if not checkpointing:
        return layer_bytes(architecture, dtype)
    h, f = architecture.hidden_size, architecture.intermediate_size
    if checkpointing is True:
        return 4 * h
    key_value = architecture.key_value_heads * architecture.head_size
    wide = 2 * architecture.experts.per_token * f if architecture.experts else f
    return 4 * h + (2 if dtype == "bfloat16" else 4) * (key_value + 2 * h + wide)


def activation_bytes(
    architecture: Architecture, vocabulary: int, dtype: Dtype, tokens: int, checkpointing: Recomputed
) -> float:
    """Bytes that a process keeps for the backward pass of `tokens`.

    They are those at the peak. With checkpointing each layer keeps `kept_bytes`, and one at a time all that
    `layer_bytes` counts. Beside the layers: the last norm, the gradients of the head's input and weight, and a slice of
    the logits.
    """
    hidden = architecture.hidden_size
    again = layer_bytes(architecture, dtype) if checkpointing else 0
    layers = architecture.layers * kept_bytes(architecture, dtype, checkpointing) + again
    head = 3 * 4 * hidden * tokens + 4 * vocabulary * hidden + LOGITS_AT_ONCE_BYTES
    return layers * tokens + head


def device_memory(
    architecture: Architecture, vocabulary: int, dtype: Dtype, placement: Placement, batch_rows: int, row_tokens: int
) -> Memory:
    """What each device holds.

    `batch_rows` are those of a step over all processes.
    """
    share = -(-batch_rows // placement.devices)
    rows = min(share, placement.micro_batch_rows or share)
    held = state_bytes(architecture, vocabulary, dtype, placement)
    checkpointing = placement.activation_checkpointing
    return Memory(
        **vars(held), activations=activation_bytes(architecture, vocabulary, dtype, rows * row_tokens, checkpointing)
    )
