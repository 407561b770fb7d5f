"""Files of MedS-Bench, several targets, sets of labels, and means by category."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from osler.build.section import BuildError
from osler.corpus.overlaps import task_items
from osler.evaluation.task_predictions import GENERATIONS, scored
from osler.evaluation.tasks import TASKS, Task
from osler.report.page import markdown
from osler.report.task_section import generation_blocks
from osler.statistics.task_scores import category_means, generation_metrics, label_set_f1, scores_of
from stages import tasks
from tests.evaluation.test_task_texts import run
from tests.evaluation.test_tasks import task
from tests.statistics.test_task_scores import generations

MEDS: dict[str, Any] = {"format": "meds", "source": "{input}", "target": "{output}", "instruction": None}
FILE: dict[str, Any] = {
    "Contributors": ["x"],
    "Definition": ["Name the disease.", "Say which disease it is."],
    "Instances": [
        {"id": "a", "input": "great toe", "output": ["Gout", "Gouty arthritis"]},
        {"id": "b", "input": "cough", "output": "cold"},
    ],
}


def made(folder: Path, content: object, section: Task) -> pl.DataFrame:
    """What the stage writes for one file of the folder."""
    (folder / "raw").mkdir(exist_ok=True)
    (folder / "raw/task1_x.json").write_text(json.dumps(content))
    tasks.main(raw=folder / "raw", source={}, task=section, name="sums", items=folder / "sums.parquet")
    return pl.read_parquet(folder / "sums.parquet")


def test_a_file_of_meds_gives_a_row_an_instance_with_its_definition(tmp_path: Path) -> None:
    """The first definition is the instruction unless the section has one, the first output the target."""
    found = made(tmp_path, FILE, task(**MEDS))
    assert found["item_id"].to_list() == ["sums/a", "sums/b"]
    assert found["instruction"].to_list() == ["Name the disease."] * 2
    assert found["target"].to_list() == ["Gout", "cold"]
    assert found["others"].to_list() == [["Gouty arthritis"], []]
    assert made(tmp_path, FILE, task(**MEDS | {"instruction": "Say."}))["instruction"][0] == "Say."
    assert task_items(found)["context"].to_list() == ["Gout\n\nGouty arthritis", "cold"]
    single = FILE | {"Instances": FILE["Instances"][1:]}
    assert dict(made(tmp_path, single, task(**MEDS)).schema) == dict(TASKS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"id": "a", "input": "x", "output": "y"}], "task1_x.json#1: no `Definition` with a text and `Instances`"),
        (FILE | {"Definition": []}, "no `Definition` with a text"),
        (FILE | {"Instances": [FILE["Instances"][0], {"id": "b", "input": "x"}]}, "task1_x.json#2: no `output`"),
        (FILE | {"Instances": [{"id": "b", "input": "x", "output": []}]}, "task1_x.json#1: no `output`"),
        (FILE | {"Instances": [{"input": "x", "output": "y"}]}, "task1_x.json#1: .*'id'"),
    ],
)
def test_another_file_is_an_error_with_its_instance(tmp_path: Path, content: object, message: str) -> None:
    """No instance is passed over."""
    with pytest.raises(BuildError, match=message):
        made(tmp_path, content, task(**MEDS))


def test_the_target_that_a_text_meets_best_counts() -> None:
    """All scores are against it; rows stay in order, and the first of equal targets is taken."""
    rows = pl.DataFrame(
        {
            "text": ["gouty arthritis", "nothing", "cold"],
            "target": ["gout", "left knee", "cold"],
            "others": [["gouty arthritis", "toe"], ["right knee"], []],
        },
        schema_overrides={"others": pl.List(pl.String)},
    )
    found = scored(rows, task(metrics=["contains"]))
    assert found["target"].to_list() == ["gouty arthritis", "left knee", "cold"]
    assert found["score"].to_list() == found["contains"].to_list() == [1, 0, 1]
    assert "others" not in found.columns


LABELS = ["evading growth", "resisting death", "energetics"]


def test_the_f1_of_a_set_of_labels_is_over_items_for_each_label() -> None:
    """Label a: named 2, wanted 1, right 1; b: 1, 2, 1; c is nobody's: (2/3 + 2/3) / 2; scikit-learn has 4/9 for three."""
    assert label_set_f1(["a", "a; b; c", ""], ["a", "b", "b"]) == pytest.approx(2 / 3)
    assert label_set_f1(["a", ""], ["", ""]) == 0
    section = task(metric="label_set", labels=LABELS, none="none of them")
    pairs = [("Resisting death, energetics", "energetics"), ("none of them", "none of them"), ("", "evading growth.")]
    rows = generations(pairs, section)
    assert rows["answer"].to_list() == ["energetics; resisting death", "", ""]
    assert rows["score"].to_list() == pytest.approx([2 / 3, 1, 0])
    found = scores_of(rows, "label_set", 0.95)
    assert list(found)[:3] == ["macro_f1", "item_f1", "micro_f1"]
    assert found["macro_f1"].estimate == pytest.approx((1 + 0) / 2)
    assert found["micro_f1"].estimate == pytest.approx(2 * 1 / (2 + 2))
    [entry] = generation_metrics(rows, 0.95)["detail"]
    assert entry["unread"] is None


