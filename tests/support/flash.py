"""FlashAttention's functions in plain torch, put where transformers looks for the package's.

They attend within the bounds that they are given and nowhere else, and note what they were called with.
"""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

CALLS: list[dict[str, Any]] = []


def varlen(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, longest: int, scale: float) -> Tensor:
    """Causal attention (N, heads, width) of each segment by itself."""
    ends = bounds.tolist()
    parts = []
    for start, end in pairwise(ends):
        assert end - start <= longest
        heads: Any = [one[start:end].transpose(0, 1)[None] for one in (q, k, v)]
        parts.append(
            scaled_dot_product_attention(heads[0], heads[1], heads[2], is_causal=True, scale=scale, enable_gqa=True)[
                0
            ].transpose(0, 1)
        )
    return torch.cat(parts)


@torch.library.custom_op("osler_tests::varlen", mutates_args=())  # type: ignore[untyped-decorator]
def opaque(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, longest: int, scale: float) -> Tensor:
    """The same as an operation that a compiler does not look into, as FlashAttention's is; without gradient."""
    return varlen(q, k, v, bounds, longest, scale)


@opaque.register_fake  # type: ignore[untyped-decorator]
def _(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, longest: int, scale: float) -> Tensor:  # noqa: ARG001
    return torch.empty_like(q)


def flash_attn_func(*_: Tensor, **__: Any) -> Tensor:
    """Called where segments are not told apart: never by us."""
    raise AssertionError("attention over the whole row")


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    deterministic: bool = False,
) -> Tensor:
    """The signature of flash-attn 2; eager, with gradient."""
    CALLS.append({
        "bounds": (cu_seqlens_q, cu_seqlens_k), "longest": (max_seqlen_q, max_seqlen_k), "causal": causal,
        "dropout": dropout_p, "window": window_size, "deterministic": deterministic,
    })  # fmt: skip
    return varlen(q, k, v, cu_seqlens_q, int(max_seqlen_q), float(softmax_scale or 0))


def compiled_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,  # noqa: ARG001 - the signature of flash-attn 2
    max_seqlen_q: int,
    max_seqlen_k: int,  # noqa: ARG001
    softmax_scale: float = 1.0,
    causal: bool = False,  # noqa: ARG001
) -> Tensor:
    """The same for a compiler."""
    found: Tensor = opaque(q, k, v, cu_seqlens_q, max_seqlen_q, softmax_scale)
    return found


def use(model: Any, monkeypatch: pytest.MonkeyPatch, function: Any = flash_attn_varlen_func) -> None:
    """Have transformers call `function` where it would call FlashAttention's, in `model`."""
    from transformers import modeling_flash_attention_utils as theirs

    CALLS.clear()
    monkeypatch.setattr(theirs, "_loaded_implementation", None)
    monkeypatch.setattr(theirs, "_lazy_imports", lambda *_, **__: (flash_attn_func, function, None, None, None))
    theirs.lazy_import_flash_attention("flash_attention_2")
    model.config._attn_implementation = "flash_attention_2"
