"""Bind a stage's `main` to the paths and params that dvc.yaml declares for it. The only file that knows DVC's insides,
but for other revisions (revisions.py).

A stage's command is `python -m stages.<name>`, without paths and numbers. DVC sets DVC_STAGE to the running stage, for
example `screen@notes`; this module asks DVC for that stage's deps, outs and params and calls `main` by argument name:

* an artifact's name is the path component after data/, results/, metrics/ or build/, without suffix
  (`data/documents/clinical/notes` is `documents`, `metrics/eval.json` is `eval`); several of one name arrive as a sorted
  tuple; a path outside those folders is `raw`
* `models/encoders` is `encoders`; `models/tokenizer` is `tokenizer` and anything else under models/ `model` as a dep; as an
  out both are `trained_model`
* a params section arrives as the model that its argument is annotated with, named after the first component of the key
  (`source.notes` is `source`); a single value is named after the last (`tokenizer.sample_limit_bytes`)
* `name` is the part after @, and `store` the stage's finished shards (stages/lib/store.py), for a `main` that asks for
  them; how many processes fill the store is `launch.jobs`, which no stage declares

Fingerprints (`build/*.fp`) are not bound as deps; the stage that writes them gets them all as `fingerprints`.
Costs half a second a stage: importing dvc and resolving dvc.yaml.
Written against dvc 3.67 (pinned): `ProjectFile.resolver`, after a failure `Repo.stage.load_one` and `Output.checkout`, and for
`stages.plan` `Repo.index.stages` with the status of their deps and outs.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from stages.lib.section import BuildError
from stages.lib.store import Store

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

ROOT = Path(__file__).resolve().parents[2]
PARAMS = "params.yaml"
MISSING = object()
SHOWN_CHARACTERS = 80  # of a wrong value
SHOWN_PROBLEMS = 5  # in one line
FOLDERS = ("data", "results", "metrics", "build")
Jobs = Annotated[int, Field(ge=1, description="processes of a stage that treats its input file by file")]


@dataclass(frozen=True)
class Declaration:
    """What dvc.yaml says of one stage: paths as written there, params as key -> value (absent where the key is)."""

    name: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    params: Mapping[str, Any]
    missing_params: tuple[str, ...] = ()


def artifact_name(path: str, is_out: bool) -> str | None:
    """The argument that `path` binds to; None for a fingerprint that is only depended on."""
    parts = PurePosixPath(path).parts
    if path.endswith(".fp"):
        return "fingerprints" if is_out else None
    if parts[:2] == ("models", "encoders"):
        return "encoders"
    if parts[0] == "models":
        return "trained_model" if is_out else "tokenizer" if parts[1] == "tokenizer" else "model"
    if parts[0] in FOLDERS and len(parts) > 1:
        return parts[1].split(".")[0]
    return "raw"


def param_name(key: str, value: Any) -> str:
    """The argument that a params key binds to: a section by its first component, a single value by its last."""
    parts = key.split(".")
    return parts[0] if isinstance(value, Mapping) else parts[-1]


def validated(key: str, value: Any, annotation: Any, file: str = PARAMS) -> Any:
    """`value` as `annotation`, strictly (through JSON, so that a list in YAML may be a tuple).

    Raises:
        BuildError: names the file, each key at fault, what it should be and what it is.
    """
    try:
        return TypeAdapter(annotation).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        problems = error.errors()
        missing = {problem["loc"] for problem in problems if problem["type"] == "missing"}
        lines = [_problem(key, problem, missing) for problem in problems]
        more = f"; and {len(lines) - SHOWN_PROBLEMS} more" if len(lines) > SHOWN_PROBLEMS else ""
        raise BuildError(f"{file}: {'; '.join(lines[:SHOWN_PROBLEMS])}{more}") from None
    except (TypeError, ValueError) as error:
        raise BuildError(f"{file}: {key}: {error}") from None


def _problem(key: str, problem: "ErrorDetails", missing: set[tuple[int | str, ...]]) -> str:
    """One of pydantic's errors as "key: what is wrong (what it is)"; a mapping is not repeated, a long value is cut."""
    *above, last = problem["loc"] or ("",)
    where, message = ".".join([key, *map(str, problem["loc"])]), problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        meant = suggestion(str(last), [str(loc[-1]) for loc in missing if list(loc[:-1]) == above])
        return f"{where}: unknown key{meant or ', take it out'}"
    if problem["type"] == "missing":
        return f"{where}: {message}"
    if isinstance(problem["input"], dict | list) and problem["input"]:
        return f"{where}: {message}" + ("; put it in quotes" if problem["type"] == "string_type" else "")
    shown = repr(problem["input"])
    return f"{where}: {message} (it is {shown if len(shown) <= SHOWN_CHARACTERS else shown[:SHOWN_CHARACTERS] + '...'})"


