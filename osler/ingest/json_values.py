"""JSON whose numbers are those of the file.

orjson makes floats of integers beyond 64 bits and forgets how a float was written, so that ids of 23 digits are cut and
`1.10` is `1.1`. Rows in which a needed field holds a float are therefore read once more, at a fifth of the speed.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Self

import orjson

CLOSED = frozenset((float, dict, list))  # types of values that are a float, or may hold one


class Numeral(float):
    """A number with a point or an exponent, as it is written."""

    literal: str

    def __new__(cls, literal: str) -> Self:
        """The number that `literal` is, and `literal`."""
        number = super().__new__(cls, literal)
        number.literal = literal
        return number

    def __str__(self) -> str:
        return self.literal


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:100]!r} stands twice in an object")
    return found


def exact_json(text: bytes) -> Any:
    """The value with each number as written.

    Raises:
        ValueError: no JSON (NaN, Infinity and half a surrogate pair are none), a key stands twice in an object, or a
            number is beyond reading.
    """
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        # A number beyond a float is JSON all the same.
        if not str(error).startswith("number is infinity"):
            raise ValueError(f"no JSON: {error}") from None
    try:
        return json.loads(text, parse_float=Numeral, parse_constant=_constant, object_pairs_hook=_object)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"no JSON: {error}") from None


def _constant(name: str) -> None:
    raise ValueError(f"no JSON: {name} is no value of JSON")


def holds_float(value: Any) -> bool:
    """Whether a float is in `value`, at any depth."""
    if isinstance(value, dict):
        return any(map(holds_float, value.values()))
    return any(map(holds_float, value)) if isinstance(value, list) else isinstance(value, float)


def needs_exact(record: Mapping[str, Any], needed: Iterable[str]) -> bool:
    """Whether a top-level field of `needed` holds a float.

    orjson may have changed that.
    """
    return not CLOSED.isdisjoint(map(type, record.values())) and any(holds_float(record.get(name)) for name in needed)


def roots(fields: Iterable[str]) -> tuple[str, ...]:
    """The top-level fields that `fields` can lie in.

    `a.b` is one, or is in `a`.
    """
    return tuple(dict.fromkeys(name for field in fields for name in (field, field.split(".")[0])))
