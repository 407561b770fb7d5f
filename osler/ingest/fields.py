"""Fields of a record, and templates of them."""

import math
import string
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from osler.ingest.faults import Fault, Record
from osler.ingest.json_values import Numeral


class Template:
    """A text with `{field}` in it.

    `{field?}` may be absent or null and is then nothing.

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
        """The text for `record`, or why there is none.

        A field is absent, null, or no scalar.
        """
        pieces = []
        for literal, field in self.parts:
            pieces.append(literal)
            if field is not None:
                name = field.removesuffix("?")
                if name != field and value_of(record, name) is None:
                    continue
                value = scalar(record, name)
                if isinstance(value, Fault):
                    return value
                pieces.append(value)
        return "".join(pieces)


LARGEST_EXACT_FLOAT = 2.0**53  # beyond it two integers can be one float


def text_of(value: Any) -> str | None:
    """A value as its file would write it.

    None of a list, bytes and the like. Truth values as JSON has them, dates and times as ISO 8601 has them, with a blank
    in place of the T; a day without an hour is its date. A float that may be a rounded integer, such as an id of 23 digits
    in a column of floats, is none.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Numeral):
        return str(value)
    if isinstance(value, float):
        return str(value) if abs(value) < LARGEST_EXACT_FLOAT else None
    if isinstance(value, datetime):
        return str(value.date()) if value.time() == time() and value.tzinfo is None else value.isoformat(" ")
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else None
    return str(value) if isinstance(value, int | date | time) else None


def scalar(record: Record, field: str) -> str | Fault:
    """A field of `record` as `text_of` writes it, or why not."""
    value = value_of(record, field)
    if value is None:
        return Fault("missing_field", f"no value for '{field}'")
    text = text_of(value)
    if text is not None:
        return text
    if isinstance(value, float):
        return Fault("malformed_row", f"'{field}' is {value}, more digits than a number keeps; write it as a text")
    return Fault("malformed_row", f"'{field}' is a {type(value).__name__}, not a text or a number")


def has_field(record: Record, field: str) -> bool:
    """Whether `record` has the field that `value_of` looks up, be it null."""
    if field in record:
        return True
    above, _, last = field.rpartition(".")
    inside = value_of(record, above) if above else None
    return last in (
        map(str, range(len(inside))) if isinstance(inside, list) else inside if isinstance(inside, Mapping) else ()
    )


def value_of(record: Record, field: str) -> Any:
    """A field of `record`; None where it is absent, null or NaN.

    `a.b.0`, where no field is called that, is the first element of b in a.
    """
    found: Any = record.get(field)
    if found is None and "." in field:
        found = record
        for part in field.split("."):
            if isinstance(found, Mapping):
                found = found.get(part)
            else:
                found = found[int(part)] if isinstance(found, list) and part in map(str, range(len(found))) else None
    return None if isinstance(found, float | Decimal) and math.isnan(found) else found
