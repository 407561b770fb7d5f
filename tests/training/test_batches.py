"""Rows as tensors: labels, positions and noise."""

import torch

from osler.tokens.shards import PackedRows
from osler.training.batches import IGNORED, batch_noise, batch_of
from tests.support.runs import rows_of


def test_labels_by_hand() -> None:
    """The next token within the segment; nothing at segment ends, in padding, and where the next token is not learned."""
    rows = rows_of([[3, 2]])
    tokens = rows.tokens_RT[0].tolist()
    batch = batch_of([(rows, 0)])
    assert batch.labels_BT[0].tolist() == [tokens[1], tokens[2], IGNORED, tokens[4], *[IGNORED] * 12]
    assert batch.positions_BT[0].tolist() == [0, 1, 2, 0, 1, *range(11)]
    learned = batch_of(
        [(PackedRows(rows.tokens_RT, rows.row_ends_R, rows.lengths_S, rows_of([[1]], learned=True).labels_RT), 0)]
    )
    assert learned.labels_BT[0].tolist() == [tokens[1], IGNORED, IGNORED, IGNORED, *[IGNORED] * 12]


def test_padding_gets_no_noise_and_rows_do_not_depend_on_each_other() -> None:
    """Noise ends with the last segment; a row's noise is its seed's, whichever batch it is in."""
    both = batch_noise([[3, 2], [4]], 8, 16, 5.0, [7, 9])
    assert not both[0, 5:].any()
    assert not both[1, 4:].any()
    assert both[0, :5].all()
    assert torch.equal(both[1:], batch_noise([[4]], 8, 16, 5.0, [9]))
    assert not torch.equal(both[0, :4], both[1, :4])
