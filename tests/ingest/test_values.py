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
from osler.ingest.fields import scalar
from osler.ingest.records import raw_records
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
        (Decimal("0E-10"), "0.0000000000"),
        (Decimal("1E+2"), "100"),
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
        (Decimal("nan"), "missing_field", "no value"),
        (Decimal("inf"), "malformed_row", "a Decimal"),
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
    assert dates("year") == ["2019", None]
    assert dates("list") == ["'list' is a list, not a text or a number"] * 2


def test_long_ids_keep_their_digits(tmp_path: Path) -> None:
    """Two ids of 23 digits that are one float are two documents, also inside a nested value."""
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
    assert nested == [(f"s/{one}", None), ("s/7", None), ("missing_field", "no value for 'in.id'")]


def test_a_number_of_five_thousand_digits_is_a_fault(tmp_path: Path) -> None:
    """And the next row is read."""
    (tmp_path / "a.jsonl").write_text('{"text": "a", "id": ' + "1" * 5000 + '}\n{"text": "b", "id": 1}\n')
    assert [each[0] for each in fields(drafts(tmp_path, id="id"))] == ["malformed_row", "s/1"]


NUMERALS = ["1e5", "1.10", "2019.0", "-0.0", "1e400", "3.14159265358979323846", "12345678901234567890123"]


@pytest.mark.parametrize("literal", NUMERALS)
@pytest.mark.parametrize("form", ["jsonl", "json", "keyed"])
def test_a_number_of_json_is_written_as_its_file_has_it(tmp_path: Path, literal: str, form: str) -> None:
    """Beside a text, inside an object, and inside a list; a number that no field needs costs nothing."""
    row = f'{{"text": "a", "n": {literal}, "in": {{"l": [1, {literal}]}}, "unused": 0.1}}'
    text = {"jsonl": row + "\n", "json": f"[{row}]", "keyed": f'{{"k": {row}}}'}[form]
    (tmp_path / "a.json").write_text(text)
    changed = {"format": "jsonl" if form == "jsonl" else "json"}
    (found,) = drafts(tmp_path / "a.json", text="{n} {in.l.1} {in.l.0}", id="n", **changed)
    assert isinstance(found, Draft)
    assert (found.doc_id, found.contents) == (f"s/{literal}", [("", f"{literal} {literal} 1")])


@pytest.mark.parametrize("bad", ["NaN", "-Infinity", '"\\ud83d"', "01", "1" * 5000])
def test_what_is_no_json_value_costs_its_row_alone(tmp_path: Path, bad: str) -> None:
    """Half a surrogate pair, and the words of JavaScript; also beside a number that is read once more."""
    (tmp_path / "a.jsonl").write_text(f'{{"text": "a", "n": {bad}, "m": 1.0}}\n{{"text": "b", "n": 1, "m": 1.0}}\n')
    found = drafts(tmp_path / "a.jsonl", text="{text} {n} {m}")
    assert [one.reason if isinstance(one, Fault) else one.contents[0][1] for one in found] == [
        "malformed_row",
        "b 1 1.0",
    ]


def test_a_key_that_stands_twice_loses_no_row(tmp_path: Path) -> None:
    """Of an object of rows the second would be all that is seen."""
    (tmp_path / "a.json").write_text('{"1": {"text": "a"}, "1": {"text": "b"}}')
    (found,) = drafts(tmp_path / "a.json", format="json", id="id")
    assert isinstance(found, Fault)
    assert (found.reason, found.detail) == (
        "unreadable_file",
        "the key '1' stands twice in an object; no row of it is read",
    )


