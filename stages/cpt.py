"""Stage `cpt`: continued pretraining on the mixture that `mix` planned.

AdamW starts with fresh state, the learning rate is warmed up again and falls on a cosine to a floor.
Sources: Ibrahim et al. 2024, arXiv 2403.08763 (re-warming, replay); arXiv 2409.14988 (the system).
"""

from functools import partial
from pathlib import Path

from osler.build.stage import run
from osler.model.numerics import Numerics
from osler.model.seeds import Seeds
from osler.training.continued_pretraining import Cpt, continued


def main(
    model: Path,
    packed: Path,
    plan: Path,
    trained_model: Path,
    training: Path,
    cpt: Cpt,
    numerics: Numerics,
    seeds: Seeds,
) -> None:
    """Train on the rows of plan/plan.json.

    Each seed starts from its own base model.
    """
    from osler.training.trained_model import Trainer  # imports torch: params are checked without it

    numerics.apply()
    training_of = partial(continued, model, packed, plan, cpt, trained_model.name)
    Trainer(Path(__file__), numerics, training_of).write(seeds, trained_model, training)


if __name__ == "__main__":
    run(main)
