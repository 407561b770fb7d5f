"""The settings of a training run and the learning rate they give."""

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from osler.build.section import Section

Fraction = Annotated[float, Field(ge=0, le=1)]


class Recipe(Section):
    """What pretraining, continued pretraining and fine-tuning have in common."""

    batch_tokens: int = Field(
        ge=1, le=1 << 40, description="tokens a step over all processes; a multiple of the row length"
    )
    learning_rate: float = Field(gt=0, le=10, description="peak")
    final_learning_rate_fraction: Fraction = Field(description="of the peak, at the end of the cosine")
    warmup_fraction: Fraction = Field(description="of the steps, linear from 0")
    weight_decay: float = Field(ge=0, le=10, description="on matrices; not on norms")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        description="of AdamW's two moving averages"
    )
    epsilon: float = Field(ge=1e-30, le=1, description="of AdamW, keeps a division from being one by 0")
    gradient_clip: float = Field(gt=0, description="largest L2 norm of the gradient")


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The rate of step `step` (from 0) of `steps`.

    It warms up linearly to the peak, then falls as a cosine to its final fraction. The first step already learns (rate
    peak / warm-up steps), the last one has the final rate.
    """
    warmup = round(recipe.warmup_fraction * steps)
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup - 1)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    floor = recipe.final_learning_rate_fraction
    return recipe.learning_rate * (floor + (1 - floor) * cosine)


@dataclass(frozen=True)
class Schedule:
    """The rate on a trunk and on a branch of it.

    A trunk has no end of its own. Steps are those since the trunk began.

    Source:
        Hu et al. 2024 (MiniCPM), arXiv 2404.06395: a trunk that goes on, a branch for each point of the curve. Hägele et al.
        2024, arXiv 2405.18392: branches that fall as 1 - sqrt end as low as a cosine of known length, others higher.
    """

    warmup_steps: int  # linear to the peak, at which the trunk stays
    fall_step: int | None  # the first step of a branch, which falls to the recipe's final fraction; None: the trunk

    def rate(self, recipe: Recipe, step: int, steps: int) -> float:
        """The learning rate of step `step`.

        A branch ends before step `steps`, and its last step has the final rate.
        """
        rising = min(1.0, (step + 1) / max(1, self.warmup_steps))
        if self.fall_step is None:
            return recipe.learning_rate * rising
        done = (step + 1 - self.fall_step) / (steps - self.fall_step)
        floor = recipe.final_learning_rate_fraction
        return recipe.learning_rate * rising * (floor + (1 - floor) * (1 - math.sqrt(done)))
