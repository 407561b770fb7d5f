"""Rows as tensors, with the noise of each row.

`Run.micro_batches` (run.py) makes them, for each step that the loop (loop.py) asks for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from osler.tokens.shards import PackedRows
from osler.training.neftune_noise import neftune_noise

IGNORED = -100


@dataclass
class Batch:
    """Rows as tensors; `lengths` holds each row's segment lengths."""

    tokens_BT: Tensor
    positions_BT: Tensor
    labels_BT: Tensor  # the next token, IGNORED at segment ends, in padding and where nothing is learned
    kept_BT: Tensor  # bool, False in padding
    lengths: list[list[int]]
    noise_BTD: Tensor | None = None

    def tensors(self) -> tuple[Tensor | None, ...]:
        """What the model is called with."""
        return self.tokens_BT, self.positions_BT, self.labels_BT, self.kept_BT, self.noise_BTD

    def flat(self) -> tuple[Tensor | None, ...]:
        """The same as one long row.

        FlashAttention keeps documents apart by their positions in a batch of one row only.
        """
        return tuple(None if value is None else value.flatten(0, 1)[None] for value in self.tensors())


def batch_of(rows: Sequence[tuple[PackedRows, int]]) -> Batch:
    """Build the tensors of `rows`.

    Padding is a segment of its own, so that it sees and teaches nothing.
    """
    tokens = np.stack([source.tokens_RT[row].astype(np.int64) for source, row in rows])
    positions = np.zeros_like(tokens)
    labels = np.full_like(tokens, IGNORED)
    kept = np.zeros(tokens.shape, bool)
    lengths = [source.segment_lengths(row) for source, row in rows]
    for index, (source, row) in enumerate(rows):
        ends = np.cumsum(lengths[index])
        for end, length in zip(ends, lengths[index], strict=True):
            positions[index, end - length : end] = np.arange(length)
            labels[index, end - length : end - 1] = tokens[index, end - length + 1 : end]
        filled = int(ends[-1])
        kept[index, :filled] = True
        positions[index, filled:] = np.arange(tokens.shape[1] - filled)
        if source.labels_RT is not None:
            labels[index, :-1][source.labels_RT[row][1:] == 0] = IGNORED
    return Batch(
        torch.from_numpy(tokens),
        torch.from_numpy(positions),
        torch.from_numpy(labels),
        torch.from_numpy(kept),
        lengths,
    )


def label_count(source: PackedRows, row: int) -> int:
    """How many labels of a row `batch_of` does not ignore."""
    lengths = source.segment_lengths(row)
    if source.labels_RT is None:
        return sum(lengths) - len(lengths)  # a segment's first token is none
    ends = np.cumsum(lengths)
    learned = source.labels_RT[row][: ends[-1]] != 0
    learned[ends - lengths] = False
    return int(np.count_nonzero(learned))


def batch_noise(
    lengths: Sequence[Sequence[int]], width: int, hidden: int, alpha: float, seeds: Sequence[int]
) -> Tensor:
    """NEFTune noise (B, T, D) for rows of `width` tokens.

    It is zero in padding, and that of row i depends on the row's own seed only.
    """
    noise_BTD = torch.zeros(len(lengths), width, hidden)
    for index, (row_lengths, seed) in enumerate(zip(lengths, seeds, strict=True)):
        generator = torch.Generator().manual_seed(seed)
        noise_TD = neftune_noise(torch.tensor(row_lengths), hidden, alpha, generator)
        noise_BTD[index, : len(noise_TD)] = noise_TD
    return noise_BTD


def noise_seed(seed: int, step: int, row: int) -> int:
    """The seed of the noise of one row.

    That is row `row` of the global batch of step `step`, on whichever process it lies.
    """
    return int(np.random.SeedSequence([seed, step, row, 0x0EF7]).generate_state(1)[0])
