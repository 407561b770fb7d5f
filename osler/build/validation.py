"""A value of params as the type it should be, or one line that says what is wrong."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from osler.build.section import BuildError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

PARAMS = "params.yaml"
KINDS = {"bool": "true or false", "int": "a whole number", "str": "a text", "constrained-int": "a whole number from 1"}
SHOWN_CHARACTERS = 80  # of a wrong value
SHOWN_PROBLEMS = 5  # in one line
NO_LIST = {"list_type", "tuple_type", "too_long", "too_short"}  # pydantic's types of errors about a list as a whole
NOUNS = {"array": "list", "integer": "whole number", "number": "number", "string": "text"}
WORDS = ("none", "one", "two", "three", "four", "five")
MOST_VALUES, DEEPEST = 100_000, 50  # of a params file: the default has 400 and 5


def refuse_strange(params: Any, file: str = PARAMS) -> None:
    """Refuse what YAML can say and a setting cannot be.

    Dates and bytes, anchors inside of themselves or a thousandfold, characters that no file can hold, and whole numbers
    beyond 64 bits.

    Raises:
        BuildError: names the file, the key and what to write instead.
    """
    values = 0

    def look(value: Any, place: tuple[Any, ...], above: tuple[int, ...]) -> None:
        nonlocal values
        values += 1
        where = f"{file}: {'.'.join(map(shown_key, place))}"
        if values > MOST_VALUES or len(place) > DEEPEST:
            what = f"more than {MOST_VALUES} values" if values > MOST_VALUES else f"more than {DEEPEST} levels"
            raise BuildError(f"{file}: {shown_key(place[0])}: {what}; write out what its anchors repeat")
        match value:
            case dict() | list():
                if id(value) in above:
                    raise BuildError(f"{where}: an anchor inside of itself; write out what it stands for")
                for key, one in value.items() if isinstance(value, dict) else enumerate(value):
                    look(key, (*place, key), ())
                    look(one, (*place, key), (*above, id(value)))
            case str():
                if strange := re.search("[\0\ud800-\udfff]", value):
                    raise BuildError(f"{where}: has the character {strange[0]!a}, which no file can hold; take it out")
            case bool() | float() | None:
                pass
            case int():
                if not -(1 << 63) <= value < 1 << 63:
                    raise BuildError(f"{where}: a number beyond 64 bits; write one that the key can mean")
            case _:
                raise BuildError(f"{where}: a {type(value).__name__}; put it in quotes if it is a text")

    look(params, (), ())


def shown_key(key: Any) -> str:
    """A key in a path of keys, cut if long."""
    return (
        str(key)
        if isinstance(key, int) or (str(key).isprintable() and len(str(key)) < SHOWN_CHARACTERS)
        else shown_value(str(key))
    )


def validated(key: str, value: Any, annotation: Any, file: str = PARAMS) -> Any:
    """`value` as `annotation`, strictly.

    It goes through JSON, so that a list in YAML may be a tuple.

    Raises:
        BuildError: names the file, each key at fault, what it should be and what it is.
    """
    annotation = _kind(annotation, value)
    try:
        return TypeAdapter(annotation).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        problems = error.errors()
        deeper = {problem["loc"][:-1] for problem in problems if problem["loc"]}
        problems = [problem for problem in problems if problem["loc"] not in deeper]  # a list whose values are wrong
        missing = {problem["loc"] for problem in problems if problem["type"] == "missing"}
        lines = list(
            dict.fromkeys(
                _problem(key, problem, missing, annotation, value) for problem in problems if not _is_kind(problem)
            )
        )
        lines += _kinds(key, [problem for problem in problems if _is_kind(problem)])
        more = f"; and {len(lines) - SHOWN_PROBLEMS} more" if len(lines) > SHOWN_PROBLEMS else ""
        raise BuildError(f"{file}: {'; '.join(lines[:SHOWN_PROBLEMS])}{more}") from None
    except (TypeError, ValueError) as error:
        raise BuildError(f"{file}: {key}: {error}") from None


def _kind(annotation: Any, value: Any) -> Any:
    """The section that `value` names among those of a discriminated union; else the annotation as it is.

    Errors then name the keys of that section and no other's.
    """
    if get_origin(annotation) is not Annotated or not isinstance(value, Mapping):
        return annotation
    union, *facts = get_args(annotation)
    key = next((found for fact in facts if isinstance(found := getattr(fact, "discriminator", None), str)), "")
    sections = [one for one in get_args(union) if key in getattr(one, "model_fields", ())]
    return next((one for one in sections if value.get(key) in get_args(one.model_fields[key].annotation)), annotation)


def _is_kind(problem: "ErrorDetails") -> bool:
    """Whether a value is not of one of the kinds that it may have: pydantic names each."""
    return len(problem["loc"]) > 0 and (
        str(problem["loc"][-1]) in KINDS or str(problem["loc"][-1]).startswith("literal[")
    )


def _kinds(key: str, problems: Sequence["ErrorDetails"]) -> list[str]:
    """A line for each value that is of none of its kinds."""
    found: dict[str, tuple[list[str], Any]] = {}
    for problem in problems:
        *above, kind = map(str, problem["loc"])
        names, _ = found.setdefault(".".join([key, *above]), ([], problem["input"]))
        names.append(KINDS.get(kind) or kind.removeprefix("literal[").removesuffix("]").replace("'", ""))
    lines = []
    for where, (names, value) in found.items():
        lines.append(f"{where}: must be {' or '.join(dict.fromkeys(names))} (it is {shown_value(value)})")
    return lines


SECRETS = ("key", "address")  # keys that name a variable of the environment, and may get its value instead


def _problem(
    key: str, problem: "ErrorDetails", missing: set[tuple[int | str, ...]], annotation: Any, value: Any
) -> str:
    """One of pydantic's errors as "key: what is wrong (what it is)".

    Args:
        key: of the value that was validated.
        problem: the error.
        missing: places of all keys that are missing, one of which an unknown key may mean.
        annotation: of the value, for what a list should be.
        value: the whole, for the keys that are there.
    """
    *above, last = problem["loc"] or ("",)
    where, message = ".".join([key, *map(str, problem["loc"])]), problem["msg"].removeprefix("Value error, ")
    if last == "[key]":
        known = re.findall(r"'([^']+)'", message)
        return f"{where.removesuffix('.[key]')}: unknown{suggestion(str(problem['input']), known)}; there are {', '.join(known)}"
    if problem["type"] == "extra_forbidden":
        lacking = [str(loc[-1]) for loc in missing if list(loc[:-1]) == above]
        meant = suggestion(str(last), lacking) or suggestion(str(last), _keys(annotation, above, value))
        return f"{where}: unknown key{meant or ', take it out'}"
    if problem["type"] == "missing":
        return f"{where}: {message}"
    if problem["type"] == "value_error" and isinstance(problem["input"], dict):
        return f"{where}: {message}"  # keys that do not agree: the message names them
    if problem["type"] == "string_pattern_mismatch" and (form := _description(annotation, problem["loc"])):
        message = f"not written as it should be: {form}"
    if problem["type"] in NO_LIST:
        message = f"must be {wanted_list(TypeAdapter(annotation).json_schema(), problem['loc'])}"
    if last in SECRETS:
        return f"{where}: {message} (what it is may be a secret, and is not shown)"
    quotes = "; put it in quotes" if problem["type"] == "string_type" and problem["input"] is not None else ""
    return f"{where}: {message} (it is {shown_value(problem['input'])}){quotes}"


def shown_value(value: Any) -> str:
    """A value as YAML has it, on one line, cut if long."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."


