"""What a source is, and every row of its raw files as a record, or the reason why it is none.

A source is one file, or a folder of which every file of the source's format is read in sorted order, plain, gzip or
zstandard, or inside tar archives. A bad row never stops a build and never vanishes: it is yielded as a `Fault`, and so is
what damage makes unreadable, a file without a row, and one that is not of the format; of an archive's members that are
not, one `Fault` for each reason counts them. Only what no row can repair (no file of the format) is a BuildError. Memory
is one row, or one file where a format has to be read as a whole (json, txt, html). jsonl 456 MB/s a core.
"""

import io
import re
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol, Self

from pydantic import Field, field_validator, model_validator

from stages.lib import archives, hub, markup, rows
from stages.lib.archives import (
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
from stages.lib.documents import Collection
from stages.lib.encodings import utf8_stream, xml_encoding
from stages.lib.faults import Fault, Record, Rows, Unreadable
from stages.lib.privacy.screening import Phi
from stages.lib.section import BuildError, Section

SUFFIXES = {
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "json": (".json",),
    "csv": (".csv", ".tsv"),
    "parquet": (".parquet",),
    "txt": (".txt",),
    "jats": (".xml", ".nxml"),
    "pubmed": (".xml",),
    "html": (".html", ".htm", ".xhtml"),
}
FIELDS = {  # of the formats that have no others
    "jats": ("title", "abstract", "body", "id", "pmid", "doi", "journal", "date", "license"),
    "pubmed": ("title", "abstract", "pmid", "doi", "journal", "date"),
    "html": ("title", "text"),
}
TEXT_FORMATS = ("jsonl", "json", "csv", "txt", "html")  # in any encoding; XML declares its own

# Who speaks, in the names of the message lists in use (OpenAI's and ShareGPT's).
ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "system": "system"}

READ_ERRORS = (Unreadable, *archives.ERRORS, *markup.ERRORS, *rows.ERRORS)


class Template:
    """A text with `{field}` in it; `{field?}` may be absent or null and is then nothing.

    Only names: no indices in brackets, conversions or format specifications. `{a.b.0}` reaches into a nested value where no
    field is called that.
    """

    def __init__(self, text: str) -> None:
        """Parse `text`; `{{` and `}}` stand for braces.

        Raises:
            ValueError: a brace is open, or something other than a plain field name is inside.
        """
        self.parts: list[tuple[str, str | None]] = []
        for literal, field, specification, conversion in string.Formatter().parse(text):
            if field is not None and (not field.rstrip("?") or specification or conversion or set(field) & set("[]")):
                raise ValueError(f"only plain {{field}} can be used in {text!r}")
            self.parts.append((literal, field))
        if not self.fields:
            raise ValueError(f"no {{field}} in {text!r}")

    @property
    def fields(self) -> list[str]:
        """The fields named, in order, the optional ones with their `?`."""
        return [field for _, field in self.parts if field is not None]

    def rendered(self, record: Record) -> str | Fault:
        """The text for `record`, or why there is none: a field is absent, null, or no scalar."""
        pieces = []
        for literal, field in self.parts:
            pieces.append(literal)
            if field is not None:
                name = field.removesuffix("?")
                if name != field and rows.value_of(record, name) is None:
                    continue
                value = scalar(record, name)
                if isinstance(value, Fault):
                    return value
                pieces.append(value)
        return "".join(pieces)


def scalar(record: Record, field: str) -> str | Fault:
    """A field of `record` as text (numbers and booleans through `str`)."""
    value = rows.value_of(record, field)
    if value is None:
        return Fault("missing_field", f"no value for '{field}'")
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return str(value)
    return Fault("malformed_row", f"'{field}' is a {type(value).__name__}, not a text or a number")


