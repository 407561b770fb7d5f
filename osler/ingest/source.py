"""Section `source`: where files lie, and how a record becomes text."""

import re
from typing import Annotated, Literal, Protocol, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from osler.build.section import RelativePath, Section, absent
from osler.corpus.documents import Collection
from osler.ingest.faults import Fault, Record
from osler.ingest.fields import Template, value_of
from osler.ingest.messages import message_turns
from osler.ingest.xml_records import XmlRecords
from osler.privacy.screening import Phi

FIELDS = {  # of the formats that have no others
    "jats": (
        *("title", "abstract", "body", "id", "pmid", "doi", "journal", "date", "license"),
        *("retracted", "retracts"),
    ),
    "pubmed": (
        *("title", "abstract", "pmid", "doi", "journal", "date", "vernacular_title", "language"),
        *("publication_types", "mesh", "version", "retracted", "retracts"),
    ),
    "html": ("title", "text"),
    "docx": ("title", "text"),
    "pdf": ("text", "pages", "scanned_pages"),
    "fhir": ("id", "type", "subject", "date", "status", "title", "text"),
    "ccda": ("id", "title", "date", "type", "text", "sections"),
    "meds": ("id", "input", "output"),
}
SHARED_FRACTION = 0.5


class Layout(Protocol):
    """What reading rows needs of a section that names files.

    It is a source's, or a task's (osler/evaluation/tasks.py).
    """

    @property
    def format(self) -> str:
        """Of the files, a key of SUFFIXES or `hub`."""
        ...

    @property
    def split(self) -> str | None:
        """See `Source`."""
        ...

    @property
    def sheet(self) -> str | None:
        """See `Source`."""
        ...

    @property
    def xml(self) -> XmlRecords | None:
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

    role: Literal["user", "assistant"] = Field(description="who speaks; what the assistant says is learned")
    text: str = Field(min_length=1, description="template of its content")

    @field_validator("text")
    @classmethod
    def _template(cls, text: str) -> str:
        Template(text)
        return text


