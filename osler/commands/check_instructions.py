"""What can be said of instruction tasks before anything is built: names, files and wordings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from osler.build.section import BuildError
from osler.build.validation import PARAMS, suggestion, validated
from osler.ingest.archives import RawFile, is_archive
from osler.ingest.faults import Fault
from osler.ingest.records import file_records, source_files
from osler.ingest.source import Source
from osler.ingest.task_files import rewrites_frame, task_of

SMALL_BYTES = 1 << 20  # a file of more, which is not read here, has instances


def check_instruction_tasks(params: Mapping[str, Any], root: Path) -> None:
    """Tasks that `instruct` counts must be files that hold something.

    Files that the build fetches first are not looked at, nor what is inside of archives.

    Raises:
        BuildError: names the key.
    """
    for name in params["instruct"].get("tasks") or {}:
        key, source = f"{PARAMS}: instruct.tasks.{name}", params["source"].get(name)
        if source is None or source["format"] != "meds":
            raise BuildError(f"{key}: no source of format meds; take it out, or name one")
        if not params["instruct"]["weights"].get(name):
            raise BuildError(f"{key}: instruct.weights gives it no share; set one, or take it out")
    for name, values in params["source"].items():
        path = root / params["root"] / values["path"]
        if values["format"] == "meds" and path.exists():
            section = validated(f"source.{name}", values, Source)
            counts = ((params["instruct"].get("tasks") or {}).get(name) or {}).get("counts") or {}
            _check_tasks(name, section, path, counts)


def _check_tasks(name: str, source: Source, path: Path, counts: Mapping[str, Any]) -> None:
    if source.rewrites is not None:
        if not (path / source.rewrites).is_file():
            raise BuildError(f"{PARAMS}: source.{name}.rewrites: {path / source.rewrites} is no file")
        rewrites_frame(path / source.rewrites)
    files = [file for file in source_files(path, source) if file.fault is None]
    if any(is_archive(file.name) for file in files):
        return
    tasks: dict[str, list[RawFile]] = {}
    for file in files:
        tasks.setdefault(task_of(f"{file.name}#1"), []).append(file)
    for task, count in counts.items():
        key = f"{PARAMS}: instruct.tasks.{name}.counts.{task}: {count}"
        if task not in tasks:
            near = suggestion(task, tasks) or f"; there are {', '.join(sorted(tasks)[:20])}"
            raise BuildError(f"{key}, and no file of {path} is of that task{near}")
        if count and all(_is_empty(file, source) for file in tasks[task]):
            raise BuildError(
                f"{key}, and {tasks[task][0].name} has no instance that can be read; take it out of counts"
            )


def _is_empty(file: RawFile, source: Source) -> bool:
    """Whether a file has no instance, as far as small ones are read."""
    if file.path.stat().st_size > SMALL_BYTES:
        return False
    return all(isinstance(record, Fault) for _, record in file_records(file, source))
