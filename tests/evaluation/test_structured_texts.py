"""Texts that are JSON by a schema: what can be read, and which values are right."""

from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from osler.build.section import BuildError
from osler.evaluation.structured_texts import Kind, fields_of, json_object, read_values, written_values
from osler.statistics.task_scores import HEADLINES, generation_metrics, scores_of
from tests.evaluation.test_tasks import ROWS, made, task
from tests.statistics.test_task_scores import generations

SCHEMA: dict[str, Kind] = {"age": "number", "sex": "text", "drugs": "list", "smokes": "boolean"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"age": 5}', {"age": 5}),
        ('Here it is:\n```json\n{"age": 5}\n```\nDone.', {"age": 5}),
        ('{x} then {"age": {"a": 1}} {"b": 2}', {"age": {"a": 1}}),
        ('{"age": 5', None),
        ('{"age": 5, "age": 6}', None),
        ('{"age": NaN}', None),
        ("[1]", None),
        ("", None),
    ],
)
def test_the_first_whole_object_of_a_text_is_read(text: str, found: object) -> None:
    """Alone, in a fence or between words; a name twice says two things."""
    assert json_object(text) == found


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        ('{"age": 5.0, "sex": "F", "drugs": ["Tea", "tea", ""], "smokes": false}', True),
        ("{}", True),
        ('{"age": null}', True),
        ('{"age": "5"}', False),  # a text is no number
        ('{"age": true}', False),
        ('{"smokes": 1}', False),
        ('{"drugs": "tea"}', False),
        ('{"drugs": [["tea"]]}', False),
        ('{"weight": 5}', False),  # no field of the schema
    ],
)
def test_a_text_is_read_where_each_field_is_of_its_kind(text: str, readable: bool) -> None:
    """Or null, or missing; nothing besides."""
    assert (fields_of(text, SCHEMA) is not None) == readable


def test_equal_values_are_equal_however_they_are_written() -> None:
    """Case, signs, order, repeats and 5.0 do not count; what is written of them is read again."""
    one = fields_of('{"age": 5.0, "sex": "f.", "drugs": ["b", "A", "a"]}', SCHEMA)
    assert one is not None
    assert one == fields_of('{"drugs": ["a", "B"], "sex": "F", "age": 5, "smokes": null}', SCHEMA)
    assert one != fields_of('{"drugs": ["a", "B"], "sex": "F", "age": 5.5}', SCHEMA)
    assert read_values(written_values(one)) == one


PAIRS = [
    ('{"age": 5, "drugs": ["tea", "honey"]}', '{"age": 5, "drugs": ["tea"]}'),
    ("She is 5.", '{"age": 5}'),
    ("{}", "{}"),
]


def test_scores_count_values_of_each_field_and_texts_that_could_be_read() -> None:
    """Named 3, wanted 3, both 2 together; of age 1, 2, 1; of drugs 2, 1, 1; two of three texts are JSON."""
    rows = generations(PAIRS, task(metric="structured", json_fields=SCHEMA))
    assert rows["score"].to_list() == pytest.approx([4 / 5, 0, 1])
    assert rows["answer"].is_null().to_list() == [False, True, False]
    found = scores_of(rows, "structured", 0.95)
    assert list(found)[:4] == ["field_f1", "parse_rate", "f1_age", "f1_drugs"]
    estimates = {name: own.estimate for name, own in found.items()}
    assert estimates["field_f1"] == pytest.approx(2 * 2 / 6)
    assert estimates["parse_rate"] == pytest.approx(2 / 3)
    assert estimates["f1_age"] == pytest.approx(2 * 1 / 3)
    assert estimates["f1_drugs"] == pytest.approx(2 * 1 / 3)
    assert list(generation_metrics(rows, 0.95)["scores"]["t"]) == [HEADLINES["structured"]]


def test_a_target_that_is_not_of_the_schema_is_an_error(tmp_path: Any) -> None:
    """Its row is named; a number in the place of a list would never be right."""
    section = task(metric="structured", json_fields={"drugs": "list"})
    good = [row | {"note": '{"drugs": ["tea"]}'} for row in ROWS]
    assert isinstance(made(tmp_path, good, section), pl.DataFrame)
    with pytest.raises(BuildError, match=r"rows.jsonl#2: the target .* is no JSON object of `json_fields`"):
        made(tmp_path, [good[0], good[1] | {"note": '{"drugs": 5}'}], section)


@pytest.mark.parametrize(
    "changes", [{"metric": "structured"}, {"json_fields": {"a": "text"}}, {"json_fields": {"a": "x"}}]
)
def test_fields_are_for_json_and_json_has_fields(changes: dict[str, Any]) -> None:
    """Of four kinds."""
    with pytest.raises(ValidationError):
        task(**changes)