def wanted_list(schema: Mapping[str, Any], place: Sequence[int | str]) -> str:
    """What a list should be, as "a list of two numbers".

    Args:
        schema: of the value that the list is, or lies in, as JSON schema.
        place: of the list, as keys and positions from there.
    """
    definitions, found = schema.get("$defs", {}), schema
    for part in (*place, None):
        kinds = _alternatives(found, definitions)
        found = next((one for one in kinds if one.get("type") == ("object" if isinstance(part, str) else "array")), {})
        if isinstance(part, str):
            found = found.get("properties", {}).get(part) or found.get("additionalProperties") or {}
        elif isinstance(part, int):
            found = found.get("items") or {}
    types = {one.get("type") for one in (*found.get("prefixItems", ()), found.get("items") or {})} - {None}
    noun = NOUNS.get(types.pop(), "value") if len(types) == 1 else "value"
    least, most = found.get("minItems", 0), found.get("maxItems")
    bounds = {"at least": least or None, "at most": most} if least != most else {"": most}
    counted = " and ".join(f"{bound} {_word(count)}" for bound, count in bounds.items() if count is not None)
    is_one = (most or least) == 1
    return " ".join(f"a list of {counted} {noun if is_one else f'{noun}s'}".split())


def _alternatives(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The schemas that a value may have, of which some are defined elsewhere."""
    if "$ref" in schema:
        return _alternatives(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    several = schema.get("anyOf") or schema.get("oneOf")
    return [found for one in several for found in _alternatives(one, definitions)] if several else [schema]


def _along(annotation: Any, place: Sequence[int | str]) -> Iterator[list[Mapping[str, Any]]]:
    """The schemas that a value may have, and those of each value inside of it on the way to `place`."""
    schema = TypeAdapter(annotation).json_schema()
    definitions = schema.get("$defs", {})
    found: list[Mapping[str, Any]] = [schema]
    yield found
    for part in place:
        inner = []
        for one in (kind for each in found for kind in _alternatives(each, definitions)):
            below = one.get("properties", {}).get(part) if isinstance(part, str) else one.get("items")
            if isinstance(part, str) and below is None and isinstance(one.get("additionalProperties"), dict):
                below = one["additionalProperties"]
            inner += [below] if below else []
        if inner:  # else it is no key: pydantic names the kinds of a value, too
            found = inner
            yield [kind for each in found for kind in (each, *_alternatives(each, definitions))]


def _keys(annotation: Any, place: Sequence[int | str], value: Any) -> list[str]:
    """Those that a section at `place` of `value` may have and has not."""
    for part in place:
        inside = isinstance(value, dict) and part in value
        value = value[part] if inside or (isinstance(value, list | tuple) and isinstance(part, int)) else value
    *_, found = _along(annotation, place)
    definitions = TypeAdapter(annotation).json_schema().get("$defs", {})
    kinds = [kind for each in found for kind in _alternatives(each, definitions)]
    return list(dict.fromkeys(key for kind in kinds for key in kind.get("properties", {}) if key not in value))


def _description(annotation: Any, place: Sequence[int | str]) -> str:
    """What is said of the value at `place`, or of the innermost one around it of which something is said."""
    told = [one["description"] for found in _along(annotation, place) for one in found[:1] if "description" in one]
    return " ".join(told[-1].split()) if len(told) else ""


def _word(count: int) -> str:
    return WORDS[count] if count < len(WORDS) else str(count)


def suggestion(name: str, known: Iterable[str]) -> str:
    """A hint at a known name that `name` is much like.

    It is ", did you mean ...?" where one of `known` is much like `name`, else nothing.
    """
    alike = get_close_matches(name, list(known), n=1)
    return f", did you mean {alike[0]}?" if alike else ""
