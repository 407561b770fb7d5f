"""Section `benchmark`, and the items in a benchmark's files."""

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field, model_validator

from osler.build.section import EACH_ONCE, BuildError, RelativePath, Section
from osler.evaluation.benchmark_formats import (
    RawItem,
    first_number,
    jsonl_item,
    medmcqa_item,
    medqa_item,
    mmlu_item,
    pubmedqa_item,
    split_named,
)
from osler.evaluation.typing_errors import mistyped
from osler.evaluation.wide_formats import CATEGORY, ROWS
from osler.ingest.archives import REFUSED, RawFile, open_binary
from osler.ingest.encodings import utf8_stream
from osler.ingest.faults import Unreadable
from osler.ingest.json_values import exact_json
from osler.ingest.lone_bytes import Repair
from osler.ingest.records import files_of_format


class Benchmark(Section):
    """A section `benchmark.<name>`."""

    path: RelativePath
    format: Literal[
        "jsonl", "medqa", "medqa_5options", "medmcqa", "pubmedqa", "mmlu", "mmlu_pro", "medxpertqa", "headqa"
    ] = Field(description="jsonl: Osler's own; the others as they are distributed")
    categories: Annotated[list[str] | None, EACH_ONCE] = Field(
        default=None,
        min_length=1,
        description="of mmlu_pro, medxpertqa (body systems) or headqa: which are asked, such as health; null: all",
    )
    typing_errors: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="share of words with a typing error in questions and contexts of test items, beside the benchmark"
        " without them; null: none",
    )

    @model_validator(mode="after")
    def _has_categories(self) -> "Benchmark":
        if self.categories and self.format not in ROWS:
            raise ValueError(f"categories: {self.format} has none; take the key out")
        return self


def _wide_items(path: Path, benchmark: Benchmark) -> Iterator[RawItem]:
    """Items of jsonl or parquet files, whose names tell the split where there are several."""
    form = benchmark.format
    kind = (
        "parquet" if path.suffix == ".parquet" or (path.is_dir() and next(path.rglob("*.parquet"), None)) else "jsonl"
    )
    for file in _files(path, kind):
        split = (split_named(file.name) if path.is_dir() else None) or "test"
        for row, where in _parquet_rows(file, path) if kind == "parquet" else _json_rows(file, path):
            if benchmark.categories is None or row.get(CATEGORY[form]) in benchmark.categories:
                yield ROWS[form](row, where, split)


