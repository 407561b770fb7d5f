"""Generative tasks in one schema: an instruction, a source, a target.

A model's own text is held against the target.

Dialogue to note, summarization, free-text diagnosis, lists of entities: what differs is how a text is scored
(osler/evaluation/text_metrics.py), not how it is asked for. As with benchmark items, a bad row is an error and never skipped.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

import polars as pl
from pydantic import Field, field_validator, model_validator

from osler.build.section import BuildError, RelativePath, Section
from osler.evaluation.benchmark_formats import SPLITS
from osler.evaluation.text_metrics import entities_of, normalized
from osler.ingest.archives import SKIPPED
from osler.ingest.faults import Fault, Record
from osler.ingest.fields import Template, scalar
from osler.ingest.records import file_records, source_files

TASKS = pl.Schema(
    {
        "item_id": pl.String,
        "task": pl.String,
        "group": pl.String,
        "split": pl.String,
        "instruction": pl.String,
        "source": pl.String,
        "target": pl.String,
    }
)


class Task(Section):
    """A section `task.<name>`.

    It says where its rows come from, how they are asked, and how the texts are scored.
    """

    path: RelativePath
    format: Literal["jsonl", "json", "csv", "parquet", "hub"] = Field(description="how its files are read")
    split: str | None = Field(default=None, description="hub: name of a split, null: all")
    id: str | None = Field(default=None, description="field that names a row; null: file and row number do")
    group: str | None = Field(
        default=None, description="field with what items share, such as a patient; null: each is its own"
    )
    split_field: str | None = Field(
        default=None, description="field with a row's split, test or dev; null: all are tested on"
    )
    source: str = Field(description="template of what the model reads, '{dialogue}'")
    target: str = Field(description="template of what it should write")
    instruction: str = Field(description="before the source, a blank line between; empty for none")
    limit_tokens: int = Field(ge=1, le=1 << 24, description="of a generated text")
    limit_items: int | None = Field(
        default=None, ge=1, le=10_000_000, description="test items asked, those of lowest seeded rank; null: all"
    )
    metric: Literal["text", "label", "entities"] = Field(
        description="ROUGE-L, exact label, or F1 of lists: the headline"
    )
    labels: list[str] | None = Field(
        default=None, description="label: all there are, to be found in a text; null: any text is one"
    )
    separator: str | None = Field(
        default=None, description="entities: what stands between two of them; null for other metrics"
    )

    @field_validator("source", "target")
    @classmethod
    def _template(cls, text: str) -> str:
        Template(text)
        return text

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.split is not None and self.format != "hub":
            raise ValueError(f"`split` is for format hub, not {self.format}")
        if (self.separator is not None) != (self.metric == "entities") or self.separator == "":
            raise ValueError("metric entities needs a `separator`, and no other metric has one")
        if self.labels is not None and self.metric != "label":
            raise ValueError(f"`labels` is for metric label, not {self.metric}")
        known = [normalized(label) for label in self.labels or ()]
        if self.labels is not None and (len(set(known)) < max(2, len(known)) or not all(known)):
            raise ValueError("`labels` are at least two words or phrases, different without case and punctuation")
        return self

    @property
    def sheet(self) -> None:
        """None: no task is a sheet."""

    @property
    def xml(self) -> None:
        """None: no task is XML."""

    @property
    def fields(self) -> list[str]:
        """Every field that a row must have, once."""
        named = [field for text in (self.source, self.target) for field in Template(text).fields]
        others = [field for field in (self.id, self.group, self.split_field) if field is not None]
        return list(dict.fromkeys([field for field in named if not field.endswith("?")] + others))

    @property
    def optional_fields(self) -> list[str]:
        """The fields that a row may lack, without their `?`."""
        named = [field for text in (self.source, self.target) for field in Template(text).fields]
        return list(dict.fromkeys(field.removesuffix("?") for field in named if field.endswith("?")))


def task_rows(path: Path, task: Task) -> Iterable[tuple[str, Record]]:
    """Every row of the task's files with `<path>: <file>#<row>`.

    Raises:
        BuildError: a file or a row cannot be read.
    """
    for file in source_files(path, task):
        if file.fault and file.fault.reason in SKIPPED:
            continue
        records = file_records(file, task)
        for origin, found in records:
            record = found if isinstance(found, Fault) else records.exact(found)
            if isinstance(record, Fault):
                raise BuildError(f"{path}: {origin}: {record.detail}; correct it or take it out of the folder")
            yield f"{path}: {origin}", record


def tasks_frame(rows: Iterable[tuple[str, Record]], task: Task, name: str) -> pl.DataFrame:
    """The rows as rows of TASKS, in order.

    Args:
        rows: where each stands, for messages and, without `id`, for its number; at least one of the split test.
        task: its section.
        name: of the task; item ids and groups start with it.
    Raises:
        BuildError: a field is missing, an id occurs twice, a source is empty, a target is (for entities, is in all rows)
            or is none of `labels`, a split is neither test nor dev, or no row is tested on.
    """
    source, target = Template(task.source), Template(task.target)
    labels = {normalized(label) for label in task.labels or ()}
    found: list[dict[str, str]] = []
    seen: dict[str, str] = {}
    for where, record in rows:
        values = {"source": source.rendered(record), "target": target.rendered(record)}
        values["id"] = where.rpartition(": ")[2] if task.id is None else scalar(record, task.id)
        values["group"] = values["id"] if task.group is None else scalar(record, task.group)
        values["split"] = "test" if task.split_field is None else scalar(record, task.split_field)
        texts: dict[str, str] = {}
        for key, value in values.items():
            if isinstance(value, Fault):
                raise BuildError(f"{where}: {value.detail}; correct the row")
            texts[key] = value
        problem = None
        if texts["id"] in seen:
            problem = f"id '{texts['id']}' is also that of {seen[texts['id']]}"
        elif not texts["id"].strip():
            problem = "the id is empty"
        elif texts["split"] not in SPLITS:
            problem = f"split '{texts['split']}' is neither test nor dev"
        elif not texts["source"].strip():
            problem = "the source is empty"
        elif not normalized(texts["target"]) and task.metric != "entities":
            problem = "the target is empty"
        elif labels and normalized(texts["target"]) not in labels:
            problem = f"the target {texts['target']!r} is none of `labels`"
        if problem:
            raise BuildError(f"{where}: {problem}; correct the row")
        seen[texts["id"]] = where
        names = {"item_id": f"{name}/{texts.pop('id')}", "group": f"{name}/{texts.pop('group')}"}
        found.append({**texts, **names, "task": name, "instruction": task.instruction})
    frame = pl.DataFrame(found, schema=TASKS)
    tested = frame.filter(pl.col("split") == "test")["target"]
    if tested.is_empty():
        raise BuildError(f"task {name}: no row of the split test; correct `path` or `split_field`")
    if task.separator is not None and not any(entities_of(text, task.separator) for text in tested):
        raise BuildError(f"task {name}: no target names an entity; correct `target` or `separator`")
    return frame
