"""Raw files as screened documents and a ledger."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import polars as pl

from osler.build.files import file_hash, write_json, write_parquet
from osler.corpus.ledger import ledger as ledger_frame
from osler.ingest.archives import SKIPPED, RawFile
from osler.ingest.conditions import refused
from osler.ingest.drafts import Draft, documents_frame, draft, private, private_draft
from osler.ingest.faults import Fault, Record
from osler.ingest.fields import has_field, scalar
from osler.ingest.pubmed import Deletion
from osler.ingest.records import file_records
from osler.ingest.sidecars import Sidecars
from osler.ingest.source import Source
from osler.privacy.keys import secret
from osler.privacy.pseudonyms import private_origin, pseudonym

BATCH_BYTES = 1 << 24  # of text that is cleaned at a time
HARMLESS = (  # their details hold no text of the source
    *(
        "begins_with_assistant",
        "duplicate_id",
        "empty",
        "link",
        "nothing_selected",
        "phi",
        "superseded",
        "test_split",
        "too_long",
        "tool_message",
    ),
    *SKIPPED,
)
HIDDEN = "not shown, since the source has a section `phi`"
PART_BYTES = 1 << 28  # of text in one parquet file, before cleaning


def pseudonym_key(source: Source, name: str, file: RawFile) -> bytes:
    """The key of ids and file names.

    The source's own, else what only holders of the file know. Empty where there is neither.
    """
    key = secret(source.phi, name) if source.phi else b""
    return key or (b"" if file.fault else bytes.fromhex(file_hash(file.path)))


def batches(files: "Sequence[FileIngest]") -> "Iterator[tuple[list[tuple[FileIngest, Draft]], int]]":
    """Documents in runs of BATCH_BYTES of text or more, with their size.

    Each beside its file. The last run may be smaller.
    """
    batch: list[tuple[FileIngest, Draft]] = []
    size = 0
    for file in files:
        for document in file.drafts():
            batch.append((file, document))
            size += sum(len(content) for _, content in document.contents)
            if size >= BATCH_BYTES:
                yield batch, size
                batch, size = [], 0
    if batch:
        yield batch, size


class FileIngest:
    """A raw file being read: what was dropped and counted so far.

    `changes` are documents by what was done to them, and by what somebody did before: U+FFFD.
    `unseen` are fields that the source names and no record had; None until there is a record that could have them.
    """

    def __init__(self, file: RawFile, name: str, source: Source, sidecars: Sidecars) -> None:
        self.file, self.name, self.source, self.sidecars = file, name, source, sidecars
        self.key = pseudonym_key(source, name, file) if source.phi else b""
        self.dropped: list[dict[str, str | None]] = []
        self.encodings: set[str] = set()
        self.changes, self.identifiers, self.notation = Counter[str](), Counter[str](), Counter[str]()
        self.rows = 0
        self.unseen: list[str] | None = None

    def drop(self, origin: str, doc_id: str | None, reason: str, detail: str) -> None:
        """Write a ledger row."""
        row = {"stage": "ingest", "source": self.name, "doc_id": doc_id, "origin": origin}
        hidden = self.source.phi is not None and reason not in HARMLESS  # a detail may quote what could not be read
        self.dropped.append(row | {"reason": reason, "detail": HIDDEN if hidden else detail})

    def drafts(self) -> Iterator[Draft]:
        """The records of the file as documents.

        Each id once, unless a later row replaces the earlier one. What gives none is dropped.
        """
        source, origins = self.source, dict[str, str]()
        templates, silent, updated = source.templates, source.silent_fields, source.keeps_last
        records = file_records(self.file, source)
        self.notation = records.notation
        for place, record in records:
            origin = private_origin(self.key, place) if source.phi else place
            if isinstance(record, Deletion):
                self.delete(record, origin)
                continue
            self.rows += 1
            if not self.file.fault:
                self.encodings.add(records.encoding)
            record = record if isinstance(record, Fault) else records.exact(record)
            if isinstance(record, Fault):
                self.drop(origin, None, record.reason, record.detail)
                continue
            if self.unseen != []:
                self.unseen = [field for field in self.unseen or silent if not has_field(record, field)]
            doc_id = self.noted(record, origin) if updated else None
            made: Draft | Fault | None = refused(record, source.where) if source.where else None
            made = made or draft(record, origin, self.name, source, templates)
            found = made if isinstance(made, Fault) else private_draft(made, source, self.key)
            self.sidecars.name(getattr(found, "doc_id", None), origin, record, source.phi is None)
            if isinstance(found, Fault):
                self.drop(origin, doc_id, found.reason, found.detail)
            elif found.doc_id in origins:
                self.drop(origin, found.doc_id, "duplicate_id", f"the id of {origins[found.doc_id]}")
            else:
                if not updated:
                    origins[found.doc_id] = origin
                if source.format == "meds":
                    self.sidecars.task(found.doc_id, origin, place, record)
                yield found

    def doc_id(self, row_id: str) -> str:
        """What a row is called where the source has `id`."""
        return f"{self.name}/{pseudonym(self.key, row_id) if self.source.phi else row_id}"

    def noted(self, record: Record, origin: str) -> str | None:
        """Note the id of a row, whatever becomes of it; its doc_id."""
        row_id = scalar(record, str(self.source.id))
        if isinstance(row_id, Fault) or not row_id.strip():
            return None
        doc_id = self.doc_id(row_id)
        self.sidecars.record(doc_id, record, origin)
        return doc_id

    def delete(self, deletion: Deletion, origin: str) -> None:
        """Note which records the source takes back."""
        for row_id, version in deletion.ids:
            self.sidecars.records.add(self.doc_id(row_id), version, True, origin)


def cleaned(batch: list[tuple[FileIngest, Draft]]) -> pl.DataFrame:
    """A batch as normalized and screened documents.

    What is empty or refused is dropped by its file.
    """
    files, source = {document.origin: file for file, document in batch}, batch[0][0].source
    frame, changed = documents_frame([document for _, document in batch], source)
    batch[0][0].changes.update(changed)
    replaced = int(frame["text"].str.contains("\ufffd", literal=True).sum())
    batch[0][0].changes["replacement_characters"] += replaced
    for doc_id, origin in frame.filter(pl.col("text") == "").select("doc_id", "origin").iter_rows():
        detail = "no text" if source.collection != "instructions" else "a turn without text"
        files[origin].drop(origin, doc_id, "empty", detail)
    frame = frame.filter(pl.col("text") != "")
    if not source.phi or not len(frame):
        return frame
    screened, start = [], 0
    for key, group in groupby(files[origin].key for origin in frame["origin"]):
        size = len(list(group))
        kept, refused, found = private(frame.slice(start, size), source.phi, key)
        screened.append(kept)
        start += size
        batch[0][0].identifiers.update(found)
        for origin, doc_id, detail in refused:
            files[origin].drop(origin, doc_id, "phi", detail)
    return pl.concat(screened)


def ingested_files(folder: Path, files: Sequence[RawFile], name: str, source: Source) -> None:
    """Write part-*.parquet of SCHEMA, ledger.parquet, counts.json and sidecars.

    The same rows in the same order as of each file alone.
    """
    sidecars = Sidecars(folder)
    ingests = [FileIngest(file, name, source, sidecars) for file in files]
    written = number = size = 0

    def write(frames: list[pl.DataFrame]) -> None:
        nonlocal written, number
        part = pl.concat(frames)
        if len(part):
            write_parquet(folder / f"part-{number:05d}.parquet", part)
        written, number = written + len(part), number + 1

    frames: list[pl.DataFrame] = []
    for batch, batch_bytes in batches(ingests):
        frames.append(cleaned(batch))
        size += batch_bytes
        if size >= PART_BYTES:
            write(frames)
            frames, size = [], 0
    if frames:
        write(frames)
    rows, dropped = sum(one.rows for one in ingests), [row for one in ingests for row in one.dropped]
    if rows != written + len(dropped):
        raise AssertionError(
            f"{files[0].name} and on: {rows} rows, but {written} documents and {len(dropped)} ledger rows"
        )
    sidecars.close()
    write_parquet(folder / "ledger.parquet", ledger_frame(dropped))
    unseen = [set(one.unseen) for one in ingests if one.unseen is not None]
    write_json(
        folder / "counts.json",
        {
            "rows": rows,
            "encodings": Counter(encoding for one in ingests for encoding in one.encodings),
            "changes": sum((one.changes for one in ingests), Counter[str]()),
            "identifiers": sum((one.identifiers for one in ingests), Counter[str]()),
            "notation": sum((one.notation for one in ingests), Counter[str]()),
            "unseen": sorted(set.intersection(*unseen)) if unseen else None,
        },
    )


def listed(ledgers: list[pl.DataFrame]) -> str:
    """The reasons as " (3 empty, 1 duplicate_id)", or nothing without any."""
    reasons = Counter(reason for frame in ledgers for reason in frame["reason"])
    return f" ({', '.join(f'{count} {reason}' for reason, count in sorted(reasons.items()))})" if reasons else ""
