"""What computes an evaluation: token ids in, numbers and token ids out.

osler/inference/language_model.py puts texts around it.

Two do: transformers with the passes of this repository, in the same process, and vLLM in a process and an environment of its
own (osler/inference/vllm_backend.py). No result depends on what else is asked in the same call, but for float32's last bits.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from osler.inference.interface import Sampling
from osler.inference.prompt_tokens import Tree


class Backend(Protocol):
    """A causal language model; results are in the order asked."""

    @property
    def maximum_positions(self) -> int:
        """Tokens that it reads and writes together."""
        ...

    def option_scores(self, trees: Sequence[Tree]) -> list[tuple[float, ...]]:
        """For each tree the log-probability of each option, in nats.

        It is the sum over the option's tokens, after the tree's prompt.
        """
        ...

    def generated(
        self, prompts: Sequence[list[int]], sampling: Sampling, seeds: Sequence[int], ends: Sequence[int]
    ) -> list[list[int]]:
        """Tokens written after each prompt.

        They go up to and with the first of `ends`, and are `sampling.limit_tokens` at most.
        """
        ...

    def window_scores(self, windows: Sequence[list[int]]) -> list[list[float]]:
        """For each row the log-probability of its tokens, in nats.

        Each token but the first is scored after those before it.
        """
        ...

    def mean_states(self, rows: Sequence[list[int]]) -> NDArray[np.float32]:
        """The mean last hidden state of each row, (rows, hidden size).

        A row's first token is left out.
        """
        ...

    def close(self) -> None:
        """Free memory that another process holds for it, until asked again."""
        ...
