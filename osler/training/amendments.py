"""Decisions taken while continued pretraining runs: `cpt.amendments`.

Another learning rate from a step on, or steps whose rows are not learned. A run goes on with them from its last checkpoint,
if those that concern the steps behind it are the ones it was trained with: it ends with the bits of a run that had them from
its beginning. They are no part of a checkpoint's key, and a part of the finished model's.

Steps are numbered as in the log: the first is 1, that of a trunk wherever a segment of it begins.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from osler.build.section import Section, Seed

Step = Annotated[int, Field(ge=1, le=1 << 40)]
SHAPES = "give from_step and learning_rate, or skip_steps"


class Amendment(Section):
    """An entry of `cpt.amendments`."""

    from_step: Step | None = Field(default=None, description="the first step with the new learning_rate")
    learning_rate: float | None = Field(
        default=None, gt=0, le=10, description="the peak from then on; the schedule keeps its shape"
    )
    skip_steps: tuple[Step, Step] | None = Field(
        default=None, description="first and last of steps that learn nothing of their rows"
    )
    seed: Seed | None = Field(
        default=None, description="the one it is for; absent: all, and each has rows in its own order"
    )

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        rate = (self.from_step is not None, self.learning_rate is not None)
        if rate not in ((True, True), (False, False)) or rate[0] == (self.skip_steps is not None):
            raise ValueError(SHAPES)
        if self.skip_steps and self.skip_steps[0] > self.skip_steps[1]:
            raise ValueError(f"skip_steps: {list(self.skip_steps)}: the first one comes after the last")
        return self

    def first(self) -> int:
        """The first step that it concerns."""
        return self.skip_steps[0] if self.skip_steps else self.from_step or 1


Amendments = tuple[Amendment, ...]


def peak(amendments: Amendments, step: int) -> float | None:
    """The amended peak of the learning rate in `step`.

    Steps are from 1. None: it is the recipe's.
    """
    rates = _rates(amendments, step)
    return rates[max(rates)] if rates else None


def is_skipped(amendments: Amendments, step: int) -> bool:
    """Whether `step`, from 1, is left out."""
    return any(one.skip_steps and one.skip_steps[0] <= step <= one.skip_steps[1] for one in amendments)


def in_force(amendments: Amendments, steps: int) -> list[dict[str, Any]]:
    """Those that concern the first `steps` steps, as JSON."""
    return [one.model_dump(mode="json", exclude_none=True) for one in amendments if one.first() <= steps]


def without_effect(amendments: Amendments, first: int, last: int) -> list[str]:
    """Those that concern no step of a run, as text.

    It goes from step `first` to step `last`.
    """
    beside = [
        one for one in amendments if one.first() > last or (one.skip_steps is not None and one.skip_steps[1] < first)
    ]
    return [json.dumps(one.model_dump(mode="json", exclude_none=True)) for one in beside]


def objection(amendments: Amendments, before: Sequence[Mapping[str, Any]], steps: int) -> str:
    """Why a checkpoint of `steps` steps cannot go on under `amendments`.

    Args:
        amendments: those of the run.
        before: those that it was trained with, as `in_force` gave them.
    Returns:
        A clause about the first step that would have been another one; empty: it can go on.
    """
    trained = tuple(Amendment.model_validate(one, strict=False) for one in before)
    changes = {step for one in (*amendments, *trained) for step in _edges(one) if step <= steps}
    for step in sorted(changes):
        if peak(amendments, step) != peak(trained, step):
            return f"step {step} had another learning rate than cpt.amendments now give it"
        if is_skipped(amendments, step) != is_skipped(trained, step):
            now = "leave out" if is_skipped(amendments, step) else "learn"
            return f"step {step} was {'learned' if now == 'leave out' else 'left out'}, which cpt.amendments now {now}"
    return ""


def of_seed(amendments: Iterable[Amendment], seed: int) -> Amendments:
    """Those for all seeds and for `seed`."""
    return tuple(one for one in amendments if one.seed in (None, seed))


def _rates(amendments: Amendments, step: int) -> dict[int, float]:
    """The learning rates that began by `step`; of two that begin together the later one in the list."""
    return {
        one.from_step: one.learning_rate
        for one in amendments
        if one.from_step is not None and one.learning_rate is not None and one.from_step <= step
    }


def _edges(one: Amendment) -> tuple[int, ...]:
    """Steps at which something begins or has just ended."""
    return (one.skip_steps[0], one.skip_steps[1] + 1) if one.skip_steps else (one.first(),)
