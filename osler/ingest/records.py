"""Every row of a source's raw files, a record or a fault.

A source is one file, or a folder of which every file of the source's format is read in sorted order, plain, gzip or
zstandard, or inside tar archives. A bad row never stops a build and never vanishes: it is yielded as a `Fault`, and so is
what damage makes unreadable, a file without a row, and one that is not of the format; of an archive's members that are
not, one `Fault` for each reason counts them. Only what no row can repair (no file of the format) is a BuildError. Memory
is one row, or one file where a format has to be read as a whole (json, txt, html, office files). jsonl 456 MB/s a core.
"""

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from osler.build.section import BuildError
from osler.ingest import archives, health_records, hub_dataset, markup, office, rows
from osler.ingest.archives import (
    COMPRESSIONS,
    SKIPPED,
    Allowance,
    RawFile,
    is_archive,
    members,
    open_binary,
    printable,
    raw_files,
    whole,
)
from osler.ingest.encodings import Mended, utf8_stream
from osler.ingest.faults import Fault, Record, Rows, Unreadable
from osler.ingest.json_values import needs_exact, roots
from osler.ingest.lone_bytes import Repair
from osler.ingest.source import Layout, Source
from osler.ingest.task_files import instance_rows
from osler.ingest.xml_records import xml_field_rows

SUFFIXES = {
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "json": (".json",),
    "meds": (".json",),
    "csv": (".csv", ".tsv"),
    "parquet": (".parquet",),
    "txt": (".txt",),
    "jats": (".xml", ".nxml"),
    "pubmed": (".xml",),
    "html": (".html", ".htm", ".xhtml"),
    "xml": (".xml",),
    "docx": (".docx",),
    "xlsx": (".xlsx",),
    "pdf": (".pdf",),
    "fhir": (".ndjson", ".jsonl", ".json"),
    "ccda": (".xml",),
}
TEXT_FORMATS = (
    "jsonl",
    "json",
    "meds",
    "csv",
    "txt",
    "html",
    "jats",
    "pubmed",
    "xml",
    "ccda",
    "fhir",
)  # in any encoding
DECLARING = ("html", "jats", "pubmed", "xml", "ccda")  # say which
MENDED = " with cp1252"
NAMES = ("doi", "pmid")  # columns that are read where they are, since they name a document
READ_ERRORS = (Unreadable, *archives.ERRORS, *markup.ERRORS, *rows.ERRORS)


def suffixes(source_format: str) -> tuple[str, ...]:
    """How the names of a format's files end, compressed or not."""
    return tuple(suffix + compression for suffix in SUFFIXES[source_format] for compression in COMPRESSIONS)


def source_files(path: Path, source: Layout) -> list[RawFile]:
    """The files of a source, sorted by name.

    Those of its format, and tar archives.

    Raises:
        BuildError: nothing is there, or a folder has no file of the format.
    """
    if source.format == "hub":
        return hub_dataset.split_files(path, source.split)
    rewrites = source.rewrites if isinstance(source, Source) else None  # read by itself, and no file of rows
    return [file for file in files_of_format(path, source.format) if file.name != rewrites]


def files_of_format(path: Path, source_format: str) -> list[RawFile]:
    """`path` itself, or the files of the format below it.

    Archives count too; sorted by name.

    Raises:
        BuildError: nothing is there, or a folder has no file of the format.
    """
    files = raw_files(path, (*suffixes(source_format), *archives.ARCHIVES))
    skipped = [file for file in files if file.fault and file.fault.reason in SKIPPED]
    if len(skipped) == len(files):
        there = f"; it has {', '.join(file.name for file in skipped[:3])}" if path.is_dir() and files else ""
        raise BuildError(
            f"{path}: {'has' if path.is_dir() else 'is'} no file of `format` {source_format}"
            f" ({', '.join(SUFFIXES[source_format])}; .gz, .zst, .tar){there}{' ...' if len(skipped) > 3 else ''}"
        )
    return files


