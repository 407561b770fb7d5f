"""What computes an evaluation: token ids in, numbers and token ids out (stages/lib/scoring.py puts texts around it).

Two do: transformers with the passes of this repository, in the same process, and vLLM in a process and an environment of its
own (stages/lib/vllm_backend.py). No result depends on what else is asked in the same call, but for float32's last bits.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stages.lib.prompt_tokens import Tree
from stages.lib.prompts import Sampling


class Backend(Protocol):
    """A causal language model; results are in the order asked."""

    @property
    def maximum_positions(self) -> int:
        """Tokens that it reads and writes together."""
        ...

    def option_scores(self, trees: Sequence[Tree]) -> list[tuple[float, ...]]:
        """For each tree the log-probability of each option's tokens after its prompt, summed, in nats."""
        ...

    def generated(
        self, prompts: Sequence[list[int]], sampling: Sampling, seeds: Sequence[int], end: int
    ) -> list[list[int]]:
        """Tokens written after each prompt, up to and with the first `end`, `sampling.limit_tokens` of them at most."""
        ...

    def window_scores(self, windows: Sequence[list[int]]) -> list[list[float]]:
        """For each row the log-probability of each token but the first after those before it, in nats."""
        ...

    def mean_states(self, rows: Sequence[list[int]]) -> NDArray[np.float32]:
        """The mean last hidden state of each row without its first token, (rows, hidden size)."""
        ...

    def close(self) -> None:
        """Free the memory that another process holds for it, until something is asked again."""
        ...
