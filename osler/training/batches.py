"""Rows as tensors, with the noise of each row.

`Run.micro_batches` (run.py) makes them, for each step that the loop (loop.py) asks for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from osler.tokens.shards import PackedRows
from osler.training.consistency import Responses
from osler.training.neftune_noise import neftune_noise

IGNORED = -100


@dataclass(frozen=True)
class Segments:
    """Where the segments of one long row lie.

    Kernels keep them apart by these. `longest` stays on the host: a kernel needs it there, and a device
    would have to be waited for. No tuple, into which
    engines would look.
    """

    bounds_S1: Tensor  # int32, 0 and each segment's end, padding's too
    longest: int  # tokens

    def to(self, *place: Any, **how: Any) -> "Segments":
        """The same with the bounds where `Tensor.to` puts them."""
        return Segments(self.bounds_S1.to(*place, **how), self.longest)

    def arguments(self) -> dict[str, Any]:
        """What transformers hands to FlashAttention.

        From position ids alone it would find them anew in each layer: a wait for the device, and a graph that breaks.
        """
        bounds, longest = self.bounds_S1, self.longest
        return {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": longest, "max_length_k": longest}


@dataclass
class Batch:
    """Rows as tensors; `lengths` holds each row's segment lengths."""

    tokens_BT: Tensor
    positions_BT: Tensor
    labels_BT: Tensor  # the next token, IGNORED at segment ends, in padding and where nothing is learned
    kept_BT: Tensor  # bool, False in padding
    lengths: list[list[int]]
    noise_BTD: Tensor | None = None

    def tensors(self) -> tuple[Tensor | Segments | None, ...]:
        """What the model is called with (packed_loss.py).

        FlashAttention is not called with these: they have no segments.
        """
        return self.tokens_BT, self.positions_BT, self.labels_BT, self.kept_BT, self.noise_BTD, self.places(), None

    def flat(self) -> tuple[Tensor | Segments | None, ...]:
        """The same as one long row, with its segments.

        FlashAttention keeps documents apart by bounds in a batch of one row only.
        """
        rows = self.tokens_BT, self.positions_BT, self.labels_BT, self.kept_BT, self.noise_BTD
        flattened = (None if value is None else value.flatten(0, 1)[None] for value in rows)
        return *flattened, self.places(), self.segments()

    def called_with(self, by_bounds: bool, device: torch.device) -> list[Any]:
        """`flat` or `tensors`, on a device."""
        tensors = self.flat() if by_bounds else self.tensors()
        return [None if value is None else value.to(device) for value in tensors]

    def places(self) -> Tensor:
        """Where labels are, (L,), in the rows one after another.

        Found here, where looking costs no wait for a device.
        """
        return (self.labels_BT != IGNORED).flatten().nonzero()[:, 0]

    def responses(self, is_scored: bool) -> Responses:
        """How many labels each conversation has, of those that have any.

        They are counted from the positions, which begin anew with each segment.
        """
        segment_N = (self.positions_BT.flatten() == 0).cumsum(0)
        counts = torch.bincount(segment_N[self.places()])
        return Responses(counts[counts > 0], is_scored=is_scored)

    def segments(self) -> Segments:
        """Those of all rows, one after another.

        Padding is a segment of its own. Read from the positions, which begin anew with each, since a
        process without a row has positions and no lengths.
        """
        starts = (self.positions_BT.flatten() == 0).nonzero()[:, 0]
        bounds = torch.cat([starts, torch.tensor([self.positions_BT.numel()])]).to(torch.int32)
        return Segments(bounds, int(bounds.diff().max()))


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
    return int(np.count_nonzero(_learned(source, row, lengths)))


def conversation_count(source: PackedRows, row: int) -> int:
    """How many segments of a row have a label.

    Labels are those that `batch_of` does not ignore.
    """
    lengths = source.segment_lengths(row)
    if source.labels_RT is None:
        return sum(length > 1 for length in lengths)
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    return int(np.count_nonzero(np.logical_or.reduceat(_learned(source, row, lengths), starts)))


def _learned(source: PackedRows, row: int, lengths: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Which tokens of a row's segments are labels, padding left out."""
    ends = np.cumsum(lengths)
    learned: npt.NDArray[np.bool_] = source.labels_RT[row][: ends[-1]] != 0  # type: ignore[index]
    learned[ends - lengths] = False
    return learned


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
