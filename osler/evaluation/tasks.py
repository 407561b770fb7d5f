"""Generative tasks in one schema: an instruction, a source, a target.

A model's own text is held against the target. Rows of the split train are never asked: stage `exercises` makes rows to train
on of them.

Dialogue to note, summarization, free-text diagnosis, lists of entities: what differs is how a text is scored
(osler/evaluation/text_metrics.py), not how it is asked for. As with benchmark items, a bad row is an error and never skipped.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import polars as pl
from pydantic import Field, field_validator, model_validator

from osler.build.section import EACH_ONCE, BuildError, RelativePath, absent
from osler.evaluation.named_metrics import Named
from osler.evaluation.note_sections import PART, REST, NotePart, parted
from osler.evaluation.private_items import Hidden
from osler.evaluation.rubrics import CRITERIA, CRITERIA_TYPE, TURNS, TURNS_TYPE, Judged, conversation_text
from osler.evaluation.structured_texts import Kind, fields_of
from osler.evaluation.task_texts import Writing
from osler.evaluation.text_metrics import entities_of, labels_of, normalized, without_opening
from osler.inference.interface import seeded_rank
from osler.ingest.archives import SKIPPED
from osler.ingest.faults import Fault, Record
from osler.ingest.fields import Template, scalar
from osler.ingest.records import file_records, source_files

TRAIN: Literal["train"] = "train"
DEV = "dev"
SPLITS = ("test", DEV, TRAIN)
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


class Task(Writing, Judged):
    """A section `task.<name>`.

    It says where its rows come from, how they are asked, and how the texts are scored.
    """

    path: RelativePath
    format: Literal["jsonl", "json", "csv", "parquet", "hub", "meds"] = Field(
        description="how its files are read; meds: an object with `Definition` and `Instances`, as MedS-Bench has them"
    )
    split: str | None = Field(default=None, description="hub: name of a split, null: all")
    id: str | None = Field(default=None, description="field that names a row; null: file and row number do")
    group: str | None = Field(
        default=None, description="field with what items share, such as a patient; null: each is its own"
    )
    split_field: str | None = Field(
        default=None, description="field with a row's split, test, dev or train; null: all are tested on"
    )
    training_fraction: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="of rows without a split_field, never asked and left to `exercise`: by a hash of the group, or else of"
        " the source's words; null: none",
    )
    dev_fraction: float | None = absent(
        "of rows without a split_field, never asked and left to `shots`, in the same way; null: none", gt=0, lt=1
    )
    source: str | None = Field(description="template of what the model reads, '{dialogue}'; null: the `turns_field`")
    target: str | None = Field(description="template of what it should write; null: the `part`, or for rubric none")
    part: NotePart | None = absent(
        "of the source, which it should write out of the rest; rows without it are no items; null: the target is a field"
    )
    baseline: Literal["lead"] | None = absent(
        "text: lead: ROUGE of as many first words of the source as the target has, beside the models; null: none"
    )
    instruction: str | None = Field(
        description="before the source, a blank line between; empty for none; null, for meds: the file's Definition"
    )
    category: str | None = absent("of several tasks, whose means the report has; null: none", min_length=1)
    limit_tokens: int = Field(ge=1, le=1 << 24, description="of a generated text")
    limit_items: int | None = Field(
        default=None, ge=1, le=10_000_000, description="test items asked, those of lowest seeded rank; null: all"
    )
    seeds: Literal["first", "all"] = Field(default="first", description="training seeds whose models are asked")
    metric: Literal["text", "label", "label_set", "entities", "structured", "rubric"] = Field(
        description="ROUGE-L, exact label, macro F1 of all labels in a text, F1 of lists, or of the fields of JSON: the headline;"
        " rubric: none but what a `judge` says of its criteria"
    )
    json_fields: dict[str, Kind] | None = absent(
        "structured: what each field of the JSON is; null for other metrics", min_length=1
    )
    metrics: Annotated[list[Named] | None, EACH_ONCE] = absent(
        "scores besides, which do not compare with each other: docs/tasks.md; null: none", min_length=1
    )
    opening: str | None = absent(
        "words that a target may begin with, 'The diagnosis is'; no score counts them; null: none", min_length=1
    )
    labels: list[str] | None = Field(
        default=None, description="label, label_set: all there are, to be found in a text; null: any text is one"
    )
    separator: str | None = Field(
        default=None, description="entities: what stands between two of them; null for other metrics"
    )

    none: str | None = absent(
        "entities, label_set: the sentence for there being none; null: an empty text", min_length=1
    )

    @field_validator("source", "target")
    @classmethod
    def _template(cls, text: str | None) -> str | None:
        if text is not None:
            Template(text)
        return text

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.target is None) != (self.part is not None) and not (self.metric == "rubric" and self.part is None):
            raise ValueError("`target` is a template, or null where `part` says what is to be written")
        if (self.source is None) != (self.turns_field is not None):
            raise ValueError("`source` is a template, or null where `turns_field` has a conversation")
        if self.turns_field is not None and (self.shots or self.prompt == "plain" or self.part):
            raise ValueError("`turns_field` is a chat already; take out `shots`, `prompt` and `part`")
        if self.metric == "rubric" and not self.has_criteria:
            raise ValueError("metric rubric needs `criteria`, or a `criteria_field`")
        if self.metrics is not None and self.target is None and self.part is None:
            raise ValueError("`metrics` compare with a `target`, which is null")
        if self.baseline is not None and self.metric != "text":
            raise ValueError(f"`baseline` is for metric text, not {self.metric}")
        if self.split is not None and self.format != "hub":
            raise ValueError(f"`split` is for format hub, not {self.format}")
        if self.split_field is not None and self.dev_fraction is not None:
            raise ValueError("`split_field` says already which rows are of the split dev; take dev_fraction out")
        if self.shots is not None and self.split_field is None and self.dev_fraction is None:
            raise ValueError("`shots` are rows of the split dev; set `split_field` or `dev_fraction`")
        if self.split_field is not None and self.training_fraction is not None:
            raise ValueError("`split_field` says already which rows are of the split train; take training_fraction out")
        if (self.separator is not None) != (self.metric == "entities") or self.separator == "":
            raise ValueError("metric entities needs a `separator`, and no other metric has one")
        if self.labels is not None and self.metric not in ("label", "label_set"):
            raise ValueError(f"`labels` is for metric label and label_set, not {self.metric}")
        if self.labels is None and self.metric == "label_set":
            raise ValueError("metric label_set needs `labels`")
        if (self.json_fields is not None) != (self.metric == "structured"):
            raise ValueError("metric structured needs `json_fields`, and no other metric has them")
        if self.none is not None and self.metric not in ("entities", "label_set"):
            raise ValueError(f"`none` is for metric entities and label_set, not {self.metric}")
        if self.instruction is None and self.format != "meds":
            raise ValueError("`instruction` is null, and only files of format meds bring one; write it, or '' for none")
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
        named = [field for text in (self.source, self.target) if text for field in Template(text).fields]
        own = (self.id, self.group, self.split_field, self.criteria_field, self.turns_field)
        others = [field for field in own if field is not None]
        return list(dict.fromkeys([field for field in named if not field.endswith("?")] + others))

    @property
    def optional_fields(self) -> list[str]:
        """The fields that a row may lack, without their `?`."""
        named = [field for text in (self.source, self.target) if text for field in Template(text).fields]
        return list(dict.fromkeys(field.removesuffix("?") for field in named if field.endswith("?")))


def task_rows(path: Path, task: Task, left: Counter[str] | None = None) -> Iterable[tuple[str, Record]]:
    """Every row of the task's files with `<path>: <file>#<row>`.

    Of a task with a `part` those that have it.

    Args:
        path: of the files.
        task: the section.
        left: counts the others; see `parted`.
    Raises:
        BuildError: a file or a row cannot be read.
    """
    if task.part is None or task.source is None:
        return _rows(path, task)
    return parted(_rows(path, task), task.source, task.part, Counter() if left is None else left)


def _rows(path: Path, task: Task) -> Iterable[tuple[str, Record]]:
    for file in source_files(path, task):
        if file.fault and file.fault.reason in SKIPPED:
            continue
        records = file_records(file, task)
        for origin, found in records:
            record = found if isinstance(found, Fault) else records.exact(found)
            if isinstance(record, Fault):
                raise BuildError(f"{path}: {origin}: {record.detail}; correct it or take it out of the folder")
            if task.format == "meds":
                yield from meds_rows(f"{path}: {origin}", record)
            else:
                yield f"{path}: {origin}", record


OTHERS = "others"
"""A column of items that have several targets: those after the first."""


def meds_rows(where: str, record: Record) -> Iterable[tuple[str, Record]]:
    """The instances of a file of MedS-Bench, with its first definition.

    `output` is the first of the accepted ones, the others are under OTHERS.

    Raises:
        BuildError: the file is no such one.
    """
    definition, instances = record.get("Definition"), record.get("Instances")
    first = definition[0] if isinstance(definition, list) and definition else definition
    if not isinstance(first, str) or not isinstance(instances, list):
        raise BuildError(
            f"{where}: no `Definition` with a text and `Instances` with a list; is it a file of MedS-Bench?"
        )
    place = where.rpartition("#")[0]
    for number, instance in enumerate(instances, 1):
        output = instance.get("output") if isinstance(instance, dict) else None
        outputs = [output] if isinstance(output, str) else output
        if not isinstance(outputs, list) or not outputs or not all(isinstance(one, str) for one in outputs):
            raise BuildError(f"{place}#{number}: no `output` with a text or a list of texts; correct the instance")
        yield f"{place}#{number}", {**instance, "output": outputs[0], OTHERS: outputs[1:], "Definition": first}


def split_of(task: Task, source: str, group: str) -> str:
    """The split of a row that has no field for it.

    It is one of the task's own file. Rows with the same words, or of one group, are of the same split.
    """
    together = normalized(source) if task.group is None else group
    for split, fraction in ((TRAIN, task.training_fraction), (DEV, task.dev_fraction)):
        if fraction is not None and seeded_rank(0, split, together) < fraction * 2**64:
            return split
    return "test"


def rows_frame(
    rows: Iterable[tuple[str, Record]],
    task: Task,
    name: str,
    split: Literal["train"] | None = None,
    hide: Hidden | None = None,
) -> pl.DataFrame:
    """The rows as rows of TASKS, in order.

    The columns OTHERS, CRITERIA and TURNS are there where rows have them.

    Args:
        rows: where each stands, for messages and, without `id`, for its number.
        task: its section.
        name: item ids and groups start with it.
        split: of rows without a split_field; None: as in the task's own file (`split_of`).
        hide: who items are about; messages do not show them then.
    Raises:
        BuildError: a field is missing, an id occurs twice, a source is empty, a target is (but for entities) or is none of
            `labels`, or a split is none of SPLITS.
    """
    found: list[dict[str, Any]] = []
    seen: dict[str, str] = {}
    for where, record in rows:
        values = source_and_target(record, task)
        values["id"] = where.rpartition(": ")[2] if task.id is None else scalar(record, task.id)
        values["group"] = values["id"] if task.group is None else scalar(record, task.group)
        values["split"] = "" if task.split_field is None else scalar(record, task.split_field)
        texts: dict[str, str] = {}
        for key, value in values.items():
            if isinstance(value, Fault):
                raise BuildError(f"{where}: {value.detail}; correct the row")
            texts[key] = value
        if task.split_field is None:
            texts["split"] = split or split_of(task, texts["source"], texts["group"])
        problem = problem_of(texts, task, seen.get(texts["id"]), is_hidden=hide is not None)
        if problem:
            raise BuildError(f"{where}: {problem}; correct the row")
        seen[texts["id"]] = where
        texts |= hide.names(texts, task.id, task.group) if hide else {}
        names: dict[str, Any] = {"item_id": f"{name}/{texts.pop('id')}", "group": f"{name}/{texts.pop('group')}"}
        names["instruction"] = str(record["Definition"]) if task.instruction is None else task.instruction
        names |= {"task": name, OTHERS: record.get(OTHERS, [])}
        found.append(texts | names | judged_columns(record, task, where))
    besides: dict[str, Any] = {CRITERIA: CRITERIA_TYPE} if task.has_criteria else {}
    besides |= {TURNS: TURNS_TYPE} if task.turns_field else {}
    several = task.format == "meds" and any(row[OTHERS] for row in found)
    return pl.DataFrame(found, schema={**TASKS, **({OTHERS: pl.List(pl.String)} if several else {}), **besides})


def problem_of(texts: Mapping[str, str], task: Task, before: str | None, is_hidden: bool) -> str | None:
    """What is wrong with a row, if anything.

    Args:
        before: where its id stands already.
        is_hidden: no words of it are told.
    """
    wanted = normalized(without_opening(texts["target"], task.opening))
    own_id, target = ("", "") if is_hidden else (f" '{texts['id']}'", f" {texts['target']!r}")
    if before:
        return f"id{own_id} is also that of {before}"
    if not texts["id"].strip():
        return "the id is empty"
    if texts["split"] not in SPLITS:
        return f"split '{texts['split']}' is none of {', '.join(SPLITS)}"
    if not texts["source"].strip():
        return "the source is empty"
    if not wanted and not may_lack_target(task):
        return "the target is empty"
    if task.metric == "label_set" and not is_label_set(texts["target"], task):
        return f"the target{target} names none of `labels`, and is not `none`"
    if task.json_fields and fields_of(texts["target"], task.json_fields) is None:
        return f"the target{target} is no JSON object of `json_fields`"
    if task.metric == "label" and task.labels and wanted not in map(normalized, task.labels):
        return f"the target{target} is none of `labels`"
    return None


def may_lack_target(task: Task) -> bool:
    """Whether an empty target is none to correct.

    It says that there is nothing to name, or a judge does without.
    """
    return task.metric in ("entities", "label_set") or (task.metric == "rubric" and task.target is None)


def judged_columns(record: Record, task: Task, where: str) -> dict[str, Any]:
    """The columns CRITERIA and TURNS of a row.

    They are where the task has them.

    Raises:
        BuildError: they cannot be read; names the row.
    """
    found: dict[str, Any] = {CRITERIA: task.criteria_of(record)} if task.has_criteria else {}
    found |= {TURNS: task.turns_of(record)} if task.turns_field else {}
    for value in found.values():
        if isinstance(value, Fault):
            raise BuildError(f"{where}: {value.detail}; correct the row")
    return found


def source_and_target(record: Record, task: Task) -> dict[str, str | Fault]:
    """What is read and what should be written.

    Or why there is none.
    """
    if task.source is None:
        turns = task.turns_of(record)
        source = turns if isinstance(turns, Fault) else conversation_text(turns)
    else:
        source = Template(task.source).rendered(record)
    if task.target is not None or task.part is None:
        return {"source": source, "target": "" if task.target is None else Template(task.target).rendered(record)}
    return {"source": source if isinstance(source, Fault) else record[REST], "target": record.get(PART, "")}


def is_label_set(target: str, task: Task) -> bool:
    """Whether a target names some label, or says that there is none."""
    none = normalized(task.none or "") == normalized(target)
    return none or bool(labels_of(target, task.labels or ()))


def tasks_frame(rows: Iterable[tuple[str, Record]], task: Task, name: str, hide: Hidden | None = None) -> pl.DataFrame:
    """The rows of a task's own file as TASKS, in order.

    Those of the split train are among them.

    Args:
        rows, task, name, hide: as for `rows_frame`; `name` is the task's.
    Raises:
        BuildError: as there, or no row is tested on, or no target of those names an entity.
    """
    frame = rows_frame(rows, task, name, hide=hide)
    tested = frame.filter(pl.col("split") == "test")["target"]
    if tested.is_empty():
        raise BuildError(f"task {name}: no row of the split test; correct `path` or `split_field`")
    if task.separator is not None and not any(entities_of(text, task.separator, task.none) for text in tested):
        raise BuildError(f"task {name}: no target names an entity; correct `target` or `separator`")
    return frame
