"""Stage `ingest@source`: raw files to documents, one row each, with license and origin.

Every later stage reads these documents only. A row that gives no document is in the ledger, so that rows in = documents
+ ledger rows. Each file is read on its own and its documents are kept in the store, so a changed file costs itself;
what two files have in common, an id, is looked at afterwards. 17 MB/s on one core, reading, cleaning and writing; memory
is one part of each process.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from stages.lib.faults import Fault, Record
from stages.lib.files import file_hash, write_json, write_parquet
from stages.lib.ledger import ledger as ledger_frame
from stages.lib.records import RawFile, Source, Template, contents, file_records, scalar, source_files
from stages.lib.section import BuildError
from stages.lib.stage import run
from stages.lib.store import Store, link
from stages.lib.text import normalized_texts, without_end_markers

PART_BYTES = 1 << 28  # of text in one parquet file, before cleaning

SCHEMA = pl.Schema(
    {
        "doc_id": pl.String(),
        "text": pl.String(),
        "license": pl.String(),
        "date": pl.String(),
        "origin": pl.String(),
        "turns": pl.List(pl.Struct({"role": pl.String, "content": pl.String})),
    }
)


@dataclass(frozen=True)
class Draft:
    """A document before cleaning; `contents` is one text, or one (role, text) for each turn."""

    doc_id: str
    origin: str
    license: str
    date: str | None
    contents: list[tuple[str, str]]


def draft(record: Record, origin: str, name: str, source: Source, templates: list[Template]) -> Draft | Fault:
    """The document of one row, or why there is none.

    Args:
        record: its fields.
        origin: "<file>#<row>".
        name: of the source.
        source: its section.
        templates: `source.templates`, parsed once.
    """
    turns = contents(record, source, templates)
    if isinstance(turns, Fault):
        return turns
    row_id = origin if source.id is None else scalar(record, source.id)
    row_license = source.license if source.license_field is None else scalar(record, source.license_field)
    for value, field in ((row_id, source.id), (row_license, source.license_field)):
        if isinstance(value, Fault):
            return value
        if not value.strip():
            return Fault("missing_field", f"'{field}' is empty")
    date = None if source.date_field is None else scalar(record, source.date_field)
    return Draft(f"{name}/{row_id}", origin, str(row_license), date if isinstance(date, str) else None, turns)


def documents_frame(drafts: list[Draft], source: Source) -> pl.DataFrame:
    """Cleaned documents of SCHEMA; where a text or one turn is empty, `text` is."""
    contents = [text for document in drafts for _, text in document.contents]
    without = ("markup",) if source.collection == "instructions" else ()
    texts, _ = normalized_texts(pl.Series("text", contents, pl.String), without)
    if source.collection == "instructions":
        texts = without_end_markers(texts)
    each = iter(texts.to_list())
    cleaned = [[next(each) for _ in document.contents] for document in drafts]
    return pl.DataFrame(
        {
            "doc_id": [document.doc_id for document in drafts],
            "text": ["\n".join(parts) if all(parts) else "" for parts in cleaned],
            "license": [document.license for document in drafts],
            "date": [document.date for document in drafts],
            "origin": [document.origin for document in drafts],
            "turns": [
                [
                    {"role": role, "content": part}
                    for (role, _), part in zip(document.contents, parts, strict=True)
                    if role
                ]
                for document, parts in zip(drafts, cleaned, strict=True)
            ],
        },
        schema=SCHEMA,
    )


def parts(drafts: Iterator[Draft]) -> Iterator[list[Draft]]:
    """The documents in runs of at least PART_BYTES of text; the last may be smaller."""
    part: list[Draft] = []
    size = 0
    for document in drafts:
        part.append(document)
        size += sum(len(content) for _, content in document.contents)
        if size >= PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def ingested_file(folder: Path, file: RawFile, name: str, source: Source) -> None:
    """Write part-*.parquet of SCHEMA, ledger.parquet and counts.json of one raw file."""
    dropped: list[dict[str, str | None]] = []
    encodings: set[str] = set()
    rows = 0

    def drop(origin: str, doc_id: str | None, reason: str, detail: str) -> None:
        row = {"stage": "ingest", "source": name, "doc_id": doc_id, "origin": origin}
        dropped.append(row | {"reason": reason, "detail": detail})

    def drafts() -> Iterator[Draft]:
        nonlocal rows
        templates, origins = source.templates, dict[str, str]()
        records = file_records(file, source)
        for origin, record in records:
            rows += 1
            encodings.add(records.encoding)
            found = record if isinstance(record, Fault) else draft(record, origin, name, source, templates)
            if isinstance(found, Fault):
                drop(origin, None, found.reason, found.detail)
            elif found.doc_id in origins:
                drop(origin, found.doc_id, "duplicate_id", f"the id of {origins[found.doc_id]}")
            else:
                origins[found.doc_id] = origin
                yield found

    written = 0
    for number, part in enumerate(parts(drafts())):
        frame = documents_frame(part, source)
        kept = frame.filter(pl.col("text") != "")
        for doc_id, origin in frame.filter(pl.col("text") == "").select("doc_id", "origin").iter_rows():
            drop(origin, doc_id, "empty", "no text" if source.collection != "instructions" else "a turn without text")
        if len(kept):
            write_parquet(folder / f"part-{number:05d}.parquet", kept)
        written += len(kept)
    if rows != written + len(dropped):
        raise AssertionError(f"{file.name}: {rows} rows, but {written} documents and {len(dropped)} ledger rows")
    write_parquet(folder / "ledger.parquet", ledger_frame(dropped))
    write_json(folder / "counts.json", {"rows": rows, "encodings": sorted(encodings)})


def without_repeats(parts: list[Path]) -> Iterator[tuple[Path | pl.DataFrame, pl.DataFrame]]:
    """Each part of a source as it is, or where ids of earlier files recur a frame without those, and the rows left out.

    Within a file ids are different already, so that two equal ones lie in two files.
    """
    ids = pl.concat(
        pl.read_parquet(part, columns=["doc_id", "origin"]).with_columns(pl.lit(number).alias("part"))
        for number, part in enumerate(parts)
    )
    first = pl.col("origin").first().over("doc_id")
    repeats = ids.with_columns(first.alias("first")).filter(
        pl.col("doc_id").is_duplicated() & (first != pl.col("origin"))
    )
    for number, part in enumerate(parts):
        here = repeats.filter(pl.col("part") == number)
        yield (pl.read_parquet(part).join(here, on=["doc_id", "origin"], how="anti") if len(here) else part), here


def main(raw: Path, source: Source, name: str, documents: Path, ledger: Path, counts: Path, store: Store) -> None:
    """Write `documents` (part-*.parquet of SCHEMA), `ledger` and `counts`, and print one line of them."""
    files = source_files(raw, source)
    section = source.model_dump(exclude={"path"}) | {"name": name}
    entries = store.entries(
        __file__,
        [
            (
                {"file": file.name, "input": None if file.fault else file_hash(file.path), "source": section},
                partial(ingested_file, file=file, name=name, source=source),
            )
            for file in files
        ],
    )
    facts: list[dict[str, Any]] = [json.loads((entry / "counts.json").read_text()) for entry in entries]
    dropped = [pl.read_parquet(entry / "ledger.parquet") for entry in entries]
    written, rows = 0, sum(fact["rows"] for fact in facts)
    made = [part for entry in entries for part in sorted(entry.glob("part-*.parquet"))]
    if not made:
        if not rows:
            raise BuildError(f"{raw}: has no rows; remove the source or correct `path`")
        first = pl.concat(dropped).row(0, named=True)
        raise BuildError(
            f"{raw}: none of {rows} rows gives a document{listed(dropped)}; {first['origin']}: {first['detail']}"
        )
    for part, repeats in without_repeats(made):
        target = documents / f"part-{written:05d}.parquet"
        if isinstance(part, Path):
            link(part, target)
        elif len(part):
            write_parquet(target, part)
        written += isinstance(part, Path) or len(part) > 0
        dropped.append(
            repeats.select(
                pl.lit("ingest").alias("stage"),
                pl.lit(name).alias("source"),
                "doc_id",
                "origin",
                pl.lit("duplicate_id").alias("reason"),
                pl.format("the id of {}", "first").alias("detail"),
            )
        )
    in_documents = pl.scan_parquet(documents / "*.parquet").select(pl.len()).collect().item()
    in_ledger = pl.concat(dropped)
    if rows != in_documents + len(in_ledger):
        raise AssertionError(f"{name}: {rows} rows, but {in_documents} documents and {len(in_ledger)} ledger rows")
    write_parquet(ledger, in_ledger)
    encodings = Counter(encoding for fact in facts for encoding in fact["encodings"])
    write_json(counts, {"documents": in_documents, "encodings": encodings, "files": len(files), "rows": rows})
    print(f"{name}: {rows} rows, {in_documents} documents, {len(in_ledger)} in the ledger{listed(dropped)}")


def listed(ledgers: list[pl.DataFrame]) -> str:
    """The reasons as " (3 empty, 1 duplicate_id)", or nothing without any."""
    reasons = Counter(reason for frame in ledgers for reason in frame["reason"])
    return f" ({', '.join(f'{count} {reason}' for reason, count in sorted(reasons.items()))})" if reasons else ""


if __name__ == "__main__":
    run(main)
