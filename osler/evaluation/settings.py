"""Sections `evaluate` and `strategies`, and the module behind each strategy's name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated

import polars as pl
from pydantic import Field

from osler.build.fingerprint import fingerprint
from osler.build.section import EACH_ONCE, Section, absent
from osler.evaluation.protocols import AnswerProtocol, ProtocolName
from osler.evaluation.published import PUBLISHED, SHOWING
from osler.evaluation.strategies import (
    StrategySettings,
    choice_shuffle,
    cot,
    expand_guess_refine,
    few_shot,
    knn_few_shot,
    medprompt,
    self_consistency,
    zero_shot,
)
from osler.evaluation.strategies.choice_shuffle import ChoiceShuffle
from osler.evaluation.strategies.cot import ChainOfThought
from osler.evaluation.strategies.expand_guess_refine import ExpandGuessRefine
from osler.evaluation.strategies.few_shot import FewShot
from osler.evaluation.strategies.knn_few_shot import KnnFewShot
from osler.evaluation.strategies.medprompt import Medprompt
from osler.evaluation.strategies.self_consistency import SelfConsistency
from osler.evaluation.strategies.zero_shot import ZeroShot
from osler.evaluation.tasks import Task

ROOT = Path(__file__).resolve().parents[2]


class Vllm(Section):
    """Section `evaluate.vllm`."""

    version: str = Field(description="that its own environment has")
    scores: bool = Field(description="also options and held-out documents; false: it only writes, transformers scores")


class Evaluate(Section):
    """Settings of `evaluate`."""

    protocol: ProtocolName = Field(description="the headline: how all strategies' answers are read")
    compared: Annotated[list[ProtocolName], EACH_ONCE] = Field(
        description="protocols that zero_shot answers in besides, on the same items"
    )
    list_options: bool = Field(description="whether full-answer prompts list the options, as letter and generation do")
    generation_instruction: str = Field(description="last line of the question under generation; empty for none")
    generation_limit_tokens: int = Field(gt=0, le=1 << 24, description="of a generated answer")
    system_prompt: str | None = absent("a system message before each prompt of chat turns; null: none", min_length=1)
    refuse_cut: bool = absent(
        "stop where a prompt is longer than the model reads, before any answer if that is known; false: it loses its left end,"
        " and the report says so",
        default=False,
    )
    vllm: Vllm | None = Field(default=None, description="computes in a process of its own; null: transformers alone")
    batch_tokens: int = Field(gt=0, le=1 << 40, description="padded tokens of one forward pass of transformers")
    window_tokens: int = Field(
        gt=1, le=1 << 24, description="positions of one window of a held-out document, BOS included"
    )


class Strategies(Section):
    """Settings of each strategy; null is off."""

    zero_shot: ZeroShot | None = None
    few_shot: FewShot | None = None
    knn_few_shot: KnnFewShot | None = None
    cot: ChainOfThought | None = None
    self_consistency: SelfConsistency | None = None
    choice_shuffle: ChoiceShuffle | None = None
    medprompt: Medprompt | None = None
    expand_guess_refine: ExpandGuessRefine | None = None

    def asked_of(self, model: str, is_first: bool = True) -> dict[str, StrategySettings]:
        """The settings of the strategies that `model` answers in, by name.

        `is_first` tells the build's first seed from another one.
        """
        every: dict[str, StrategySettings | None] = {name: getattr(self, name) for name in STRATEGIES}
        return {
            name: own
            for name, own in every.items()
            if own and (own.models is None or model in own.models) and (is_first or own.seeds == "all")
        }


@dataclass(frozen=True)
class Strategy:
    """A module of osler/evaluation/strategies, and what it looks at.

    `uses_pool` says whether it looks at other items than the one it answers, `asks_first` whether the model answers some of those
    before it.
    """

    module: ModuleType
    uses_pool: bool
    asks_first: bool = False

    @property
    def prepared(self) -> Callable[..., pl.DataFrame] | None:
        return getattr(self.module, "prepared", None)


STRATEGIES = {  # from plain to elaborate: a model that diverged is found by the first
    "zero_shot": Strategy(zero_shot, uses_pool=False),
    "few_shot": Strategy(few_shot, uses_pool=True),
    "knn_few_shot": Strategy(knn_few_shot, uses_pool=True),
    "cot": Strategy(cot, uses_pool=False),
    "self_consistency": Strategy(self_consistency, uses_pool=False),
    "choice_shuffle": Strategy(choice_shuffle, uses_pool=False),
    "medprompt": Strategy(medprompt, uses_pool=True, asks_first=True),
    "expand_guess_refine": Strategy(expand_guess_refine, uses_pool=False),
}


def vllm_parts(vllm: Vllm) -> dict[str, object]:
    """What answers of vLLM depend on besides what answers of transformers do.

    Raises:
        BuildError: see `installed`.
    """
    from osler.inference.vllm_backend import installed

    code = fingerprint(ROOT / "osler/inference/vllm_backend.py", ROOT, with_packages=False)
    return {**installed(vllm.version), "scores": vllm.scores, "code": code}


class Questions(Section):
    """What every model is asked, as sections of params.yaml.

    Of benchmarks only the names are here, and for published protocols the formats. Those in `beside` ask the items of another one
    again, and count in no mean.
    """

    benchmarks: list[str]
    beside: list[str] = Field(default=[])
    formats: Mapping[str, str] = absent("", default={})
    evaluate: Evaluate
    strategies: Strategies
    task: Mapping[str, Task]


def protocols(questions: Questions, strategy: str, is_first: bool = True) -> list[AnswerProtocol]:
    """The protocols that `strategy` answers in.

    That is the headline. Zero-shot of the first seed also answers in those compared with it.
    """
    evaluate, formats = questions.evaluate, tuple(sorted(questions.formats.items()))
    names = {evaluate.protocol, *(evaluate.compared if strategy == "zero_shot" and is_first else ())}
    written = (evaluate.generation_instruction, evaluate.generation_limit_tokens)
    return [
        AnswerProtocol(
            *(name, evaluate.list_options),
            *(written if name == "generation" else ("", 0)),
            *((formats, strategy in SHOWING) if name in PUBLISHED else ()),
        )
        for name in sorted(names)
    ]
