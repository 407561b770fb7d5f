"""The rows of one open file.

In UTF-8 where it is text: jsonl, json, csv, txt, parquet and arrow.

A row that cannot be read is a Fault and the next one is read; what ends a file raises Unreadable, or what its library
raises. jsonl and csv are read line by line and hold at most LINE_BYTES; json and txt are read as a whole. On one core
jsonl 456 MB/s, csv 111, parquet 381.
"""

import csv
import io
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import polars as pl

from osler.ingest.archives import whole
from osler.ingest.faults import Fault, Record, Rows, Unreadable
from osler.ingest.json_values import exact_json, needs_exact, roots
from osler.ingest.lone_bytes import Repair

LINE_BYTES = 1 << 28  # of a line of jsonl, and of a record of csv
WHOLE_BYTES = 1 << 30  # of a file that is read as a whole
BATCH_ROWS = 1 << 10
LONGEST_NAME_CHARACTERS = 60  # of a column

# A parquet file that is damaged in the right place makes the Rust library panic, which is no Exception.
ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


def _undecodable(text: bytes) -> Fault | None:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return Fault("undecodable", f"no UTF-8 at byte {error.start} of the row")
    return None


def _line(stream: BinaryIO) -> tuple[bytes, bool]:
    """The next line, and whether it is too long.

    Of one that is, the beginning.
    """
    line = rest = stream.readline(LINE_BYTES + 1)
    too_long = len(line) > LINE_BYTES
    while too_long and rest and not rest.endswith(b"\n"):
        rest = stream.readline(1 << 20)
    return line, too_long


def jsonl_rows(stream: BinaryIO, repair: Repair, current: list[bytes] | None = None) -> Rows:
    """One row for each line that is not blank.

    A row's number is its line's.

    Args:
        stream: of the file.
        repair: of its bytes.
        current: its one element becomes the line of the row last given, for `exact_row`.
    """
    row, current = 0, [b""] if current is None else current
    while (read := _line(stream))[0]:
        line, too_long = read
        row += 1
        if not line.strip():
            continue
        if too_long:
            yield row, Fault("too_long", f"a line of more than {LINE_BYTES} bytes")
            continue
        current[0] = line
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            current[0] = repair.content(line) or line if _undecodable(line) else line
            yield row, exact_row(current[0])
            continue
        if isinstance(record, dict):
            yield row, record
        else:
            yield row, _no_object(record)


def exact_row(line: bytes) -> Record | Fault:
    """The row of a line of jsonl, numbers as written."""
    try:
        record = exact_json(line)
    except ValueError as error:
        return _undecodable(line) or Fault("malformed_row", str(error))
    return record if isinstance(record, dict) else _no_object(record)


def _no_object(value: Any) -> Fault:
    return Fault("malformed_row", f"a {type(value).__name__}, not a JSON object")


def json_rows(stream: BinaryIO, id_field: str | None, repair: Repair, fields: Sequence[str] = ()) -> Rows:
    """The objects of an array, of an object, or the one object.

    Those of an object whose values all are objects have its keys as `id_field`.

    Args:
        stream: of the file.
        id_field: of the source.
        repair: of its bytes.
        fields: whose numbers must be as written.
    """
    text, needed = whole(stream, WHOLE_BYTES), roots(fields)
    try:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            if fault := _undecodable(text):
                text = repair.content(text) or b""
                if not text:
                    raise Unreadable("unreadable_file", fault.detail) from None
            value = exact_json(text)
        listed = value if isinstance(value, list) else []
        # An object of objects could lose a row under a key that stands twice.
        if isinstance(value, dict) or any(isinstance(row, dict) and needs_exact(row, needed) for row in listed):
            value = exact_json(text)
    except ValueError as error:
        raise Unreadable("unreadable_file", str(error)) from None
    if isinstance(value, dict) and value and all(isinstance(one, dict) for one in value.values()):
        value = [one if id_field is None else {id_field: key} | one for key, one in value.items()]
    for row, record in enumerate(value if isinstance(value, list) else [value], 1):
        if isinstance(record, dict):
            yield row, record
        else:
            yield row, _no_object(record)


def _without_columns(columns: Sequence[str], fields: Sequence[str]) -> Unreadable | None:
    for field in fields:
        if (count := columns.count(field)) != 1:
            message = (
                f"{count or 'no'} column{'s are' if count else ' is'} named '{field}', which the source's section names"
            )
            return Unreadable("missing_field", f"{message}; the columns are {', '.join(columns)[:1000]}")
    return None


def _reads_as_data(header: Sequence[str]) -> bool:
    """Whether a csv file's first record hardly names columns.

    It has a number, nothing, a sentence, or one value twice.
    """
    return len(set(header)) < len(header) or any(
        not cell.strip() or len(cell) > LONGEST_NAME_CHARACTERS or re.fullmatch(r"[-+\d.,/: ]+", cell)
        for cell in header
    )


