"""Few-shot: the same solved questions before every question.

They are of the development split, and drawn several times.

A score under one draw says little: Meditron reports 15 to 51 points between draws (arXiv 2311.16079). So each item is
answered once a draw, and the spread over draws is reported beside the mean. All items of a benchmark share a draw's
exemplars, which are then read once (osler/inference/language_model.py).

As in the source solved questions stand before the asked one and no weight changes. Not as there: each is a turn of a chat and not a
line of a text, and what is scored is the protocol's. `balanced` draws answers in each place equally often, since a model may take
the commonest among exemplars for the likeliest (Zhao et al., arXiv 2102.09690).

Source: Brown et al., arXiv 2005.14165.
"""

from collections.abc import Sequence

import polars as pl
from pydantic import Field

from osler.build.section import absent
from osler.evaluation.exemplars import checked_pool, drawn_exemplars
from osler.evaluation.protocols import AnswerProtocol
from osler.evaluation.questions import Item, predictions
from osler.evaluation.strategies import StrategySettings
from osler.inference.interface import Model


class FewShot(StrategySettings):
    """Settings of `strategies.few_shot`."""

    shots: int = Field(gt=0, le=1000, description="solved questions before the one to answer")
    draws: int = Field(gt=0, le=1000, description="sets of exemplars, each of which answers all items")
    balanced: bool = absent(
        "exemplars' answers stand in each place equally often, as far as the dev items allow", default=False
    )


def answered(
    model: Model, items: Sequence[Item], pool: Sequence[Item], settings: FewShot, protocol: AnswerProtocol, seed: int
) -> pl.DataFrame:
    """Predictions for `items`, one for each item and draw.

    Each follows `shots` exemplars from `pool`. Where a published protocol always shows the same ones, there is one draw.

    Raises:
        BuildError: see `checked_pool` and `fixed_exemplars`.
    """
    if all(protocol.fixes(item) for item in items):
        prompts = [protocol.prompt(item, protocol.fixed_exemplars(item, pool, settings.shots)) for item in items]
        return predictions(items, protocol.answers(model, prompts), protocol.name, seed)
    pool = checked_pool(items, pool, settings.shots, "few_shot")
    frames = []
    for draw in range(settings.draws):
        shown = drawn_exemplars(pool, settings.shots, seed, draw, settings.balanced)
        answers = protocol.answers(model, [protocol.prompt(item, shown) for item in items])
        frames.append(predictions(items, answers, protocol.name, seed, draw))
    return pl.concat(frames)
