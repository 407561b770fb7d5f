"""Two invented tasks, a tiny model with a tokenizer, and the section of `continual` that learns them."""

import json
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import TypeAdapter

from osler.build.files import write_json, write_parquet
from osler.build.pipeline import ROOT, read_params
from osler.build.validation import validated
from osler.corpus.overlaps import Overlap
from osler.corpus.selection import Select
from osler.evaluation.tasks import TASKS
from osler.model.folder import write_model
from osler.training.in_turn import ContinualSection
from tests.support.tiny import TEMPLATE, tiny_model, tiny_tokenizer

WORDS = [
    "acorn",
    "fern",
    "honey",
    "ripple",
    "shadow",
    "moon",
    "itch",
    "tea",
    "wrap",
    "film",
    "swab",
    "given",
    "twice",
    "once",
    "day",
    "trace",
]
SECTION: dict[str, Any] = {
    "from": "base", "tasks": ["herbs", "tests"], "labels": {}, "train_fraction": 0.6, "train_rows": 24, "test_rows": 12,
    "rows_seed": 3, "source_limit_tokens": 24, "shared_step": 0.5,
    "infer_by": "distance", "shrinkage": 0.1, "draws_per_class": 20, "method": "lora", "rank": 4, "alpha": 8.0,
    "target_modules": "all-linear", "neftune_alpha": 0.0, "epochs": 1.0, "batch_tokens": 128, "learning_rate": 1e-2,
    "final_learning_rate_fraction": 0.1, "warmup_fraction": 0.1, "weight_decay": 0.0, "betas": [0.9, 0.98],
    "epsilon": 1e-8, "gradient_clip": 1.0,
}  # fmt: skip
LABELS = {"herbs": ("tea", "wrap"), "tests": ("film", "swab", "trace")}
WIDTH = 64
WITHDRAWN = "herbs/5"


def section(**changes: Any) -> Any:
    """The section, checked."""
    return TypeAdapter(ContinualSection).validate_json(json.dumps(SECTION | changes))


def items(task: str, rows: int = 60) -> pl.DataFrame:
    """Rows of TASKS with texts that have nothing to do with their labels, no two alike."""
    labels, found = LABELS[task], []
    for number in range(rows):
        digits = [(number * 7 + len(task) * 3 + 5 * place) % len(WORDS) for place in range(6)]
        text = f"{task} {number} " + " ".join(
            f"{WORDS[digit]} {task[place % 5]}{number * digit}" for place, digit in enumerate(digits)
        )
        found.append((f"{task}/{number}", task, f"{task}/{number}", "test", "", text, labels[number % len(labels)]))
    return pl.DataFrame(found, schema=TASKS, orient="row")


def benchmark(question: str) -> pl.DataFrame:
    """A question in two options."""
    values = {"item_id": ["quiz/1"], "benchmark": "quiz", "group": "quiz/1", "split": "test", "question": [question]}
    return pl.DataFrame(values | {"context": "", "options": [["fern tea", "a swab"]], "answer": [0]})


def rules() -> tuple[Overlap, Select]:
    """The default's sections `overlap` and `select`."""
    params = read_params(ROOT / "params.yaml")
    return validated("overlap", params["overlap"], Overlap), validated("select", params["select"], Select)


def project(folder: Path, seeds: tuple[int, ...] = (1,)) -> None:
    """A folder with items, template, tokenizer and a base of some seeds."""
    for task in LABELS:
        write_parquet(folder / f"items/tasks/{task}.parquet", items(task))
    write_parquet(folder / "items/quiz.parquet", benchmark("what treats an itch"))
    (folder / "withdrawn.txt").write_text(f"{WITHDRAWN}\n")
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(folder / "models/tokenizer")
    (folder / "template.jinja").write_text(TEMPLATE)
    for seed in seeds:
        place = folder / "models/base" / (f"seeds/{seed}" if seed != seeds[0] else "")
        record = {"settings": {"seed": seed}, "token_ledger": []}
        write_model(tiny_model(len(tokenizer)), folder / "models/tokenizer", folder / f"made{seed}", record)
        place.mkdir(parents=True, exist_ok=True)
        for file in (folder / f"made{seed}").iterdir():
            file.rename(place / file.name)
        write_json(place / "provenance.json", record)


def write_rows(folder: Path, **changes: Any) -> Any:
    """The stage task_rows of `project`; the section."""
    from stages import task_rows

    asked = section(**changes)
    read = (folder / "withdrawn.txt", folder / "items", folder / "template.jinja", folder / "models/tokenizer")
    task_rows.main(*read, folder / "rows", folder / "ledger.parquet", "x", asked, *rules(), WIDTH)
    return asked
