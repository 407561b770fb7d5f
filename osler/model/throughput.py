"""How well a device is used: floating-point operations of a training step.

MFU, model FLOPs utilization, is operations that the model needs over those that the devices could have done in the time
(Chowdhery et al. 2022, arXiv 2204.02311, appendix B). Operations that are done twice (activation checkpointing) or for
nothing (padding, attention between documents) count once or not at all.
"""

from collections.abc import Callable, Iterable
from typing import Any


def weights_per_token(model: Any, elements: Callable[[Any], int] = lambda parameter: int(parameter.numel())) -> int:
    """Weights that each token is multiplied with.

    These are all matrices but the input embedding, and of experts those that the token visits. A tied embedding counts
    once, as the head. `elements` counts those of a parameter.
    """
    config = model.config
    visited = getattr(config, "num_experts_per_tok", 1) / getattr(config, "num_local_experts", 1)
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    count = 0.0
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2 and (parameter is not embedding or embedding is head):
            count += elements(parameter) * (visited if ".experts." in name else 1)
    return round(count)


def packed_flops(weights: int, layers: int, attention_width: int, lengths: Iterable[int]) -> float:
    """Operations of forward and backward pass over some documents.

    They are 6 a weight and token, and those of attention. Attention is causal and within documents: a token of a
    document of length l sees l / 2 on average, which is 2 * 2 * l * l / 2 operations a layer and unit of width forward,
    and twice as many backward.

    Args:
        weights: see `weights_per_token`.
        layers: of the model.
        attention_width: heads times their width.
        lengths: tokens of each document.
    """
    return float(sum(6 * weights * length + 6 * layers * attention_width * length * length for length in lengths))
