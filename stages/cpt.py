"""Stage `cpt`: continued pretraining of the base model on the mixture that `mix` planned.

AdamW starts with fresh state, the learning rate is warmed up again and falls on a cosine to a floor.
Sources: Ibrahim et al. 2024, arXiv 2403.08763 (re-warming, replay); arXiv 2409.14988 (the system).
"""

import json
from pathlib import Path

from stages.lib.mixture import row_order
from stages.lib.numerics import Numerics
from stages.lib.recipe import Recipe
from stages.lib.section import Seed
from stages.lib.shards import PackedRows, verify
from stages.lib.stage import run


class Cpt(Recipe):
    """Section `cpt`; how many tokens is the plan's matter."""


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
    from stages.lib.models import loaded_model  # torch is imported when training starts: params are checked without it
    from stages.lib.trainer import train_and_write
    from stages.lib.training import Run

    numerics.apply()
    planned = json.loads((plan / "plan.json").read_text(encoding="utf-8"))["sources"]
    folders = {source: packed / planned[source]["collection"] / source for source in sorted(planned)}
    verify(*folders.values())
    there = {source: planned[source]["rows_there"] for source in folders}
    order = row_order({source: planned[source]["rows"] for source in folders}, there, seed)
    train_and_write(
        Path(__file__),
        loaded_model(model),
        Run(
            "cpt",
            {name: PackedRows.open(folder, there[name]) for name, folder in folders.items()},
            order,
            cpt,
            seed,
            0.0,
        ),
        numerics,
        {"model": model, "plan": plan} | folders,
        model,
        trained_model,
        training,
    )


if __name__ == "__main__":
    run(main)