def _parquet_rows(file: RawFile, path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    try:
        rows = pl.read_parquet(file.path)
    except pl.exceptions.PolarsError as error:
        raise BuildError(f"{path}: {file.name}: {error}; take it out of the folder") from None
    for number, row in enumerate(rows.iter_rows(named=True), 1):
        yield row, f"{path}: {file.name}#{number}"


def _files(path: Path, form: str) -> Iterator[RawFile]:
    for file in files_of_format(path, form):
        if file.fault and file.fault.reason in REFUSED:
            raise BuildError(f"{path / file.name}: {file.fault.detail}; take it out of the folder")
        if not file.fault:
            yield file


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file as UTF-8.

    In whatever encoding it is, as those of a source.
    """
    repair = Repair()
    with open_binary(path) as stream:
        try:
            lines = utf8_stream(stream, False)[0]
        except Unreadable as error:
            raise BuildError(f"{path}: {error}; take it out of the folder") from None
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                mended = repair.content(line)
                if mended is None:
                    raise BuildError(f"{path}#{number}: no UTF-8 at byte {error.start}; correct the row") from None
                line = mended
            yield line


def _json_objects(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    for file in _files(path, "jsonl"):
        yield from _json_rows(file, path)


def _json_rows(file: RawFile, path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    for number, line in enumerate(_lines(file.path), 1):
        if line.strip():
            yield _json_object(line, f"{file.name}#{number}"), f"{path}: {file.name}#{number}"


def _jsonl_items(path: Path) -> Iterator[RawItem]:
    files = list(_files(path, "jsonl"))
    told = {file.name: split_named(file.name) for file in files} if path.is_dir() else {}
    for file in files:
        split = told.get(file.name) or "test"
        yield from (jsonl_item(row, where, split) for row, where in _json_rows(file, path))


def _medmcqa_items(path: Path) -> Iterator[RawItem]:
    files = [file for file in _files(path, "jsonl") if not path.is_dir() or split_named(file.name) != "test"]
    trained = [file.name for file in files if "train" in file.name.lower()]
    for file in files:
        first = first_number(_json_rows(file, path), f"{path}: {file.name}")
        split = "dev" if file.name in trained and len(files) > 1 else "test"
        yield from (medmcqa_item(row, where, split, first) for row, where in _json_rows(file, path))


def _json_object(text: bytes, where: str) -> dict[str, Any]:
    try:
        value = exact_json(text.removeprefix(codecs.BOM_UTF8))
    except ValueError as error:
        raise BuildError(f"{where}: {error}; correct the row") from None
    if not isinstance(value, dict):
        raise BuildError(f"{where}: a {type(value).__name__}, not a JSON object; correct the row")
    return value


def _medqa_items(path: Path, letters: str) -> Iterator[RawItem]:
    for file in _files(path, "jsonl"):
        split = file.name.split("/")[-1].split(".")[0].rpartition("_")[2]
        if split not in ("train", "dev", "test"):
            raise BuildError(f"{file.path}: its name ends in none of _train, _dev and _test; take it out of the folder")
        for number, (row, where) in enumerate(_json_objects(file.path)):
            yield medqa_item(row, split, number, where, letters)


def _pubmedqa_items(folder: Path) -> Iterator[RawItem]:
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    for name in ("ori_pqal.json", "test_ground_truth.json"):
        file = next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), None)
        if file is None:
            raise BuildError(f"{folder}: has no {name} or {name}.gz; `path` is the folder with both files of PubMedQA")
        found[name] = file, _json_object(b"".join(_lines(file)), str(file))
    file, rows = found["ori_pqal.json"]
    test_file, test = found["test_ground_truth.json"]
    if missing := sorted(test.keys() - rows.keys()):
        raise BuildError(f"{test_file}: {len(missing)} ids are not in {file.name}, such as {missing[0]}")
    for pmid, row in rows.items():
        item = pubmedqa_item(pmid, row, pmid in test, f"{file}: {pmid}")
        if pmid in test and test[pmid] != item.options[item.answer]:
            raise BuildError(f"{test_file}: {pmid}: '{test[pmid]}', but {file.name} has '{item.options[item.answer]}'")
        yield item


def _mmlu_items(folder: Path) -> Iterator[RawItem]:
    for split in ("dev", "val", "test"):
        for file in _files(folder / split, "csv"):
            subject = file.name.split(".")[0].removesuffix(f"_{split}")
            for number, values in enumerate(_csv_rows(file.path)):
                yield mmlu_item(values, subject, split, number, f"{file.path}#{number + 1}")


def _csv_rows(path: Path) -> Iterator[list[str]]:
    rows = csv.reader((line.decode() for line in _lines(path)), strict=True)
    try:
        yield from rows
    except csv.Error as error:
        raise BuildError(f"{path}: line {rows.line_num}: {error}; correct the file") from None


def read_items(path: Path, benchmark: Benchmark) -> Iterator[RawItem]:
    """The items of a benchmark, in order of files and rows.

    The files of MMLU come in the order dev, val, test.
    """
    share = benchmark.typing_errors
    for item in _items(path, benchmark):
        yield item if share is None else mistyped(item, share)


def _items(path: Path, benchmark: Benchmark) -> Iterator[RawItem]:
    match benchmark.format:
        case "jsonl":
            yield from _jsonl_items(path)
        case "medmcqa":
            yield from _medmcqa_items(path)
        case "medqa":
            yield from _medqa_items(path, "ABCD")
        case "medqa_5options":
            yield from _medqa_items(path, "ABCDE")
        case "pubmedqa":
            yield from _pubmedqa_items(path)
        case "mmlu":
            yield from _mmlu_items(path)
        case _:
            yield from _wide_items(path, benchmark)
