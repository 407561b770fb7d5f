"""Stage `evaluate_continual@name`: what adapters of tasks know, and forgot.

Answers are not kept from run to run: a change of params asks again. Minutes for a small model on a CPU.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from osler.build.files import read_json, write_bytes, write_json, write_parquet
from osler.build.stage import run
from osler.model.numerics import Numerics
from osler.model.seeds import Seeds, folder_of
from osler.statistics.forgetting import after_each, average_interval, between, shown, summary
from osler.statistics.settings import Statistics
from osler.training.in_turn import CONTINUAL, DISTRIBUTIONS, ContinualSection

if TYPE_CHECKING:
    from osler.evaluation.continual_answers import Asking

COMPARED = (("own", "in_turn"), ("own", "at_once"), ("own_told", "in_turn_told"), ("own_told", "at_once_told"))


def main(
    model: tuple[Path, ...],
    task_rows: Path,
    template: Path,
    task_answers: Path,
    forgetting: Path,
    plots: Path,
    name: str,
    continual: ContinualSection,
    numerics: Numerics,
    seeds: Seeds,
    statistics: Statistics,
) -> None:
    """Write all answers, metrics, and accuracies to `plots`.

    `model` has the adapters' folder and that of the model below.
    """
    from osler.inference.task_inference import read_classes

    adapters = next(path for path in model if path.name == f"{CONTINUAL}{name}")
    start = next(path for path in model if path != adapters)
    rows, labels = pl.read_parquet(task_rows / "rows.parquet"), read_json(task_rows / "labels.json")
    text, answered, inferred = template.read_text(encoding="utf-8"), [], []
    for seed in continual.seeds or seeds:
        asking = asked(folder_of(start, seed), folder_of(adapters, seed), rows, labels, continual, numerics, text, seed)
        classes = read_classes(asking.folder / DISTRIBUTIONS, continual.tasks)
        inferred.append(asking.inferred(classes, continual.shrinkage, continual.draws_per_class))
        answered.append(asking.answers(inferred[-1], continual.infer_by))
    answers, guesses = pl.concat(answered), pl.concat(inferred)
    write_parquet(task_answers / "answers.parquet", answers)
    write_parquet(task_answers / "inferred.parquet", guesses)
    found = metrics(answers, guesses, rows, labels, continual.tasks, statistics)
    write_json(forgetting, found)
    table = after_each(answers, continual.tasks, statistics.confidence)
    arm = pl.format("{} after {}: {}", "method", "after", "task").alias("arm")
    write_bytes(plots, table.select(arm, pl.all()).write_csv().encode())
    for method, about in found["methods"].items():
        print(f"{name}: {method}: {100 * about['final_average']['estimate']:.1f} % at the end")


def asked(
    start: Path,
    adapters: Path,
    rows: pl.DataFrame,
    labels: dict[str, list[str]],
    continual: Any,
    numerics: Numerics,
    template: str,
    seed: int,
) -> "Asking":
    """The asking of one seed's adapters, on the model `start`."""
    from osler.evaluation.continual_answers import Asking
    from osler.inference.language_model import LanguageModel, loaded_tokenizer
    from osler.inference.torch_backend import TorchBackend, frozen_model

    tokenizer, batch_tokens = loaded_tokenizer(start, template), 32 * continual.source_limit_tokens

    def loaded(adapter: Path | None) -> LanguageModel:
        backend = TorchBackend(frozen_model(start, numerics, adapter), batch_tokens)
        return LanguageModel(backend, tokenizer, backend, ())

    tested = rows.filter(pl.col("split") == "test")
    return Asking(tested, {task: labels[task] for task in continual.tasks}, loaded, adapters, seed)


def metrics(
    answers: pl.DataFrame,
    guesses: pl.DataFrame,
    rows: pl.DataFrame,
    labels: dict[str, list[str]],
    tasks: tuple[str, ...],
    statistics: Statistics,
) -> dict[str, Any]:
    """One number a cell, with its bounds.

    Of methods, of inferred tasks, of differences; and what guessing gives.
    """
    confidence, count = statistics.confidence, len(tasks)
    last = {method: answers.filter(pl.col("method") == method, pl.col("after") == count) for method, _ in COMPARED}
    last |= {other: answers.filter(pl.col("method") == other, pl.col("after") == count) for _, other in COMPARED}
    inferred: dict[str, Any] = {}
    for way in ("distance", "head"):
        for after in range(2, count + 1):
            own = guesses.filter(pl.col("after") == after).with_columns(correct=pl.col(way) == pl.col("task"))
            inferred.setdefault(way, {})[f"after_{after}"] = shown(average_interval(own, confidence))
    return {
        "chance": {task: chance(rows.filter(pl.col("task") == task), labels[task]) for task in tasks},
        "differences": {
            f"{first}_less_{second}": shown(between(last[first], last[second], confidence))
            for first, second in COMPARED
        },
        "methods": summary(answers, tasks, statistics),
        "seeds": answers["seed"].n_unique(),
        "task_inference": inferred,
    }


def chance(rows: pl.DataFrame, labels: list[str]) -> dict[str, Any]:
    """Rows of a task, its labels, and what its commonest label gives.

    That is the share of tested rows with the label that is most often learned.
    """
    learned, tested = (rows.filter(pl.col("split") == split) for split in ("train", "test"))
    counts = dict(learned["label"].value_counts().iter_rows())
    most = min(labels, key=lambda label: (-counts[label], label))
    return {
        "labels": len(labels),
        "most_frequent": round(float((tested["label"] == most).mean() or 0.0), 6),  # type: ignore[arg-type]
        "test_rows": len(tested),
        "train_rows": len(learned),
    }


if __name__ == "__main__":
    run(main)
