"""Score one model: every prompting strategy on every benchmark, and the held-out documents of each domain.

One process does it all, since importing torch and transformers takes 5 s and a default strategy 1 s. Results are kept
in a content-addressed store below `scratch/`, one entry for each strategy and benchmark and for each domain. An
entry's key is everything it depends on: the model's files, the items, the settings, the seed, and the code of that
strategy, so that a changed strategy is computed and the others are reused. When all are reused, torch is not even
imported. The store is only a shortcut: deleting it changes no byte of the output.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from pydantic import Field

from stages.lib.exemplars import exemplar_pool, leaked
from stages.lib.files import folder_hash, write_json, write_parquet
from stages.lib.fingerprint import closure, fingerprint, package_versions, running_source
from stages.lib.numerics import Numerics
from stages.lib.prompts import Item, items_of
from stages.lib.protocols import AnswerProtocol, ProtocolName
from stages.lib.section import BuildError, Section, Seed
from stages.lib.stage import run
from stages.lib.store import content_key
from stages.lib.strategies.few_shot import FewShot
from stages.lib.strategies.few_shot import answered as few_shot
from stages.lib.strategies.medprompt import Medprompt
from stages.lib.strategies.medprompt import answered as medprompt
from stages.lib.strategies.zero_shot import ZeroShot
from stages.lib.strategies.zero_shot import answered as zero_shot
from stages.lib.task_predictions import task_predictions
from stages.lib.tasks import Task

if TYPE_CHECKING:
    from stages.lib.scoring import LanguageModel

ROOT = Path(__file__).resolve().parents[1]
STORE = Path("scratch/predictions")  # below the folder the build runs in
DOMAINS = ("clinical", "general")
EXPERTS = pl.Schema(
    {"domain": pl.String, "model": pl.String, "layer": pl.Int64, "expert": pl.Int64, "tokens": pl.Int64}
)


class Evaluate(Section):
    """Settings of `evaluate`."""

    protocol: ProtocolName = Field(description="the headline: how all strategies' answers are read")
    compared: list[ProtocolName] = Field(description="protocols that zero_shot answers in besides, on the same items")
    list_options: bool = Field(description="whether full-answer prompts list the options, as letter and generation do")
    generation_instruction: str = Field(description="last line of the question under generation; empty for none")
    generation_limit_tokens: int = Field(gt=0, description="of a generated answer")
    batch_tokens: int = Field(gt=0, description="padded tokens of one forward pass")
    window_tokens: int = Field(gt=1, description="positions of one window of a held-out document, BOS included")


class Strategies(Section):
    """Settings of each strategy; null is off."""

    zero_shot: ZeroShot | None
    few_shot: FewShot | None
    medprompt: Medprompt | None


@dataclass(frozen=True)
class Strategy:
    """What a strategy computes, and whether it looks at other items than the one it answers."""

    answered: Callable[..., pl.DataFrame]
    uses_pool: bool

    @property
    def module(self) -> Path:
        return Path(str(sys.modules[self.answered.__module__].__file__))


STRATEGIES = {
    "zero_shot": Strategy(zero_shot, uses_pool=False),
    "few_shot": Strategy(few_shot, uses_pool=True),
    "medprompt": Strategy(medprompt, uses_pool=True),
}


def stored(key: str, compute: Callable[[], pl.DataFrame]) -> tuple[pl.DataFrame, bool]:
    """The frame of `key`, and whether it had to be computed."""
    path = STORE / key / "predictions.parquet"
    if path.is_file():
        return pl.read_parquet(path), False
    frame = compute()
    write_parquet(path, frame)
    return frame, True


def load_model(folder: Path, evaluate: Evaluate, numerics: Numerics) -> "LanguageModel":
    """The model and tokenizer of `folder`, ready to score."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    from stages.lib.scoring import LanguageModel

    disable_progress_bar()
    numerics.apply()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.chat_template is None or tokenizer.bos_token_id is None:
        raise BuildError(f"{folder}: the tokenizer needs a chat template and a BOS token; set tokenizer.chat_template")
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=getattr(torch, numerics.dtype),
        attn_implementation="sdpa",
        use_safetensors=True,
        local_files_only=True,
    )
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    return LanguageModel(model, tokenizer, evaluate.batch_tokens)


def protocols(evaluate: Evaluate, strategy: str) -> list[AnswerProtocol]:
    """The protocols that `strategy` answers in: the headline, and for zero-shot those compared with it."""
    names = [evaluate.protocol, *(evaluate.compared if strategy == "zero_shot" else ())]
    instruction, limit = evaluate.generation_instruction, evaluate.generation_limit_tokens
    return [AnswerProtocol(name, evaluate.list_options, instruction, limit) for name in sorted(set(names))]


class Lazy:
    """Loads the model when something must be computed, and only then."""

    def __init__(self, load: Callable[[], "LanguageModel"]) -> None:
        self._load = load
        self._model: LanguageModel | None = None

    def __call__(self) -> "LanguageModel":
        self._model = self._model or self._load()
        return self._model


def report_reuse(what: str, unit: str, rows: Sequence[tuple[int, bool]]) -> None:
    """Print how many rows were computed and how many came from the store, a line for each that is not zero."""
    for verb, wanted in (("computed", True), ("reused", False)):
        if count := sum(number for number, computed in rows if computed is wanted):
            print(f"{what}: {verb} {count} {unit}", flush=True)


