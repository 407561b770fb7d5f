"""`osler profile --add-benchmark`: benchmarks of the catalogue as sections of params.yaml and of a profile.

A file is changed by lines, so that what else stands in it stays as it is: an entry goes to the end of its table. What then
does not read as meant is written anew as a whole, with its comments.
"""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path
from typing import Any

import yaml

from osler.build.files import write_text
from osler.build.pipeline import ROOT
from osler.build.profiles import EXTENDS, FOLDER, parsed, profile, profile_names, written
from osler.build.section import BuildError
from osler.build.validation import PARAMS, suggestion
from osler.commands.docs import table
from osler.commands.fetched import RAW, reachable
from osler.evaluation.catalogue import CATALOGUE, KnownBenchmark, listed, lookup

WRITTEN_BY = re.compile(r"# Written by `osler profile ([\w.-]+)`")
DEFAULT = "default"
TABLES = ("download", "benchmark", "task")


@dataclass(frozen=True)
class Added:
    """What was asked.

    Names of the catalogue, and the profile that they go to, if not what is in force.
    """

    names: tuple[str, ...]
    profile: str | None = None


def known(name: str) -> KnownBenchmark:
    """A benchmark of the catalogue.

    Raises:
        BuildError: there is none of that name.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    if name in profile_names(ROOT):
        raise BuildError(f"--add-benchmark: {name} is a profile; `--to {FOLDER}/{name}.yaml` adds to it")
    raise BuildError(
        f"--add-benchmark: {name}: no such benchmark{suggestion(name, CATALOGUE)}; there are {', '.join(CATALOGUE)}"
    )


def profile_of(text: str) -> str | None:
    """The profile that params.yaml was written from.

    By its first line; None for the default, and where nothing tells.
    """
    found = WRITTEN_BY.match(text)
    return found[1] if found and found[1] in profile_names(ROOT) else None


def profile_named(to: str) -> str:
    """The profile that `--to` means.

    Raises:
        BuildError: it is no file of profiles/.
    """
    path = Path(to)
    if path.stem in profile_names(ROOT) and path in (
        Path(path.stem),
        *(Path(FOLDER, path.stem + end) for end in ("", ".yaml")),
    ):
        return path.stem
    raise BuildError(f"--to {to}: no file of {FOLDER}/; there are {', '.join(profile_names(ROOT))}")


def missing(params: Mapping[str, Any], names: Sequence[str], file: str) -> dict[str, dict[str, Any]]:
    """The sections of the catalogue that `params` lack.

    They are by table and name.


    Raises:
        BuildError: a name is taken by another section.
    """
    lacking: dict[str, dict[str, Any]] = {kind: {} for kind in TABLES}
    for name in names:
        sections = known(name).sections(name)
        other = "benchmark" if "task" in sections else "task"
        if name in (params.get(other) or {}):
            raise BuildError(
                f"{file}: {other}.{name}: is there, and task and benchmark cannot have one name; rename it"
            )
        for kind, section in sections.items():
            there = (params.get(kind) or {}).get(name)
            if there is None:
                lacking[kind][name] = section
            elif not _is_same(kind, name, there, section):
                own = there.get("repository" if kind == "download" else "path")
                raise BuildError(
                    f"{file}: {kind}.{name}: is there, and reads {own}, not what the catalogue brings; take it out or rename it"
                )
    return lacking


def _is_same(kind: str, name: str, there: Mapping[str, Any], section: Mapping[str, Any]) -> bool:
    """Whether a section is the catalogue's: of the same place; what else was set stays its user's."""
    if kind == "download":
        return bool(there.get("repository") == section["repository"])
    path = normpath(str(there.get("path")))
    return there.get("format") == section["format"] and (path == section["path"] or path.endswith(f"/{RAW}/{name}"))


def lines_of(name: str, section: Mapping[str, Any], about: str) -> list[str]:
    """An entry of a table."""
    first, *others = written({name: dict(section)}).rstrip("\n").split("\n")
    return [f"  {line}" for line in (f"{first}{about}", *others)]


def extended(text: str, added: Mapping[str, Mapping[str, Any]], inherited: Mapping[str, Any], file: str) -> str:
    """The YAML `text` with entries in tables.

    Args:
        text: params.yaml or a profile.
        added: table -> name -> section.
        inherited: the tables of what a profile extends. One that it names replaces the whole, so they are written along.
        file: for messages.
    """
    lines, before = text.rstrip("\n").split("\n"), parsed(text, file)
    wanted = _values(before)
    for kind, entries in added.items():
        if not entries:
            continue
        table_ = wanted.get(kind)
        others = {} if kind in wanted or kind not in inherited else dict(inherited[kind] or {})
        wanted[kind] = {**(table_ or {}), **others, **entries}
        block = [line for name, own in others.items() for line in lines_of(name, own, "")]
        block += [line for name, own in entries.items() for line in lines_of(name, own, _about(kind, name))]
        start = next((at for at, line in enumerate(lines) if re.match(rf"{kind}:(\s|$)", line)), None)
        if start is None:
            lines += ["", f"{kind}:", *block]
            continue
        lines[start] = re.sub(rf"^{kind}:\s*\{{\s*\}}", f"{kind}:", lines[start])
        end = start + 1
        while end < len(lines) and (not lines[end].strip() or lines[end].startswith((" ", "\t"))):
            end += 1
        while not lines[end - 1].strip():
            end -= 1
        lines[end:end] = block
    new = "\n".join(lines) + "\n"
    if _reads_as(new, wanted):
        return new
    for kind, entries in added.items():
        if entries:
            before[kind] = wanted[kind]
    return written(before)


def _reads_as(text: str, wanted: Mapping[str, Any]) -> bool:
    """Whether a text is YAML with these values; a table that stands in one line, say, cannot be lengthened by lines."""
    try:
        return _values(parsed(text, PARAMS)) == wanted
    except BuildError:
        return False


def _about(kind: str, name: str) -> str:
    own = CATALOGUE[name]
    return (
        f" # license {own.license}; {own.paper}"
        if kind == "download"
        else f" # asked: {own.asked}; solved: {own.solved}"
    )


def _values(params: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values of parsed YAML."""
    stream = io.StringIO(written(params))
    values: dict[str, Any] = yaml.safe_load(stream)
    return values