def message_turns(record: Record, field: str) -> list[tuple[str, str]] | Fault:
    """The conversation in a list of messages, as (role, content): user and assistant in turns, the user first.

    A message is {role, content} or {from, value}. What a system message says goes before the first user's words, after
    which a blank line stands, as Mistral's own template has it.
    """
    messages = rows.value_of(record, field)
    if messages is None:
        return Fault("missing_field", f"no value for '{field}'")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        return Fault("malformed_row", f"'{field}' is no list of messages")
    system, turns = "", list[tuple[str, str]]()
    for number, message in enumerate(messages):
        role = ROLES.get(str(message.get("role", message.get("from"))))
        content = message.get("content", message.get("value"))
        if role is None or not isinstance(content, str):
            return Fault("malformed_row", f"message {number} of '{field}' has no role or no text that can be used")
        if role == "system" and not turns:
            system += f"{content}\n\n"
        elif role != ("assistant" if len(turns) % 2 else "user"):
            return Fault("malformed_row", f"message {number} of '{field}' is not the user's or the assistant's in turn")
        else:
            turns.append((role, content if turns else system + content))
    return turns if len(turns) > 1 else Fault("malformed_row", f"'{field}' has no answer to learn")


class Layout(Protocol):
    """What reading rows takes of a section that names files: a source's, or a task's (stages/lib/tasks.py)."""

    @property
    def format(self) -> str:
        """Of the files, a key of SUFFIXES or `hub`."""
        ...

    @property
    def split(self) -> str | None:
        """See `Source`."""
        ...

    @property
    def id(self) -> str | None:
        """Field that names a row."""
        ...

    @property
    def fields(self) -> list[str]:
        """Every field that is needed, once."""
        ...

    @property
    def optional_fields(self) -> list[str]:
        """Every field that may be missing."""
        ...


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
    format: Literal["jsonl", "json", "csv", "parquet", "txt", "jats", "pubmed", "html", "hub"]
    split: str | None = Field(
        description="txt: regular expression at which a file splits into documents; hub: name of a split, null: all"
    )
    id: str | None = Field(description="field that names a row; null: file and row number do")
    text: str | None = Field(description="template of a document, '{title}. {text}'; txt knows only {text}")
    turns: tuple[Turn, ...] | None = Field(description="instructions only: the conversation")
    turns_field: str | None = Field(description="instructions only, instead of `turns`: field with the messages")
    license: str = Field(min_length=1, description="license of the source")
    license_field: str | None = Field(description="field with the license of a row; null: all have the source's")
    date_field: str | None = Field(description="field with the date of a row; null, or no value: no date")
    phi: Phi | None = Field(description="what is done about identifiers of patients; null: the texts are as published")
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
        given = [key for key in ("text", "turns", "turns_field") if getattr(self, key) not in (None, ())]
        if given not in ([["turns"], ["turns_field"]] if self.collection == "instructions" else [["text"]]):
            raise ValueError(
                "instructions have `turns` or `turns_field`, the other collections `text`, and nothing else"
            )
        if self.turns is not None and "assistant" not in {turn.role for turn in self.turns}:
            raise ValueError("`turns` has no assistant, so there is nothing to learn")
        if self.split is not None and self.format not in ("txt", "hub"):
            raise ValueError(f"`split` is for formats txt and hub, not {self.format}")
        known = FIELDS.get(self.format)
        if known and (wrong := [name for name in (*self.fields, *self.optional_fields) if name not in known]):
            raise ValueError(f"`format` {self.format} has no field '{wrong[0]}'; its fields are {', '.join(known)}")
        if self.format == "txt" and {*self.fields, *self.optional_fields} != {"text"}:
            raise ValueError("a txt file has the one field {text}, and neither id, license_field nor date_field")
        return self

    @property
    def templates(self) -> list[Template]:
        """One template for each turn; a text is one; none where `turns_field` has the conversation."""
        texts = [turn.text for turn in self.turns or ()] if self.text is None else [self.text]
        return [Template(text) for text in texts]

    @property
    def fields(self) -> list[str]:
        """Every field that a row must have, and `date_field`, which may be null; once, in order of use."""
        names = [field for template in self.templates for field in template.fields if not field.endswith("?")]
        others = (self.turns_field, self.id, self.license_field, self.date_field)
        return list(dict.fromkeys(names + [name for name in others if name is not None]))

    @property
    def optional_fields(self) -> list[str]:
        """The fields that a row may lack, without their `?`."""
        names = [field for template in self.templates for field in template.fields if field.endswith("?")]
        return list(dict.fromkeys(name.removesuffix("?") for name in names))

    @property
    def silent_fields(self) -> list[str]:
        """The fields whose absence costs a row nothing, so that a misspelled one shows only if no row has it."""
        if self.format in FIELDS:  # known by name, and absent where a record has none
            return []
        return [*self.optional_fields, *([] if self.date_field is None else [self.date_field])]