def main(
    model: Path,
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
    """Write `predictions.parquet`, a row for each item and strategy, `heldout.parquet`, one for each document, and
    `experts.parquet`, one for each domain, layer and expert (none for a dense model), and `generations.parquet`, one for
    each item of a generative task.

    Beside them `model.json`: the tokens of continued pretraining that the model has seen, null where fine-tuning
    followed, the headline protocol, and what the model's card says of it: the hash of its files and its provenance.
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
    loaded = Lazy(lambda: load_model(model, evaluate, numerics))
    common = {
        "model": folder_hash(model),
        "numerics": numerics.model_dump(),
        "batch_tokens": evaluate.batch_tokens,
        "loading": hashlib.sha256(running_source(Path(__file__).read_text(encoding="utf-8")).encode()).hexdigest(),
        "scoring": fingerprint(ROOT / "stages/lib/scoring.py", ROOT, with_packages=False),
        "packages": package_versions(closure(Path(__file__), ROOT)[1]),  # once: it takes 0.4 s
    }

    answers: list[pl.DataFrame] = []
    for strategy, protocol in (
        (key, protocol)
        for key in sorted(STRATEGIES)
        if getattr(strategies, key) is not None
        for protocol in protocols(evaluate, key)
    ):
        settings, known = getattr(strategies, strategy), STRATEGIES[strategy]
        code = fingerprint(known.module, ROOT, with_packages=False)
        done: list[tuple[int, bool]] = []
        for quiz in sorted({item.benchmark for item in test}):
            asked = [item for item in test if item.benchmark == quiz]
            pool = exemplar_pool(everything, quiz) if known.uses_pool else []
            key = content_key(
                **common,
                what=strategy,
                code=code,
                items=[asdict(item) for item in asked],
                pool=[asdict(item) for item in pool],
                settings=settings.model_dump(),
                protocol=asdict(protocol),
                seed=seed,
            )
            answered = partial(known.answered, items=asked, pool=pool, settings=settings, protocol=protocol, seed=seed)
            frame, computed = stored(key, lambda answered=answered: answered(loaded()))  # type: ignore[misc]
            done.append((frame.height, computed))
            answers.append(frame.with_columns(strategy=pl.lit(strategy), model=pl.lit(name)))
        report_reuse(f"{strategy} ({protocol.name})", "items", done)
    if not answers:
        raise BuildError("params.yaml: strategies: all are null; set one")
    keys = ["item_id", "benchmark", "group", "strategy", "protocol", "model", "seed", "draw"]
    written = pl.concat(answers).select(*keys, pl.exclude(keys)).sort("strategy", "protocol", "draw", "item_id")
    if bad := written.filter(pl.col("scores").list.eval(~pl.element().is_finite()).list.any()).height:
        raise BuildError(
            f"{model}: {bad} of {written.height} items have scores that are not finite; the model diverged"
        )
    write_parquet(predictions / "predictions.parquet", written)

    codes = {
        name: fingerprint(ROOT / f"stages/lib/{name}.py", ROOT, with_packages=False) for name in ("bits", "experts")
    }
    dense = not json.loads((model / "config.json").read_text(encoding="utf-8")).get("num_local_experts")
    measured: list[pl.DataFrame] = []
    loads: list[pl.DataFrame] = []
    done = []
    for domain in DOMAINS:
        documents = pl.read_parquet(heldout / f"{domain}.parquet", columns=["doc_id", "source", "text"]).sort("doc_id")
        names, texts = documents["doc_id"].to_list(), documents["text"].to_list()
        window = evaluate.window_tokens
        key = content_key(**common, what="heldout", code=codes["bits"], documents=[names, texts], window_tokens=window)

        def bits(names: list[str] = names, texts: list[str] = texts) -> pl.DataFrame:
            from stages.lib.bits import document_bits

            llm = loaded()
            return document_bits(llm.model, llm.tokenizer, names, texts, evaluate.window_tokens, evaluate.batch_tokens)

        def experts(texts: list[str] = texts) -> pl.DataFrame:
            from stages.lib.experts import expert_loads

            llm = loaded()
            return expert_loads(llm.model, llm.tokenizer, texts, evaluate.window_tokens, evaluate.batch_tokens)

        frame, computed = stored(key, bits)
        done.append((frame.height, computed))
        measured.append(frame.with_columns(domain=pl.lit(domain), source=documents["source"], model=pl.lit(name)))
        if not dense:
            key = content_key(**common, what="experts", code=codes["experts"], documents=texts, window_tokens=window)
            loads.append(stored(key, experts)[0].with_columns(domain=pl.lit(domain), model=pl.lit(name)))
    report_reuse("heldout", "documents", done)

    def kept(compute: Callable[[], pl.DataFrame], **parts: object) -> tuple[pl.DataFrame, bool]:
        return stored(content_key(**common, **parts), compute)

    generations, done = task_predictions(items / "tasks", task, name, seed, kept, loaded)
    report_reuse("tasks", "items", done)
    write_parquet(predictions / "generations.parquet", generations)
    made = model / "provenance.json"
    provenance = json.loads(made.read_text(encoding="utf-8")) if made.is_file() else {}
    facts = {"continued_tokens": provenance.get("continued_tokens"), "protocol": evaluate.protocol}
    write_json(predictions / "model.json", facts | {"files": common["model"], "provenance": provenance})
    order = ["doc_id", "domain", "source", "model", "bits", "bytes", "tokens"]
    write_parquet(predictions / "heldout.parquet", pl.concat(measured).select(order))
    none = pl.DataFrame(schema=EXPERTS)
    write_parquet(predictions / "experts.parquet", pl.concat([none, *(frame.select(none.columns) for frame in loads)]))


if __name__ == "__main__":
    run(main)
