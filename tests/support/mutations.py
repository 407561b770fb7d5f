"""Seeded mutations of params, as a tired or a hostile hand would make them."""

import copy
import datetime
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

Place = tuple[str | int, ...]
MISSING = object()


class Mutation(NamedTuple):
    """Params with one change."""

    profile: str
    place: Place
    kind: str
    params: dict[str, Any]

    @property
    def value(self) -> Any:
        """What stands at the place now; MISSING where nothing does, also where it was renamed."""
        found: Any = self.params
        for key in self.place:
            try:
                found = found[key]
            except (KeyError, IndexError, TypeError):
                return MISSING
        return MISSING if self.kind == "deleted" else found


def places(value: Any, above: Place = ()) -> Iterator[Place]:
    """Every leaf and every subtree below `value`."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield (*above, key)
        yield from places(one, (*above, key))


REPLACED: dict[str, Callable[[Any], Any]] = {
    "null": lambda _: None,
    "list": lambda _: [],
    "mapping": lambda _: {},
    "blank": lambda _: "",
    "text": lambda _: "nonesuch",
    "boolean": lambda _: True,
    "in a list": lambda old: [old],
    "as text": str,
    "date": lambda _: datetime.date(2024, 2, 29),
    "time": lambda _: datetime.datetime(2024, 2, 29, 1, 2),
    "bytes": lambda _: b"\x00\xff",
}
NUMBERS: dict[str, Callable[[Any], Any]] = {
    "not a number": lambda _: float("nan"),
    "infinite": lambda _: float("inf"),
    "negative": lambda old: -old or -1,
    "minus infinite": lambda _: float("-inf"),
    "zero": lambda old: type(old)(0),
    "tiny": lambda _: 5e-324,
    "huge": lambda old: type(old)(10**30),
    "larger": lambda old: old * 10,
    "largest": lambda _: 1.7e308,
    "beyond int64": lambda _: 1 << 63,
    "off by one": lambda old: old + 1,
    "a fraction": lambda old: old + 0.5,
}
TEXTS: dict[str, Callable[[Any], Any]] = {
    "parent": lambda old: f"../{old}",
    "far parent": lambda old: f"{old}/../../..",
    "absolute": lambda _: "/etc",
    "case": str.swapcase,
    "typing error": lambda old: old[:-1],
    "NUL": lambda old: f"{old}\x00",
    "surrogate": lambda old: f"{old}\ud800",
    "braces": lambda old: f"{old}{{",
    "template": lambda old: f"{old}${{root}}",
    "lines": lambda old: f"{old}\nnext",
    "long": lambda old: old * 10_000,
    "exponential": lambda _: "(?:a|a)*b|(?:x+x+)+y|(?: | )*\\Z",
    "blanks": lambda old: f" {old} ",
}


def _delete(params: Any, key: Any) -> None:
    del params[key]


def _extra(params: Any, key: Any) -> None:
    params[key] = {**params[key], "nonesuch": 1}


def _twice(params: Any, key: Any) -> None:
    params[key] = [*params[key], params[key][0]]


def _twin(params: Any, key: Any) -> None:
    params[key.swapcase()] = copy.deepcopy(params[key])


def _renamed(params: Any, key: Any) -> None:
    params[f"{key}x"] = params.pop(key)


def _swapped(params: Any, key: Any) -> None:
    other = key.replace("minimum", "maximum")
    params[key], params[other] = params[other], params[key]


def _cycle(params: Any, key: Any) -> None:
    params[key] = params


def _doubled(params: Any, key: Any) -> None:
    """Lists of lists of ..., each anchor twice in the next one: a gigabyte, written out."""
    value: Any = params[key]
    for _ in range(30):
        value = [value, value]
    params[key] = value


def changes(params: Any, place: Place) -> dict[str, Callable[[Any, Any], None]]:
    """What may be done at a place: kind -> a function of what is above and the key there."""
    above = params
    for key in place[:-1]:
        above = above[key]
    key, old = place[-1], above[place[-1]]
    values = dict(REPLACED)
    if isinstance(old, int | float) and not isinstance(old, bool):
        values |= NUMBERS
    if isinstance(old, str) and old:
        values |= TEXTS
    found: dict[str, Callable[[Any, Any], None]] = {
        kind: (lambda inside, key, value=value: inside.__setitem__(key, value(inside[key])))  # type: ignore[misc]
        for kind, value in values.items()
    }
    found |= {"deleted": _delete, "cycle": _cycle, "doubled": _doubled}
    if isinstance(old, dict):
        found["extra"] = _extra
    if isinstance(old, list) and old:
        found["twice"] = _twice
    if isinstance(key, str):
        found |= {"twin": _twin, "renamed": _renamed}
        if "minimum" in key and key.replace("minimum", "maximum") in above:
            found["swapped"] = _swapped
    return found


def mutations(originals: dict[str, dict[str, Any]], count: int, seed: int) -> Iterator[Mutation]:
    """`count` mutations, each of one of the originals; all kinds are equally likely, so that rare ones come up.

    Args:
        originals: name -> params.
        count: of them.
        seed: the same one gives the same mutations.
    """
    rng = random.Random(seed)
    everywhere = [
        (name, place, kind)
        for name, params in originals.items()
        for place in places(params)
        for kind in changes(params, place)
    ]
    kinds = sorted({kind for *_, kind in everywhere})
    for _ in range(count):
        kind = rng.choice(kinds)
        name, place, _ = rng.choice([one for one in everywhere if one[2] == kind])
        params = copy.deepcopy(originals[name])
        above: Any = params
        for key in place[:-1]:
            above = above[key]
        changes(params, place)[kind](above, place[-1])
        yield Mutation(name, place, kind, params)
