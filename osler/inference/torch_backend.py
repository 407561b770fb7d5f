"""Transformers as the backend: a model in this process.

It is on the GPU where there is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osler.inference.forward import mean_states
from osler.inference.generation import generated
from osler.inference.interface import Sampling
from osler.inference.likelihoods import option_scores, window_scores
from osler.inference.prompt_tokens import Tree
from osler.model.adapters import merged, stands_on_4_bits
from osler.model.heads import refuse_other_logits
from osler.model.numerics import Numerics


@dataclass(frozen=True)
class TorchBackend:
    """A MistralForCausalLM or one like it, in eval mode.

    One like it has the same `model` and `lm_head`. It reads `batch_tokens` at a time.

    Raises:
        BuildError: see `refuse_other_logits`.
    """

    model: Any
    batch_tokens: int

    def __post_init__(self) -> None:
        refuse_other_logits(self.model, with_bias=True)

    @property
    def maximum_positions(self) -> int:
        return int(self.model.config.max_position_embeddings)

    def option_scores(self, trees: Sequence[Tree]) -> list[tuple[float, ...]]:
        return option_scores(self.model, trees, self.batch_tokens)

    def generated(
        self, prompts: Sequence[list[int]], sampling: Sampling, seeds: Sequence[int], ends: Sequence[int]
    ) -> list[list[int]]:
        return generated(self.model, prompts, sampling, seeds, ends, self.batch_tokens)

    def window_scores(self, windows: Sequence[list[int]]) -> list[list[float]]:
        return window_scores(self.model, windows, self.batch_tokens)

    def mean_states(self, rows: Sequence[list[int]]) -> NDArray[np.float32]:
        return mean_states(self.model, rows, self.batch_tokens)

    def close(self) -> None:
        pass  # it is in this process


def frozen_model(folder: Path, numerics: Numerics, adapter: Path | None = None) -> Any:
    """The causal language model of `folder`, in eval mode.

    It is on the GPU where there is one. With the folder of an `adapter` it answers as trained there.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    numerics.apply()
    dtype = getattr(torch, numerics.dtype)
    is_rounded = adapter is not None and stands_on_4_bits(adapter)
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32 if is_rounded else dtype,
        attn_implementation="sdpa",
        use_safetensors=True,
        local_files_only=True,
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if is_rounded and adapter:
        model = merged(model, adapter)  # where it was quantized for training, too, and before anything else is rounded
        for parameter in model.parameters():
            parameter.data = parameter.data.to(dtype)
        return model.to(device).eval()
    model = model.to(device).eval()
    return merged(model, adapter) if adapter else model
