"""What a judge holds a text against, and tasks whose source is a conversation.

Criteria with points, as HealthBench has them (arXiv 2505.08775): of each it is judged alone whether a text meets it. Those of bad
answers have negative points. A row brings its own, or all rows of a task have the same.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

import polars as pl
from pydantic import Field, field_validator, model_validator

from osler.build.section import Section, absent
from osler.ingest.faults import Fault, Record
from osler.ingest.messages import message_turns

CRITERIA = "criteria"
"""A column of items that are judged by criteria: a list of the fields of `Criterion`."""
TURNS = "turns"
"""A column of items whose source is a conversation: a list of role and content."""
CRITERIA_TYPE = pl.List(pl.Struct({"criterion": pl.String, "points": pl.Float64, "tags": pl.List(pl.String)}))
TURNS_TYPE = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))


class Criterion(Section):
    """What a text should do, or should not."""

    criterion: Annotated[str, Field(min_length=1, description="in words, of a text")]
    points: float = Field(description="for meeting it; below 0: a good text does not")
    tags: list[str] = Field(default=[], description="whose scores the report has, such as axis:accuracy")

    @field_validator("criterion")
    @classmethod
    def _says_something(cls, criterion: str) -> str:
        if not criterion.strip():
            raise ValueError("a criterion without words")
        return criterion

    @field_validator("points")
    @classmethod
    def _counts(cls, points: float) -> float:
        if points == 0:
            raise ValueError("a criterion of 0 points is none; take it out")
        return points


class Judged(Section):
    """Keys of a task for judges, and for conversations."""

    criteria: Annotated[list[Criterion], Field(min_length=1)] | None = absent(
        "of every item: what a judge holds a text against; null: a row's own, or none"
    )
    criteria_field: str | None = absent(
        "field with a row's own: a list of criterion, points and tags, as HealthBench has it; null: none", min_length=1
    )
    turns_field: str | None = absent(
        "field with the turns of a conversation, whose answer is to be written; null: the source is one turn",
        min_length=1,
    )

    @field_validator("criteria")
    @classmethod
    def _some_good(cls, criteria: list[Criterion] | None) -> list[Criterion] | None:
        if criteria is not None and all(one.points < 0 for one in criteria):
            raise ValueError("no criterion has points above 0; a text could not earn any")
        words = [one.criterion.strip() for one in criteria or ()]
        if twice := sorted({text for text in words if words.count(text) > 1}):
            raise ValueError(f"'{twice[0]}' stands there twice; keep one")
        return criteria

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.criteria is not None and self.criteria_field is not None:
            raise ValueError("`criteria` are the same for all items, `criteria_field` a row's own; take one out")
        return self

    @property
    def has_criteria(self) -> bool:
        """Whether a judge may hold texts against criteria."""
        return self.criteria is not None or self.criteria_field is not None

    def criteria_of(self, record: Record) -> list[dict[str, Any]] | Fault:
        """The criteria of a row as dictionaries, or why there are none."""
        if self.criteria_field is None:
            return [dict(one) for one in self.criteria or ()]
        return read_criteria(record.get(self.criteria_field), self.criteria_field)

    def turns_of(self, record: Record) -> list[dict[str, str]] | Fault:
        """The turns of a row, or why there are none."""
        name = str(self.turns_field)
        messages = record.get(name)
        asked = [*messages, {"role": "assistant", "content": ""}] if isinstance(messages, list) else messages
        turns = message_turns(asked, name)  # of a conversation whose answer is still to come
        if isinstance(turns, Fault):
            return turns
        roles = ("user", "assistant")
        return [{"role": roles[place % 2], "content": content} for place, (_, content) in enumerate(turns[:-1])]


def read_criteria(value: Any, name: str) -> list[dict[str, Any]] | Fault:
    """The criteria in a field of a row, or what is wrong.

    Args:
        value: a list of mappings, or that as JSON.
        name: of the field, for messages.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return Fault("no_criteria", f"field '{name}' is no JSON")
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        return Fault("no_criteria", f"field '{name}' has no list of criteria")
    found, is_earned = [], False
    for number, one in enumerate(value, 1):
        own = one if isinstance(one, Mapping) else {}
        text, points, tags = own.get("criterion"), own.get("points"), own.get("tags") or ()
        is_number = isinstance(points, int | float) and not isinstance(points, bool) and math.isfinite(points)
        if not (isinstance(text, str) and text.strip() and is_number and points):
            return Fault("no_criteria", f"field '{name}': criterion {number} has no text, or no points other than 0")
        if not isinstance(tags, Sequence) or isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
            return Fault("no_criteria", f"field '{name}': criterion {number}: `tags` is no list of texts")
        found.append({"criterion": text.strip(), "points": float(points), "tags": list(tags)})
        is_earned |= points > 0
    if not is_earned:
        return Fault("no_criteria", f"field '{name}': no criterion has points above 0; a text could not earn any")
    return found


def conversation_text(turns: Sequence[Mapping[str, str]]) -> str:
    """A conversation as one text.

    One turn stands as it is, several with who speaks.
    """
    if len(turns) == 1:
        return turns[0]["content"]
    return "\n\n".join(f"{turn['role'].capitalize()}: {turn['content']}" for turn in turns)
