"""One row of a raw file as a document.

Its text or turns are cleaned, and without identifiers where that is asked.
"""

from collections import Counter
from dataclasses import dataclass, replace

import polars as pl

from osler.ingest.faults import Fault, Record
from osler.ingest.fields import Template, scalar
from osler.ingest.normalization import normalized_texts, without_end_markers
from osler.ingest.source import Source, contents
from osler.privacy.pseudonyms import private_origin, pseudonym
from osler.privacy.screening import Phi, document_date, screened

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
    """A document before cleaning.

    `contents` is one text, or one (role, text) for each turn.
    """

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
    date = None if source.date_field is None else _date(record, source.date_field)
    if isinstance(date, Fault):
        return date
    return Draft(f"{name}/{row_id}", origin, str(row_license), date, turns)


def _date(record: Record, field: str) -> str | Fault | None:
    """The date of a row; None where its field is absent, null or blank.

    A year that ends in `.0` was a whole number in a column with gaps.
    """
    date = scalar(record, field)
    if isinstance(date, Fault):
        return None if date.reason == "missing_field" else date
    return date.strip().removesuffix(".0") or None


def private_draft(document: Draft, source: Source, key: bytes) -> Draft:
    """The document under a pseudonym, where its source has a section `phi`.

    Of its date stays what may be told.

    Args:
        document: of `draft`, its origin private already.
        source: its section.
        key: of `pseudonym`.
    """
    if source.phi is None:
        return document
    name, _, row_id = document.doc_id.partition("/")
    doc_id = document.doc_id if source.id is None else f"{name}/{pseudonym(key, row_id)}"
    date = document.date and document_date(document.date, source.phi, key, doc_id)
    return replace(document, doc_id=doc_id, date=date)


def names_on_disk(doc_id: str, key: bytes) -> list[str]:
    """What a document may be called on disk.

    Its own id, or its file and row, and the private forms of both.
    """
    name, _, row_id = doc_id.partition("/")
    return [doc_id] + ([f"{name}/{pseudonym(key, row_id)}", f"{name}/{private_origin(key, row_id)}"] if key else [])


def documents_frame(drafts: list[Draft], source: Source) -> tuple[pl.DataFrame, dict[str, int]]:
    """Cleaned documents of SCHEMA, and how often each change was made.

    `text` is empty where the text, or one turn, is.
    """
    contents = [text for document in drafts for _, text in document.contents]
    conversations = source.collection == "instructions"
    texts, changes = normalized_texts(pl.Series("text", contents, pl.String), ("markup",) if conversations else ())
    columns = {
        name: [getattr(document, name) for document in drafts] for name in ("doc_id", "license", "date", "origin")
    }
    if not conversations:
        frame = pl.DataFrame(columns | {"text": texts})
        return frame.with_columns(pl.lit([], SCHEMA["turns"]).alias("turns")).select(SCHEMA.names()), changes
    each = iter(without_end_markers(texts).to_list())
    turns = [[{"role": role, "content": next(each)} for role, _ in document.contents] for document in drafts]
    return pl.DataFrame(columns | {"text": texts_of(turns), "turns": turns}, schema=SCHEMA), changes


def texts_of(turns: list[list[dict[str, str]]]) -> list[str]:
    """The contents of each conversation's turns, a line each.

    "" where a turn is empty.
    """
    contents = [[turn["content"] for turn in conversation] for conversation in turns]
    return ["\n".join(each) if all(each) else "" for each in contents]


def private(frame: pl.DataFrame, phi: Phi, key: bytes) -> tuple[pl.DataFrame, list[tuple[str, str, str]], Counter[str]]:
    """The documents without identifiers.

    Also the dropped ones (origin, doc_id, detail), and identifiers found by class.
    """
    kept, texts, turns = [], [], []
    dropped: list[tuple[str, str, str]] = []
    counts = Counter[str]()
    rows = frame.select("doc_id", "origin", "text", "turns").iter_rows()
    for number, (doc_id, origin, text, conversation) in enumerate(rows):
        clean: list[str] = []
        faults: list[str] = []
        for content in [turn["content"] for turn in conversation] or [text]:
            without, found = screened(content, phi, key, doc_id)
            if without is None:
                faults.append(", ".join(f"{count} {kind}" for kind, count in sorted(found.items())))
                continue
            clean.append(without)
            counts.update(found)
        if faults:
            dropped.append((origin, doc_id, "; ".join(faults)))
            continue
        kept.append(number)
        turns.append([turn | {"content": each} for turn, each in zip(conversation, clean, strict=False)])
        texts.append("\n".join(clean))
    columns = {"text": pl.Series(texts, dtype=pl.String), "turns": pl.Series(turns, dtype=SCHEMA["turns"])}
    return frame[kept].with_columns(**columns), dropped, counts
