"""The first prompt that a strategy sends for an item, without a model.

A strategy is run on one item at a time with a model that answers nothing: what it is asked first is the prompt. Strategies that
ask for embeddings first, or need prepared chains, have prompts that hang on a model; these are not known here.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from osler.evaluation.protocols import AnswerProtocol
from osler.evaluation.questions import Item
from osler.evaluation.settings import STRATEGIES
from osler.evaluation.strategies import StrategySettings
from osler.inference.interface import Prompt, Sampling, Scored, Written
from osler.inference.prompt_tokens import prompt_texts


class _AskedFor(Exception):
    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt


class _Listener:
    """A model that is left at the first thing it is asked."""

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Scored]:
        raise _AskedFor(prompts[0])

    def texts(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Written]:  # noqa: ARG002
        raise _AskedFor(prompts[0])

    def embeddings(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise AssertionError(f"asked for embeddings of {len(texts)} texts, without a model")  # see `sent_prompts`


def sent_prompts(
    strategy: str,
    items: Sequence[Item],
    pool: Sequence[Item] | None,
    settings: StrategySettings,
    protocol: AnswerProtocol,
    seed: int,
    tokenizer: Path,
    template: str,
    system: str = "",
) -> dict[str, str]:
    """The first prompt of each item, as the chat template writes it.

    There is none where it hangs on a model.

    Args:
        pool: solved questions, for strategies that use them.
        tokenizer: its folder.
        template: the chat template.
        system: see `prompt_texts`.
    """
    known = STRATEGIES[strategy]
    if known.prepared:
        return {}
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(tokenizer)
    loaded.chat_template = template
    solved = {} if pool is None else {"pool": pool}
    prompts = []
    for item in items:
        try:
            known.module.answered(_Listener(), items=[item], settings=settings, protocol=protocol, seed=seed, **solved)
        except _AskedFor as asked:
            prompts.append(asked.prompt)
    texts = prompt_texts(loaded, prompts, system)
    return {item.item_id: text for item, text in zip(items, texts, strict=True)}
