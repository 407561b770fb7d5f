"""How a model's tensors are cut among processes: one rule, for the engine that cuts and for the plan that counts.

Without torch. FSDP cuts each tensor along one dimension, and the first processes get the larger parts. Cut along the first, the
8 experts of a Mixtral, (8, 28672, 4096), lie whole on 8 processes of 128, 90 GB of state on each; along the second all have
1/128, 5.8 GB.
"""

from collections.abc import Mapping, Sequence
from math import prod

from osler.model.architecture import Architecture

DEEPSPEED_BUCKET = 200_000_000  # elements that DeepSpeed reduces, gathers or fetches at once; 0.8 GB as float32
UNEVEN = 1.05  # largest part over an even one, up to which the first dimension is cut: others cost torch a copy more
Shape = Sequence[int]


def cut_dimension(shape: Shape, parts: int) -> int:
    """The dimension along which a tensor is cut into `parts`.

    It is the first one, unless the largest part would be more than UNEVEN times an even one; then the first that divides
    evenly, since torch cuts no other dimension unevenly. Where none does, it is the first one all the same.
    """
    if -(-shape[0] // parts) * parts <= UNEVEN * shape[0]:
        return 0
    return next((dimension for dimension, size in enumerate(shape) if size % parts == 0), 0)


def largest_part(shape: Shape, parts: int) -> int:
    """Elements of the largest of `parts` parts, which the first process has."""
    dimension = cut_dimension(shape, parts)
    return -(-shape[dimension] // parts) * (prod(shape) // shape[dimension])


def layer_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters of one layer of a Mistral or Mixtral.

    With h hidden size, f intermediate size, d = h / heads, g key-value heads and E experts: attention has (h, h) twice and
    (gd, h) twice; a feed-forward network (f, h) twice and (h, f), or of all experts together (E, 2f, h) and (E, h, f) beside a
    router of (E, h); each of two norms (h).
    """
    h, f = architecture.hidden_size, architecture.intermediate_size
    key_value = architecture.key_value_heads * (h // architecture.heads)
    shapes: dict[str, tuple[int, ...]] = {
        "self_attn.q_proj.weight": (h, h),
        "self_attn.k_proj.weight": (key_value, h),
        "self_attn.v_proj.weight": (key_value, h),
        "self_attn.o_proj.weight": (h, h),
        "input_layernorm.weight": (h,),
        "post_attention_layernorm.weight": (h,),
    }
    if architecture.experts is None:
        return shapes | {
            "mlp.gate_proj.weight": (f, h),
            "mlp.up_proj.weight": (f, h),
            "mlp.down_proj.weight": (h, f),
        }
    number = architecture.experts.number
    return shapes | {
        "mlp.gate.weight": (number, h),
        "mlp.experts.gate_up_proj": (number, 2 * f, h),
        "mlp.experts.down_proj": (number, h, f),
    }


def other_shapes(architecture: Architecture, vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters beside the layers.

    They are embeddings of (vocabulary, h), twice if not tied, and a norm of (h).
    """
    h = architecture.hidden_size
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, h), "model.norm.weight": (h,)}
    return shapes if architecture.tie_embeddings else shapes | {"lm_head.weight": (vocabulary, h)}


def elements(shapes: Mapping[str, Shape]) -> int:
    """Of all parameters together."""
    return sum(map(prod, shapes.values()))
