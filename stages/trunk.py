"""Stage `trunk`: a segment of continued pretraining at the peak rate.

Other segments and branches can go on from it.
"""

from functools import partial
from pathlib import Path

from osler.build.stage import run
from osler.model.numerics import Numerics
from osler.model.seeds import Seeds
from osler.training.continued_pretraining import Cpt, Segment, continued


def main(
    model: Path,
    packed: Path,
    plan: Path,
    trained_model: Path,
    training: Path,
    cpt: Cpt,
    numerics: Numerics,
    seeds: Seeds,
    trunk: Segment,
) -> None:
    """Train on `trunk.tokens` tokens of the stream.

    Training starts where `model` stands in it.
    """
    from osler.training.trained_model import Trainer  # imports torch: params are checked without it

    numerics.apply()
    training_of = partial(continued, model, packed, plan, cpt, trained_model.name, segment=trunk)
    Trainer(Path(__file__), numerics, training_of).write(trunk.seeds or seeds[:1], trained_model, training)


if __name__ == "__main__":
    run(main)
