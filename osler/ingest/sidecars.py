"""What is noted beside the documents of a file.

`names` are the DOI and PMID by which others may withdraw a document, and whether it is retracted; `records` the ids in
order, where a later row of an id replaces an earlier one; `tasks` the task of each document, with its definition, of a source
with a file a task. All are parquet, ROWS rows a file, and absent when empty.
"""

from pathlib import Path
from typing import Any

import polars as pl

from osler.build.files import write_parquet
from osler.corpus.withdrawn import NAMES, bare_name
from osler.corpus.word_hashes import text_hashes
from osler.ingest.faults import Record
from osler.ingest.pubmed import version_number
from osler.ingest.task_files import DEFINITION, task_of

ROWS = 1 << 20
OF_TASKS = pl.Schema({"doc_id": pl.String, "origin": pl.String, "task": pl.String, "definition": pl.String})
RECORDS = pl.Schema({"doc_id": pl.String, "version": pl.Int32, "is_deletion": pl.Boolean, "origin": pl.String})


class Sidecar:
    """Rows that go into <name>-*.parquet of a folder."""

    def __init__(self, folder: Path, name: str, schema: pl.Schema) -> None:
        self._folder, self._name, self._schema = folder, name, schema
        self._rows: list[tuple[Any, ...]] = []
        self._written = 0

    def add(self, *row: Any) -> None:
        """Note one row."""
        self._rows.append(row)
        if len(self._rows) == ROWS:
            self.close()

    def close(self) -> None:
        """Write what is noted."""
        if self._rows:
            frame = pl.DataFrame(self._rows, schema=self._schema, orient="row")
            if self._name == "records":
                frame = frame.select(pl.Series("key", text_hashes(frame["doc_id"])), pl.exclude("doc_id"))
            write_parquet(self._folder / f"{self._name}-{self._written:05d}.parquet", frame)
            self._rows, self._written = [], self._written + 1


class Sidecars:
    """All of one file."""

    def __init__(self, folder: Path) -> None:
        self.names = Sidecar(folder, "names", NAMES)
        self.records = Sidecar(folder, "records", RECORDS)
        self.tasks = Sidecar(folder, "tasks", OF_TASKS)

    def name(self, doc_id: str | None, origin: str, record: Record, with_names: bool) -> None:
        """Note what else a document is called, and what is retracted.

        Args:
            doc_id: None of a record that gives no document.
            with_names: without it, as of a source about patients, a retracted document is noted and no more.
        """
        retracted = record.get("retracted") == "true"
        doi, pmid = (record.get("doi"), record.get("pmid")) if with_names else (None, None)
        if (doc_id and (doi or pmid or retracted)) or (retracted and (doi or pmid)):
            self.names.add(doc_id, origin, doi and bare_name(doi), pmid and bare_name(pmid), retracted)
        if with_names and isinstance(retracts := record.get("retracts"), str):
            for name in map(bare_name, retracts.split("; ")):
                doi, pmid = (name, None) if name.startswith("10.") else (None, name)
                self.names.add(None, origin, doi, pmid, True)

    def record(self, doc_id: str, record: Record, origin: str) -> None:
        """Note a row with an id, document or not."""
        self.records.add(doc_id, version_number(str(record.get("version", ""))) or 1, False, origin)

    def task(self, doc_id: str, origin: str, place: str, record: Record) -> None:
        """Note the task of a document; `place` is where its row stands."""
        self.tasks.add(doc_id, origin, task_of(place), record[DEFINITION])

    def close(self) -> None:
        """Write what is noted."""
        self.names.close()
        self.records.close()
        self.tasks.close()
