"""Stage `cpt`: continued pretraining of the base model on the mixture that `mix` planned.

AdamW starts with fresh state, the learning rate is warmed up again and falls on a cosine to a floor.
Sources: Ibrahim et al. 2024, arXiv 2403.08763 (re-warming, replay); arXiv 2409.14988 (the system).
"""

from pathlib import Path

from stages.lib.continuation import Cpt, continue_pretraining
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
) -> None:
    """Train on the rows of plan/plan.json."""
    continue_pretraining(Path(__file__), model, packed, plan, trained_model, training, cpt, numerics, seed)


if __name__ == "__main__":
    run(main)
