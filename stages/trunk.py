"""Stage `trunk`: a segment of continued pretraining at the peak rate, that others can go on from."""

from pathlib import Path

from stages.lib.continuation import Cpt, Segment, continue_pretraining
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
    trunk: Segment,
) -> None:
    """Train on `trunk.tokens` tokens of the stream, from where `model` stands in it."""
    continue_pretraining(Path(__file__), model, packed, plan, trained_model, training, cpt, numerics, seed, trunk)


if __name__ == "__main__":
    run(main)
