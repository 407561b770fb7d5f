"""Stage `continual@name`: adapters of tasks learned one after another.

Below the model's folder lie, all in peft's format: `tasks/<task>`, the adapter of each; `in_turn/<task>`, one adapter after
each task in turn; `at_once`, one trained on all; `shared`, what a next task would start from. distributions.safetensors has mean
and covariance of the frozen model's states for each task and class.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from osler.build.files import folder_hash, link, read_json, write_bytes, write_json
from osler.build.stage import run
from osler.model.numerics import Numerics
from osler.model.seeds import Seeds, folder_of, made_folder
from osler.training.in_turn import CONTINUAL, DISTRIBUTIONS, ContinualSection

if TYPE_CHECKING:
    from osler.training.task_adapters import Adapters


def main(
    model: Path,
    task_rows: Path,
    template: Path,
    trained_model: Path,
    task_training: Path,
    name: str,
    continual: ContinualSection,
    numerics: Numerics,
    seeds: Seeds,
) -> None:
    """Train all adapters of `model`, of each seed its own.

    `task_training` gets the first seed's losses.
    """
    from osler.training.task_adapters import Learner  # imports torch: params are checked without it

    numerics.apply()
    own = continual.seeds or seeds
    learner = Learner(Path(__file__), model, task_rows, continual, name, numerics)
    found = learner.all_adapters(own)
    for seed in own:
        folder = made_folder(trained_model, seed, own)
        for place, adapter in found[seed].places():
            for file in sorted(adapter.iterdir()):
                link(file, folder / place / file.name)
            write_bytes(folder / place / "chat_template.jinja", template.read_bytes())
        write_distributions(folder_of(model, seed), task_rows, template, numerics, continual.tasks, folder)
        write_json(folder / "provenance.json", provenance(found[seed], seed, task_rows))
    write_bytes(task_training, losses(found[own[0]]).write_csv().encode())


def write_distributions(
    model: Path, task_rows: Path, template: Path, numerics: Numerics, tasks: tuple[str, ...], folder: Path
) -> None:
    """Write what is kept of each task's learned texts.

    It is of their states in the untouched model.
    """
    from osler.inference.language_model import LanguageModel, loaded_tokenizer
    from osler.inference.task_inference import classes_of, write_classes
    from osler.inference.torch_backend import TorchBackend, frozen_model

    width = read_json(task_rows / tasks[0] / "manifest.json")["sequence_length_tokens"]
    backend = TorchBackend(frozen_model(model, numerics), 16 * width)
    asked = LanguageModel(backend, loaded_tokenizer(model, template.read_text(encoding="utf-8")), backend, ())
    labels = read_json(task_rows / "labels.json")
    learned = pl.read_parquet(task_rows / "rows.parquet").filter(pl.col("split") == "train")
    kept = {}
    for task in tasks:
        own = learned.filter(pl.col("task") == task)
        kept[task] = classes_of(asked.embeddings(own["text"].to_list()), own["label"].to_list(), labels[task])
    folder.mkdir(parents=True, exist_ok=True)
    write_classes(kept, folder / DISTRIBUTIONS)


def provenance(adapters: "Adapters", seed: int, task_rows: Path) -> dict[str, Any]:
    """Of the folder as a whole: sums over its trainings.

    Their own provenance lies beside them.
    """
    records = {
        folder: read_json(folder / "provenance.json") for place, folder in adapters.places() if place != "shared"
    }
    first = next(iter(records.values()))
    runs = [each["token_ledger"] for each in records.values()]
    before = [row for row in first["token_ledger"] if not row["run"].startswith(CONTINUAL)]
    own = [row for rows in runs for row in rows if row["run"].startswith(CONTINUAL)]
    return {
        "continued_tokens": None,
        "inputs": {"model": first["inputs"]["model"], "task_rows": folder_hash(task_rows)},
        "packages": first["packages"],
        "settings": {"seed": seed},
        "steps": sum(each["steps"] for each in records.values()),
        "stream_tokens": None,
        "token_ledger": [*before, *own],
        "tokens": sum(each["tokens"] for each in records.values()),
    }


def losses(adapters: "Adapters") -> pl.DataFrame:
    """adapter, step, tokens, loss: of every training."""
    frames, seen = [], set[Path]()
    for place, folder in adapters.places():
        if folder not in seen and (folder / "training.csv").is_file():
            seen.add(folder)
            log = pl.read_csv(folder / "training.csv")
            frames.append(log.select(pl.lit(place).alias("adapter"), "step", "tokens", "loss"))
    return pl.concat(frames)


if __name__ == "__main__":
    run(main)
