"""Read raw files as records: what a source is, and every row of it or the reason why a row is unreadable.

A source is one file, or a folder of which every file of the source's format is read in sorted order. A bad row never
stops a build and never vanishes: it is yielded as a `Fault`. What no row can repair (no file, no row, no such column)
is a BuildError. jsonl is read line by line, so memory is one row; csv.gz 70 MB/s, jsonl 490, jsonl.gz 150.
"""

import csv
import gzip
import re
import string
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self, cast

import orjson
import polars as pl
from pydantic import Field, field_validator, model_validator

from stages.lib.section import BuildError, Section

Collection = Literal["clinical", "general", "instructions"]
COLLECTIONS: tuple[Collection, ...] = ("clinical", "general", "instructions")

SUFFIXES = {
    "jsonl": (".jsonl", ".jsonl.gz", ".json", ".json.gz"),
    "csv": (".csv", ".csv.gz", ".tsv", ".tsv.gz"),
    "parquet": (".parquet",),
    "txt": (".txt", ".txt.gz"),
}

Record = Mapping[str, Any]

BATCH_BYTES = 1 << 22  # of documents' text at a time: their words and hashes take about ten times as much


@dataclass(frozen=True)
class Fault:
    """Why a row gives no document: a word for the ledger's `reason`, and a sentence for its `detail`."""

    reason: str
    detail: str


class Template:
    """A text with `{field}` in it. Only plain names: no attributes, indices, conversions or format specifications."""

    def __init__(self, text: str) -> None:
        """Parse `text`; `{{` and `}}` stand for braces.

        Raises:
            ValueError: a brace is open, or something other than a plain field name is inside.
        """
        self.parts: list[tuple[str, str | None]] = []
        for literal, field, specification, conversion in string.Formatter().parse(text):
            if field is not None and (not field or specification or conversion or set(field) & set("[]")):
                raise ValueError(f"only plain {{field}} can be used in {text!r}")
            self.parts.append((literal, field))
        if not self.fields:
            raise ValueError(f"no {{field}} in {text!r}")

    @property
    def fields(self) -> list[str]:
        """The fields named, in order."""
        return [field for _, field in self.parts if field is not None]

    def rendered(self, record: Record) -> str | Fault:
        """The text for `record`, or why there is none: a field is absent, null, or no scalar."""
        pieces = []
        for literal, field in self.parts:
            pieces.append(literal)
            if field is not None:
                value = scalar(record, field)
                if isinstance(value, Fault):
                    return value
                pieces.append(value)
        return "".join(pieces)


def scalar(record: Record, field: str) -> str | Fault:
    """A field of `record` as text (numbers and booleans through `str`)."""
    value = record.get(field)
    if value is None:
        return Fault("missing_field", f"no value for '{field}'")
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return str(value)
    return Fault("malformed_row", f"'{field}' is a {type(value).__name__}, not a text or a number")


class Turn(Section):
    """One turn of a conversation."""

    role: Literal["user", "assistant"]
    text: str = Field(min_length=1, description="template of its content")

    @field_validator("text")
    @classmethod
    def _template(cls, text: str) -> str:
        Template(text)
        return text


class Source(Section):
    """A section `source.<name>`: where documents come from and which fields make them."""

    collection: Collection = Field(description="clinical and general are text to train on, instructions conversations")
    path: str = Field(min_length=1, description="file or folder, relative to `root`")
    format: Literal["jsonl", "csv", "parquet", "txt"]
    split: str | None = Field(description="txt only: regular expression at which a file splits into documents")
    id: str | None = Field(description="field that names a row; null: file and row number do")
    text: str | None = Field(description="template of a document, '{title}. {text}'; txt knows only {text}")
    turns: tuple[Turn, ...] | None = Field(description="instructions only: the conversation")
    turns_field: str | None = Field(description="instructions only, instead of `turns`: field with the messages")
    license: str = Field(min_length=1, description="license of the source")
    license_field: str | None = Field(description="field with the license of a row; null: all have the source's")
    date_field: str | None = Field(description="field with the date of a row; null, or no value: no date")
    document_limit_characters: int | None = Field(ge=1, description="longer documents go to the ledger; null: none do")

    @field_validator("text")
    @classmethod
    def _template(cls, text: str | None) -> str | None:
        if text is not None:
            Template(text)
        return text

    @field_validator("split")
    @classmethod
    def _pattern(cls, split: str | None) -> str | None:
        try:
            if split is not None and re.compile(split).groups:
                raise ValueError("groups would end up in the text: write (?:...) instead of (...)")
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        return split

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.collection == "instructions") != (self.turns is not None) or (self.text is None) != bool(self.turns):
            raise ValueError("instructions have `turns` and no `text`, the other collections `text` and no `turns`")
        if self.turns is not None and "assistant" not in {turn.role for turn in self.turns}:
            raise ValueError("`turns` has no assistant, so there is nothing to learn")
        if self.split is not None and self.format != "txt":
            raise ValueError(f"`split` is for format txt, not {self.format}")
        if self.format == "txt" and set(self.fields) != {"text"}:
            raise ValueError("a txt file has the one field {text}, and neither id nor license_field")
        return self

    @property
    def templates(self) -> list[Template]:
        """One template for each turn; a text is one."""
        return [Template(turn.text) for turn in self.turns] if self.turns else [Template(cast(str, self.text))]

    @property
    def fields(self) -> list[str]:
        """Every field that a row must have, once, in order of use."""
        names = [field for template in self.templates for field in template.fields]
        return list(dict.fromkeys(names + [name for name in (self.id, self.license_field) if name is not None]))


