"""A check before the first step that documents of a packed row do not see each other.

transformers makes the mask of a packed row from its position ids. A family that does not take them, or keeps a state across a
row, trains all the same: its loss falls, and every document has read the one before it. So the model that will be trained is
asked itself, by its engine, with the kernels, the dtype and the shape of a real batch. A small copy with the same config would
have other kernels, and few of the layers; what leaks may be one layer's or one kernel's.

A document B is read behind A, behind another A of the same length, and at the beginning of a row. Compared are the last hidden
states, of which logits are made. They are whole under every engine, as the head may not be. Weights and generators of
random numbers stay as they are; it costs three forward passes of a micro-batch without a gradient, each time that a process starts.

Shape legend: B rows, T tokens in a row, S tokens of a document, D embedding width.
"""

from typing import Any

import torch
from torch import Tensor

from osler.build.section import BuildError
from osler.model.numerics import Numerics
from osler.training.batches import IGNORED, Batch
from osler.training.consistency import Responses
from osler.training.engine import Engine
from osler.training.run import Run

DOCUMENT_TOKENS = 16
FIRST_TOKENS = 3  # whatever looks back, looks back from these: windows and convolutions may be as narrow
# Of tiny models of nine families, float32 and bfloat16 on a CPU: at most 4e-7 as they are, 0.3 to 1.7 where the position
# ids were kept from them.
SEEN = 0.05
# The same states in another place of a row are rounded otherwise, in bfloat16 by hundredths; at a wrong position they are others.
MOVED = 0.2


def check_packing(engine: Engine, run: Run, numerics: Numerics, config: Any, limit: int | None) -> None:
    """Refuse a model that packs wrongly.

    All processes call it together.

    Args:
        engine: ready to train.
        config: of the model.
        limit: rows that a process holds at once; None: its share of a batch.
    Raises:
        BuildError: a document's states depend on the one before it, or on where it lies in its row.
    """
    row_T = torch.from_numpy(next(iter(run.sources.values())).tokens_RT[0].astype("int64"))
    length = min(DOCUMENT_TOKENS, len(row_T) // 2)
    before_S, own_S, rest = row_T.split([length, length, len(row_T) - 2 * length])
    other_S = (before_S + config.vocab_size // 2) % config.vocab_size  # no token the same
    rows = min(-(-run.rows_per_step() // engine.processes), limit or run.rows_per_step())

    def states(first_S: Tensor, second_S: Tensor, start: int) -> Tensor:
        batch = _rows_of(first_S, second_S, rest, start, rows)
        given = batch.called_with(numerics.by_bounds(), engine.device)
        responses = Responses(torch.ones(length, dtype=torch.long), is_scored=False).to(engine.device)
        found: Tensor = engine.loss(*given, responses)[1]  # the mean state of responses of one token
        return found

    with torch.no_grad():
        behind_SD = states(before_S, own_S, length)
        behind_other_SD = states(other_S, own_S, length)
        alone_SD = states(own_S, before_S, 0)
    seen = float(_apart(behind_other_SD, behind_SD)[:FIRST_TOKENS].median())
    moved = float(_apart(behind_SD, alone_SD).median())
    kind = f"{run.label()}: {config.model_type}"
    if engine.summed([seen > SEEN])[0]:
        raise BuildError(
            f"{kind}: documents of a packed row see each other: states change by {seen:.0%} with the document before"
            f" ({SEEN:.0%} is borne); take another base, or another numerics.attention"
        )
    if engine.summed([moved > MOVED])[0]:
        raise BuildError(
            f"{kind}: a document's states differ by {moved:.0%} with its place in a packed row ({MOVED:.0%} is borne):"
            " positions do not begin anew with each; take another base"
        )


def _apart(states_SD: Tensor, others_SD: Tensor) -> Tensor:
    """How far each state is from another, as a share of the other's length (S,)."""
    return (states_SD - others_SD).norm(dim=1) / others_SD.norm(dim=1)


def _rows_of(first_S: Tensor, second_S: Tensor, rest: Tensor, start: int, rows: int) -> Batch:
    """The same row `rows` times, with labels on the document at `start` of the first."""
    tokens_BT = torch.cat([first_S, second_S, rest]).repeat(rows, 1)
    positions_T = torch.cat([torch.arange(len(part)) for part in (first_S, second_S, rest)])
    labels_BT = torch.full_like(tokens_BT, IGNORED)
    labels_BT[0, start : start + len(first_S)] = 0
    kept_BT = torch.ones_like(tokens_BT, dtype=torch.bool)
    return Batch(tokens_BT, positions_T.repeat(rows, 1), labels_BT, kept_BT, [])
