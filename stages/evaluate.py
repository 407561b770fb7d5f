"""Score one model: every prompting strategy on every benchmark, and the held-out documents of each domain.

One process does it all, since importing torch and transformers takes 5 s and a default strategy 1 s. Results are kept
in a content-addressed store below `scratch/`, one entry for each strategy and benchmark and for each domain. An
entry's key is everything it depends on: the model's files, the items, the settings, the seed, and the code of that
strategy, so that a changed strategy is computed and the others are reused. What a strategy makes of its exemplars
before any item is asked (embeddings, chains of thought) is an entry of its own, without the items in its key; its key holds
the encoder that embeds, where the build has one. When all
are reused, torch is not even imported. The store is only a shortcut: deleting it changes no byte of the output.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import polars as pl
from pydantic import Field

from stages.lib.exemplars import EXEMPLARS, exemplar_pool, leaked
from stages.lib.files import folder_hash, read_json, write_json, write_parquet
from stages.lib.fingerprint import closure, fingerprint, package_versions
from stages.lib.numerics import Numerics
from stages.lib.prompts import Item, items_of, limited
from stages.lib.protocols import AnswerProtocol, ProtocolName
from stages.lib.section import BuildError, Section, Seed
from stages.lib.stage import run
from stages.lib.store import content_key
from stages.lib.strategies import (
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
from stages.lib.strategies.choice_shuffle import ChoiceShuffle
from stages.lib.strategies.cot import ChainOfThought
from stages.lib.strategies.expand_guess_refine import ExpandGuessRefine
from stages.lib.strategies.few_shot import FewShot
from stages.lib.strategies.knn_few_shot import KnnFewShot
from stages.lib.strategies.medprompt import Medprompt
from stages.lib.strategies.self_consistency import SelfConsistency
from stages.lib.strategies.zero_shot import ZeroShot
from stages.lib.task_predictions import task_predictions
from stages.lib.tasks import Task

if TYPE_CHECKING:
    from stages.lib.encoder import Encoder
    from stages.lib.scoring import LanguageModel

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[1]
STORE = Path("scratch/predictions")  # below the folder the build runs in
DOMAINS = ("clinical", "general")
EXPERTS = pl.Schema(
    {"domain": pl.String, "model": pl.String, "layer": pl.Int64, "expert": pl.Int64, "tokens": pl.Int64}
)


class Vllm(Section):
    """Section `evaluate.vllm`."""

    version: str = Field(description="that its own environment has")
    scores: bool = Field(description="also options and held-out documents; false: it only writes, transformers scores")


class Evaluate(Section):
    """Settings of `evaluate`."""

    protocol: ProtocolName = Field(description="the headline: how all strategies' answers are read")
    compared: list[ProtocolName] = Field(description="protocols that zero_shot answers in besides, on the same items")
    list_options: bool = Field(description="whether full-answer prompts list the options, as letter and generation do")
    generation_instruction: str = Field(description="last line of the question under generation; empty for none")
    generation_limit_tokens: int = Field(gt=0, description="of a generated answer")
    vllm: Vllm | None = Field(description="computes in a process of its own; null: transformers alone")
    batch_tokens: int = Field(gt=0, description="padded tokens of one forward pass of transformers")
    window_tokens: int = Field(gt=1, description="positions of one window of a held-out document, BOS included")


class Strategies(Section):
    """Settings of each strategy; null is off."""

    zero_shot: ZeroShot | None
    few_shot: FewShot | None
    knn_few_shot: KnnFewShot | None
    cot: ChainOfThought | None
    self_consistency: SelfConsistency | None
    choice_shuffle: ChoiceShuffle | None
    medprompt: Medprompt | None
    expand_guess_refine: ExpandGuessRefine | None

    def asked_of(self, model: str) -> dict[str, StrategySettings]:
        """The settings of the strategies that `model` answers in, by name."""
        every: dict[str, StrategySettings | None] = {name: getattr(self, name) for name in STRATEGIES}
        return {name: own for name, own in every.items() if own and (own.models is None or model in own.models)}


@dataclass(frozen=True)
class Strategy:
    """A module of stages/lib/strategies, and whether it looks at other items than the one it answers."""

    module: ModuleType
    uses_pool: bool

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
    "medprompt": Strategy(medprompt, uses_pool=True),
    "expand_guess_refine": Strategy(expand_guess_refine, uses_pool=False),
}


def stored(key: str, compute: Callable[[], pl.DataFrame]) -> tuple[pl.DataFrame, bool]:
    """The frame of `key`, and whether it had to be computed."""
    path = STORE / key / "predictions.parquet"
    if path.is_file():
        return pl.read_parquet(path), False
    frame = compute()
    write_parquet(path, frame)
    return frame, True


def protocols(evaluate: Evaluate, strategy: str) -> list[AnswerProtocol]:
    """The protocols that `strategy` answers in: the headline, and for zero-shot those compared with it."""
    names = {evaluate.protocol, *(evaluate.compared if strategy == "zero_shot" else ())}
    written = (evaluate.generation_instruction, evaluate.generation_limit_tokens)
    return [
        AnswerProtocol(name, evaluate.list_options, *(written if name == "generation" else ("", 0)))
        for name in sorted(names)
    ]


class Lazy(Generic[T]):
    """Loads a model when something must be computed, and only then."""

    def __init__(self, load: Callable[[], T]) -> None:
        self._load = load
        self.model: T | None = None

    def __call__(self) -> T:
        self.model = self.model or self._load()
        return self.model


def report_reuse(what: str, unit: str, rows: Sequence[tuple[int, bool]]) -> None:
    """Print how many rows were computed and how many came from the store, a line for each that is not zero."""
    for verb, wanted in (("computed", True), ("reused", False)):
        if count := sum(number for number, computed in rows if computed is wanted):
            print(f"{what}: {verb} {count} {unit}", flush=True)


def vllm_parts(vllm: Vllm) -> dict[str, object]:
    """What answers of vLLM depend on besides what answers of transformers do.

    Raises:
        BuildError: see `installed`.
    """
    from stages.lib.vllm_backend import installed

    code = fingerprint(ROOT / "stages/lib/vllm_backend.py", ROOT, with_packages=False)
    return {**installed(vllm.version), "scores": vllm.scores, "code": code}


@dataclass(frozen=True)
class Quiz:
    """The test items of one benchmark, and the solved questions that may stand before them."""

    items: list[Item]
    pool: list[Item]


def answers(
    strategy: str,
    settings: StrategySettings,
    protocol: AnswerProtocol,
    quizzes: Mapping[str, Quiz],
    seed: int,
    loaded: "Lazy[LanguageModel]",
    common: Mapping[str, object],
    embedder: str | None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What a strategy predicts under a protocol, and the exemplars it has prepared, from the store where they are.

    Args:
        strategy: of STRATEGIES.
        settings: its own.
        protocol: that reads its answers.
        quizzes: by benchmark.
        seed: of what is drawn.
        loaded: the model.
        common: parts of every key.
        embedder: the hash of the encoder that finds near questions; None where the model itself does.
    """
    known = STRATEGIES[strategy]
    parts = dict(common)
    parts |= {"code": fingerprint(Path(str(known.module.__file__)), ROOT, with_packages=False)}
    # of what all strategies say only the items count, which are in the key as they are
    parts |= {"settings": settings.model_dump(exclude=set(StrategySettings.model_fields))}
    parts |= {"protocol": asdict(protocol)}
    predicted, prepared = [], [pl.DataFrame(schema={"benchmark": pl.String} | dict(EXEMPLARS))]
    asked: list[tuple[int, bool]] = []
    shown: list[tuple[int, bool]] = []
    for benchmark, quiz in quizzes.items():
        items = limited(quiz.items, settings.limit_items, seed)
        given: dict[str, object] = {"settings": settings, "protocol": protocol}
        if known.uses_pool:
            given["pool"] = quiz.pool
            parts["pool"] = [asdict(item) for item in quiz.pool]
        if known.prepared:
            parts["embedder"] = embedder
            prepare = partial(known.prepared, **given)
            key = content_key(what=f"exemplars of {strategy}", **parts)
            exemplars, computed = stored(key, lambda prepare=prepare: prepare(loaded()))  # type: ignore[misc]
            shown.append((exemplars.height, computed))
            prepared.append(exemplars.select(pl.lit(benchmark).alias("benchmark"), pl.all()))
            given["exemplars"] = exemplars
        answer = partial(known.module.answered, items=items, seed=seed, **given)
        key = content_key(what=strategy, items=[asdict(item) for item in items], seed=seed, **parts)
        frame, computed = stored(key, lambda answer=answer: answer(loaded()))  # type: ignore[misc]
        asked.append((frame["item_id"].n_unique(), computed))  # an item may be answered in several draws
        predicted.append(frame)
    report_reuse(f"{strategy} ({protocol.name})", "exemplars", shown)
    report_reuse(f"{strategy} ({protocol.name})", "items", asked)
    return pl.concat(predicted), pl.concat(prepared)