@dataclass(frozen=True)
class RawFile:
    """One file of a source.

    Attributes:
        name: as origins have it, relative to the source's folder, with `/`.
        path: where it lies.
        fault: why it must not be opened, such as a link that leads out of the source's folder.
    """

    name: str
    path: Path
    fault: Fault | None = None


def source_files(path: Path, source: Source) -> list[RawFile]:
    """The files of a source, sorted by name.

    Raises:
        BuildError: nothing is there, or a folder has no file of the format.
    """
    return files_of_format(path, source.format)


def files_of_format(path: Path, source_format: str) -> list[RawFile]:
    """`path` itself, or the files of the format in and below it, sorted by name.

    Raises:
        BuildError: nothing is there, or a folder has no file of the format.
    """
    if path.is_file():
        return [RawFile(path.name, path)]
    if not path.is_dir():
        raise BuildError(f"{path}: does not exist; correct `path` or `root` in params.yaml")
    files = [
        RawFile(file.relative_to(path).as_posix(), file)
        for file in path.rglob("*")
        if file.is_file() and not file.name.startswith(".") and file.name.endswith(SUFFIXES[source_format])
    ]
    if not files:
        raise BuildError(f"{path}: has no file of `format` {source_format} ({', '.join(SUFFIXES[source_format])})")
    return sorted(files, key=lambda file: file.name)


def open_binary(path: Path) -> BinaryIO:
    """`path` for reading, decompressed where its name ends in .gz."""
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _jsonl_rows(path: Path) -> Iterator[tuple[int, Record | Fault]]:
    with open_binary(path) as stream:
        for row, line in enumerate(stream, 1):
            line = line.removeprefix(b"\xef\xbb\xbf") if row == 1 else line
            if not line.strip():
                continue
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                yield row, _undecodable(line) or Fault("malformed_row", f"no JSON: {error}")
                continue
            if isinstance(record, dict):
                yield row, record
            else:
                yield row, Fault("malformed_row", f"a {type(record).__name__}, not a JSON object")


def _undecodable(text: bytes) -> Fault | None:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return Fault("undecodable", f"no UTF-8 at byte {error.start} of the row")
    return None


def _csv_rows(path: Path, fields: list[str]) -> Iterator[tuple[int, Record | Fault]]:
    """A record that is no CSV costs its first line; reading goes on at the next, so a stray quote swallows nothing."""
    csv.field_size_limit(sys.maxsize)
    delimiter = "\t" if ".tsv" in path.suffixes else ","
    with open_binary(path) as stream:
        taken: list[str] = []  # lines of the record being read
        pending: list[str] = []  # lines to read again, last first

        def lines() -> Iterator[str]:
            while line := pending.pop() if pending else stream.readline().decode("utf-8", "surrogateescape"):
                taken.append(line)
                yield line

        rows = csv.reader(lines(), delimiter=delimiter, strict=True)
        try:
            header = [name.removeprefix("\ufeff") for name in next(rows)]
        except StopIteration:
            return
        except csv.Error as error:
            raise BuildError(f"{path}: no CSV header: {error}") from None
        for field in fields:
            if header.count(field) != 1:
                raise BuildError(
                    f"{path}: {header.count(field)} columns are named '{field}', which the source's section names;"
                    f" the header is {header}"
                )
        number, line = 0, 1
        while True:
            line += len(taken)
            taken.clear()
            try:
                values = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                pending.extend(reversed(taken[1:]))
                del taken[1:]
                rows = csv.reader(lines(), delimiter=delimiter, strict=True)
                number += 1
                yield number, Fault("malformed_row", f"line {line}: {error}")
                continue
            if not values:
                continue
            number += 1
            if len(values) != len(header):
                yield number, Fault("malformed_row", f"line {line}: {len(values)} values for {len(header)} columns")
            else:
                record = dict(zip(header, values, strict=True))
                faults = (_undecodable(record[field].encode("utf-8", "surrogateescape")) for field in fields)
                yield number, next((fault for fault in faults if fault), record)