class _CsvLines(Iterator[str]):
    """The lines of a CSV file.

    Those of a record that is none can be read again.

    Attributes:
        taken: lines of the record being read.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.taken: list[str] = []
        self._stream = stream
        self._pending: list[str] = []  # to read again, last first
        self._size = 0

    def __next__(self) -> str:
        if self._pending:
            line, too_long = self._pending.pop(), False
        else:
            read, too_long = _line(self._stream)
            line = read.decode("utf-8", "surrogateescape")
        if not line:
            raise StopIteration
        self._size = self._size + len(line) if self.taken else len(line)
        self.taken.append("\n" if too_long else line)
        if too_long or self._size > LINE_BYTES:
            raise csv.Error(f"more than {LINE_BYTES} bytes")
        return line

    def give_back(self) -> None:
        """Read all lines of the record but its first again."""
        self._pending.extend(reversed(self.taken[1:]))
        del self.taken[1:]


def _mended_values(values: list[str], repair: Repair) -> list[str] | Fault:
    """The values of a row without lone bytes of windows-1252."""
    text = "".join(values)
    fault = None if text.isascii() else _undecodable(text.encode("utf-8", "surrogateescape"))
    return values if fault is None else repair.texts(values) or fault


def _csv_header(rows: Iterator[list[str]], fields: Sequence[str], repair: Repair) -> list[str] | None:
    """The names of the columns; None of an empty file.

    Raises:
        Unreadable: no header, or one without `fields`.
    """
    try:
        header = next(rows, None)
    except csv.Error as error:
        raise Unreadable("unreadable_file", f"no CSV header: {error}") from None
    if header is None:
        return None
    names = _mended_values(header, repair)
    if isinstance(names, Fault):
        raise Unreadable(names.reason, f"the header: {names.detail}")
    header = names
    if missing := _without_columns(header, fields):
        if not set(fields) & set(header) and _reads_as_data(header):
            message = f"the first line reads as data and not as names of columns; add a header with {', '.join(fields)}"
            raise Unreadable("missing_header", f"{message}; it is {', '.join(header)[:200]}")
        raise missing
    return header


def csv_rows(stream: BinaryIO, delimiter: str, fields: Sequence[str], repair: Repair) -> Rows:
    """The records of a csv file, by its header.

    One that is no CSV costs its first line. Reading goes on at the next, so a stray quote swallows nothing.

    Args:
        fields: columns that must be there, once.
    """
    csv.field_size_limit(sys.maxsize)
    lines = _CsvLines(stream)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    header = _csv_header(rows, fields, repair)
    if header is None:
        return
    number, line = 0, 1
    while True:
        line += len(lines.taken)
        lines.taken.clear()
        try:
            values = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            lines.give_back()
            rows = csv.reader(lines, delimiter=delimiter, strict=True)
            number += 1
            yield number, Fault("malformed_row", f"line {line}: {error}")
            continue
        if not values:
            continue
        number += 1
        if len(values) != len(header):
            yield number, Fault("malformed_row", f"line {line}: {len(values)} values for {len(header)} columns")
            continue
        read = _mended_values(values, repair)
        yield number, read if isinstance(read, Fault) else dict(zip(header, read, strict=True))


def txt_rows(stream: BinaryIO, split: str | None, repair: Repair) -> Rows:
    """The pieces of a text, as {text}.

    Those with nothing but white space are no rows.

    Args:
        split: regular expression at which it splits.
    """
    text = whole(stream, WHOLE_BYTES).decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    pieces = [text] if split is None else re.split(split, text)
    for row, piece in enumerate((piece for piece in pieces if piece.strip()), 1):
        read = _mended_values([piece], repair)
        yield row, read if isinstance(read, Fault) else {"text": read[0]}


def _in_python(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A column that Python's types can hold: they know no nanoseconds, and no number of 32 bits."""
    if isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns":
        return column.dt.to_string("%Y-%m-%d %H:%M:%S%.f" + ("%:z" if dtype.time_zone else "")).str.strip_suffix(
            " 00:00:00"
        )
    if dtype == pl.Float32:
        return column.cast(pl.String).cast(pl.Float64)
    return column


def frame_rows(source: Path | bytes, fields: Sequence[str], optional: Sequence[str]) -> Rows:
    """The rows of a parquet file, BATCH_ROWS at a time.

    Args:
        fields: columns, or `column.key` inside one, that must be there.
        optional: columns that may be.
    """
    where = io.BytesIO(source) if isinstance(source, bytes) else source
    frame = pl.scan_parquet(where, glob=False)
    schema = frame.collect_schema()
    columns = schema.names()
    above = {field: field if field in columns else field.split(".")[0] for field in [*fields, *optional]}
    if missing := _without_columns(columns, [above[field] for field in fields]):
        raise missing
    wanted = [column for column in dict.fromkeys(above.values()) if column in columns]
    row = 0
    kept = frame.select(_in_python(pl.col(name), schema[name]) for name in wanted)
    for batch in kept.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
        for record in batch.iter_rows(named=True):
            row += 1
            yield row, record


def arrow_rows(path: Path) -> Rows:
    """The rows of a file of a `datasets` folder."""
    from datasets import Dataset

    try:
        yield from enumerate(Dataset.from_file(str(path)), 1)
    except ValueError as error:  # pyarrow's
        raise Unreadable("unreadable_file", f"no arrow stream: {error}") from None
