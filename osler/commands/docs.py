"""`osler docs`: write what is generated in README.md and docs/.

With `--check` it only says what is out of date.

A generated part of a page stands between `<!-- name -->` and `<!-- /name -->`; docs/params.md and docs/commands.md are generated
as a whole. The tests compare every part with what is written, so that a page that is not up to date does not pass.
"""

import importlib
import re
import subprocess
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import typer
from pydantic.fields import FieldInfo

from osler.build.files import write_text
from osler.build.pipeline import ROOT
from osler.build.section import BuildError, Section
from osler.evaluation.catalogue import listed
from osler.training.launch import Launch

Grid = list[list[str]]  # rows of a table, the header first
WIDTH = 100  # characters of a line of help
NOTE = "<!-- written by `osler docs` -->\n"


def collapsed(mermaid: str) -> str:
    """The graph of `dvc dag --mermaid`, smaller.

    Instances of a stage are one node.
    """
    names = dict(re.findall(r'^\s*(\w+)\["(.+?)"\]', mermaid, re.M))
    stage = {node: name.partition("@")[0] for node, name in names.items()}
    several = {name.partition("@")[0] for name in names.values() if "@" in name}
    edges = {(stage[a], stage[b]) for a, b in re.findall(r"^\s*(\w+)-->(\w+)", mermaid, re.M)}
    edges = {(a, b) for a, b in edges if a != b and a != "code"}  # every stage depends on its own code
    lines = [
        f'    {name}["{name}{"@..." if name in several else ""}"]' for name in sorted(set(stage.values()) - {"code"})
    ]
    return "\n".join(["flowchart TD", *lines, *(f"    {a} --> {b}" for a, b in sorted(edges))])


def dag() -> str:
    """The DAG as a Mermaid block, from `dvc dag`."""
    command = [sys.executable, "-m", "dvc", "dag", "--mermaid"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return f"```mermaid\n{collapsed(printed)}\n```"


EXCERPT = ("Accuracy", "Claims", "Bits per byte", "Contamination")  # sections of the report in docs/evaluation.md


def sections(report: str) -> dict[str, str]:
    """The sections of EXCERPT by name, in the report's order.

    Raises:
        BuildError: one is missing.
    """
    parts = {part.partition("\n")[0]: part for part in re.split(r"^## ", report, flags=re.M)}
    if missing := [name for name in EXCERPT if name not in parts]:
        raise BuildError(f"metrics/report.md: no section {', '.join(missing)}")
    return {name: f"## {part}" for name, part in parts.items() if name in EXCERPT}


def results(report: str) -> str:
    """The sections of EXCERPT, one heading level down, figures left out."""
    text = "".join(sections(report).values())
    text = re.sub(r"^!\[.*\n+", "", text, flags=re.M)
    return re.sub(r"^(#+ )", r"#\1", text, flags=re.M).strip()


def first_table(text: str) -> Grid:
    """The cells of the first table in a Markdown text."""
    found = re.search(r"(?:^\|.*\n?)+", text, re.M)
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in (found[0] if found else "").splitlines()]
    return rows[:1] + rows[2:]


def table(rows: Grid) -> str:
    """A Markdown table; a `|` in a cell is escaped."""
    shown = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return "\n".join([f"| {shown[0]} |", "|" + " --- |" * len(rows[0]), *(f"| {row} |" for row in shown[1:])])


def columns(rows: Grid, names: Iterable[str]) -> Grid:
    """These columns of a table, in this order."""
    places = [rows[0].index(name) for name in names]
    return [[row[place] for place in places] for row in rows]


