"""Stage `pretrain`: a small base model from scratch on general text.

It runs where no checkpoint is downloaded.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from osler.build.stage import run
from osler.model.architecture import Architecture
from osler.model.numerics import Numerics
from osler.model.seeds import Seeds
from osler.tokens.mixture import Available, Weights, planned_rows, row_order
from osler.tokens.shards import PackedRows, manifest, verify
from osler.training.recipe import Recipe

if TYPE_CHECKING:
    from osler.training.trained_model import Training


class Pretrain(Recipe):
    """Section `pretrain.<name>`."""

    tokens: int = Field(ge=1, le=1 << 50, description="tokens read, padding not counted")
    maximum_epochs: float = Field(ge=1e-6, le=1e9, description="times that any row may be read")
    weights: Weights = Field(description="shares of general sources, whatever their sum")


def pretrained(
    packed: Path, tokenizer: Path, architecture: Architecture, pretrain: Pretrain, name: str, seed: int
) -> "Training":
    """The training of a fresh model on the general sources.

    The sources are those with a weight, below the folder `packed`.
    """
    from osler.model.folder import fresh_model
    from osler.training.run import Run
    from osler.training.trained_model import Training

    facts = {folder.name: manifest(folder) for folder in sorted(packed.iterdir())}
    available = {source: Available(fact["rows"], fact["tokens"]) for source, fact in facts.items()}
    planned = planned_rows(available, pretrain.weights, pretrain.tokens, pretrain.maximum_epochs, f"pretrain.{name}")
    folders = {source: packed / source for source in planned}
    verify(*folders.values())
    order = row_order(planned, {source: available[source].rows for source in planned}, seed)
    rows = {source: PackedRows.open(folder) for source, folder in folders.items()}
    run = Run(name, rows, order, pretrain, seed)
    return Training(fresh_model(architecture, tokenizer, seed), run, {"tokenizer": tokenizer} | folders, tokenizer)


def main(
    packed: Path,
    tokenizer: Path,
    trained_model: Path,
    training: Path,
    architecture: Architecture,
    numerics: Numerics,
    pretrain: Pretrain,
    seeds: Seeds,
) -> None:
    """Train one model a seed."""
    from osler.training.trained_model import Trainer  # imports torch: params are checked without it

    numerics.apply()
    training_of = partial(pretrained, packed, tokenizer, architecture, pretrain, trained_model.name)
    Trainer(Path(__file__), numerics, training_of).write(seeds, trained_model, training)


if __name__ == "__main__":
    run(main)
