"""Stage `neftune`: the recipe of `sft` with noise on the embeddings, scaled by each conversation's own length."""

from pathlib import Path

from pydantic import Field

from stages.lib.finetuning import Sft, finetune
from stages.lib.numerics import Numerics
from stages.lib.section import Section, Seed
from stages.lib.stage import run


class Neftune(Section):
    """Section `neftune`."""

    alpha: float = Field(ge=0, le=1000, description="uniform noise in +-alpha / sqrt(L d); 0 is sft bit for bit")


def main(
    model: Path,
    instructions: Path,
    trained_model: Path,
    training: Path,
    sft: Sft,
    neftune: Neftune,
    numerics: Numerics,
    seed: Seed,
) -> None:
    """Fine-tune `model` with noise."""
    finetune(Path(__file__), model, instructions, trained_model, training, sft, neftune.alpha, numerics, seed)


if __name__ == "__main__":
    run(main)