def exceptions(accuracy: str, names: Iterable[str]) -> list[str]:
    """Which strategies were asked of fewer seeds or items, the report says."""
    shown = set(names)
    on_seeds = re.search(r"Over (\d+) training seeds, fewer for (.*?);", accuracy)
    on_items = re.search(r"On fewer items: (.*?)\.", accuracy)
    fewer = re.finditer(r"(\w+)(?: of [^()]+)? \(\d+\)", on_seeds[2] if on_seeds else "")
    seeds = [one[0] for one in fewer if one[1] in shown]
    items = [one for one in (on_items[1].split("; ") if on_items else []) if one.partition(",")[0] in shown]
    said = []
    if on_seeds and seeds:
        said.append(
            f"Over {on_seeds[1]} training seeds, but {', '.join(seeds)}: compare these with zero_shot on the same seed, which the"
            " report has."
        )
    return [*said, *([f"On fewer items: {'; '.join(items)}."] if items else [])]


def headline(report: str) -> str:
    """One table of models and one of claims.

    Models have the strategies that every one of them answered, and bits per byte.
    """
    parts = sections(report)
    accuracy, bits, claims = (first_table(parts[name]) for name in ("Accuracy", "Bits per byte", "Claims"))
    whole = [name for place, name in enumerate(accuracy[0]) if all(row[place] for row in accuracy)]
    of_model = {row[0]: row[1:] for row in bits}
    joined = [row + of_model[row[0]] for row in columns(accuracy, whole)]
    joined[0] = [*whole, *(f"bits, {domain}" for domain in bits[0][1:])]
    guessing = re.search(r"Guessing gives .*? %\.", parts["Accuracy"])
    verdicts = [row for row in claims if not row[0].startswith("·")]  # without the contrasts of a claim
    shown = ("claim", "verdict", "points", "interval", "items", "seeds")
    said = [
        "Accuracy in percent where every model answered, and bits per byte of held-out text, with 95 % intervals.",
        *([f"{guessing[0]} A † marks an interval that includes chance."] if guessing else []),
        *exceptions(parts["Accuracy"], whole),
    ]
    return "\n".join([" ".join(said), "", table(joined), "", table(columns(verdicts, shown))])


def filled(page: str, name: str, content: str, file: str = "README.md") -> str:
    """`page` with the part `name` replaced; the markers must be there once.

    Raises:
        BuildError: they are not.
    """
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
    if len(pattern.findall(page)) != 1:
        raise BuildError(f"{file}: needs <!-- {name} --> and <!-- /{name} --> once")
    return pattern.sub(lambda found: found.group(1) + content + "\n" + found.group(2), page)


class Key(NamedTuple):
    """A row of docs/params.md."""

    key: str
    type: str
    range: str
    unit: str
    description: str


@dataclass
class Described:
    """A section of params.yaml: its value, and which stages read it."""

    annotation: Any
    is_named: bool = False  # a mapping of names to such sections
    stages: list[str] = field(default_factory=list)


SAME = ("bytes", "characters", "documents", "epochs", "items", "points", "rows", "samples", "steps", "tokens", "words")
UNITS = {"fraction": "share of 1", **{name: name for name in SAME}}
NOT_READ = (
    "Used by dvc.yaml: it says which stages there are, and where.",
    "Read by no stage: a change of it reruns nothing.",
)
BY_HAND = {  # used by dvc.yaml's templates, declared by no stage
    key: Key(key, kind, "", "", text)
    for key, kind, text in (
        ("root", "text", "folder that every `path` is relative to; absolute, but for the default's own"),
        ("corpus", "mapping of name to text", "the sources that are text to train on, with their collections"),
        ("ratings", "text", "CSV of what people say of judged texts: key, rater, verdict"),
        ("evaluated", "list of text", "folders of models/ that are asked; each once"),
    )
}


