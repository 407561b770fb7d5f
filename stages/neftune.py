"""Stage `neftune`: the recipe of `sft` with noise on the embeddings.

The noise is scaled by each conversation's own length.
"""

from functools import partial
from pathlib import Path

from pydantic import Field

from osler.build.section import Section
from osler.build.stage import run
from osler.model.numerics import Numerics
from osler.model.seeds import Seeds
from osler.training.finetuning import Sft, finetuned


class Neftune(Section):
    """Section `neftune`."""

    alpha: float = Field(ge=0, le=1000, description="uniform noise in +-alpha / sqrt(L d); 0 is sft bit for bit")
    consistency: float = Field(
        default=0,
        ge=0,
        le=1000,
        description="weight of the responses' cosine distance from the pass without noise; 0 is NEFTune bit for bit;"
        " without effect where alpha is 0",
    )


def main(
    model: Path,
    instructions: Path,
    template: Path,
    trained_model: Path,
    training: Path,
    neftune: Neftune,
    numerics: Numerics,
    seeds: Seeds,
    sft: Sft,
) -> None:
    """Fine-tune `model` with noise, of each seed its own."""
    from osler.training.trained_model import Trainer  # imports torch: params are checked without it

    numerics.apply()
    training_of = partial(
        finetuned, model, instructions, sft, trained_model.name,
        alpha=neftune.alpha, consistency=neftune.consistency,
    )  # fmt: skip
    Trainer(Path(__file__), numerics, training_of, template).write(seeds, trained_model, training)


if __name__ == "__main__":
    run(main)
