"""Instruct fine-tuning, which `sft` runs without noise and `neftune` with it.

Both stages hand `finetuned` to a `Trainer` (trained_model.py), which calls it once a seed.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from osler.model.seeds import folder_of
from osler.tokens.mixture import row_order
from osler.tokens.shards import PackedRows, verify
from osler.training.launch import brings_weights
from osler.training.recipe import Recipe

if TYPE_CHECKING:
    from osler.training.trained_model import Training


class Sft(Recipe):
    """Section `sft`."""

    epochs: float = Field(gt=0, le=10_000, description="times that the instructions are read; may be a fraction")


def finetuned(
    model: Path, instructions: Path, sft: Sft, name: str, seed: int, *, alpha: float = 0.0, consistency: float = 0.0
) -> "Training":
    """The training of `model` on the responses in `instructions`.

    The model is the one of `seed`.

    Args:
        name: of the model that is made.
        alpha: of NEFTune; 0 is plain SFT, bit for bit.
        consistency: weight of the distance from the pass without noise (consistency.py); without noise there is none.
    """
    # torch is imported when training starts: params are checked without it
    from osler.model.folder import trainable_model
    from osler.training.run import Run
    from osler.training.trained_model import Training

    start = folder_of(model, seed)
    verify(instructions)
    rows = PackedRows.open(instructions)
    there = len(rows.row_ends_R)
    order = row_order({"instructions": max(1, int(np.ceil(there * sft.epochs)))}, {"instructions": there}, seed)
    return Training(
        trainable_model(start, empty=not brings_weights(os.environ)),
        Run(name, {"instructions": rows}, order, sft, seed, alpha=alpha, consistency=consistency if alpha else 0.0),
        {"model": start, "instructions": instructions},
        start,
    )
