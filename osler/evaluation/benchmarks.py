"""Section `benchmark`, and the items in a benchmark's files."""

import codecs
import csv
import itertools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field, model_validator

from osler.build.section import EACH_ONCE, BuildError, RelativePath, Section
from osler.evaluation.benchmark_formats import (
    PARTS,
    RawItem,
    cells_of,
    field_of,
    first_number,
    jsonl_item,
    medmcqa_item,
    medqa_item,
    mmlu_item,
    part_named,
    pubmedqa_item,
    row_of_pqal,
    split_named,
)
from osler.evaluation.typing_errors import mistyped
from osler.evaluation.wide_formats import CATEGORY, ROWS
from osler.ingest.archives import REFUSED, RawFile, open_binary, raw_files
from osler.ingest.encodings import utf8_stream
from osler.ingest.faults import Unreadable
from osler.ingest.json_values import exact_json
from osler.ingest.lone_bytes import Repair
from osler.ingest.records import files_of_format, suffixes


class Benchmark(Section):
    """A section `benchmark.<name>`."""

    path: RelativePath
    format: Literal[
        "jsonl", "medqa", "medqa_5options", "medmcqa", "pubmedqa", "mmlu", "mmlu_pro", "medxpertqa", "headqa"
    ] = Field(description="jsonl: Osler's own; the others as they are distributed, or as the Hub has them in parquet")
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
    for file in _row_files(path):
        split = (split_named(file.name) if path.is_dir() else None) or "test"
        for row, where in _rows(file, path):
            if benchmark.categories is None or row.get(CATEGORY[form]) in benchmark.categories:
                yield ROWS[form](row, where, split)


def _has_parquet(path: Path) -> bool:
    """Whether a file or folder is, or has, parquet.

    Raises:
        BuildError: a folder has rows in jsonl or csv, too, of which one kind would not be read.
    """
    if not path.is_dir():
        return path.suffix.lower() == ".parquet"
    names = [file.name.lower() for file in raw_files(path, ("",)) if not file.fault]
    if not any(name.endswith(".parquet") for name in names):
        return False
    if other := next((name for name in names if name.endswith((*suffixes("jsonl"), *suffixes("csv")))), None):
        raise BuildError(
            f"{path}: has parquet files, and {other}; one kind would not be read, so take it out of the folder"
        )
    return True


def _row_files(path: Path) -> Iterator[RawFile]:
    return _files(path, "parquet" if _has_parquet(path) else "jsonl")


def _rows(file: RawFile, path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    return (_parquet_rows if file.path.suffix.lower() == ".parquet" else _json_rows)(file, path)


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
    files = [file for file in _row_files(path) if not path.is_dir() or split_named(file.name) != "test"]
    trained = [file.name for file in files if "train" in file.name.lower()]
    for file in files:
        first = first_number(_rows(file, path), f"{path}: {file.name}")
        split = "dev" if file.name in trained and len(files) > 1 else "test"
        yield from (medmcqa_item(row, where, split, first) for row, where in _rows(file, path))


def _json_object(text: bytes, where: str) -> dict[str, Any]:
    try:
        value = exact_json(text.removeprefix(codecs.BOM_UTF8))
    except ValueError as error:
        raise BuildError(f"{where}: {error}; correct the row") from None
    if not isinstance(value, dict):
        raise BuildError(f"{where}: a {type(value).__name__}, not a JSON object; correct the row")
    return value


def _medqa_items(path: Path, letters: str) -> Iterator[RawItem]:
    numbers = {part: itertools.count() for part in PARTS.values()}
    for file in _row_files(path):
        part = part_named(file.name, PARTS)
        if part is None:
            raise BuildError(f"{file.path}: its name ends in none of _train, _dev and _test; take it out of the folder")
        for row, where in _rows(file, path):
            yield medqa_item(row, part, next(numbers[part]), where, letters)


def _pubmedqa_items(path: Path) -> Iterator[RawItem]:
    """All are tested on where the Hub's file lies alone: it has no official half."""
    if _has_parquet(path):
        for file in _row_files(path):
            for row, where in _rows(file, path):
                yield pubmedqa_item(str(field_of(row, "pubid", int, where)), row_of_pqal(row, where), True, where)
        return
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    for name in ("ori_pqal.json", "test_ground_truth.json"):
        own = next((own for own in (path / name, path / f"{name}.gz") if own.is_file()), None)
        if own is None:
            raise BuildError(f"{path}: has no {name} or {name}.gz; `path` is the folder with both files of PubMedQA")
        found[name] = own, _json_object(b"".join(_lines(own)), str(own))
    labeled, rows = found["ori_pqal.json"]
    test_file, test = found["test_ground_truth.json"]
    if missing := sorted(test.keys() - rows.keys()):
        raise BuildError(f"{test_file}: {len(missing)} ids are not in {labeled.name}, such as {missing[0]}")
    for pmid, row in rows.items():
        item = pubmedqa_item(pmid, row, pmid in test, f"{labeled}: {pmid}")
        if pmid in test and test[pmid] != item.options[item.answer]:
            raise BuildError(
                f"{test_file}: {pmid}: '{test[pmid]}', but {labeled.name} has '{item.options[item.answer]}'"
            )
        yield item


def _mmlu_items(folder: Path) -> Iterator[RawItem]:
    if _has_parquet(folder):
        yield from _mmlu_of_the_hub(folder)
        return
    for split in ("dev", "val", "test"):
        for file in _files(folder / split, "csv"):
            subject = file.name.split(".")[0].removesuffix(f"_{split}")
            for number, values in enumerate(_csv_rows(file.path)):
                yield mmlu_item(values, subject, split, number, f"{file.path}#{number + 1}")


def _mmlu_of_the_hub(folder: Path) -> Iterator[RawItem]:
    """Items of `<subject>/<dev, validation or test>-....parquet`, with the ids that the csv files give them."""
    files: dict[str, list[RawFile]] = {"dev": [], "val": [], "test": []}
    for file in _row_files(folder):
        split = part_named(file.name.rpartition("/")[2], {"dev": "dev", "validation": "val", "test": "test"})
        if split is None:
            raise BuildError(f"{folder / file.name}: its name tells none of dev, validation and test; take it out")
        files[split].append(file)
    for split, own in files.items():
        numbers: dict[str, Iterator[int]] = defaultdict(itertools.count)
        for file in own:
            for row, where in _rows(file, folder):
                subject = row.get("subject") or file.name.rpartition("/")[0].rpartition("/")[2]
                if not subject:
                    raise BuildError(f"{where}: 'subject' is {subject!r}, and the file lies in no subject's folder")
                yield mmlu_item(cells_of(row, where), subject, split, next(numbers[subject]), where)


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