def suggestion(name: str, known: Iterable[str]) -> str:
    """ ", did you mean ...?" where one of `known` is much like `name`, else nothing."""
    alike = get_close_matches(name, list(known), n=1)
    return f", did you mean {alike[0]}?" if alike else ""


def bound(main: Callable[..., None], declared: Declaration, root: Path, params: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments for `main`; of `params`, whole, only `launch.jobs` is read, for a `store`.

    Raises:
        BuildError: a declared path or param is no argument of `main`, an argument is not declared, or a value is invalid.
    """
    hints = get_type_hints(main, include_extras=True)
    hints.pop("return", None)
    values: dict[str, Any] = {}
    paths: dict[str, list[Path]] = {}
    for declared_paths, is_out in ((declared.deps, False), (declared.outs, True)):
        for path in declared_paths:
            if name := artifact_name(path, is_out):
                paths.setdefault(name, []).append(root / path)
    for name, found in paths.items():
        values[name] = found[0] if len(found) == 1 else tuple(sorted(found))
    if declared.missing_params:
        raise BuildError(f"{PARAMS}: {', '.join(declared.missing_params)}: missing; profiles/ and git have examples")
    for key, value in declared.params.items():
        name = param_name(key, value)
        if name in values:
            raise BuildError(f"dvc.yaml: {declared.name}: two declarations bind to the argument '{name}'")
        values[name] = validated(key, value, hints.get(name, Any))
    if "name" in hints and "name" not in values:
        values["name"] = declared.name.partition("@")[2]
    if "store" in hints:
        jobs = validated("launch.jobs", params.get("launch", {}).get("jobs"), Jobs)
        values["store"] = Store(root / "scratch" / "shards" / declared.name, jobs)
    undeclared = sorted(set(hints) - set(values))
    unused = sorted(set(values) - set(hints))
    if undeclared or unused:
        raise BuildError(
            f"dvc.yaml: {declared.name}: main's arguments and the declaration differ:"
            f" not declared {undeclared or 'none'}, not an argument {unused or 'none'}"
        )
    return values


def orphans(folder: Path, declared_outs: Iterable[Path]) -> list[Path]:
    """Entries below `folder` that no stage makes (left by a source since removed), outermost first.

    A folder that lies inside a declared out, or that holds none, is nobody's mixture and has no orphans.
    """
    outs = set(declared_outs)
    if folder in outs or any(parent in outs for parent in folder.parents):
        return []
    if not any(folder in out.parents for out in outs):
        return []
    found: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if entry in outs or entry.name in ("README.md", ".gitignore"):
            continue
        if entry.is_dir() and any(entry in out.parents for out in outs):
            found += orphans(entry, outs)
        else:
            found.append(entry)
    return found


def read_params(path: Path) -> dict[str, Any]:
    """The params file as DVC reads it (YAML 1.2).

    Raises:
        BuildError: it cannot be read, is no mapping, or repeats a key.
    """
    from dvc.utils.serialize import ParseError, load_yaml

    try:
        value = load_yaml(str(path))
    except (OSError, ParseError) as error:
        raise BuildError(f"{path.name}: {_yaml_problem(error.__cause__ or error)}") from None
    if not isinstance(value, dict) or not value:
        what = "no mapping of sections" if value else "empty"
        raise BuildError(f"{path.name}: {what}; `git checkout {path.name}` brings the default back")
    return value


YAML_ADVICE = {
    "mapping values are not allowed in this context": "put a value with a colon in quotes, or correct the indentation",
    "found character that cannot start any token": "indent with blanks, not with tabs",
}


def _yaml_problem(error: BaseException) -> str:
    """Line, problem and advice for what keeps a file from being YAML, without the excerpt of the text."""
    if isinstance(error, UnicodeDecodeError):
        return f"line {error.object[: error.start].count(10) + 1}: no UTF-8; save the file as UTF-8"
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    if not problem or not mark:
        return " ".join(str(error).split())
    problem, repeated, _ = " ".join(problem.split()).partition(' with value "')
    advice = "take one of the two out" if repeated else YAML_ADVICE.get(problem, "correct the line or the one before")
    return f"line {mark.line + 1}: {problem}; {advice}"


def declarations(root: Path, params: Mapping[str, Any]) -> dict[str, Declaration]:
    """What dvc.yaml declares, its templates resolved, by stage name; dvc.lock is not read, which is most of DVC's time.

    Raises:
        BuildError: a template in dvc.yaml names a key that params.yaml lacks, or the file is broken.
    """
    from dvc.dvcfile import load_file
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            stages = load_file(repo, str(root / "dvc.yaml")).resolver.resolve()["stages"]
    except DvcException as error:
        raise BuildError(f"{PARAMS}: {' '.join(str(error).split())}") from None
    return {name: _declaration(name, entry, params) for name, entry in stages.items()}


def _declaration(name: str, entry: Mapping[str, Any], params: Mapping[str, Any]) -> Declaration:
    values: dict[str, Any] = {}
    missing: list[str] = []
    for key in entry.get("params", ()):
        value: Any = params
        for part in key.split("."):
            value = value.get(part, MISSING) if isinstance(value, Mapping) else MISSING
        if value is MISSING:
            missing.append(key)
        else:
            values[key] = value
    outs = [
        path
        for kind in ("outs", "metrics", "plots")
        for out in entry.get(kind, ())
        for path in (out if isinstance(out, Mapping) else [out])
    ]
    return Declaration(name, tuple(entry.get("deps", ())), tuple(outs), values, tuple(missing))


@dataclass(frozen=True)
class Change:
    """How a stage differs from its last run, as DVC compares them.

    Paths are as dvc.yaml has them; `hashes` are DVC's, of the deps of the last run. `params` are the leaves that differ: key ->
    (then, now), MISSING where there is none. `lost_outs` are neither in the workspace nor in the cache.
    """

    never_run: bool
    command: bool
    params: Mapping[str, tuple[Any, Any]]
    deps: Mapping[str, str]  # path -> modified, deleted or new
    hashes: Mapping[str, str]
    lost_outs: tuple[str, ...]


def changes(root: Path) -> dict[str, Change]:
    """The change of each stage; nothing is locked or written. Hashes what changed on disk, as `dvc status` does.

    Raises:
        BuildError: dvc.yaml, dvc.lock or a template cannot be read.
    """
    from dvc.dependency import ParamsDependency
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    found: dict[str, Change] = {}
    try:
        with Repo(str(root)) as repo:
            for stage in repo.index.stages:
                deps = [dep for dep in stage.deps if not isinstance(dep, ParamsDependency)]
                params = [dep for dep in stage.deps if isinstance(dep, ParamsDependency)]
                words = {dep.def_path: next(iter(dep.status().values()), "") for dep in deps}
                leaves: dict[str, tuple[Any, Any]] = {}
                for dep in params:
                    then, now = (_leaves(values) for values in (dep.hash_info.value or {}, dep.read_params()))
                    pairs = {key: (then.get(key, MISSING), now.get(key, MISSING)) for key in (*then, *now)}
                    leaves |= {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
                lost = [
                    out.def_path
                    for out in stage.outs
                    if (word := next(iter(out.status().values()), "")) == "not in cache" or (word and not out.use_cache)
                ]
                found[stage.name] = Change(
                    not any(dep.hash_info for dep in deps),
                    bool(stage.cmd_changed),
                    leaves,
                    {path: str(word) for path, word in words.items() if word},
                    {dep.def_path: str(dep.hash_info.value) for dep in deps if dep.hash_info},
                    tuple(lost),
                )
    except DvcException as error:
        raise BuildError(f"{PARAMS}: {' '.join(str(error).split())}") from None
    return found


def _leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping) and (value or not prefix):
        return {
            key: leaf
            for name, part in value.items()
            for key, leaf in _leaves(part, f"{prefix}.{name}" if prefix else name).items()
        }
    return {prefix: list(value) if isinstance(value, tuple) else value}


def _restore(address: str) -> None:
    """Put back the outs of the last successful run: dvc removes them before it starts a stage, also one that then fails.

    Metrics and plots lie in Git, not in the cache: `git checkout metrics` brings those back.
    """
    from dvc.repo import Repo

    with Repo(str(ROOT)) as repo:
        for out in repo.stage.load_one(name=address).outs:
            if not (out.use_cache and out.hash_info) or out.changed_cache():  # never built, or no longer in the cache
                continue
            path = Path(out.fs_path)
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            try:
                out.checkout(force=True)
            except Exception as error:  # noqa: BLE001 - the failure to report is the stage's own, this is a courtesy
                print(f"osler: {out.def_path} could not be put back: {error}", file=sys.stderr)


def _prepare(declared: Declaration, everything: Iterable[Declaration]) -> None:
    """Remove orphans from the folders that the stage reads, and make the folders that its outs lie in."""
    outs = [ROOT / path for one in everything for path in one.outs]
    made = [
        ROOT / path for path in declared.deps if artifact_name(path, False) not in ("raw", None)
    ]  # never a user's files
    for folder in (folder for folder in made if folder.is_dir()):
        for orphan in orphans(folder, outs):
            print(f"removed {orphan.relative_to(ROOT)}: no stage makes it any more")
            shutil.rmtree(orphan) if orphan.is_dir() and not orphan.is_symlink() else orphan.unlink()
    for path in declared.outs:
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)


def run(main: Callable[..., None]) -> None:
    """Bind `main` to the running stage and call it; a BuildError becomes one line and exit code 1."""
    started = time.monotonic()
    address = os.environ.get("DVC_STAGE", "").rpartition(":")[2]  # DVC writes the file before it, seen from elsewhere
    if not address:
        module = Path(sys.argv[0]).stem
        sys.exit(f"osler: `{module}` is a stage of dvc.yaml; run it with `dvc repro {module}`")
    first_process = os.environ.get("RANK", "0") == "0"  # of a training stage on several
    try:
        params = read_params(ROOT / PARAMS)
        everything = declarations(ROOT, params)
        declared = everything[address]
        values = bound(main, declared, ROOT, params)
        if first_process:
            _prepare(declared, everything.values())
        main(**values)
        absent = [path for path in declared.outs if not (ROOT / path).exists()] if first_process else []
        if absent:
            raise BuildError(f"finished without writing {', '.join(absent)}")
        if "store" in values:
            values["store"].prune()
    except Exception as error:
        if first_process:
            _restore(address)
        if not isinstance(error, BuildError):
            raise
        sys.exit(f"osler: {address}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    seconds = time.monotonic() - started
    if seconds >= 10 and first_process:
        print(f"{address}: {seconds:.0f} s", file=sys.stderr)
