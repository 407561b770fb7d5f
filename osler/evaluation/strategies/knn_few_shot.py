"""Few-shot with the solved questions nearest to the one that is asked.

An embedding is the mean of the last hidden states over a question (without its context: an abstract would drown it),
from the model that answers, so nothing else is needed; or that of the build's encoder, where it has one. A pass over
question and pool costs as much as zero-shot reads; these tokens are not in `prompt_tokens`. No seed is involved.

As in the source the nearest exemplars are shown. Not as there: the source embeds with an encoder trained for sentences,
which the build's own may be and the answering model is not. The nearest stands last.

Source: Liu et al., arXiv 2101.06804, of which the abstract was read.
"""

from collections.abc import Sequence

import polars as pl
from pydantic import Field

from osler.evaluation.exemplars import checked_pool, exemplar_rows, neighbors
from osler.evaluation.protocols import AnswerProtocol
from osler.evaluation.questions import Item, predictions
from osler.evaluation.strategies import StrategySettings
from osler.inference.interface import Model


class KnnFewShot(StrategySettings):
    """Settings of `strategies.knn_few_shot`."""

    shots: int = Field(gt=0, le=1000, description="nearest solved questions before the one to answer")


def prepared(
    model: Model,
    pool: Sequence[Item],
    settings: KnnFewShot,  # noqa: ARG001 - all pools are prepared the same way
    protocol: AnswerProtocol,  # noqa: ARG001
) -> pl.DataFrame:
    """The pool with its embeddings."""
    return exemplar_rows(pool, model.embeddings([item.question for item in pool]))


def answered(
    model: Model,
    items: Sequence[Item],
    pool: Sequence[Item],
    settings: KnnFewShot,
    protocol: AnswerProtocol,
    seed: int,
    exemplars: pl.DataFrame,
) -> pl.DataFrame:
    """Predictions for `items`, each after its own exemplars.

    The nearest exemplar stands next to the question.

    Raises:
        BuildError: see `checked_pool`.
    """
    solved = {item.item_id: item for item in checked_pool(items, pool, settings.shots, "knn_few_shot")}
    near = neighbors(model, items, exemplars, settings.shots)
    prompts = [
        protocol.prompt(item, [solved[name] for name in reversed(names)])
        for item, names in zip(items, near, strict=True)
    ]
    return predictions(items, protocol.answers(model, prompts), protocol.name, seed)
