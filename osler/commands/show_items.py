"""`osler show items`: what models answered to each item of a benchmark.

Some items are printed; all that are asked for stand on a page in scratch/items/, which neither Git nor DVC tracks. Seconds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from osler.build.artifacts import Artifacts
from osler.build.files import read_json, write_text
from osler.build.pipeline import ROOT, declarations, read_params
from osler.build.revision import BuildRevision
from osler.build.section import BuildError
from osler.build.validation import PARAMS
from osler.evaluation.probabilities import option_probabilities
from osler.evaluation.questions import Item
from osler.evaluation.quizzes import quizzes_of
from osler.evaluation.sent_prompts import sent_prompts
from osler.evaluation.settings import STRATEGIES, Questions, protocols
from osler.inference.interface import seeded_rank
from osler.privacy.screened_files import screened_by
from osler.report.item_page import AskedItem, ItemAnswer, item_page, terminal_lines
from osler.statistics.accuracy import in_order

FOLDER = "scratch/items"
KEYS = ["item_id", "benchmark", "strategy", "protocol", "seed", "draw", "model"]
BEFORE = [*KEYS, "prediction", "correct"]


@dataclass(frozen=True)
class Wanted:
    """Which items, and of whom.

    Args:
        models: folders of models/; none: all that answered.
        strategy, protocol: of the answers; protocol None: the headline.
        wrong: only items that one of the models has wrong.
        changed_from: a revision; only items that one of the models answered otherwise there.
        search: words that an item, or a text that was written, has; any case.
    """

    benchmark: str | None = None
    models: Sequence[str] = field(default=())
    strategy: str = "zero_shot"
    protocol: str | None = None
    wrong: bool = False
    changed_from: str | None = None
    search: str = ""


def _one_of(name: str | None, there: Sequence[str], what: str) -> str:
    """The name, or the only one there is.

    Raises:
        BuildError: it is not there, or none is named and there are several.
    """
    if name is None and len(there) == 1:
        return there[0]
    if name is None or name not in there:
        asked = f"show items: name a {what}" if name is None else f"{name}: no such {what}"
        raise BuildError(f"{asked}; there are {', '.join(there) or 'none'}")
    return name


def refuse_patients(params: Mapping[str, Any], name: str, kind: str = "benchmark") -> None:
    """Items of a file that a source screens are not shown.

    Args:
        params: all.
        name: of a section.
        kind: benchmark or task.

    Raises:
        BuildError: names the source.
    """
    screened = {name: source["path"] for name, source in params["source"].items() if source.get("phi")}
    if source := screened_by(params[kind][name]["path"], screened):
        raise BuildError(
            f"{PARAMS}: {kind}.{name}: its texts are not shown, since source.{source} screens the same file for"
            " identifiers"
        )


def answers_of(artifacts: Artifacts, wanted: Wanted, benchmark: str) -> pl.DataFrame:
    """The answers of the lowest seed, first draw, in the one protocol.

    Raises:
        BuildError: nothing is built, or a model, strategy or protocol has no answers.
    """
    stages = sorted(name for name in artifacts.stages if name.startswith(("evaluate@", "evaluate_adapter@")))
    folders = [artifacts.root / artifacts.stages[stage].outs[0] for stage in stages]
    built = {folder.name: folder for folder in folders if (folder / "predictions.parquet").is_file()}
    if not built:
        raise BuildError("results/predictions: no model has answered yet; run `dvc repro`")
    models = [_one_of(name, list(built), "model that has answered") for name in wanted.models] or list(built)
    frames = [pl.read_parquet(built[model] / "predictions.parquet") for model in models]
    rows = pl.concat(frames).filter(pl.col("benchmark") == benchmark)
    if rows.is_empty():
        raise BuildError(f"{benchmark}: no model has answered it yet; run `dvc repro`")
    strategy = _one_of(wanted.strategy, sorted(rows["strategy"].unique()), "strategy with answers of these models")
    rows = rows.filter(pl.col("strategy") == strategy)
    headline = read_json(built[models[0]] / "model.json")["protocol"]
    protocol = _one_of(wanted.protocol or headline, sorted(rows["protocol"].unique()), "protocol of these answers")
    rows = rows.filter(pl.col("protocol") == protocol)
    if silent := sorted(set(wanted.models) - set(rows["model"])):
        raise BuildError(f"{silent[0]}: no answers under {strategy} and {protocol}; leave out its --model")
    return rows.filter(pl.col("seed") == pl.col("seed").min(), pl.col("draw") == 0)


def with_before(root: Path, rows: pl.DataFrame, revision: str | None) -> pl.DataFrame:
    """Answers with `was` and `was_correct`, of another build.

    Both are null where it has none.
    """
    if revision is None:
        return rows.with_columns(was=pl.lit(None, pl.Int64), was_correct=pl.lit(None, pl.Boolean))
    build = BuildRevision(root, revision)
    before = pl.concat([build.table(f"{folder}/predictions.parquet", BEFORE) for folder in build.paths("predictions")])
    return rows.join(before.rename({"prediction": "was", "correct": "was_correct"}), on=KEYS, how="left")


def _answer(row: Mapping[str, Any]) -> ItemAnswer:
    same = ("correct", "prompt_tokens", "generated_tokens", "truncated", "prediction", "was", "was_correct")
    scores = row["scores"]
    is_read = row["prediction"] is not None  # else all scores are 0, of no option
    probabilities = option_probabilities(scores) if is_read else tuple(scores)
    return ItemAnswer(probabilities=probabilities, texts=tuple(row["texts"]), **{key: row[key] for key in same})


def _is_wanted(item: AskedItem, wanted: Wanted) -> bool:
    answers = list(item.answers.values())
    if wanted.wrong and all(answer.correct for answer in answers):
        return False
    if wanted.changed_from and not any(
        answer.was_correct is not None and answer.was != answer.prediction for answer in answers
    ):
        return False
    texts = [item.item_id, item.context, item.question, *item.options]
    texts += [text for answer in answers for text in answer.texts]
    return wanted.search.casefold() in "\n".join(texts).casefold()


def asked_items(
    rows: pl.DataFrame, items: Sequence[Item], prompts: Mapping[str, str], wanted: Wanted
) -> list[AskedItem]:
    """The wanted items, of those that all models answered."""
    models = in_order(rows["model"].unique().to_list())
    by_item: dict[str, dict[str, ItemAnswer]] = {}
    for row in rows.iter_rows(named=True):
        by_item.setdefault(row["item_id"], {})[row["model"]] = _answer(row)
    found = [
        AskedItem(
            item.item_id, item.context, item.question, item.options, item.answer, prompts.get(item.item_id),
            {model: by_item[item.item_id][model] for model in models},
        )
        for item in items
        if len(by_item.get(item.item_id, {})) == len(models)
    ]  # fmt: skip
    return [item for item in found if _is_wanted(item, wanted)]


def chosen(wanted: Wanted) -> str:
    """In words which items are asked for."""
    said = ["that a model has wrong"] * wanted.wrong
    said += [f"that a model answered otherwise at {wanted.changed_from}"] * (wanted.changed_from is not None)
    said += [f"with {wanted.search!r}"] * bool(wanted.search)
    return "".join(f", {each}" for each in said)


def shown(artifacts: Artifacts, params: Mapping[str, Any], wanted: Wanted, count: int) -> Iterator[str]:
    """The lines to print; the page is written on the way.

    Raises:
        BuildError: see `answers_of`, `refuse_patients` and `BuildRevision`; or no item is as wanted.
    """
    benchmark = _one_of(wanted.benchmark, sorted(params["benchmark"]), "benchmark")
    refuse_patients(params, benchmark)
    rows = with_before(artifacts.root, answers_of(artifacts, wanted, benchmark), wanted.changed_from)
    questions = Questions.model_validate_json(artifacts.path("questions", "questions").read_bytes())
    folder = artifacts.path(f"benchmarks@{benchmark}", "items").parent
    quiz = quizzes_of(folder, questions.benchmarks)[benchmark]
    items = [item for item in quiz.items if item.item_id in set(rows["item_id"])]
    strategy, name, seed = wanted.strategy, rows["protocol"][0], rows["seed"][0]
    protocol = next(own for own in protocols(questions, strategy) if own.name == name)
    settings = getattr(questions.strategies, strategy)
    pool = quiz.shown(strategy, protocol) if STRATEGIES[strategy].uses_pool else None
    template = artifacts.path("template", "template").read_text(encoding="utf-8")
    prompts = sent_prompts(
        strategy,
        items,
        pool,
        settings,
        protocol,
        seed,
        artifacts.path("tokenizer", "trained_model"),
        template,
        questions.evaluate.system_prompt or "",
    )
    found = asked_items(rows, items, prompts, wanted)
    if not found:
        raise BuildError(f"{benchmark}: none of {len(items)} items is as asked; leave an option out")
    models = list(found[0].answers)
    about = [f"{strategy}, protocol {name}, seed {seed}: {', '.join(models)}."]
    about.append(
        f"{len(found):,} of {len(items):,} items{chosen(wanted)}. Marks before an item are of these models, in their order."
    )
    if not prompts:
        about.append(f"Prompts of {strategy} depend on what the model says of other texts, and are not shown.")
    page = artifacts.root / FOLDER / f"{benchmark}.html"
    write_text(page, item_page(f"Items of {benchmark}", about, found))
    yield about[0].rstrip(".") + "; options have probabilities in percent, in this order"
    ranked = sorted(found, key=lambda item: (seeded_rank(1, "show", item.item_id), item.item_id))
    yield from terminal_lines(ranked[:count])
    yield f"--- all {len(found):,} of {len(items):,} items as a page: {artifacts.shown(page)}"


def say(wanted: Wanted, count: int) -> None:
    """Print some items, and write the page of all."""
    params = read_params(ROOT / PARAMS)
    for line in shown(Artifacts(ROOT, declarations(ROOT, params)), params, wanted, count):
        print(line, flush=True)
