"""Medprompt: similar exemplars with chains of thought, and an ensemble.

The model wrote the chains itself; members of the ensemble differ in the order of the options.

First each question of the pool is answered with a chain of thought, and only those whose answer is right are kept
(`prepared`; the model never sees whether a test answer is right). A test question then stands after the `shots` nearest
of them, each with its chain as the assistant's turn, and is itself answered after a chain, once for each member of the
ensemble, which differ in the order of its options. Costs `ensemble` times a few-shot chain of thought.

The options are listed whatever the protocol, as in the paper: an order that is not shown cannot be shuffled. What the
answer is read by stays the protocol's, so a comparison with zero-shot under an unlisted protocol contains the listing;
that is part of the strategy.

As in the source: solved questions by nearness, chains that the model wrote itself and that reached their answer, options
shuffled, an ensemble. Deviations: the source reads what the chain says and takes votes, which `read_chains` and the
protocol `generation` do; otherwise options are scored after the chain. Exemplars are few where few chains reach the answer
(a model that guesses keeps a share of chance, and its chains then say little); embeddings are the model's own instead of an
external model's, unless the build has one; chains are the likeliest, not sampled, so members differ in their orders alone.

Source: Nori et al., arXiv 2311.16452.
"""

from collections.abc import Sequence

import polars as pl
from pydantic import Field

from osler.evaluation.chains_of_thought import ReasoningSettings, begun, reasoned
from osler.evaluation.exemplars import checked_pool, exemplar_rows, neighbors
from osler.evaluation.option_orders import Combine, combined, listing, option_orders
from osler.evaluation.protocols import AnswerProtocol
from osler.evaluation.questions import Answer, Item, limited
from osler.evaluation.strategies import StrategySettings
from osler.evaluation.thoughts import said
from osler.inference.interface import Model, Prompt


class Medprompt(ReasoningSettings, StrategySettings):
    """Settings of `strategies.medprompt`."""

    shots: int = Field(gt=0, le=1000, description="nearest solved questions before the one to answer; 5 in the source")
    ensemble: int = Field(gt=0, le=1000, description="orders of the options; 5 in the source, which votes")
    combine: Combine = Field(description="votes of the members, or the mean of their probabilities")
    limit_pool_items: int | None = Field(
        default=None, gt=0, le=10_000_000, description="solved questions per benchmark to write chains for; null is all"
    )


def prepared(model: Model, pool: Sequence[Item], settings: Medprompt, protocol: AnswerProtocol) -> pl.DataFrame:
    """The pool with its embeddings and its chains.

    Of each chain it says whether it reaches the right answer. No seed is involved.
    """
    protocol, pool = listing(protocol), limited(pool, settings.limit_pool_items, seed=0)
    prompts = [protocol.prompt(item, instruction=settings.instruction) for item in pool]
    answers = reasoned(model, protocol, prompts, settings, temperature=0.0, seeds=[0] * len(prompts)).by_protocol
    return exemplar_rows(pool, model.embeddings([item.question for item in pool]), answers)


def solution(item: Item, chain: str, settings: Medprompt, protocol: AnswerProtocol) -> str:
    """What the assistant says in an exemplar.

    That is what it said in its chain up to the answer, without thoughts, and the answer as the protocol spells it.
    """
    answer = protocol.spelled(item, range(len(item.options)))[item.answer]
    return f"{begun(said(chain), settings.answer_lead)} {answer.rstrip('.')}."


def answered(
    model: Model,
    items: Sequence[Item],
    pool: Sequence[Item],
    settings: Medprompt,
    protocol: AnswerProtocol,
    seed: int,
    exemplars: pl.DataFrame,
) -> pl.DataFrame:
    """Predictions for `items` from `ensemble` chains each.

    The nearest exemplar stands last, next to the question.

    Raises:
        BuildError: see `checked_pool`.
    """
    protocol = listing(protocol)
    solved = {item.item_id: item for item in checked_pool(items, pool, settings.shots, "medprompt")}
    kept = exemplars.filter("reached_gold")
    turns = {}
    for name, chain in kept.select("item_id", "chain").iter_rows():
        exemplar = solved[name]
        turns[name] = (
            protocol.prompt(exemplar, instruction=settings.instruction).turns[-1],
            ("assistant", solution(exemplar, chain, settings, protocol)),
        )
    orders = [option_orders(item, settings.ensemble, seed) for item in items]
    prompts = []
    for item, names, own in zip(items, neighbors(model, items, kept, settings.shots), orders, strict=True):
        shown = tuple(turn for name in reversed(names) for turn in turns[name])
        for order in own:
            asked = protocol.prompt(item, order=order, instruction=settings.instruction)
            prompts.append(Prompt(shown + asked.turns, asked.options))
    answers = reasoned(model, protocol, prompts, settings, temperature=0.0, seeds=[0] * len(prompts))

    def ensembled(own: list[Answer], is_generated: bool) -> list[Answer]:
        return combined(own, items, orders, settings.combine, is_generated)

    return answers.predictions(items, ensembled, protocol.name, seed)
