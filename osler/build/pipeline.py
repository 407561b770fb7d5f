"""What dvc.yaml declares and params.yaml says, as DVC reads them: paths bound to names, templates resolved."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from osler.build.section import BuildError
from osler.build.validation import PARAMS, refuse_strange

if TYPE_CHECKING:
    pass

ROOT = Path(__file__).resolve().parents[2]
MISSING = object()
FINGERPRINTS = "fingerprints"
FOLDERS = ("data", "results", "metrics")


@dataclass(frozen=True)
class Declaration:
    """What dvc.yaml says of one stage.

    Paths are as written there. Params are key -> value; a value is absent where its key is.
    """

    name: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    params: Mapping[str, Any]
    missing_params: tuple[str, ...] = ()


def artifact_name(path: str, is_out: bool) -> str | None:
    """The argument that `path` binds to.

    It is None for a fingerprint that is only depended on.
    """
    parts = PurePosixPath(path).parts
    if path.endswith(".fp") or path == FINGERPRINTS:
        return "fingerprints" if is_out else None
    if parts[:2] in (("models", "encoders"), ("models", "judges")):
        return parts[1]
    if parts[:2] == ("data", "exercises"):
        return "instructions"  # rows as the stage `instruct` writes them
    if parts[0] == "models":
        return "trained_model" if is_out else "tokenizer" if parts[1] == "tokenizer" else "model"
    if parts[0] in FOLDERS and len(parts) > 1:
        return parts[1].split(".")[0]
    return "raw"


def param_name(key: str, value: Any) -> str:
    """The argument that a params key binds to.

    A section binds by its first component, a single value by its last.
    """
    parts = key.split(".")
    return parts[0] if isinstance(value, Mapping) else parts[-1]


def read_params(path: Path) -> dict[str, Any]:
    """The params file as DVC reads it (YAML 1.2).

    Raises:
        BuildError: it cannot be read, is no mapping, repeats a key, or has what no setting can be.
    """

    def read() -> Any:
        from dvc.utils.serialize import ParseError, load_yaml

        try:
            value = load_yaml(str(path))
        except (OSError, ParseError, UnicodeDecodeError) as error:
            raise BuildError(f"{path.name}: {_yaml_problem(error.__cause__ or error)}") from None
        except (ValueError, LookupError, RecursionError) as error:  # of a tag or a date that is none
            raise BuildError(f"{path.name}: {' '.join(str(error).split())}; correct or take out that value") from None
        refuse_strange(value, path.name)
        return value

    value = _remembered(path.parent, "params", [path], read)
    if not isinstance(value, dict) or not value:
        what = "no mapping of sections" if value else "empty"
        raise BuildError(f"{path.name}: {what}; `git checkout {path.name}` brings the default back")
    return value


def _remembered(root: Path, name: str, files: list[Path], compute: Callable[[], Any]) -> Any:
    """What `compute` makes of `files`, from scratch/ while none of them has changed: importing DVC costs every stage 0.3 s."""

    def now() -> str:
        return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()

    try:
        digest = now()
    except OSError:
        return compute()
    place = root / "scratch" / "read" / f"{name}.json"
    try:
        known = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = None  # not there, or damaged
    if isinstance(known, dict) and known.get("digest") == digest and known.get("check") == _hash(known.get("value")):
        return known["value"]
    value = compute()
    if now() != digest:
        return value  # somebody has saved a file in between: of which of the two this is, nobody knows
    remembered = {"digest": digest, "check": _hash(value), "value": value}
    if (root / ".dvc").is_dir() and json.loads(text := json.dumps(remembered))["value"] == value:
        with suppress(
            OSError
        ):  # a full or a strange disk: then it is computed again, and who needs to write there says so
            place.parent.mkdir(parents=True, exist_ok=True)
            temporary = place.with_name(f".{name}.{os.getpid()}.tmp")
            try:
                temporary.write_text(text, encoding="utf-8")
                os.replace(temporary, place)
            finally:
                temporary.unlink(missing_ok=True)
    return value


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


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
    """What dvc.yaml declares, its templates resolved, by stage name.

    dvc.lock is not read: that would take most of DVC's time.

    Raises:
        BuildError: a template in dvc.yaml names a key that params.yaml lacks, or the file is broken.
    """

    def resolve() -> Any:
        from dvc.dvcfile import load_file
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        try:
            with Repo(str(root)) as repo:
                return load_file(repo, str(root / "dvc.yaml")).resolver.resolve()["stages"]
        except DvcException as error:
            raise BuildError(f"{PARAMS}: {' '.join(str(error).split())}") from None

    stages = _remembered(root, "declarations", [root / "dvc.yaml", root / PARAMS], resolve)
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
