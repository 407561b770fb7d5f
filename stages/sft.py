"""Stage `sft`: instruct fine-tuning with the loss on responses only.

It is Med42-v2's recipe, arXiv 2408.06142.
"""

from functools import partial
from pathlib import Path

from osler.build.stage import run
from osler.model.numerics import Numerics
from osler.model.seeds import Seeds
from osler.training.finetuning import Sft, finetuned


def main(
    model: Path,
    instructions: Path,
    template: Path,
    trained_model: Path,
    training: Path,
    numerics: Numerics,
    seeds: Seeds,
    sft: Sft,
) -> None:
    """Fine-tune `model`, of each seed its own."""
    from osler.training.trained_model import Trainer  # imports torch: params are checked without it

    numerics.apply()
    training_of = partial(finetuned, model, instructions, sft, trained_model.name)
    Trainer(Path(__file__), numerics, training_of, template).write(seeds, trained_model, training)


if __name__ == "__main__":
    run(main)