def _parquet_rows(path: Path, fields: list[str]) -> Iterator[tuple[int, Record | Fault]]:
    schema = pl.read_parquet_schema(path)
    for field in fields:
        if field not in schema:
            raise BuildError(
                f"{path}: no column is named '{field}', which the source's section names; the columns are {list(schema)}"
            )
    yield from enumerate(pl.read_parquet(path, columns=fields).iter_rows(named=True), 1)


def _txt_rows(path: Path, split: str | None) -> Iterator[tuple[int, Record | Fault]]:
    with open_binary(path) as stream:
        text = stream.read().decode("utf-8", "surrogateescape").removeprefix("\ufeff").replace("\r\n", "\n")
    pieces = [text] if split is None else re.split(split, text)
    for row, piece in enumerate((piece for piece in pieces if piece.strip()), 1):
        yield row, _undecodable(piece.encode("utf-8", "surrogateescape")) or {"text": piece}


class FileRecords(Iterator[tuple[str, Record | Fault]]):
    """The rows of one file as `file_records` gives them.

    Attributes:
        encoding: what the file, or the archive's member, of the last row is written in, such as "utf-8" or "cp1252".
    """

    def __init__(self, file: RawFile, source: Source) -> None:
        """Open nothing yet."""
        self.encoding = "utf-8"
        self._rows = self._read(file, source)

    def __next__(self) -> tuple[str, Record | Fault]:
        """The next row."""
        return next(self._rows)

    def _read(self, file: RawFile, source: Source) -> Iterator[tuple[str, Record | Fault]]:
        row = 0
        try:
            match source.format:
                case "jsonl":
                    found = _jsonl_rows(file.path)
                case "csv":
                    found = _csv_rows(file.path, source.fields)
                case "parquet":
                    found = _parquet_rows(file.path, source.fields)
                case "txt":
                    found = _txt_rows(file.path, source.split)
            for row, record in found:
                yield f"{file.name}#{row}", record
        except (OSError, EOFError, zlib.error, pl.exceptions.PolarsError) as error:
            yield f"{file.name}#{row + 1}", Fault("unreadable_file", f"cannot be read as {source.format}: {error}")


def file_records(file: RawFile, source: Source) -> FileRecords:
    """Every row of one file, in order.

    Blank lines, and pieces of a split text with nothing but white space, are no rows. What is damaged gives one Fault,
    at the row where reading ended; the rows before it stay.

    Yields:
        "<file>#<row>", rows counted from 1 (jsonl: line; csv: record after the header; txt: piece), and the record or
        why it cannot be read.
    """
    return FileRecords(file, source)


def raw_records(path: Path, source: Source) -> Iterator[tuple[str, Record | Fault]]:
    """Every row of a source, file after file.

    Args:
        path: the file or folder.
        source: its section.
    Yields:
        As `file_records`.
    Raises:
        BuildError: no file, or not one row in the whole source.
    """
    rows = 0
    for file in source_files(path, source):
        for rows, found in enumerate(file_records(file, source), rows + 1):  # noqa: B007, B020
            yield found
    if not rows:
        raise BuildError(f"{path}: has no rows; remove the source or correct `path`")


def document_files(folder: Path) -> list[Path]:
    """The parts of one source's documents, in document order."""
    files = sorted(folder.glob("part-*.parquet"))
    if not files:
        raise BuildError(f"{folder}: has no part-*.parquet; run `dvc repro ingest`")
    return files


def document_batches(part: Path) -> Iterator[pl.DataFrame]:
    """The doc_id and text of one part in document order, about BATCH_BYTES of text at a time."""
    documents = pl.read_parquet(part, columns=["doc_id", "text"])
    batch = documents["text"].str.len_bytes().cast(pl.Int64).cum_sum() // BATCH_BYTES
    yield from documents.with_columns(batch.alias("batch")).partition_by("batch", include_key=False)