class FileRecords(Iterator[tuple[str, Record | Fault]]):
    """The rows of one file as `file_records` gives them.

    Attributes:
        encoding: what the file, or the archive's member, of the last row is written in, such as "utf-8" or "cp1252"; "utf-8
            with cp1252" from a row on in which lone bytes are taken for that.
        notation: formulas that were read, and citations left out (`plain` in osler/ingest/notation.py).
        encoding: what the file, or the archive's member, of the last row is written in, such as "utf-8" or "cp1252".
        notation: formulas that were read, and citations left out (`plain` in osler/ingest/notation.py).
    """

    def __init__(self, file: RawFile, source: Layout) -> None:
        """Open nothing yet."""
        self._encoding, self._repair = "utf-8", Repair()
        self.notation = Counter[str]()
        self._source = source
        self._needed = roots((*source.fields, *source.optional_fields))
        self._line = [b""]  # of jsonl, the one of the last row
        self._found = self._file_rows(file)

    def __next__(self) -> tuple[str, Record | Fault]:
        """The next row."""
        return next(self._found)

    def exact(self, record: Record) -> Record | Fault:
        """The row last given, its numbers as the file writes them.

        Those of needed fields; jsonl is read fast and forgets them; no other format does.
        """
        line = self._line[0]
        return rows.exact_row(line) if line and needs_exact(record, self._needed) else record

    @property
    def encoding(self) -> str:
        return self._encoding + MENDED * bool(self._repair.lone_bytes)

    def _file_rows(self, file: RawFile) -> Iterator[tuple[str, Record | Fault]]:
        if file.fault:
            yield f"{file.name}#1", file.fault
            return
        count, skipped = 0, Counter[Fault]()
        try:
            allowance = Allowance(file.path.stat().st_size)
            with open_binary(file.path, allowance) as stream:
                if not is_archive(file.path.name):
                    yield from self._numbered(file.name, stream, file.path)
                    return
                for name, member in members(stream, suffixes(self._source.format), allowance):
                    count += 1
                    if not isinstance(member, Fault):
                        yield from self._numbered(f"{file.name}!{name}", member, None)
                    elif member.reason in SKIPPED:
                        skipped[member] += 1
                    else:
                        yield f"{file.name}!{name}#1", member
            if not count:
                yield f"{file.name}#1", Fault("empty_file", "an archive without files")
        except READ_ERRORS as error:
            yield f"{file.name}#{count + 1}", _damage(error, "member", count)
        for number, (fault, times) in enumerate(skipped.items(), count + 2):
            yield f"{file.name}#{number}", Fault(fault.reason, f"{times} members: {fault.detail}")

    def _numbered(
        self, name: str, stream: io.BufferedReader, path: Path | None
    ) -> Iterator[tuple[str, Record | Fault]]:
        row = 0
        try:
            for row, record in self._rows(name, stream, path):
                yield f"{name}#{row}", record
            if not row:
                yield f"{name}#1", Fault("empty_file", "holds no row")
        except READ_ERRORS as error:
            yield f"{name}#{row + 1}", _damage(error, "row", row)

    def _rows(self, name: str, stream: io.BufferedReader, path: Path | None) -> Rows:
        self._line[0] = b""
        source, fields, optional = self._source, self._source.fields, self._source.optional_fields
        self._encoding, self._repair = "utf-8", Repair()
        tables, select = (source.tables, source.select) if isinstance(source, Source) else (None, None)
        kind: str = hub_dataset.file_format(name) if source.format == "hub" else source.format
        if kind in TEXT_FORMATS:
            stream, self._encoding = utf8_stream(stream, kind in DECLARING)
            if source.format == "hub" and kind == "jsonl" and stream.peek(1)[:64].lstrip()[:1] == b"[":
                kind = "json"  # `datasets` reads both under one name
        match kind:
            case "jsonl":
                return rows.jsonl_rows(stream, self._repair, self._line)
            case "meds" if isinstance(source, Source):
                return instance_rows(stream, self._repair)
            case "json" | "meds":
                return rows.json_rows(stream, source.id, self._repair, (*fields, *optional))
            case "csv":
                return rows.csv_rows(stream, "\t" if ".tsv" in name.lower() else ",", fields, self._repair)
            case "txt":
                return rows.txt_rows(stream, source.split, self._repair)
            case "html":
                return markup.html_rows(stream, self._repair, select, tables, self.notation)
            case "jats" | "pubmed":
                mended = Mended(stream, self._repair)
                return markup.xml_rows(mended, kind, [*fields, *optional], tables, self.notation)
            case "xml" if source.xml:
                return xml_field_rows(Mended(stream, self._repair), source.xml)
            case "docx":
                return office.docx_rows(stream)
            case "xlsx":
                return office.xlsx_rows(stream, source.sheet)
            case "pdf":
                return office.pdf_rows(stream)
            case "fhir":
                return health_records.fhir_rows(stream, self._repair)
            case "ccda":
                return health_records.ccda_rows(Mended(stream, self._repair))
            case "arrow" if path:
                return rows.arrow_rows(path)
            case "parquet":
                plain = path is not None and path.suffix.lower() == ".parquet"
                return rows.frame_rows(
                    path if path and plain else whole(stream, rows.WHOLE_BYTES), fields, [*optional, *NAMES]
                )
        raise Unreadable("unreadable_file", f"a file of a kind that `format` {source.format} does not read")


def _damage(error: BaseException, unit: str, count: int) -> Fault:
    """Why reading ended, and what is lost by that.

    All after the `count` rows or members before it.
    """
    found = error.fault if isinstance(error, Unreadable) else None
    reason = found.reason if found else "unreadable_file"
    detail = found.detail if found else f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    lost = f"all after {unit} {count} is lost" if count else f"no {unit} of it is read"
    return Fault(reason, printable(f"{detail}; {lost}"))


def file_records(file: RawFile, source: Layout) -> FileRecords:
    """Every row of one file, in order.

    Blank lines, and pieces of a split text with nothing but white space, are no rows. What is damaged gives one Fault,
    numbered as the row at which reading ended; the rows before it stay. A file without a row gives one Fault.

    Yields:
        "<file>#<row>", or "<file>!<member>#<row>" in an archive, rows counted from 1 (jsonl: line; csv: record after the
        header; txt: piece; XML: record), and the record or why it cannot be read.
    """
    return FileRecords(file, source)


def raw_records(path: Path, source: Source) -> Iterator[tuple[str, Record | Fault]]:
    """Every row of a source, file after file, as `file_records` yields them.

    Args:
        path: the file or folder.
        source: its section.
    Raises:
        BuildError: no file.
    """
    for file in source_files(path, source):
        records = file_records(file, source)
        for place, record in records:
            yield place, record if isinstance(record, Fault) else records.exact(record)
