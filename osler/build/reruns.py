"""Which stages `dvc repro` would run, and why, from what dvc.yaml declares and how each stage differs from its last run.

DVC itself says this of one stage at a time and sees only files: it calls every stage changed whose fingerprint `code` has yet to
write. Here the fingerprints are computed, and reasons are handed on from stage to stage.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any

from osler.build.pipeline import MISSING, Declaration
from osler.build.section import BuildError
from osler.build.validation import PARAMS

SHOWN_NAMES = 6  # of definitions and packages that changed


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
    """The change of each stage.

    Nothing is locked or written. What changed on disk is hashed, as `dvc status` does.

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
                differing: dict[str, tuple[Any, Any]] = {}
                for dep in params:
                    then, now = (leaves(values) for values in (dep.hash_info.value or {}, dep.read_params()))
                    pairs = {key: (then.get(key, MISSING), now.get(key, MISSING)) for key in (*then, *now)}
                    differing |= {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
                lost = [
                    out.def_path
                    for out in stage.outs
                    if (word := next(iter(out.status().values()), "")) == "not in cache" or (word and not out.use_cache)
                ]
                found[stage.name] = Change(
                    not any(dep.hash_info for dep in deps),
                    bool(stage.cmd_changed),
                    differing,
                    {path: str(word) for path, word in words.items() if word},
                    {dep.def_path: str(dep.hash_info.value) for dep in deps if dep.hash_info},
                    tuple(lost),
                )
    except DvcException as error:
        raise BuildError(f"{PARAMS}: {' '.join(str(error).split())}") from None
    return found


def leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    """Each dotted key of nested mappings with its value.

    A list is one value.
    """
    if isinstance(value, Mapping) and (value or not prefix):
        return {
            key: leaf
            for name, part in value.items()
            for key, leaf in leaves(part, f"{prefix}.{name}" if prefix else name).items()
        }
    return {prefix: list(value) if isinstance(value, tuple) else value}


@dataclass(frozen=True)
class StageCode:
    """A stage's fingerprint as computed now, and the one on disk.

    `edited` says which definitions are new in the first.
    """

    now: str
    on_disk: str | None
    edited: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rerun:
    """Why a stage would run.

    It has `reasons` of its own, and the stages that run before it and make what it reads. Without reasons of its own it
    runs only if what `after` makes comes out different.
    """

    reasons: tuple[str, ...]
    after: tuple[str, ...]


def overlapping(dep: str, out: str) -> bool:
    """Whether one of two paths is, or lies in, the other."""
    one, other = PurePosixPath(dep), PurePosixPath(out)
    return one.is_relative_to(other) or other.is_relative_to(one)


def producers(stages: Mapping[str, Declaration]) -> dict[str, dict[str, list[str]]]:
    """The stages that make what each stage reads.

    For each stage and each of its deps but fingerprints, they are the stages that make it, or some of it.
    """
    outs = [(out, name) for name, stage in stages.items() for out in stage.outs]
    return {
        name: {
            dep: sorted({maker for out, maker in outs if maker != name and overlapping(dep, out)})
            for dep in stage.deps
            if not dep.endswith(".fp")
        }
        for name, stage in stages.items()
    }


def shown(then: Any, now: Any) -> str:
    """A param's two values, short.

    Long ones from shortly before where they differ.
    """
    texts = ["unset" if value is MISSING else json.dumps(value, ensure_ascii=False) for value in (then, now)]
    same = next((place for place, (one, other) in enumerate(zip(*texts, strict=False)) if one != other), len(texts[0]))
    start = max(0, same - 10) if max(map(len, texts)) > 40 else 0
    ends = [start + 37 if len(text) > start + 40 else len(text) for text in texts]
    cut = [
        f"{'...' * (start > 0)}{text[start:end]}{'...' * (end < len(text))}"
        for text, end in zip(texts, ends, strict=True)
    ]
    return " -> ".join(cut)


def code_change(code: StageCode, locked: str) -> str | None:
    """What changed in a stage's code.

    Definitions and packages are named where the fingerprint on disk is that of the stage's last run.

    Args:
        code: the stage's.
        locked: md5 of the fingerprint of its last run.
    """
    if hashlib.md5(code.now.encode(), usedforsecurity=False).hexdigest() == locked:
        return None
    if code.on_disk is None or hashlib.md5(code.on_disk.encode(), usedforsecurity=False).hexdigest() != locked:
        return "code"
    lines = set(code.now.splitlines()) ^ set(code.on_disk.splitlines())
    changed = [*code.edited, *sorted({line.split(" ")[0] for line in lines if " " in line})]
    more = f" and {len(changed) - SHOWN_NAMES} more" if len(changed) > SHOWN_NAMES else ""
    return f"code: {', '.join(changed[:SHOWN_NAMES])}{more}" if changed else "code"


def own_reasons(
    change: Change, made: Mapping[str, list[str]], running: set[str], fingerprints: Mapping[str, StageCode]
) -> Iterator[str]:
    """Why a stage would run whatever runs before it.

    Args:
        change: of the stage.
        made: its deps -> their producers.
        running: the stages that run before it.
        fingerprints: of the stage, by path.
    """
    if change.never_run:
        yield "never run"
        return
    for key, (then, now) in sorted(change.params.items()):
        yield f"param {key}: {shown(then, now)}"
    if change.command:
        yield "its command"
    for path, code in fingerprints.items():
        if path in change.hashes and (reason := code_change(code, change.hashes[path])):
            yield reason
    for path, word in sorted(change.deps.items()):
        makers = made.get(path)
        if makers is None or running & set(makers) or (makers and word == "deleted"):
            continue  # a fingerprint; handed on by a stage before; or put back from the cache
        yield f"{path}: {word}"
    if change.lost_outs:
        yield "what it made is not in the cache"


def reruns(
    stages: Mapping[str, Declaration],
    changed: Mapping[str, Change],
    fingerprints: Mapping[str, StageCode],
) -> dict[str, Rerun]:
    """The stages that would run, in an order in which they can.

    Args:
        stages: what dvc.yaml declares.
        changed: how each differs from its last run.
        fingerprints: by path, fingerprints/<stage>.fp.
    """
    made = producers(stages)
    graph = {name: {maker for makers in made[name].values() for maker in makers} for name in sorted(stages)}
    found: dict[str, Rerun] = {}
    for name in TopologicalSorter(graph).static_order():
        before = graph[name] & set(found)
        own = {path: fingerprints[path] for path in stages[name].deps if path in fingerprints}
        reasons = tuple(own_reasons(changed[name], made[name], before, own))
        if reasons or before:
            found[name] = Rerun(reasons, tuple(sorted(before)))
    return found
