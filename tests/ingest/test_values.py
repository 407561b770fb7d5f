"""Values of fields: what stands in a file stands in the document, or the row is a fault that says why."""

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from osler.ingest.drafts import Draft, draft
from osler.ingest.faults import Fault
from osler.ingest.records import raw_records
from osler.ingest.source import scalar
from tests.ingest.test_records import section


def drafts(path: Path, **changed: Any) -> list[Draft | Fault]:
    """The documents of a file."""
    source = section(**changed)
    found = [record for _, record in raw_records(path, source)]
    return [one if isinstance(one, Fault) else draft(one, "f#1", "s", source, source.templates) for one in found]


def fields(drafts: list[Draft | Fault]) -> list[tuple[str, str | None]]:
    """Id and date of each."""
    return [(one.doc_id, one.date) if isinstance(one, Draft) else (one.reason, one.detail) for one in drafts]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("  as it is ", "  as it is "),
        (7, "7"),
        (0.5, "0.5"),
        (True, "true"),
        (False, "false"),
        (2**64 - 1, "18446744073709551615"),
        (10**40, "1" + "0" * 40),
        (Decimal("1.50"), "1.50"),
        (date(2020, 1, 2), "2020-01-02"),
        (datetime(2020, 1, 2), "2020-01-02"),
        (datetime(2020, 1, 2, 3, 4), "2020-01-02 03:04:00"),
        (datetime(2020, 1, 2, tzinfo=UTC), "2020-01-02 00:00:00+00:00"),
        (time(3, 4, 5), "03:04:05"),
    ],
)
def test_a_value_is_a_text(value: Any, text: str) -> None:
    """As the file would write it."""
    assert scalar({"x": value}, "x") == text


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        (None, "missing_field", "no value"),
        (float("nan"), "missing_field", "no value"),
        (float("inf"), "malformed_row", "inf"),
        (1e22, "malformed_row", "write it as a text"),
        (-(2.0**53), "malformed_row", "write it as a text"),
        ([1], "malformed_row", "a list"),
        ({"a": 1}, "malformed_row", "a dict"),
        (b"\xff", "malformed_row", "a bytes"),
        (timedelta(1), "malformed_row", "a timedelta"),
    ],
)
def test_a_value_that_is_no_text_is_a_fault(value: Any, reason: str, detail: str) -> None:
    """NaN is no value; a float beyond 2**53 may be a rounded integer."""
    found = scalar({"x": value}, "x")
    assert isinstance(found, Fault)
    assert (found.reason, detail in found.detail) == (reason, True)


def test_dates_of_a_parquet_file_are_dates(tmp_path: Path) -> None:
    """Date, Datetime and a year; null and NaN are none, and a list is a fault, not a document without date."""
    frame = pl.DataFrame({"text": ["a", "b"], "day": [date(2019, 5, 1), None], "at": [datetime(2019, 5, 1, 8, 30)] * 2})
    frame.with_columns(year=pl.Series([2019.0, float("nan")]), list=pl.Series([[1], [2]])).write_parquet(
        tmp_path / "a.parquet"
    )

    def dates(field: str) -> list[str | None]:
        return [each for _, each in fields(drafts(tmp_path, format="parquet", date_field=field))]

    assert dates("day") == ["2019-05-01", None]
    assert dates("at") == ["2019-05-01 08:30:00"] * 2
    assert dates("year") == ["2019.0", None]
    assert dates("list") == ["'list' is a list, not a text or a number"] * 2


def test_long_ids_keep_their_digits(tmp_path: Path) -> None:
    """Two ids of 23 digits that are one float are two documents; inside a nested value they are a fault."""
    one, two = 10**22 + 1, 10**22 + 2
    rows = [
        {"text": "a", "id": one, "in": {"id": 5}},
        {"text": "b", "id": two, "in": {"id": 7}},
        {"text": "c", "id": 7, "p": 0.25},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert fields(drafts(tmp_path, id="id")) == [(f"s/{one}", None), (f"s/{two}", None), ("s/7", None)]
    (tmp_path / "a.jsonl").write_text(
        json.dumps({"text": "a", "in": {"id": one}}) + "\n" + json.dumps(rows[1]) + '\n{"text": "c"}\n'
    )
    nested = fields(drafts(tmp_path, id="in.id"))
    assert nested[0][0] == "malformed_row"
    assert "write it as a text" in str(nested[0][1])
    assert nested[1:] == [("s/7", None), ("missing_field", "no value for 'in.id'")]


def test_a_number_of_five_thousand_digits_is_a_fault(tmp_path: Path) -> None:
    """And the next row is read."""
    (tmp_path / "a.jsonl").write_text('{"text": "a", "id": ' + "1" * 5000 + '}\n{"text": "b", "id": 1}\n')
    assert [each[0] for each in fields(drafts(tmp_path, id="id"))] == ["malformed_row", "s/1"]
