"""Operations of a training step, counted by hand, and what devices can do."""

from typing import Any

import pytest

from osler.model.devices import known_device
from osler.model.throughput import packed_flops, weights_per_token
from tests.support.tiny import tiny_model


def test_weights_by_hand() -> None:
    """Two layers of 32: attention 32 * (32 + 16 + 16 + 32), three matrices of 32 * 48, and the head of 50 * 32."""
    layer = 32 * (32 + 16 + 16 + 32) + 3 * 32 * 48
    assert weights_per_token(tiny_model(50)) == 2 * layer + 50 * 32


def test_of_experts_those_count_that_a_token_visits() -> None:
    """With 2 of 4 experts a token meets half of the experts' weights, and the whole router."""
    from transformers import MixtralConfig, MixtralForCausalLM

    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "vocab_size": 40}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    model = MixtralForCausalLM(MixtralConfig(**sizes, **heads, num_local_experts=4, num_experts_per_tok=2))
    assert weights_per_token(model) == 4 * 16 * 16 + 4 * 16 + 2 * (3 * 16 * 24) + 40 * 16


def test_flops_by_hand() -> None:
    """Six a weight and token; attention of one layer, width 4, on 3 tokens: 2 * 2 * 9 / 2 * 4 forward, three times that in all."""
    assert packed_flops(0, 1, 4, [3]) == 3 * (2 * 2 * 9 / 2 * 4)
    assert packed_flops(10, 0, 4, [3, 2]) == 6 * 10 * 5
    assert packed_flops(10, 2, 4, [3, 2]) == pytest.approx(packed_flops(10, 2, 4, [3]) + packed_flops(10, 2, 4, [2]))


@pytest.mark.parametrize(
    ("device", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A10G", 125e12),
        ("NVIDIA GB200", 2.5e15),
        ("some CPU", None),
    ],
)
def test_peaks_by_name(device: str, peak: float | None) -> None:
    """The names as CUDA gives them; an A100 is no A10."""
    known = known_device(device)
    assert (known.flops_per_second if known else None) == peak