def contents(record: Record, source: Source, templates: list[Template]) -> list[tuple[str, str]] | Fault:
    """What a record says: (role, content) of each turn; a text is one turn of role "".

    Args:
        templates: `source.templates`, parsed once.
    Returns:
        Or why there is no document: a field, or the length of all contents together.
    """
    if source.turns_field is not None:
        turns = message_turns(record, source.turns_field)
    else:
        turns = []
        roles = [""] if source.turns is None else [turn.role for turn in source.turns]
        for role, template in zip(roles, templates, strict=True):
            content = template.rendered(record)
            if isinstance(content, Fault):
                return content
            turns.append((role, content))
    if isinstance(turns, Fault):
        return turns
    length = sum(len(content) for _, content in turns)
    if source.document_limit_characters is not None and length > source.document_limit_characters:
        return Fault("too_long", f"{length} characters, more than `document_limit_characters`")
    return turns


def suffixes(source_format: str) -> tuple[str, ...]:
    """How the names of a format's files end, compressed or not."""
    return tuple(suffix + compression for suffix in SUFFIXES[source_format] for compression in COMPRESSIONS)


def source_files(path: Path, source: Layout) -> list[RawFile]:
    """The files of a source, sorted by name: those of its format, and tar archives.

    Raises:
        BuildError: nothing is there, or a folder has no file of the format.
    """
    if source.format == "hub":
        return hub.split_files(path, source.split)
    return files_of_format(path, source.format)


def files_of_format(path: Path, source_format: str) -> list[RawFile]:
    """`path` itself, or the files of the format and the archives in and below it, sorted by name.

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
        encoding: what the file, or the archive's member, of the last row is written in, such as "utf-8" or "cp1252".
    """

    def __init__(self, file: RawFile, source: Layout) -> None:
        """Open nothing yet."""
        self.encoding = "utf-8"
        self._source = source
        self._found = self._file_rows(file)

    def __next__(self) -> tuple[str, Record | Fault]:
        """The next row."""
        return next(self._found)

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
        source, fields, optional = self._source, self._source.fields, self._source.optional_fields
        kind: str = hub.file_format(name) if source.format == "hub" else source.format
        if kind in TEXT_FORMATS:
            stream, self.encoding = utf8_stream(stream, kind == "html")
            if source.format == "hub" and kind == "jsonl" and stream.peek(1)[:64].lstrip()[:1] == b"[":
                kind = "json"  # `datasets` reads both under one name
        elif kind in ("jats", "pubmed"):
            self.encoding = xml_encoding(stream.peek(1 << 10))
        match kind:
            case "jsonl":
                return rows.jsonl_rows(stream)
            case "json":
                return rows.json_rows(stream, source.id)
            case "csv":
                return rows.csv_rows(stream, "\t" if ".tsv" in name.lower() else ",", fields)
            case "txt":
                return rows.txt_rows(stream, source.split)
            case "html":
                return markup.html_rows(stream)
            case "jats" | "pubmed":
                return markup.xml_rows(stream, kind)
            case "arrow" if path:
                return rows.arrow_rows(path)
            case "parquet":
                plain = path is not None and path.suffix.lower() == ".parquet"
                return rows.frame_rows(path if path and plain else whole(stream, rows.WHOLE_BYTES), fields, optional)
        raise Unreadable("unreadable_file", f"a file of a kind that `format` {source.format} does not read")


def _damage(error: BaseException, unit: str, count: int) -> Fault:
    """Why reading ended, and that all after the `count` rows or members before it is lost."""
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
        yield from file_records(file, source)
