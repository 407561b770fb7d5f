"""Stage `pretrain`: a small base model from scratch on general text, where no checkpoint is downloaded."""

from pathlib import Path

from pydantic import Field

from stages.lib.architecture import Architecture
from stages.lib.mixture import Available, Weights, planned_rows, row_order
from stages.lib.numerics import Numerics
from stages.lib.recipe import Recipe
from stages.lib.section import Seed
from stages.lib.shards import PackedRows, manifest, verify
from stages.lib.stage import run


class Pretrain(Recipe):
    """Section `pretrain.<name>`."""

    tokens: int = Field(ge=1, description="tokens read, padding not counted")
    maximum_epochs: float = Field(gt=0, description="times that any row may be read")
    weights: Weights


def main(
    packed: Path,
    tokenizer: Path,
    trained_model: Path,
    training: Path,
    architecture: Architecture,
    numerics: Numerics,
    pretrain: Pretrain,
    seed: Seed,
    name: str,
) -> None:
    """Train on the general sources with a weight, below the folder `packed`."""
    from stages.lib.models import fresh_model  # torch is imported when training starts: params are checked without it
    from stages.lib.trainer import train_and_write
    from stages.lib.training import Run

    numerics.apply()
    facts = {folder.name: manifest(folder) for folder in sorted(packed.iterdir())}
    available = {source: Available(fact["rows"], fact["tokens"]) for source, fact in facts.items()}
    planned = planned_rows(available, pretrain.weights, pretrain.tokens, pretrain.maximum_epochs, f"pretrain.{name}")
    verify(*(packed / source for source in planned))
    order = row_order(planned, {source: available[source].rows for source in planned}, seed)
    train_and_write(
        Path(__file__),
        fresh_model(architecture, tokenizer, seed),
        Run(name, {source: PackedRows.open(packed / source) for source in planned}, order, pretrain, seed, 0.0),
        numerics,
        {"tokenizer": tokenizer} | {source: packed / source for source in planned},
        tokenizer,
        trained_model,
        training,
    )


if __name__ == "__main__":
    run(main)
