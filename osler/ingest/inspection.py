"""What lies in a folder, and a first version of the sections `source` for it.

Looks at the names of files and at the first rows of each kind of file, guesses, and says so. It decides nothing: licenses,
what is about patients, and what is general text only their owner knows.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from osler.build.section import BuildError
from osler.ingest.archives import ARCHIVES, RawFile, is_archive, raw_files
from osler.ingest.faults import Fault, Record
from osler.ingest.messages import role_of
from osler.ingest.records import READ_ERRORS, SUFFIXES, FileRecords, suffixes
from osler.ingest.source import FIELDS
from osler.ingest.xml_records import XmlRecords

UNSTATED = "TO BE STATED"  # the license of what only its owner knows
ROWS = 20  # looked at in each source
FORMATS = (
    "fhir",
    "jsonl",
    "csv",
    "parquet",
    "txt",
    "html",
    "jats",
    "pubmed",
    "ccda",
    "docx",
    "xlsx",
    "pdf",
    "json",
)  # the first that reads a file is proposed
IDENTIFIER = re.compile(r"(?:.*_)?(?:id|pmid|pmcid|uuid|key|path|file|url)", re.I)
TEXT = re.compile(r"text|body|content", re.I)
TITLE = re.compile(r"title|heading|name", re.I)
DATE = re.compile(r"(?:.*_)?(?:date|year|published)", re.I)
LICENSE = re.compile(r"licen[sc]e", re.I)
PAIRS = (("question", "answer"), ("instruction", "output"), ("prompt", "response"), ("input", "output"))
GENERAL = re.compile(r"web|wiki|general|replay|books|news", re.I)
ABOUT_PATIENTS = re.compile(r"note|discharge|letter|patient|record|report", re.I)
RECORDS_OF_PATIENTS = ("fhir", "ccda", "docx", "pdf", "xlsx")
TEXT_CHARACTERS = 30  # on average: what is shorter is a label


@dataclass(frozen=True)
class Look:
    """A layout that asks for no field.

    Every row is read as it is (`Layout` in osler/ingest/source.py).
    """

    format: str
    split: str | None = None
    id: str | None = None
    sheet: str | None = None
    xml: XmlRecords | None = None
    fields: list[str] = field(default_factory=list)
    optional_fields: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """Files of one format that lie together.

    Attributes:
        name: for the section.
        path: relative to the folder that was looked at.
        format: a key of SUFFIXES.
        files: how many.
        rows: the first ones, as records.
    """

    name: str
    path: str
    format: str
    files: int
    rows: tuple[Record, ...]


def found_in(folder: Path) -> list[Found]:
    """What could be sources.

    Each file and each folder right below `folder`, once for each format in it.

    Raises:
        BuildError: there is no such folder, or nothing in it can be read.
    """
    if not folder.is_dir():
        raise BuildError(f"--new {folder}: no such folder")
    found = [one for entry in sorted(folder.iterdir()) if not entry.name.startswith(".") for one in _of_entry(entry)]
    if not found:
        endings = ", ".join(sorted({suffix for each in SUFFIXES.values() for suffix in each}))
        raise BuildError(f"--new {folder}: no file that a source could read ({endings}; .gz, .zst, .tar)")
    return found


def _of_entry(entry: Path) -> Iterator[Found]:
    taken: set[str] = set()
    names: set[str] = set()
    for form in FORMATS:
        files = [
            file for file in raw_files(entry, (*suffixes(form), *ARCHIVES)) if not file.fault and file.name not in taken
        ]
        readable = {file.name: rows for file in files[:ROWS] if (rows := _first_rows(file, form))}
        if not readable:
            continue
        kind = (
            files
            if form not in ("fhir", "jsonl", "jats", "pubmed", "ccda", "json")
            else [f for f in files if f.name in readable]
        )
        taken |= {file.name for file in kind}
        name = re.sub(r"\W+", "_", entry.name.split(".")[0]).strip("_").lower() or "source"
        name = f"{name}_{form}" if name in names else name
        names.add(name)
        rows = tuple(islice((row for each in readable.values() for row in each), ROWS))
        yield Found(name, entry.name, form, len(kind), rows)


def _first_rows(file: RawFile, form: str) -> tuple[Record, ...]:
    """The first records of a file; none where it is not of the format."""
    if form == "parquet" and not is_archive(file.path.name):
        try:
            return tuple(pl.scan_parquet(file.path).head(ROWS).collect().to_dicts())
        except (pl.exceptions.PolarsError, OSError):
            return ()
    try:
        rows = [row for _, row in islice(FileRecords(file, Look(form)), ROWS)]
    except READ_ERRORS:
        return ()
    return tuple(row for row in rows if not isinstance(row, Fault))


def proposed(found: Found) -> dict[str, Any]:
    """A section `source.<name>` for what was found, without the license."""
    section: dict[str, Any] = {"collection": "clinical", "path": found.path, "format": found.format}
    if GENERAL.search(found.name):
        section["collection"] = "general"
    if found.format == "txt":
        return section | {"text": "{text}"}
    names = list(dict.fromkeys(name for row in found.rows for name in row))
    identifier = next((name for name in names if IDENTIFIER.fullmatch(name) and _tells_apart(found.rows, name)), None)
    if identifier:
        section["id"] = identifier
    messages = next((name for name in names if any(_is_conversation(row.get(name)) for row in found.rows)), None)
    pair = next((pair for pair in PAIRS if set(pair) <= set(names)), None)
    if messages:
        section |= {"collection": "instructions", "turns_field": messages}
    elif pair:
        turns = [{"role": role, "text": f"{{{name}}}"} for role, name in zip(("user", "assistant"), pair, strict=True)]
        section |= {"collection": "instructions", "turns": turns}
    else:
        section["text"] = template(found.rows, FIELDS.get(found.format) or names)
    for key, pattern in (("license_field", LICENSE), ("date_field", DATE)):
        if name := next((name for name in names if pattern.fullmatch(name)), None):
            section[key] = name
    return section


def template(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """A title, if there is one, and the text.

    The text is the field of that name, or the longest. A field that some rows lack has a `?`.
    """
    lengths = {
        name: sum(len(text) for row in rows if isinstance(text := row.get(name), str)) / max(1, len(rows))
        for name in names
    }
    usual = [name for name in names if TEXT.fullmatch(name) and lengths[name] >= TEXT_CHARACTERS]
    longest = usual[0] if usual else max(names, key=lambda name: lengths[name], default="text")
    parts = [name for name in names if TITLE.fullmatch(name) and name != longest and lengths[name]][:1]
    parts += [name for name in names if name == "abstract" and name != longest and lengths[name]]
    return "\n\n".join(
        f"{{{name}{'' if name == longest or all(row.get(name) for row in rows) else '?'}}}"
        for name in (*parts, longest)
    )


def _tells_apart(rows: Sequence[Record], name: str) -> bool:
    values = [row.get(name) for row in rows]
    return all(isinstance(value, str | int) for value in values) and len(set(values)) == len(values)


def _is_conversation(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, dict) and role_of(turn) is not None for turn in value)
    )


def is_about_patients(found: Found, section: Mapping[str, Any]) -> bool:
    named = ABOUT_PATIENTS.search(found.name) or found.format in RECORDS_OF_PATIENTS
    return section["collection"] == "clinical" and bool(named)


def remarks(found: Found, section: Mapping[str, Any]) -> list[str]:
    """What was guessed from what, and what only the owner knows."""
    names = list(dict.fromkeys(name for row in found.rows for name in row))
    said = [f"{found.files} file{'s' * (found.files != 1)}; fields of the first rows: {', '.join(names) or 'text'}"]
    if section["collection"] == "instructions":
        said.append("guessed: conversations, by their fields")
    else:
        said.append(f"guessed: {section['collection']}, by the name; the text, by names and lengths")
    if "id" not in section and found.format != "txt":
        said.append("no field tells rows apart: file and row number will name them")
    if is_about_patients(found, section):
        said.append("guessed: about patients, so identifiers are replaced before any text is written: docs/patients.md")
    return said
