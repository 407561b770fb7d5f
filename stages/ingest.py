"""Stage `ingest@source`: raw files to documents, one row each, with license and origin.

Every later stage reads these documents only. A row that gives no document is in the ledger, so that rows in = documents
+ ledger rows. Each file is read on its own and its documents are kept in the store, so a changed file costs itself;
what two files have in common, an id, is looked at afterwards. 20 MB/s on one core, reading, cleaning and writing; memory
is one part of each process.
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from stages.lib.archives import SKIPPED, RawFile
from stages.lib.drafts import Draft, documents_frame, draft, private, private_draft
from stages.lib.faults import Fault
from stages.lib.files import file_hash, read_json, write_json, write_parquet
from stages.lib.ledger import ledger as ledger_frame
from stages.lib.privacy.pseudonyms import private_origin
from stages.lib.privacy.screening import Phi, check_detector, key_id
from stages.lib.records import Source, file_records, source_files
from stages.lib.rows import has_field
from stages.lib.section import BuildError
from stages.lib.stage import run
from stages.lib.store import Store, link

BATCH_BYTES = 1 << 24  # of text that is cleaned at a time
HARMLESS = ("duplicate_id", "empty", "link", "phi", "too_long", *SKIPPED)  # their details hold no text of the source
HIDDEN = "not shown, since the source has a section `phi`"
PART_BYTES = 1 << 28  # of text in one parquet file, before cleaning


def secret(phi: Phi, name: str) -> bytes:
    """The key of a source's surrogates and pseudonyms; empty where `key_file` is null.

    Raises:
        BuildError: the file cannot be read, is too short, or is not the one that `key_id` tells.
    """
    if phi.key_file is None:
        return b""
    try:
        key = Path(phi.key_file).read_bytes()
    except OSError as error:
        raise BuildError(
            f"params.yaml: source.{name}.phi.key_file: {error.strerror}: {phi.key_file}; make one with"
            " `head -c 32 /dev/urandom`, outside the repository"
        ) from None
    if len(key) < 16:
        raise BuildError(f"params.yaml: source.{name}.phi.key_file: {phi.key_file} has {len(key)} bytes, 16 are needed")
    if key_id(key) != phi.key_id:
        raise BuildError(f"params.yaml: source.{name}.phi.key_id: the key in {phi.key_file} has the id {key_id(key)}")
    return key


def pseudonym_key(source: Source, name: str, file: RawFile) -> bytes:
    """The key of ids and file names: the source's, else what only holders of the file know; empty where there is neither."""
    key = secret(source.phi, name) if source.phi else b""
    return key or (b"" if file.fault else bytes.fromhex(file_hash(file.path)))


def batches(drafts: Iterator[Draft]) -> Iterator[tuple[list[Draft], int]]:
    """The documents in runs of at least BATCH_BYTES of text, with their size; the last may be smaller."""
    batch: list[Draft] = []
    size = 0
    for document in drafts:
        batch.append(document)
        size += sum(len(content) for _, content in document.contents)
        if size >= BATCH_BYTES:
            yield batch, size
            batch, size = [], 0
    if batch:
        yield batch, size


