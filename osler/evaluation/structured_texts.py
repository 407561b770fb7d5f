"""Texts that are JSON by a small schema: whether they can be read, and which fields are right. Pure functions.

A text is read where it is one object, alone, in a fence of Markdown, or between other words, with fields of the schema alone, each
of its kind or null. What is missing is null.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from osler.evaluation.text_metrics import normalized

Kind = Literal["text", "number", "boolean", "list"]
Schema = Mapping[str, Kind]
Values = dict[str, frozenset[str]]
"""Field -> its values: none for null, one, or those of a list."""
KINDS: Mapping[str, tuple[type, ...]] = {"text": (str,), "number": (int, float), "boolean": (bool,), "list": (list,)}


def json_object(text: str) -> dict[str, Any] | None:
    """The JSON object of a text, the first that ends in it.

    None where there is none, or a name stands twice in it.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_each_once, parse_constant=_no_number)
    for start in (found.start() for found in re.finditer(r"\{", text)):
        try:
            value, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        return value if isinstance(value, dict) else None
    return None


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any] | None:
    found = dict(pairs)
    return found if len(found) == len(pairs) else None


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def fields_of(text: str, schema: Schema) -> Values | None:
    """The values of a text by field, normalized.

    Numbers are as Python writes them, 5.0 as 5. None where the text is not of the schema.
    """
    found = json_object(text)
    if found is None or not set(found) <= set(schema):
        return None
    values: Values = {}
    for name, kind in schema.items():
        value = found.get(name)
        if value is not None and not _is(value, kind):
            return None
        listed = value if isinstance(value, list) else [value]
        if any(isinstance(one, dict | list) for one in listed):
            return None
        values[name] = frozenset(filter(None, map(_words, listed)))
    return values


def _is(value: Any, kind: Kind) -> bool:
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _words(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return normalized(str(value)) if isinstance(value, str) else str(value).lower()


def written_values(values: Values) -> str:
    """The values as JSON, names and lists sorted."""
    return json.dumps({name: sorted(own) for name, own in sorted(values.items())}, ensure_ascii=False)


def read_values(text: str | None) -> Values:
    """What `written_values` wrote; nothing of None."""
    return {name: frozenset(own) for name, own in json.loads(text).items()} if text else {}


def counts(ours: Values, theirs: Values, names: Sequence[str]) -> tuple[int, int, int]:
    """How many values of `names` a text, its target, and both have."""
    one, other = ([values.get(name, frozenset()) for name in names] for values in (ours, theirs))
    shared = sum(len(mine & yours) for mine, yours in zip(one, other, strict=True))
    return sum(map(len, one)), sum(map(len, other)), shared
