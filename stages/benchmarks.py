"""Stage `benchmarks@name`: multiple-choice items of one benchmark in one schema. Under a second for 4,000 items.

Unlike documents, a bad item is an error: a benchmark that silently lost questions would still give a number.
"""

import csv
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import Field

from stages.lib.archives import REFUSED, RawFile, open_binary
from stages.lib.files import write_parquet
from stages.lib.items import Item, items_frame, jsonl_item, medmcqa_item, medqa_item, mmlu_item, pubmedqa_item
from stages.lib.records import files_of_format
from stages.lib.section import BuildError, Section
from stages.lib.stage import run


class Benchmark(Section):
    """A section `benchmark.<name>`."""

    path: str = Field(min_length=1, description="file or folder, relative to `root`")
    format: Literal["jsonl", "medqa", "medmcqa", "pubmedqa", "mmlu"]


def _files(path: Path, form: str) -> Iterator[RawFile]:
    for file in files_of_format(path, form):
        if file.fault and file.fault.reason in REFUSED:
            raise BuildError(f"{path / file.name}: {file.fault.detail}; take it out of the folder")
        if not file.fault:
            yield file


def _json_objects(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    for file in _files(path, "jsonl"):
        with open_binary(file.path) as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield _json_object(line, f"{file.name}#{number}"), f"{path}: {file.name}#{number}"


def _json_object(text: bytes, where: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BuildError(f"{where}: no JSON: {error}; correct the row") from None
    if not isinstance(value, dict):
        raise BuildError(f"{where}: a {type(value).__name__}, not a JSON object; correct the row")
    return value


def _medqa_items(path: Path) -> Iterator[Item]:
    for file in _files(path, "jsonl"):
        split = file.name.split("/")[-1].split(".")[0].rpartition("_")[2]
        if split not in ("train", "dev", "test"):
            raise BuildError(f"{file.path}: its name ends in none of _train, _dev and _test; take it out of the folder")
        for number, (row, where) in enumerate(_json_objects(file.path)):
            yield medqa_item(row, split, number, where)


def _pubmedqa_items(folder: Path) -> Iterator[Item]:
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    for name in ("ori_pqal.json", "test_ground_truth.json"):
        file = next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), None)
        if file is None:
            raise BuildError(f"{folder}: has no {name} or {name}.gz; `path` is the folder with both files of PubMedQA")
        with open_binary(file) as stream:
            found[name] = file, _json_object(stream.read(), str(file))
    file, rows = found["ori_pqal.json"]
    test_file, test = found["test_ground_truth.json"]
    if missing := sorted(test.keys() - rows.keys()):
        raise BuildError(f"{test_file}: {len(missing)} ids are not in {file.name}, such as {missing[0]}")
    for pmid, row in rows.items():
        item = pubmedqa_item(pmid, row, pmid in test, f"{file}: {pmid}")
        if pmid in test and test[pmid] != item.options[item.answer]:
            raise BuildError(f"{test_file}: {pmid}: '{test[pmid]}', but {file.name} has '{item.options[item.answer]}'")
        yield item


def _mmlu_items(folder: Path) -> Iterator[Item]:
    for split in ("dev", "val", "test"):
        for file in _files(folder / split, "csv"):
            subject = file.name.split(".")[0].removesuffix(f"_{split}")
            with open_binary(file.path) as stream:
                rows = csv.reader((line.decode() for line in stream), strict=True)
                for number, values in enumerate(rows):
                    yield mmlu_item(values, subject, split, number, f"{file.path}#{number + 1}")


def read_items(path: Path, benchmark: Benchmark) -> Iterator[Item]:
    """The items of a benchmark in the order of its files and rows (MMLU: dev, val, test)."""
    match benchmark.format:
        case "jsonl":
            yield from (jsonl_item(row, where) for row, where in _json_objects(path))
        case "medmcqa":
            yield from (medmcqa_item(row, where) for row, where in _json_objects(path))
        case "medqa":
            yield from _medqa_items(path)
        case "pubmedqa":
            yield from _pubmedqa_items(path)
        case "mmlu":
            yield from _mmlu_items(path)


def main(raw: Path, benchmark: Benchmark, name: str, items: Path) -> None:
    """Write `items` and print how many there are of each split."""
    try:
        frame = items_frame(read_items(raw, benchmark), name)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise BuildError(f"{raw}: cannot be read as {benchmark.format}: {error}") from None
    write_parquet(items, frame)
    counts = dict(frame["split"].value_counts().iter_rows())
    print(f"{name}: {counts.get('test', 0)} test items, {counts.get('dev', 0)} dev items")


if __name__ == "__main__":
    run(main)
