"""Which stages `dvc repro` would run, and why, from what dvc.yaml declares and how each stage differs from its last run.

DVC itself says this of one stage at a time and sees only files: it calls every stage changed whose fingerprint `code` has yet to
write. Here the fingerprints are computed, and reasons are handed on from stage to stage.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import PurePosixPath
from typing import Any

from stages.lib.stage import MISSING, Change, Declaration


@dataclass(frozen=True)
class Rerun:
    """Why a stage would run: `reasons` of its own, and the stages that run before it and make what it reads.

    Without reasons of its own it runs only if what `after` makes comes out different.
    """

    reasons: tuple[str, ...]
    after: tuple[str, ...]


def overlapping(dep: str, out: str) -> bool:
    """Whether one of two paths is, or lies in, the other."""
    one, other = PurePosixPath(dep), PurePosixPath(out)
    return one.is_relative_to(other) or other.is_relative_to(one)


def producers(stages: Mapping[str, Declaration]) -> dict[str, dict[str, list[str]]]:
    """For each stage and each of its deps but fingerprints, the stages that make it, or some of it."""
    outs = [(out, name) for name, stage in stages.items() for out in stage.outs]
    return {
        name: {
            dep: sorted({maker for out, maker in outs if maker != name and overlapping(dep, out)})
            for dep in stage.deps
            if not dep.endswith(".fp")
        }
        for name, stage in stages.items()
    }


def shown(value: Any) -> str:
    """A param's value, short."""
    text = "unset" if value is MISSING else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."


def code_change(now: str, locked: str, then: str | None) -> str | None:
    """What changed in a stage's code.

    Args:
        now: its fingerprint.
        locked: md5 of the fingerprint of its last run.
        then: the fingerprint on disk, from which files are named where it is that of the last run.
    """
    if hashlib.md5(now.encode(), usedforsecurity=False).hexdigest() == locked:
        return None
    if then is None or hashlib.md5(then.encode(), usedforsecurity=False).hexdigest() != locked:
        return "code"
    changed = {line.split(" ")[0] for line in set(now.splitlines()) ^ set(then.splitlines())}
    return f"code: {', '.join(sorted(changed))}"


def own_reasons(
    change: Change, made: Mapping[str, list[str]], running: set[str], fingerprints: Mapping[str, tuple[str, str | None]]
) -> Iterator[str]:
    """Why a stage would run whatever runs before it.

    Args:
        change: of the stage.
        made: its deps -> their producers.
        running: the stages that run before it.
        fingerprints: path -> fingerprint as it is computed now, and the one on disk.
    """
    if change.never_run:
        yield "never run"
        return
    for key, (then, now) in sorted(change.params.items()):
        yield f"param {key}: {shown(then)} -> {shown(now)}"
    if change.command:
        yield "its command"
    for path, (now_text, then_text) in fingerprints.items():
        if path in change.hashes and (reason := code_change(now_text, change.hashes[path], then_text)):
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
    fingerprints: Mapping[str, tuple[str, str | None]],
) -> dict[str, Rerun]:
    """The stages that would run, in an order in which they can.

    Args:
        stages: what dvc.yaml declares.
        changed: how each differs from its last run.
        fingerprints: build/<stage>.fp -> its text now, and the text on disk.
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
