"""Stage `adapter`: few weights trained on instructions beside a base model that stays as it is."""

from functools import partial
from pathlib import Path

from osler.build.stage import run
from osler.model.numerics import Numerics
from osler.model.seeds import Seeds
from osler.training.adapters import AdapterSection, tuned


def main(
    model: Path,
    instructions: Path,
    template: Path,
    trained_model: Path,
    training: Path,
    adapter: AdapterSection,
    numerics: Numerics,
    seeds: Seeds,
) -> None:
    """Train an adapter of `model`, of each seed its own."""
    from osler.training.trained_model import Trainer  # imports torch: params are checked without it

    numerics.apply()
    training_of = partial(tuned, model, instructions, adapter, trained_model.name)
    Trainer(Path(__file__), numerics, training_of, template).write(adapter.seeds or seeds, trained_model, training)


if __name__ == "__main__":
    run(main)