def test_columns_of_parquet_are_texts_as_they_were(tmp_path: Path) -> None:
    """Whatever their type: 32 bits are no 64, nanoseconds stay, and what is no text is a fault."""
    at = datetime(2019, 3, 14, 10, 5, tzinfo=None)
    nanoseconds = pl.Series([1552557900123456789]).cast(pl.Datetime("ns"))
    columns: dict[str, tuple[Any, str | None]] = {
        "f32": (pl.Series([0.1], dtype=pl.Float32), "0.1"),
        "f64": ([0.30000000000000004], "0.30000000000000004"),
        "u64": (pl.Series([2**64 - 1], dtype=pl.UInt64), "18446744073709551615"),
        "i128": (pl.Series([10**30], dtype=pl.Int128), "1" + "0" * 30),
        "decimal": ([Decimal("1.50")], "1.50"),
        "category": (pl.Series(["q"]).cast(pl.Categorical), "q"),
        "enum": (pl.Series(["q"]).cast(pl.Enum(["p", "q"])), "q"),
        "truth": ([True], "true"),
        "day": ([date(2019, 3, 14)], "2019-03-14"),
        "at": ([at], "2019-03-14 10:05:00"),
        "ns": (nanoseconds, "2019-03-14 10:05:00.123456789"),
        "ns_day": (pl.Series([date(2019, 3, 14)]).cast(pl.Datetime("ns")), "2019-03-14"),
        "ns_zone": (nanoseconds.dt.replace_time_zone("UTC"), "2019-03-14 10:05:00.123456789+00:00"),
        "time": ([time(10, 5)], "10:05:00"),
        "in": ([{"day": date(2019, 3, 14)}], None),
        "duration": ([timedelta(1)], None),
        "binary": ([b"x"], None),
    }
    pl.DataFrame({name: values for name, (values, _) in columns.items()}).write_parquet(tmp_path / "a.parquet")
    for name, (_, text) in columns.items():
        (found,) = drafts(tmp_path / "a.parquet", format="parquet", text=f"{{{name}}}", date_field=name)
        if text is None:
            assert isinstance(found, Fault), name
        else:
            assert isinstance(found, Draft), name
            assert (found.contents[0][1], found.date) == (text, text)
    (found,) = drafts(tmp_path / "a.parquet", format="parquet", text="{in.day}")
    assert isinstance(found, Draft)
    assert found.contents == [("", "2019-03-14")]


def test_an_optional_field_that_is_nan_is_nothing(tmp_path: Path) -> None:
    """As null is; where it is needed the row has no value."""
    pl.DataFrame({"text": ["a"], "n": [float("nan")]}).write_parquet(tmp_path / "a.parquet")
    (found,) = drafts(tmp_path / "a.parquet", format="parquet", text="{text}{n?}")
    assert isinstance(found, Draft)
    assert found.contents == [("", "a")]
    (found,) = drafts(tmp_path / "a.parquet", format="parquet", text="{text}{n}")
    assert isinstance(found, Fault)
    assert found.reason == "missing_field"


@pytest.mark.parametrize(("cell", "kept"), [("", None), ("  ", None), (" 2019 ", "2019"), ("2019-03", "2019-03")])
def test_a_blank_date_is_none(tmp_path: Path, cell: str, kept: str | None) -> None:
    """An empty cell of csv; a byte order mark before a quoted name is no part of it."""
    (tmp_path / "a.csv").write_text(f'\ufeff"day","text"\n"{cell}","a"\n', encoding="utf-8")
    (found,) = drafts(tmp_path / "a.csv", format="csv", date_field="day")
    assert isinstance(found, Draft)
    assert found.date == kept


def test_cells_of_csv_are_texts_as_they_are(tmp_path: Path) -> None:
    """No number is read: leading zeros, exponents and `NA` stay; a cell too many is a fault, an empty id too."""
    (tmp_path / "a.csv").write_text("id,text\n007,1e5\n1.0,NA\n12345678901234567890123,True\n,x\n8,y,\n")
    found = drafts(tmp_path / "a.csv", format="csv", id="id")
    assert [one.doc_id if isinstance(one, Draft) else one.reason for one in found] == [
        *("s/007", "s/1.0", "s/12345678901234567890123"),
        *("missing_field", "malformed_row"),
    ]
    assert [one.contents[0][1] for one in found if isinstance(one, Draft)] == ["1e5", "NA", "True"]
