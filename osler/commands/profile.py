"""`osler profile`: make a profile the params in force, or compare it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from osler.build.files import write_bytes, write_text
from osler.build.pipeline import ROOT, read_params
from osler.build.profiles import parsed, profile
from osler.build.reruns import leaves
from osler.build.section import BuildError
from osler.build.validation import PARAMS
from osler.commands.added_benchmarks import Added, add, profile_named, table_of
from osler.commands.check import check
from osler.commands.fetched import reachable
from osler.commands.first_profile import first_profile


def filled(text: str, root: str | None) -> str:
    """The profile `text` with its `root` set; comments stay.

    What is downloaded is reached from there.


    Raises:
        BuildError: the profile needs a root and got none, or a relative one.
    """
    lines = text.splitlines(keepends=True)
    index = next((number for number, line in enumerate(lines) if line.startswith("root:")), None)
    if index is None:
        raise BuildError("the profile has no key `root`")
    if root is not None:
        if not Path(root).is_absolute():
            raise BuildError(
                f"--root {root}: must be absolute, or `dvc exp run --temp` and `--queue` would not find it"
            )
        lines[index] = f"root: {json.dumps(root)}\n"
    elif lines[index].split(":", 1)[1].split("#")[0].strip() in ("", "null"):
        raise BuildError(
            "this profile needs --root, the absolute folder that its data lies in (make profile ... ROOT=...)"
        )
    return reachable("".join(lines))


def put_in_force(text: str, root: str | None) -> None:
    """Make the profile `text` the params, or leave them as they were.

    Raises:
        BuildError: the first problem found.
    """
    before = (ROOT / PARAMS).read_bytes() if (ROOT / PARAMS).is_file() else None
    write_text(ROOT / PARAMS, filled(text, root))
    try:
        check(ROOT)
    except BuildError as error:
        if before is not None:
            write_bytes(ROOT / PARAMS, before)
        raise BuildError(f"{error}; {PARAMS} is left as it was") from None


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """A line for each key that differs.

    It says what the value was and what it would be. What is off or empty is none.
    """
    was, now = (
        {key: value for key, value in leaves(one).items() if value not in (None, {})} for one in (before, after)
    )
    lines = []
    for key in dict.fromkeys((*was, *now)):
        if (one := was.get(key)) != (other := now.get(key)):
            old, new = ("unset" if value is None else json.dumps(value, ensure_ascii=False) for value in (one, other))
            lines.append(f"{key}: {old} -> {new}")
    return lines


def say(names: Sequence[str], root: str | None, diff: bool, new: Path | None) -> None:
    """Write a profile over params.yaml, or print instead.

    Printed is what the profile would change, or a new profile for a folder.

    Raises:
        BuildError: no name, no such profile, or one that does not pass the check.
    """
    if len(names) > 1:
        raise BuildError(f"{' '.join(names)}: one profile can be in force; name one")
    name = next(iter(names), None)
    if new:
        if name:
            raise BuildError(f"--new prints a profile of its own; leave {name} out")
        print(first_profile(new), end="")
        return
    if not name:
        raise BuildError(
            "name a profile: a file of profiles/, without .yaml; `osler check` checks the params there are"
        )
    text = profile(ROOT, name)
    if diff:
        lines = difference(read_params(ROOT / PARAMS), parsed(text, name))
        print("\n".join(lines) if lines else f"{PARAMS} has the values of profiles/{name}.yaml")
        return
    if root and not Path(root).is_dir():
        raise BuildError(f"--root {root}: no such folder; {PARAMS} is left as it was")
    put_in_force(text, root)
    print(f"{PARAMS} is now profiles/{name}.yaml; `osler profile default` brings the default back")


def say_added(names: Sequence[str], to: str | None) -> None:
    """Add benchmarks of the catalogue to params.yaml, or to a profile.

    Raises:
        BuildError: an unknown name, or one that is taken.
    """
    add(Added(tuple(dict.fromkeys(names)), profile_named(to) if to else None))


def say_benchmarks() -> None:
    """Print the benchmarks that can be named."""
    print(table_of())