def either(names: Iterable[str]) -> str:
    """Names as a choice: "a, b or c"."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def type_text(annotation: Any) -> str:
    """A type in words, as a person writes it in YAML."""
    arguments = get_args(annotation)
    match get_origin(annotation):
        case typing.Annotated:
            return type_text(arguments[0])
        case typing.Union | types.UnionType:
            return either("null" if one is type(None) else type_text(one) for one in arguments)
        case typing.Literal:
            return either(f"`{one}`" for one in arguments)
        case origin if origin is tuple and arguments[-1] is not Ellipsis:
            return f"{len(arguments)} of {type_text(arguments[0])}"
        case origin if origin in (tuple, list):
            return f"list of {type_text(arguments[0])}"
        case origin if isinstance(origin, type) and issubclass(origin, Mapping):
            return f"mapping of name to {type_text(arguments[1])}"
    if section_of(annotation):
        return "section"
    known = {bool: "true or false", int: "whole number", float: "number", str: "text", Any: "value"}
    return known.get(annotation, str(annotation))


def section_of(annotation: Any) -> type[Section] | None:
    """The Section that a value is, or that its entries are."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(section_of, get_args(annotation))), None)


def constraints(annotation: Any) -> Iterator[Any]:
    """What is demanded of a value and of its parts."""
    if get_origin(annotation) is Annotated:
        for one in annotation.__metadata__:
            yield from one.metadata if isinstance(one, FieldInfo) else [one]
    for one in get_args(annotation) if get_origin(annotation) is not Literal else ():
        yield from constraints(one)


def range_text(demanded: Iterable[Any]) -> str:
    """Bounds in words, without the highest seed there can be."""
    bounds = {
        name: getattr(one, name)
        for one in demanded
        for name in ("ge", "gt", "le", "lt", "min_length", "pattern")
        if getattr(one, name, None) is not None
    }
    lowest, highest = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    if highest is not None and highest >= 1 << 62:
        highest = None  # of seeds
    upper = "" if highest is None else f"{'at most' if 'le' in bounds else 'below'} {highest:g}"
    said = [upper] if upper else []
    if lowest is not None and "ge" in bounds and upper:
        said = [f"{lowest:g} to {upper.removeprefix('at most ')}"]
    elif lowest is not None:
        said = [f"{'at least' if 'ge' in bounds else 'above'} {lowest:g}", *said]
    if "min_length" in bounds:
        said.append("not empty")
    if "pattern" in bounds:
        said.append(f"matches `{bounds['pattern']}`")
    return ", ".join(said)


def keys(section: type[Section], prefix: str = "") -> Iterator[Key]:
    """The rows of a section.

    Those of an inner section follow its key.
    """
    hints = get_type_hints(section, include_extras=True)
    for name, about in section.model_fields.items():
        key, inner = f"{prefix}{about.alias or name}", section_of(hints[name])
        description = about.description or next(
            (one.description for one in getattr(hints[name], "__metadata__", ()) if isinstance(one, FieldInfo)), None
        )
        kind = type_text(hints[name])
        if not about.is_required():
            kind = f"{kind.removesuffix(' or null')}, may be absent"
        demanded = [*constraints(hints[name]), *about.metadata]
        yield Key(
            f"`{key}`",
            kind,
            range_text(demanded),
            UNITS.get(name.split("_")[-1], ""),
            description or "the keys below" * bool(inner),
        )
        if inner:
            yield from keys(inner, f"{key}.")


def rows_of(annotation: Any, prefix: str) -> list[Key]:
    """The rows of a section, or of all sections of a union."""
    found: dict[str, Key] = {}
    union = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    for row in [row for one in map(section_of, get_args(union) or [union]) if one for row in keys(one, prefix)]:
        if row.type not in (before := found.setdefault(row.key, row)).type:
            found[row.key] = before._replace(type=f"{before.type} or {row.type}")
    return list(found.values())


def read_yaml(file: str) -> Any:
    """A file of the project as DVC reads it."""
    from dvc.utils.serialize import load_yaml

    return load_yaml(str(ROOT / file))


def described_sections() -> dict[str, Described]:
    """Every section that a stage declares in dvc.yaml, and `launch`."""
    found = {"launch": Described(Launch)}
    for stage, entry in read_yaml("dvc.yaml")["stages"].items():
        hints = get_type_hints(importlib.import_module(f"stages.{stage}").main, include_extras=True)
        for declared in entry.get("do", entry).get("params", ()):
            name, _, rest = declared.partition(".")
            hint = hints.get(name)
            if name not in found or (section_of(hint) and not section_of(found[name].annotation)):
                found[name] = Described(hint, rest == "${key}", found[name].stages if name in found else [])
            found[name].stages.append(stage)
    return found


