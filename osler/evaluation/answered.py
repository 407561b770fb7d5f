"""What a model is asked and what it answers, in a store.

It is asked under one training seed or several.

The store is content-addressed, below `scratch/`, one entry for each strategy and benchmark and for each domain. An
entry's key is everything it depends on: the model's files, the items, the settings, the seed, and the code of that
strategy, so that a changed strategy is computed and the others are reused. What a strategy makes of its exemplars
before any item is asked (embeddings, chains of thought) is an entry of its own, without the items in its key; its key holds
the encoder that embeds, where the build has one. The store is only a shortcut: deleting it changes no byte of the output.

Importing torch and transformers takes 5 s and a default strategy 1 s, so one process does all that a seed is asked; seeds are
asked by processes of their own, `jobs` at a time. Where everything is in the store torch is not even imported.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import forkserver, get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import polars as pl

from osler.build.files import folder_hash, read_json, write_parquet, write_text
from osler.build.fingerprint import closure, fingerprint
from osler.build.packages import package_versions
from osler.build.section import BuildError
from osler.build.shard_store import content_key, made_entry, whole_entry
from osler.corpus.documents import HELDOUT_DOMAINS
from osler.evaluation.cut_prompts import ITEM_SEED, CutPrompts, known_cuts, reader_of
from osler.evaluation.exemplars import EXEMPLARS
from osler.evaluation.protocols import AnswerProtocol
from osler.evaluation.questions import limited
from osler.evaluation.quizzes import Quiz, quizzes_of
from osler.evaluation.settings import ROOT, STRATEGIES, Questions, protocols, vllm_parts
from osler.evaluation.strategies import StrategySettings
from osler.evaluation.task_predictions import task_predictions
from osler.model.numerics import Numerics
from osler.model.seeds import folder_of, model_hash

if TYPE_CHECKING:
    from osler.inference.language_model import LanguageModel
    from osler.inference.text_encoder import TextEncoder

T = TypeVar("T")
STORE = Path("scratch/predictions")  # below the folder the build runs in
EXPERTS = pl.Schema(
    {"domain": pl.String, "model": pl.String, "layer": pl.Int64, "expert": pl.Int64, "tokens": pl.Int64}
)
HELDOUT = ["doc_id", "domain", "source", "model", "seed", "bits", "bytes", "tokens"]


class Lazy(Generic[T]):
    """Loads a model when something must be computed, and only then."""

    def __init__(self, load: Callable[[], T]) -> None:
        self._load = load
        self.model: T | None = None

    def __call__(self) -> T:
        self.model = self.model or self._load()
        return self.model


class NotStoredError(Exception):
    """Something would have to be computed."""


@dataclass(frozen=True)
class Measured:
    """What one seed of a model answered.

    Columns are as the artifacts have them; `files` is the hash of the seed's model.
    """

    predictions: pl.DataFrame
    exemplars: pl.DataFrame
    heldout: pl.DataFrame
    generations: pl.DataFrame
    experts: pl.DataFrame
    files: str


@dataclass(frozen=True)
class Evaluation:
    """All that one model is asked.

    Paths are of the artifacts of those names. The first of `seeds` is asked everything; the others the strategies whose
    `seeds` is `all`, and the held-out documents. With `start` the model is an adapter of the one there.
    """

    model: Path
    encoders: Path
    heldout: Path
    items: Path
    chat_template: str
    questions: Questions
    numerics: Numerics
    name: str
    seeds: tuple[int, ...]
    start: Path | None = None

    def measured(self, jobs: int) -> dict[int, Measured]:
        """What every seed answered.

        What is not in the store is computed, the seeds by `jobs` processes.
        """
        if len(self.seeds) == 1:
            return {self.seeds[0]: _Asking(self, self.seeds[0], model_hash(self.model)).measured()}
        files = {seed: model_hash(folder_of(self.model, seed)) for seed in self.seeds}
        # one process imports torch, and the others are forked from it; this one will have threads of polars by then
        context = get_context("forkserver")
        context.set_forkserver_preload(["osler.evaluation.evaluation_process"])
        known = [STORE / "asked" / name for name in files.values()]
        if jobs > 1 and not all(path.exists() for path in known):
            forkserver.ensure_running()  # imports while this process looks for what there is
        found = {seed: self.stored(seed, files[seed]) for seed in self.seeds}
        missing = [seed for seed, own in found.items() if own is None]
        if jobs == 1 or len(missing) < 2:
            for seed in missing:
                found[seed] = _Asking(self, seed, files[seed]).measured()
        else:
            with ProcessPoolExecutor(min(jobs, len(missing)), context) as processes:
                list(processes.map(self.compute, missing, [files[seed] for seed in missing]))
        for path in known:
            write_text(path, "")
        return {
            seed: own or _Asking(self, seed, files[seed], reuse_only=True).measured() for seed, own in found.items()
        }

    def stored(self, seed: int, files: str) -> Measured | None:
        """What `seed` answered, or None unless all of it is stored.

        Where it is, lines of output say so.
        """
        asking = _Asking(self, seed, files, reuse_only=True)
        try:
            found = asking.measured()
        except NotStoredError:
            return None
        print("\n".join(asking.told), flush=True)
        return found

    def compute(self, seed: int, files: str) -> None:
        """Put what `seed` answers into the store."""
        _Asking(self, seed, files).measured()


class _Asking:
    """The asking of one seed's model: loads it when something must be computed, and only then.

    Args:
        asked: of which model, and what.
        seed: of training, and of what is drawn for prompts.
        files: the hash of its model's files.
        reuse_only: raise NotStoredError where something would be computed, and print nothing.
    """

    def __init__(self, asked: Evaluation, seed: int, files: str, reuse_only: bool = False) -> None:
        self.asked, self.seed, self.reuse_only = asked, seed, reuse_only
        self.is_first = seed == asked.seeds[0]
        self.model = folder_of(asked.model, seed) if len(asked.seeds) > 1 else asked.model
        self.below = folder_of(asked.start, seed) if asked.start else self.model
        self.told: list[str] = []
        folders = {name: asked.encoders / name for name in ("embeddings", "bertscore")}
        self.used = {name: folder_hash(folder) for name, folder in folders.items() if folder.is_dir()}
        self.weights, self.loaded = Lazy(self._weights), Lazy(self._language_model)
        evaluate = asked.questions.evaluate
        self.common: dict[str, object] = {
            "vllm": vllm_parts(evaluate.vllm) if evaluate.vllm else None,
            "model": files,
            "numerics": asked.numerics.model_dump(),
            "batch_tokens": evaluate.batch_tokens,
            "scoring": fingerprint(ROOT / "osler/inference/language_model.py", ROOT, with_packages=False),
            "packages": package_versions(closure(Path(__file__), ROOT)[1]),  # once: it takes 0.4 s
            **({"start": model_hash(self.below)} if asked.start else {}),
            **evaluate.model_dump(include={"system_prompt"}, exclude_none=True),
        }

    def measured(self) -> Measured:
        """All answers, bits, texts and loads."""
        self._refuse_known_cuts()
        predictions, exemplars = self._predictions()
        heldout, generations = self._heldout(), self._generations()
        if self.loaded.model:
            self.loaded.model.writer.close()  # the rest, and the evaluation of the next model, may want its memory
        return Measured(predictions, exemplars, heldout, generations, self._experts(), str(self.common["model"]))

    def stored(self, key: str, compute: Callable[[], pl.DataFrame]) -> tuple[pl.DataFrame, bool]:
        """The frame of `key`, and whether it had to be computed."""
        place, name = STORE / key, "predictions.parquet"
        if entry := whole_entry(place):
            return pl.read_parquet(entry / name), False
        if self.reuse_only:
            raise NotStoredError
        frame = compute()
        made_entry(place, lambda folder: write_parquet(folder / name, frame))
        return frame, True

    def kept(self, compute: Callable[[], pl.DataFrame], **parts: object) -> tuple[pl.DataFrame, bool]:
        """`stored` under the common parts of all keys and these."""
        return self.stored(content_key(**self.common, **parts), compute)

    def tell(self, what: str, unit: str, rows: Sequence[tuple[int, bool]]) -> None:
        """Say how many rows were computed and how many were reused.

        Reused ones came from the store. Each number has a line of its own, unless it is zero.
        """
        of_seed = f"seed {self.seed}: " if len(self.asked.seeds) > 1 else ""
        for verb, wanted in (("computed", True), ("reused", False)):
            if count := sum(number for number, computed in rows if computed is wanted):
                self.told.append(f"{of_seed}{what}: {verb} {count} {unit}")
                if not self.reuse_only:
                    print(self.told[-1], flush=True)

    def _encoder(self, name: str) -> "TextEncoder":
        from osler.inference.text_encoder import TextEncoder

        return TextEncoder(self.asked.encoders / name, self.asked.questions.evaluate.batch_tokens, self.asked.numerics)

    def _weights(self) -> Any:
        from osler.inference.torch_backend import frozen_model

        return frozen_model(self.below, self.asked.numerics, self.model if self.asked.start else None)

    def _language_model(self) -> "LanguageModel":
        from osler.inference.language_model import LanguageModel, loaded_tokenizer
        from osler.inference.torch_backend import TorchBackend
        from osler.inference.vllm_backend import VllmBackend
        from osler.tokens.marks import end_ids

        evaluate = self.asked.questions.evaluate
        adapter = self.model if self.asked.start else None
        writer = VllmBackend(self.below, self.asked.numerics, adapter) if evaluate.vllm else None
        # the weights first: vLLM takes what memory is left
        scorer = (
            writer
            if writer and evaluate.vllm and evaluate.vllm.scores
            else TorchBackend(self.weights(), evaluate.batch_tokens)
        )
        embedder = self._encoder("embeddings") if "embeddings" in self.used else None
        tokenizer = loaded_tokenizer(self.model, self.asked.chat_template)
        ends = end_ids(self.model, tokenizer)
        return LanguageModel(scorer, tokenizer, writer or scorer, ends, embedder, evaluate.system_prompt or "")

    def _predictions(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """PREDICTIONS and EXEMPLARS rows of all strategies, with strategy and model.

        Raises:
            BuildError: no strategy asks this model, scores are not finite, or a prompt was cut and that is refused.
        """
        asked = self.asked
        quizzes = quizzes_of(asked.items, asked.questions.benchmarks)
        predicted: list[pl.DataFrame] = []
        prepared: list[pl.DataFrame] = []
        for strategy, settings in asked.questions.strategies.asked_of(asked.name, self.is_first).items():
            for protocol in protocols(asked.questions, strategy, self.is_first):
                frames = self._answers(strategy, settings, protocol, quizzes)
                if bad := frames[0].filter(pl.col("scores").list.eval(~pl.element().is_finite()).list.any()).height:
                    raise BuildError(
                        f"{self.model}: {bad} of {frames[0].height} items have scores that are not finite; the model diverged"
                    )
                self._refuse_cut(frames[0], strategy)
                for frame, rows in zip(frames, (predicted, prepared), strict=True):
                    rows.append(frame.with_columns(strategy=pl.lit(strategy), model=pl.lit(asked.name)))
        if not predicted:
            which = "" if self.is_first else f" under seed {self.seed}"
            raise BuildError(
                f"params.yaml: strategies: none asks {asked.name}{which}; set one, or add {asked.name} to its `models`"
            )
        keys = ["item_id", "benchmark", "group", "strategy", "protocol", "model", "seed", "draw"]
        answered = pl.concat(predicted).select(*keys, pl.exclude(keys))
        keys = ["strategy", "benchmark", "model", "item_id"]
        return answered, pl.concat(prepared).select(*keys, pl.exclude(keys)).sort(keys)

    def _refuse_known_cuts(self) -> None:
        """Refuse prompts that would lose their left end before any is answered, where that is asked for.

        Of prompts that depend on an answer, and of what is in the store, `_refuse_cut` says it.
        """
        if self.reuse_only or not self.asked.questions.evaluate.refuse_cut:
            return
        asked = self.asked
        reader = reader_of(
            self.model, self.below, asked.chat_template, asked.questions, lambda: self.loaded().embeddings
        )
        for cut in known_cuts(reader, asked.questions, asked.items, asked.name, self.seed, self.is_first):
            raise cut.refused(asked.name)

    def _refuse_cut(self, rows: pl.DataFrame, what: str) -> None:
        """Refuse answers after prompts that lost their left end, where `evaluate.refuse_cut` asks for it."""
        cut = rows.filter("truncated") if self.asked.questions.evaluate.refuse_cut else rows.clear()
        if cut.height:
            raise CutPrompts(what, cut.height, rows.height, cut["item_id"][0]).refused(self.asked.name)

    def _answers(
        self, strategy: str, settings: StrategySettings, protocol: AnswerProtocol, quizzes: Mapping[str, Quiz]
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """What a strategy predicts under a protocol, and the exemplars it has prepared, from the store where they are."""
        known = STRATEGIES[strategy]
        parts: dict[str, object] = dict(self.common)
        parts |= {"code": fingerprint(Path(str(known.module.__file__)), ROOT, with_packages=False)}
        # of what all strategies say only the items count, which are in the key as they are
        parts |= {"settings": settings.model_dump(exclude=set(StrategySettings.model_fields))}
        parts |= {"protocol": asdict(protocol), "chat_template": self.asked.chat_template}
        predicted, prepared = [], [pl.DataFrame(schema={"benchmark": pl.String} | dict(EXEMPLARS))]
        asked: list[tuple[int, bool]] = []
        shown: list[tuple[int, bool]] = []
        for benchmark, quiz in quizzes.items():
            items = limited(quiz.items, settings.limit_items, ITEM_SEED)
            given: dict[str, Any] = {"settings": settings, "protocol": protocol}
            if known.uses_pool:
                given["pool"] = quiz.shown(strategy, protocol)
                parts["pool"] = [asdict(item) for item in given["pool"]]
            if known.prepared:
                parts["embedder"] = self.used.get("embeddings")
                prepare = partial(known.prepared, **given)
                key = content_key(what=f"exemplars of {strategy}", **parts)
                exemplars, computed = self.stored(key, lambda prepare=prepare: prepare(self.loaded()))  # type: ignore[misc]
                shown.append((exemplars.height, computed))
                prepared.append(exemplars.select(pl.lit(benchmark).alias("benchmark"), pl.all()))
                given["exemplars"] = exemplars
            answer = partial(known.module.answered, items=items, seed=self.seed, **given)
            key = content_key(what=strategy, items=[asdict(item) for item in items], seed=self.seed, **parts)
            frame, computed = self.stored(key, lambda answer=answer: answer(self.loaded()))  # type: ignore[misc]
            asked.append((frame["item_id"].n_unique(), computed))  # an item may be answered in several draws
            predicted.append(frame)
        self.tell(f"{strategy} ({protocol.name})", "exemplars", shown)
        self.tell(f"{strategy} ({protocol.name})", "items", asked)
        return pl.concat(predicted), pl.concat(prepared)

    def _texts(self, domain: str) -> pl.DataFrame:
        documents = pl.read_parquet(self.asked.heldout / f"{domain}.parquet", columns=["doc_id", "source", "text"])
        return documents.sort("doc_id")

    def _heldout(self) -> pl.DataFrame:
        """A row for each held-out document."""
        code = fingerprint(ROOT / "osler/inference/document_bits.py", ROOT, with_packages=False)
        window = self.asked.questions.evaluate.window_tokens
        measured: list[pl.DataFrame] = []
        done: list[tuple[int, bool]] = []
        for domain in HELDOUT_DOMAINS:
            documents = self._texts(domain)
            names, texts = documents["doc_id"].to_list(), documents["text"].to_list()

            def bits(names: list[str] = names, texts: list[str] = texts) -> pl.DataFrame:
                from osler.inference.document_bits import document_bits

                llm = self.loaded()
                return document_bits(llm.scorer, llm.tokenizer, names, texts, window)

            frame, computed = self.kept(bits, what="heldout", code=code, documents=[names, texts], window_tokens=window)
            done.append((frame.height, computed))
            here = {"domain": pl.lit(domain), "model": pl.lit(self.asked.name), "seed": pl.lit(self.seed, pl.Int64)}
            measured.append(frame.with_columns(source=documents["source"], **here))
        self.tell("heldout", "documents", done)
        return pl.concat(measured).select(HELDOUT)

    def _generations(self) -> pl.DataFrame:
        """The texts of the generative tasks, of the first seed but for tasks that ask all."""
        asked = self.asked
        bertscore = None
        if "bertscore" in self.used:
            bertscore = (self.used["bertscore"], Lazy(lambda: self._encoder("bertscore")))
        tasks = {name: one for name, one in asked.questions.task.items() if self.is_first or one.seeds == "all"}
        kept = partial(self.kept, chat_template=asked.chat_template)
        generations, done = task_predictions(
            asked.items / "tasks", tasks, asked.name, self.seed, kept, self.loaded, bertscore
        )
        self.tell("tasks", "items", done)
        self._refuse_cut(generations, "tasks")
        return generations

    def _experts(self) -> pl.DataFrame:
        """Which experts of a Mixtral read the held-out documents, of the first seed."""
        loads = [pl.DataFrame(schema=EXPERTS)]
        code = fingerprint(ROOT / "osler/inference/expert_loads.py", ROOT, with_packages=False)
        is_mixture = self.is_first and read_json(self.below / "config.json").get("num_local_experts")
        evaluate = self.asked.questions.evaluate
        for domain in HELDOUT_DOMAINS if is_mixture else ():
            texts = self._texts(domain)["text"].to_list()

            def experts(texts: list[str] = texts) -> pl.DataFrame:
                from osler.inference.expert_loads import expert_loads
                from osler.inference.language_model import loaded_tokenizer

                tokenizer = loaded_tokenizer(self.model, self.asked.chat_template)
                return expert_loads(self.weights(), tokenizer, texts, evaluate.window_tokens, evaluate.batch_tokens)

            frame, _ = self.kept(
                experts, what="experts", code=code, documents=texts, window_tokens=evaluate.window_tokens
            )
            here = {"domain": pl.lit(domain), "model": pl.lit(self.asked.name)}
            loads.append(frame.with_columns(**here).select(EXPERTS.names()))
        return pl.concat(loads)