class Source(Section):
    """A section `source.<name>`: where documents come from and which fields make them."""

    collection: Collection = Field(description="clinical and general are text to train on, instructions conversations")
    path: RelativePath
    format: Literal[
        "jsonl",
        "json",
        "csv",
        "parquet",
        "txt",
        "jats",
        "pubmed",
        "html",
        "xml",
        "docx",
        "xlsx",
        "pdf",
        "fhir",
        "ccda",
        "hub",
        "meds",
    ] = Field(
        description="how its files are read; hub: the folder of a Hugging Face dataset; meds: a file a task, as MedS-Ins has them"
    )
    xml: XmlRecords | None = Field(default=None, description="xml only: where records and their fields stand")
    sheet: str | None = Field(default=None, description="xlsx only: name of the sheet; null: the file's only one")
    split: str | None = Field(
        default=None,
        description="txt: regular expression at which a file splits into documents; hub: name of a split, null: all",
    )
    select: str | None = Field(
        default=None, description="html: what of a page is read, as CSS selector or XPath; null: all but its navigation"
    )
    shared_line_fraction: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="a line on more documents of the source goes; null: for html half, for other formats none",
    )
    id: str | None = Field(
        default=None,
        validate_default=True,
        description="field that names a row; null: file and row number do, and pmid for pubmed",
    )
    text: str | None = Field(
        default=None, description="template of a document, '{title}. {text}'; txt knows only {text}"
    )
    turns: tuple[Turn, ...] | None = Field(default=None, description="instructions only: the conversation")
    rewrites: RelativePath | None = absent(
        "meds only: file in the folder of `path` with other wordings of each task's definition; null: the files' own"
    )
    turns_field: str | None = Field(
        default=None, description="instructions only, instead of `turns`: field with the messages"
    )
    license: str = Field(min_length=1, description="license of the source")
    license_field: str | None = Field(
        default=None, description="field with the license of a row; null: all have the source's"
    )
    date_field: str | None = Field(default=None, description="field with the date of a row; null, or no value: no date")
    where: dict[str, Annotated[tuple[bool | str | int | float, ...], Field(min_length=1)]] | None = Field(
        default=None,
        description="field: values it may have, as {language: [eng]}; of several fields each has to have one; null: any",
    )
    repeated_id: Literal["first", "last"] | None = Field(
        default=None,
        description="which row of an id stands, in the order of file names and rows; null: last for pubmed, else first",
    )
    phi: Phi | None = Field(default=None, description="what is done about identifiers of patients; null: nothing")
    tables: Literal["rows", "cells", "none"] | None = Field(
        default=None,
        description="jats and html. rows: a line a row, each cell with its header; cells: a line a row; none: left out;"
        " null: left out of jats, cells of html",
    )
    document_limit_characters: int | None = Field(
        default=None, ge=1, description="longer ones go to the ledger; null: none"
    )

    @field_validator("id")
    @classmethod
    def _named(cls, field: str | None, info: ValidationInfo) -> str | None:
        """A record of PubMed is named by its PMID."""
        return "pmid" if field is None and info.data.get("format") == "pubmed" else field

    @field_validator("text")
    @classmethod
    def _template(cls, text: str | None) -> str | None:
        if text is not None:
            Template(text)
        return text

    @field_validator("select")
    @classmethod
    def _selector(cls, select: str | None) -> str | None:
        if select is not None:
            from osler.ingest.selected import selector  # lxml is imported only for what needs it

            selector(select)
        return select

    @field_validator("split")
    @classmethod
    def _pattern(cls, split: str | None) -> str | None:
        try:
            if split is not None and re.compile(split).groups:
                raise ValueError("groups would end up in the text: write (?:...) instead of (...)")
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"no regular expression: {error}") from None
        return split

    @model_validator(mode="after")
    def _updatable(self) -> Self:
        if self.format == "pubmed" and self.keeps_last and self.id != "pmid":
            raise ValueError("`id` of format pubmed is pmid, which its updates go by; or set `repeated_id: first`")
        if self.keeps_last and self.id is None:
            raise ValueError("`repeated_id: last` needs `id`, the field that tells rows apart")
        if self.keeps_last and self.phi is not None and self.phi.key_file is None:
            raise ValueError(
                "`repeated_id: last` with a section `phi` needs `phi.key_file`: without it an id is another one in each file"
            )
        return self

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
        if (self.xml is None) == (self.format == "xml"):
            raise ValueError("`format` xml needs a section `xml`, and no other format has one")
        if self.sheet is not None and self.format != "xlsx":
            raise ValueError(f"`sheet` is for format xlsx, not {self.format}")
        if self.tables is not None and self.format not in ("jats", "html"):
            raise ValueError(f"`tables` is for formats jats and html, not {self.format}")
        if self.select is not None and self.format != "html":
            raise ValueError(f"`select` is for format html, not {self.format}")
        if self.format == "meds" and self.collection != "instructions":
            raise ValueError("`format` meds is for the collection instructions")
        if self.rewrites is not None and self.format != "meds":
            raise ValueError(f"`rewrites` is for format meds, not {self.format}")
        if self.shared_line_fraction is not None and self.collection == "instructions":
            raise ValueError("`shared_line_fraction` is for texts, not for instructions")
        known = FIELDS.get(self.format) if self.xml is None else tuple(self.xml.fields)
        named = [*self.fields, *self.optional_fields]
        if known and (wrong := [name for name in named if name.removesuffix("?").split(".")[0] not in known]):
            raise ValueError(f"`format` {self.format} has no field '{wrong[0]}'; its fields are {', '.join(known)}")
        if self.format == "txt" and {*self.fields, *self.optional_fields} != {"text"}:
            raise ValueError("a txt file has the one field {text}, and neither id, license_field nor date_field")
        return self

    @property
    def shared_fraction(self) -> float | None:
        """A line on more than this share of documents is the site's.

        None: no line is.
        """
        if self.format == "html" and self.collection != "instructions" and self.shared_line_fraction is None:
            return SHARED_FRACTION
        return self.shared_line_fraction

    @property
    def keeps_last(self) -> bool:
        """Whether a later row of an id replaces an earlier one."""
        return (self.repeated_id or ("last" if self.format == "pubmed" else "first")) == "last"

    @property
    def templates(self) -> list[Template]:
        """One template for each turn; a text is one.

        None where `turns_field` has the conversation.
        """
        texts = [turn.text for turn in self.turns or ()] if self.text is None else [self.text]
        return [Template(text) for text in texts]

    @property
    def fields(self) -> list[str]:
        """Every field that a row must have, once, in order of use.

        `date_field` is among them, though it may be null.
        """
        names = [field for template in self.templates for field in template.fields if not field.endswith("?")]
        others = (self.turns_field, self.id, self.license_field, self.date_field)
        return list(dict.fromkeys(names + [name for name in others if name is not None]))

    @property
    def optional_fields(self) -> list[str]:
        """The fields that a row may lack, without their `?`."""
        names = [field for template in self.templates for field in template.fields if field.endswith("?")]
        return list(dict.fromkeys([*(name.removesuffix("?") for name in names), *(self.where or ())]))

    @property
    def silent_fields(self) -> list[str]:
        """The fields whose absence costs a row nothing.

        A misspelled one shows only if no row has it.
        """
        if self.format in FIELDS:  # known by name, and absent where a record has none
            return []
        return [*self.optional_fields, *([] if self.date_field is None else [self.date_field])]


def contents(record: Record, source: Source, templates: list[Template]) -> list[tuple[str, str]] | Fault:
    """What a record says: (role, content) of each turn.

    A text is one turn of role "".

    Args:
        templates: `source.templates`, parsed once.
    Returns:
        Or why there is no document: a field, or the length of all contents together.
    """
    if source.turns_field is not None:
        turns = message_turns(value_of(record, source.turns_field), source.turns_field)
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