def main(
    model: Path,
    encoders: Path,
    heldout: Path,
    items: Path,
    predictions: Path,
    benchmark: Mapping[str, object],
    evaluate: Evaluate,
    numerics: Numerics,
    seed: Seed,
    strategies: Strategies,
    task: Mapping[str, Task],
    name: str,
) -> None:
    """Write `predictions.parquet`, a row for each item and strategy, `exemplars.parquet`, one for each dev item that a
    strategy has prepared, `generations.parquet`, one for each item of a generative task, `heldout.parquet`, one for each
    document, and `experts.parquet`, one for each domain, layer and expert (none for a dense model).

    Beside them `model.json`: the tokens of continued pretraining that the model has seen, null where fine-tuning
    followed, the headline protocol, what the model's card says of it: the hash of its files and its provenance, and the
    encoders that were used.
    """
    frames = [pl.read_parquet(items / f"{listed}.parquet") for listed in sorted(benchmark)]
    everything: list[Item] = items_of(pl.concat(frames))
    test = [item for item in everything if item.split == "test"]
    if not test:
        raise BuildError(f"{items}: no benchmark item has the split `test`; list one in params.yaml: benchmark")
    if unfit := leaked(everything):
        print(
            f"{len(unfit)} dev items are test items too and no exemplars: {', '.join(item.item_id for item in unfit)}"
        )

    used = {name: folder_hash(encoders / name) for name in ("embeddings", "bertscore") if (encoders / name).is_dir()}

    def encoder(name: str) -> "Encoder":
        from stages.lib.encoder import Encoder

        return Encoder(encoders / name, evaluate.batch_tokens, numerics)

    def load_weights() -> Any:
        from stages.lib.scoring import loaded_model

        return loaded_model(model, numerics)

    def load() -> "LanguageModel":
        from stages.lib.scoring import LanguageModel, TorchBackend, loaded_tokenizer
        from stages.lib.vllm_backend import VllmBackend

        writer = VllmBackend(model, numerics) if evaluate.vllm else None
        # the weights first: vLLM takes what memory is left
        scorer = (
            writer
            if writer and evaluate.vllm and evaluate.vllm.scores
            else TorchBackend(weights(), evaluate.batch_tokens)
        )
        embedder = encoder("embeddings") if "embeddings" in used else None
        return LanguageModel(scorer, loaded_tokenizer(model), writer or scorer, embedder)

    weights, loaded = Lazy(load_weights), Lazy(load)
    vllm = vllm_parts(evaluate.vllm) if evaluate.vllm else None
    common = {
        "vllm": vllm,
        "model": folder_hash(model),
        "numerics": numerics.model_dump(),
        "batch_tokens": evaluate.batch_tokens,
        "scoring": fingerprint(ROOT / "stages/lib/scoring.py", ROOT, with_packages=False),
        "packages": package_versions(closure(Path(__file__), ROOT)[1]),  # once: it takes 0.4 s
    }

    quizzes = {
        benchmark: Quiz([item for item in test if item.benchmark == benchmark], exemplar_pool(everything, benchmark))
        for benchmark in sorted({item.benchmark for item in test})
    }
    predicted: list[pl.DataFrame] = []
    prepared: list[pl.DataFrame] = []
    for strategy, settings in strategies.asked_of(name).items():
        for protocol in protocols(evaluate, strategy):
            frames = list(answers(strategy, settings, protocol, quizzes, seed, loaded, common, used.get("embeddings")))
            if bad := frames[0].filter(pl.col("scores").list.eval(~pl.element().is_finite()).list.any()).height:
                raise BuildError(
                    f"{model}: {bad} of {frames[0].height} items have scores that are not finite; the model diverged"
                )
            for frame, rows in zip(frames, (predicted, prepared), strict=True):
                rows.append(frame.with_columns(strategy=pl.lit(strategy), model=pl.lit(name)))
    if not predicted:
        raise BuildError(f"params.yaml: strategies: none asks {name}; set one, or add {name} to its `models`")
    keys = ["item_id", "benchmark", "group", "strategy", "protocol", "model", "seed", "draw"]
    written = pl.concat(predicted).select(*keys, pl.exclude(keys)).sort("strategy", "protocol", "draw", "item_id")
    write_parquet(predictions / "predictions.parquet", written)
    keys = ["strategy", "benchmark", "model", "item_id"]
    write_parquet(predictions / "exemplars.parquet", pl.concat(prepared).select(*keys, pl.exclude(keys)).sort(keys))

    codes = {
        name: fingerprint(ROOT / f"stages/lib/{name}.py", ROOT, with_packages=False) for name in ("bits", "experts")
    }
    measured: list[pl.DataFrame] = []
    done: list[tuple[int, bool]] = []
    for domain in DOMAINS:
        documents = pl.read_parquet(heldout / f"{domain}.parquet", columns=["doc_id", "source", "text"]).sort("doc_id")
        names, texts = documents["doc_id"].to_list(), documents["text"].to_list()
        window = evaluate.window_tokens
        key = content_key(**common, what="heldout", code=codes["bits"], documents=[names, texts], window_tokens=window)

        def bits(names: list[str] = names, texts: list[str] = texts) -> pl.DataFrame:
            from stages.lib.bits import document_bits

            llm = loaded()
            return document_bits(llm.scorer, llm.tokenizer, names, texts, evaluate.window_tokens)

        frame, computed = stored(key, bits)
        done.append((frame.height, computed))
        measured.append(frame.with_columns(domain=pl.lit(domain), source=documents["source"], model=pl.lit(name)))
    report_reuse("heldout", "documents", done)

    def kept(compute: Callable[[], pl.DataFrame], **parts: object) -> tuple[pl.DataFrame, bool]:
        return stored(content_key(**common, **parts), compute)

    bertscore = (used["bertscore"], Lazy(lambda: encoder("bertscore"))) if "bertscore" in used else None
    generations, done = task_predictions(items / "tasks", task, name, seed, kept, loaded, bertscore)
    report_reuse("tasks", "items", done)
    write_parquet(predictions / "generations.parquet", generations)

    if loaded.model:
        loaded.model.writer.close()  # the rest, and the evaluation of the next model, may want its memory
    loads = [pl.DataFrame(schema=EXPERTS)]
    for domain in DOMAINS if read_json(model / "config.json").get("num_local_experts") else ():
        texts = (
            pl.read_parquet(heldout / f"{domain}.parquet", columns=["doc_id", "text"]).sort("doc_id")["text"].to_list()
        )

        def experts(texts: list[str] = texts) -> pl.DataFrame:
            from stages.lib.experts import expert_loads
            from stages.lib.scoring import loaded_tokenizer

            tokenizer = loaded_tokenizer(model)
            return expert_loads(weights(), tokenizer, texts, evaluate.window_tokens, evaluate.batch_tokens)

        parts = {
            "what": "experts",
            "code": codes["experts"],
            "documents": texts,
            "window_tokens": evaluate.window_tokens,
        }
        frame, _ = kept(experts, **parts)
        loads.append(
            frame.select(domain=pl.lit(domain), model=pl.lit(name), layer="layer", expert="expert", tokens="tokens")
        )
    write_parquet(predictions / "experts.parquet", pl.concat(loads))
    made = model / "provenance.json"
    provenance = read_json(made) if made.is_file() else {}
    facts = {"continued_tokens": provenance.get("continued_tokens"), "protocol": evaluate.protocol}
    facts["vllm"] = evaluate.vllm.model_dump() if evaluate.vllm else None
    facts["encoders"] = {name: read_json(encoders / name / "encoder.json") for name in used}
    write_json(predictions / "model.json", facts | {"files": common["model"], "provenance": provenance})
    order = ["doc_id", "domain", "source", "model", "bits", "bytes", "tokens"]
    write_parquet(predictions / "heldout.parquet", pl.concat(measured).select(order))


if __name__ == "__main__":
    run(main)
