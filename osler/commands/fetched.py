"""What the build itself brings into data/raw, and how a section's `path` reaches it from any `root`.

`../NAME` is what `download.NAME` brings. With a `root` in data/raw that is a path as any other. From another root, which is
absolute, `osler profile` writes the way there, since dvc.yaml joins `root` and `path` and knows no other place.
"""

import os
from collections.abc import Mapping
from os.path import normpath
from pathlib import Path, PurePosixPath
from typing import Any

from osler.build.pipeline import ROOT
from osler.build.profiles import parsed, written
from osler.build.section import BuildError
from osler.build.validation import PARAMS
from osler.evaluation.catalogue import CATALOGUE, lookup
from osler.ingest.inspection import UNSTATED

RAW = PurePosixPath("data/raw")
READING = ("source", "benchmark", "task", "exercise")


def brought(params: Mapping[str, Any], path: str, project: Path = ROOT) -> tuple[str, str, PurePosixPath] | None:
    """What of the build brings a path below `root`, if anything.

    Returns:
        synthesize or download, the name of its section, and the path in its folder.
    """
    whole = PurePosixPath(normpath(f"{params['root']}/{path}"))
    for kind in ("synthesize", "download"):
        for name in params[kind]:
            for folder in (RAW / name, PurePosixPath(project) / RAW / name):
                if whole.is_relative_to(folder):
                    return kind, name, whole.relative_to(folder)
    return None


def way(root: str, path: str, downloads: Mapping[str, Any], project: Path = ROOT) -> str | None:
    """`path` as it reaches a download from an absolute `root`.

    It is None where it means none.
    """
    up, name, *inside = (*PurePosixPath(normpath(path)).parts, "", "")
    if up != ".." or name not in downloads or not PurePosixPath(root).is_absolute():
        return None
    return os.path.relpath(PurePosixPath(project, RAW, name, *inside), root)


def reachable(text: str, file: str = PARAMS) -> str:
    """The params `text` with downloads as its `root` reaches them.

    That is each `../NAME`; comments stay.


    Raises:
        BuildError: it is no YAML.
    """
    params, changed = parsed(text, file), False
    root, downloads = params.get("root"), params.get("download") or {}
    for section in (one for kind in READING for one in (params.get(kind) or {}).values() if isinstance(one, dict)):
        path = section.get("path")
        if isinstance(root, str) and isinstance(path, str) and (found := way(root, path, downloads)):
            section["path"], changed = found, True
    return written(params) if changed else text


def check_commits(params: Mapping[str, Any]) -> None:
    """Each download is at a commit.

    Raises:
        BuildError: names the one that is to be stated, and how to look it up.
    """
    branches = {known.repository: known.branch for known in CATALOGUE.values()}
    for name, section in params["download"].items():
        if isinstance(section, Mapping) and section.get("revision") == UNSTATED:
            repository = str(section.get("repository"))
            raise BuildError(
                f"{PARAMS}: download.{name}.revision: {UNSTATED}; write the 40 digits that"
                f" `{lookup(repository, branches.get(repository, 'HEAD'))}` prints"
            )