def ingested_file(folder: Path, file: RawFile, name: str, source: Source) -> None:
    """Write part-*.parquet of SCHEMA, ledger.parquet and counts.json of one raw file."""
    dropped: list[dict[str, str | None]] = []
    encodings: set[str] = set()
    changes, identifiers = Counter[str](), Counter[str]()
    rows = written = number = size = 0
    silent = source.silent_fields
    unseen: list[str] | None = None  # None until there is a record that could have the fields
    key = pseudonym_key(source, name, file) if source.phi else b""

    def drop(origin: str, doc_id: str | None, reason: str, detail: str) -> None:
        row = {"stage": "ingest", "source": name, "doc_id": doc_id, "origin": origin}
        hidden = source.phi is not None and reason not in HARMLESS  # a detail may quote what could not be read
        dropped.append(row | {"reason": reason, "detail": HIDDEN if hidden else detail})

    def drafts() -> Iterator[Draft]:
        nonlocal rows, unseen
        templates, origins = source.templates, dict[str, str]()
        records = file_records(file, source)
        for place, record in records:
            rows += 1
            origin = private_origin(key, place) if source.phi else place
            if not file.fault:
                encodings.add(records.encoding)
            if unseen != [] and not isinstance(record, Fault):
                unseen = [field for field in unseen or silent if not has_field(record, field)]
            made = record if isinstance(record, Fault) else draft(record, origin, name, source, templates)
            if isinstance(made, Fault):
                drop(origin, None, made.reason, made.detail)
                continue
            found = private_draft(made, source, key)
            if found.doc_id in origins:
                drop(origin, found.doc_id, "duplicate_id", f"the id of {origins[found.doc_id]}")
            else:
                origins[found.doc_id] = origin
                yield found

    def write(frames: list[pl.DataFrame]) -> None:
        nonlocal written, number
        part = pl.concat(frames)
        if len(part):
            write_parquet(folder / f"part-{number:05d}.parquet", part)
        written, number = written + len(part), number + 1

    frames: list[pl.DataFrame] = []
    for batch, batch_bytes in batches(drafts()):
        frame, changed = documents_frame(batch, source)
        changes.update(changed)
        for doc_id, origin in frame.filter(pl.col("text") == "").select("doc_id", "origin").iter_rows():
            drop(origin, doc_id, "empty", "no text" if source.collection != "instructions" else "a turn without text")
        frame = frame.filter(pl.col("text") != "")
        if source.phi:
            frame, refused, found = private(frame, source.phi, key)
            identifiers.update(found)
            for origin, doc_id, detail in refused:
                drop(origin, doc_id, "phi", detail)
        frames.append(frame)
        size += batch_bytes
        if size >= PART_BYTES:
            write(frames)
            frames, size = [], 0
    if frames:
        write(frames)
    if rows != written + len(dropped):
        raise AssertionError(f"{file.name}: {rows} rows, but {written} documents and {len(dropped)} ledger rows")
    write_parquet(folder / "ledger.parquet", ledger_frame(dropped))
    counts = {"rows": rows, "encodings": sorted(encodings), "changes": changes, "identifiers": identifiers}
    write_json(folder / "counts.json", counts | {"unseen": unseen})


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
    if source.phi:
        check_detector(source.phi, name)
    files = source_files(raw, source)
    section = source.model_dump(exclude={"path"}) | {"name": name}
    entries = store.entries(
        __file__,
        [
            (
                {"file": file.name, "input": str(file.fault or file_hash(file.path)), "source": section},
                partial(ingested_file, file=file, name=name, source=source),
            )
            for file in files
        ],
    )
    facts: list[dict[str, Any]] = [read_json(entry / "counts.json") for entry in entries]
    dropped = [pl.read_parquet(entry / "ledger.parquet") for entry in entries]
    written, rows = 0, sum(fact["rows"] for fact in facts)
    made = [part for entry in entries for part in sorted(entry.glob("part-*.parquet"))]
    unseen = [set(fact["unseen"]) for fact in facts if fact["unseen"] is not None]
    if unseen and (misspelled := sorted(set.intersection(*unseen))):
        raise BuildError(
            f"params.yaml: source.{name}: '{misspelled[0]}' is in none of {rows} rows; correct the field's name in"
            " `text`, `turns` or `date_field`, or take it out"
        )
    if not made:
        if not rows:
            raise BuildError(f"{raw}: has no rows; remove the source or correct `path`")
        first = pl.concat(dropped).sort(pl.col("reason").is_in(SKIPPED), maintain_order=True).row(0, named=True)
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
    totals = {
        name: sum((Counter[str](fact[name]) for fact in facts), Counter[str]())
        for name in ("changes", "encodings", "identifiers")
    }
    write_json(
        counts, totals | {"documents": in_documents, "files": sum(not file.fault for file in files), "rows": rows}
    )
    print(f"{name}: {rows} rows, {in_documents} documents, {len(in_ledger)} in the ledger{listed(dropped)}")


def listed(ledgers: list[pl.DataFrame]) -> str:
    """The reasons as " (3 empty, 1 duplicate_id)", or nothing without any."""
    reasons = Counter(reason for frame in ledgers for reason in frame["reason"])
    return f" ({', '.join(f'{count} {reason}' for reason, count in sorted(reasons.items()))})" if reasons else ""


if __name__ == "__main__":
    run(main)