def test_a_target_without_a_label_says_so_or_is_an_error(tmp_path: Path) -> None:
    """By the sentence of the section alone."""
    rows = [{"id": "a", "input": "x", "output": "None"}, {"id": "b", "input": "y", "output": "energetics"}]
    section = MEDS | {"metric": "label_set", "labels": LABELS}
    assert made(tmp_path, FILE | {"Instances": rows}, task(**section, none="none")).height == 2
    with pytest.raises(BuildError, match="#1: the target 'None' names none of `labels`, and is not `none`"):
        made(tmp_path, FILE | {"Instances": rows}, task(**section))


def test_a_category_has_the_means_of_its_tasks() -> None:
    """Tasks count alike: (0.8 + 0.4) / 2; half-widths 0.1 and 0.2 make sqrt(0.05) / 2; a score of one task says so."""

    def entry(name: str, **scores: tuple[float, float, float]) -> dict[str, Any]:
        values = {key: dict(zip(("estimate", "low", "high"), one, strict=True)) for key, one in scores.items()}
        return {"task": name, "category": "Diagnosis", "model": "cpt", "scores": values}

    detail = [entry("a", accuracy=(0.8, 0.7, 0.9), bleu_1=(0.3, 0.3, 0.3)), entry("b", accuracy=(0.4, 0.2, 0.6))]
    [found] = category_means(detail)
    assert (found["category"], found["model"], found["tasks"]) == ("Diagnosis", "cpt", 2)
    accuracy = found["scores"]["accuracy"]
    assert (accuracy["estimate"], accuracy["tasks"]) == (0.6, 2)
    assert accuracy["low"] == pytest.approx(0.6 - 0.05**0.5 / 2, abs=1e-6)
    assert accuracy["high"] == pytest.approx(0.6 + 0.05**0.5 / 2, abs=1e-6)
    text = markdown(generation_blocks({"detail": [], "categories": [found]}))
    assert "| Diagnosis | `cpt` | 2 | 60.0 [48.8, 71.2] | 30.0 [30.0, 30.0] (1) |" in text


def test_a_category_comes_from_the_section_to_the_metrics(tmp_path: Path) -> None:
    """A task without one is in no mean, and without any there is no key."""
    rows, _, _ = run(tmp_path, category="Summaries")
    assert rows.columns == [*GENERATIONS, "category"]
    found = generation_metrics(rows, 0.95)
    assert [(one["category"], one["model"], one["tasks"]) for one in found["categories"]] == [("Summaries", "cpt", 1)]
    assert "categories" not in generation_metrics(run(tmp_path)[0], 0.95)


@pytest.mark.parametrize(
    "changes",
    [
        {"instruction": None},
        {"none": "none"},
        {"metric": "label_set"},
        {"metric": "label_set", "labels": ["a", "b"], "separator": ";"},
        {"category": ""},
    ],
)
def test_a_section_of_these_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    """Only meds brings an instruction; `none` is for lists and sets."""
    with pytest.raises(ValidationError):
        task(**changes)
