"""Which rows a source reads at all: its key `where`."""

from collections.abc import Mapping, Sequence
from typing import Any

from osler.ingest.faults import Fault, Record
from osler.ingest.fields import value_of

PARTS = "; "  # between the values of one text


def written(value: Any) -> str:
    """A value as YAML and JSON write it: true, not True."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def values_of(value: Any) -> list[str]:
    """What a condition may name of a field.

    The whole, and each element of a list or part of a text that has several.
    """
    if isinstance(value, list):
        return [written(each) for each in value if each is not None]
    whole = written(value)
    return [whole, *whole.split(PARTS)] if PARTS in whole else [whole]


def refused(record: Record, where: Mapping[str, Sequence[Any]]) -> Fault | None:
    """Why a row is left out.

    None where it has, of each field, one of the values.
    """
    for field, allowed in where.items():
        value = value_of(record, field)
        if value is None:
            return Fault("where", f"no value for '{field}'")
        if not {written(each) for each in allowed} & set(values_of(value)):
            return Fault("where", f"'{field}' is {written(value)[:100]}")
    return None
