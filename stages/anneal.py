"""Stage `anneal`: a branch of a trunk on which the learning rate falls: one point of the curve of score over tokens."""

from pathlib import Path

from stages.lib.continuation import Branch, Cpt, continue_pretraining
from stages.lib.numerics import Numerics
from stages.lib.section import Seed
from stages.lib.stage import run


def main(
    model: Path,
    packed: Path,
    plan: Path,
    trained_model: Path,
    training: Path,
    cpt: Cpt,
    numerics: Numerics,
    seed: Seed,
    anneal: Branch,
) -> None:
    """Train on `anneal.tokens` tokens of the stream, from where `model` stands in it."""
    continue_pretraining(
        Path(__file__), model, packed, plan, trained_model, training, cpt, numerics, seed, anneal, is_branch=True
    )


if __name__ == "__main__":
    run(main)
