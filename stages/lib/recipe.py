"""The settings of a training run and the learning rate they give."""

import math
from typing import Annotated

from pydantic import Field

from stages.lib.section import Section

Fraction = Annotated[float, Field(ge=0, le=1)]


class Recipe(Section):
    """What pretraining, continued pretraining and fine-tuning have in common."""

    batch_tokens: int = Field(ge=1, description="tokens a step over all processes; a multiple of the row length")
    learning_rate: float = Field(gt=0, description="peak")
    final_learning_rate_fraction: Fraction = Field(description="of the peak, at the end of the cosine")
    warmup_fraction: Fraction = Field(description="of the steps, linear from 0")
    weight_decay: float = Field(ge=0, description="on matrices; not on norms")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]]
    epsilon: float = Field(gt=0)
    gradient_clip: float = Field(gt=0, description="largest L2 norm of the gradient")
    checkpoint_every_steps: int = Field(ge=1)


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The rate of step `step` (from 0) of `steps`: linear warm-up to the peak, then a cosine to its final fraction.

    The first step already learns (rate peak / warm-up steps), the last one has the final rate.
    """
    warmup = round(recipe.warmup_fraction * steps)
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup - 1)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    floor = recipe.final_learning_rate_fraction
    return recipe.learning_rate * (floor + (1 - floor) * cosine)
