"""Instruct fine-tuning, which `sft` runs without noise and `neftune` with it."""

import os
from pathlib import Path

import numpy as np
from pydantic import Field

from stages.lib.launching import brings_weights
from stages.lib.mixture import row_order
from stages.lib.numerics import Numerics
from stages.lib.recipe import Recipe
from stages.lib.shards import PackedRows, verify


class Sft(Recipe):
    """Section `sft`."""

    epochs: float = Field(gt=0, description="times that the instructions are read; may be a fraction")


def finetune(
    module: Path,
    model: Path,
    instructions: Path,
    trained_model: Path,
    training: Path,
    sft: Sft,
    alpha: float,
    numerics: Numerics,
    seed: int,
) -> None:
    """Train `model` on the responses in `instructions`; `alpha` 0 is plain SFT, bit for bit."""
    from stages.lib.models import loaded_model  # torch is imported when training starts: params are checked without it
    from stages.lib.trainer import train_and_write
    from stages.lib.training import Run

    numerics.apply()
    verify(instructions)
    rows = PackedRows.open(instructions)
    there = len(rows.row_ends_R)
    order = row_order({"instructions": max(1, int(np.ceil(there * sft.epochs)))}, {"instructions": there}, seed)
    train_and_write(
        module,
        loaded_model(model, empty=not brings_weights(os.environ)),
        Run(trained_model.name, {"instructions": rows}, order, sft, seed, alpha),
        numerics,
        {"model": model, "instructions": instructions},
        model,
        trained_model,
        training,
    )
