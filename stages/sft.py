"""Stage `sft`: instruct fine-tuning with the loss on response tokens only (Med42-v2's recipe, arXiv 2408.06142)."""

from pathlib import Path

from stages.lib.finetuning import Sft, finetune
from stages.lib.numerics import Numerics
from stages.lib.section import Seed
from stages.lib.stage import run


def main(
    model: Path, instructions: Path, trained_model: Path, training: Path, sft: Sft, numerics: Numerics, seed: Seed
) -> None:
    """Fine-tune `model`."""
    finetune(Path(__file__), model, instructions, trained_model, training, sft, 0.0, numerics, seed)


if __name__ == "__main__":
    run(main)