def add(asked: Added) -> None:
    """Write the sections; say what was written.

    And what to run next.


    Raises:
        BuildError: an unknown name, or one that is taken; nothing is written then.
    """
    new: dict[str, str] = {}
    told: list[str] = []
    in_force = (ROOT / PARAMS).read_text(encoding="utf-8") if (ROOT / PARAMS).is_file() else ""
    target = asked.profile or profile_of(in_force)
    if not asked.profile:
        lacking = missing(parsed(in_force, PARAMS), asked.names, PARAMS)
        new[PARAMS] = reachable(extended(in_force, lacking, {}, PARAMS)) if any(lacking.values()) else in_force
        told.append(_told(PARAMS, lacking))
    if target:
        file = f"{FOLDER}/{target}.yaml"
        text, whole = (ROOT / file).read_text(encoding="utf-8"), parsed(profile(ROOT, target), file)
        lacking = missing(whole, asked.names, file)
        above = whole if EXTENDS in parsed(text, file) else {}
        new[file] = extended(text, lacking, above, file) if any(lacking.values()) else text
        told.append(_told(file, lacking))
    for file, text in new.items():
        if text != ((ROOT / file).read_text(encoding="utf-8") if (ROOT / file).is_file() else ""):
            write_text(ROOT / file, text)
    print("\n".join(told))
    if not target:
        print(
            f"no profile has them: {PARAMS} was written from the default or by hand; --to {FOLDER}/NAME.yaml adds to one"
        )
    for name in asked.names:
        own = CATALOGUE[name]
        if own.revision is None:
            print(f"{name}: its commit is to be stated: `{lookup(own.repository, own.branch)}`")
        else:
            print(f"{name}: {own.repository} at {own.revision[:12]} ({own.seen}); license {own.license}; {own.paper}")
    stages = " ".join(f"{CATALOGUE[name].kind}s@{name}" for name in asked.names)
    if judged := [name for name in asked.names if CATALOGUE[name].task is not None]:
        print(f"{', '.join(judged)}: name a `judge` that reads what is written: docs/judges.md")
    before = f"osler profile {target} --root FOLDER && " if asked.profile else ""
    print(f"next: {before}osler check && dvc repro {stages}")


def _told(file: str, lacking: Mapping[str, Mapping[str, Any]]) -> str:
    wrote = [f"{kind}.{name}" for kind, entries in lacking.items() for name in entries]
    return f"{file}: {', '.join(wrote)} written" if wrote else f"{file}: has them already; nothing changed"


def table_of() -> str:
    """The catalogue as a table."""
    return table(listed())