def params_page() -> str:
    """docs/params.md: every section of params.yaml, in its order."""
    known = described_sections()
    blocks = [
        f"{NOTE}\n# Params",
        "Every section of params.yaml, from the field descriptions in the code. Comments in params.yaml and profiles/ say why a"
        " value is what it is.",
        "A key that *may be absent* is off, or has its default, without it. `name.` stands for names that you choose. A change"
        " reruns the stages that read the section, and what depends on them.",
    ]
    for section in read_yaml("params.yaml"):
        about = known.get(section)
        if about and section_of(about.annotation):
            rows = rows_of(about.annotation, "name." if about.is_named else "")
        elif about:
            described = next((one for one in about.annotation.__metadata__ if isinstance(one, FieldInfo)), None)
            text = (described and described.description) or ""
            limits = range_text(constraints(about.annotation))
            rows = [Key(f"`{section}`", type_text(about.annotation), limits, "", text)]
        else:
            rows = [BY_HAND[section]._replace(key=f"`{section}`")]
        readers = ", ".join(f"`{name}`" for name in about.stages) if about else ""
        blocks.append(f"## {section}")
        blocks.append(f"Read by {readers}." if readers else NOT_READ[section == "launch"])
        blocks.append(table([["key", "type", "range", "unit", "description"], *map(list, rows)]))
    return "\n\n".join(blocks) + "\n"


def helps(app: typer.Typer) -> list[tuple[str, str]]:
    """Each command of `osler` that is shown, and its help text."""
    from typer.testing import CliRunner

    shown = [name for name, command in typer.main.get_command(app).commands.items() if not command.hidden]  # type: ignore[attr-defined]

    def printed(*arguments: str) -> str:
        return CliRunner().invoke(app, [*arguments, "--help"], prog_name="osler", terminal_width=WIDTH).output

    return [("osler", printed()), *((f"osler {name}", printed(name)) for name in shown)]


def commands_page(texts: Sequence[tuple[str, str]]) -> str:
    """docs/commands.md: a section for each (command, its help text)."""
    blocks = [f"{NOTE}\n# Commands", "What `--help` of each command says. `make help` lists the targets of make."]
    for command, text in texts:
        lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
        blocks.append(f"## {command}\n\n```text\n{lines}\n```")
    return "\n\n".join(blocks) + "\n"


PARTS: Mapping[str, Mapping[str, Callable[[str], str]]] = {
    "README.md": {"results": headline},
    "docs/architecture.md": {"dag": lambda _: dag()},
    "docs/evaluation.md": {"results": results, "benchmarks": lambda _: table(listed())},
}
"""File -> part -> what stands in it, given metrics/report.md."""


def pages(root: Path, app: typer.Typer) -> dict[str, str]:
    """File -> what it should say."""
    report = (root / "metrics/report.md").read_text(encoding="utf-8")
    made = {"docs/params.md": params_page(), "docs/commands.md": commands_page(helps(app))}
    for file, parts in PARTS.items():
        made[file] = (root / file).read_text(encoding="utf-8")
        for name, content in parts.items():
            made[file] = filled(made[file], name, content(report), file)
    return made


def stale(written: Mapping[str, str], root: Path) -> list[str]:
    """The files below `root` that do not say what they should."""
    return [
        file
        for file, text in sorted(written.items())
        if not (root / file).is_file() or (root / file).read_text(encoding="utf-8") != text
    ]


def say(app: typer.Typer, check: bool) -> None:
    """Write what is out of date, or only name it.

    Raises:
        BuildError: `check`, and something is.
    """
    made = pages(ROOT, app)
    old = stale(made, ROOT)
    if check and old:
        raise BuildError(f"{', '.join(old)}: not as generated; run `osler docs`")
    for file in old:
        write_text(ROOT / file, made[file])
        print(f"{file}: written")
