"""Stage `anneal`: a branch of a trunk with a falling learning rate.

It is one point of the curve of score over tokens.
"""

from functools import partial
from pathlib import Path

from osler.build.stage import run
from osler.model.numerics import Numerics
from osler.model.seeds import Seeds
from osler.training.continued_pretraining import Branch, Cpt, continued


def main(
    model: Path,
    packed: Path,
    plan: Path,
    trained_model: Path,
    training: Path,
    anneal: Branch,
    cpt: Cpt,
    numerics: Numerics,
    seeds: Seeds,
) -> None:
    """Train on `anneal.tokens` tokens of the stream.

    Training starts where `model` stands in it.
    """
    from osler.training.trained_model import Trainer  # imports torch: params are checked without it

    numerics.apply()
    training_of = partial(continued, model, packed, plan, cpt, trained_model.name, segment=anneal)
    Trainer(Path(__file__), numerics, training_of).write(anneal.seeds or seeds[:1], trained_model, training)


if __name__ == "__main__":
    run(main)
