"""Runs of the training loop in which some rows have a loss that is not finite."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from osler.training.amendments import Amendment
from osler.training.checkpoints import Checkpoint, State
from osler.training.loop import Weights, train
from osler.training.packed_loss import PackedLoss
from osler.training.run import Run
from tests.support.runs import VOCABULARY, a_run
from tests.support.tiny import NUMERICS, launch, tiny_model

MARK = 2  # a token that no other row has


def bad_run(*steps: int, amendments: list[dict[str, Any]] | None = None, **changes: Any) -> Run:
    """`a_run` of one epoch over 20 rows, with a row of MARKs in each of these steps, from 1."""
    run = a_run(**changes)
    source = run.sources["x"]
    copies = 2 if len(source.row_ends_R) < len(run.order_N2) else 1
    lengths = np.tile(source.lengths_S, copies)
    ends = np.concatenate([source.row_ends_R, source.row_ends_R + source.row_ends_R[-1]][:copies])
    tokens = np.stack([source.tokens_RT[row] for row in range(len(source.row_ends_R))] * copies)
    order = run.order_N2.copy()
    order[:, 1] = np.random.default_rng(1).permutation(len(tokens))[: len(order)]
    for step in steps:
        tokens[order[2 * step - 1, 1]] = MARK  # the second of a step's two rows
    rows = replace(source, tokens_RT=tokens, row_ends_R=ends, lengths_S=lengths)
    decided = None if amendments is None else tuple(Amendment.model_validate(one, strict=False) for one in amendments)
    return replace(run, sources={"x": rows}, order_N2=order, amendments=decided)


def spoiled(amount: float) -> pytest.MonkeyPatch:
    """The loss of a row of MARKs gets `amount` on top, which leaves its gradient as it is."""
    patch = pytest.MonkeyPatch()
    original = PackedLoss.forward

    def forward(self: PackedLoss, tokens_BT: Tensor, *rest: Any) -> Any:
        sums = original(self, tokens_BT, *rest)
        if isinstance(sums, tuple):  # of states alone, as the check of packing asks for them
            return sums
        return sums + torch.where((tokens_BT == MARK).all(1).any(), amount, 0.0)

    patch.setattr(PackedLoss, "forward", forward)
    return patch


def trained(folder: Path, run: Run, **changes: Any) -> tuple[State, Weights]:
    """The end of a run whose checkpoints lie in `folder`."""
    model = tiny_model(VOCABULARY)
    return train(model, run, NUMERICS, Checkpoint(folder, "code", False), launch(**changes))


def train_with_a_bad_row(folder: Path, name: str, **changes: Any) -> None:
    """A run of two processes with a bad row on the second one, in step 4: what each skipped, and the weights, in `folder`."""
    patch = spoiled(float("nan"))
    state, weights = trained(folder / f"{name}-bad", bad_run(4), **changes)
    patch.undo()
    (folder / f"{name}-bad-{os.environ['RANK']}.json").write_text(json.dumps(state.skipped))
    if weights:
        save_file({key: value.contiguous() for key, value in weights.items()}, folder / f"{name}-bad.safetensors")
