"""Files of MedS-Ins: one task each, with its definition and its instances.

A file is a JSON object: `Definition`, a text or a list of which the first counts; `Instances`, a list of `id`, `input` and
`output`, a text or a list of which the first is learned; other keys say where the data are from and are not read, but for `Split
Type`: what is marked as test is not learned. The layout is that of the repository's README and of its guideline for contributors
(github.com/MAGIC-AI4Med/MedS-Ins, arXiv 2408.12547). A file is read as a whole.

Other wordings of the definitions are a file of their own: task -> list of texts, or task -> object with such a list under
`auto_rewrite_def`, which is how that repository has them.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import orjson
import polars as pl

from osler.build.section import BuildError
from osler.ingest.archives import ERRORS, open_binary, whole
from osler.ingest.faults import Fault, Record, Rows, Unreadable
from osler.ingest.lone_bytes import Repair
from osler.ingest.rows import WHOLE_BYTES, json_rows

DEFINITION = "Definition"
REWRITTEN = "auto_rewrite_def"
REWRITES = pl.Schema({"task": pl.String(), "rewrites": pl.List(pl.String())})
NUMBERED = re.compile(r"(task\d+)(?:_|$)")


def task_of(place: str) -> str:
    """The task of a row by its file's name.

    `task78_cxr_summary.json#3` is of task78, as in MedS-Ins; of a file that is not so called it is the name before `.json`.

    Args:
        place: "<file>#<row>", or "<file>!<member>#<row>" in an archive.
    """
    file = place.rpartition("#")[0].rpartition("!")[2]
    name = re.sub(r"\.json(\.gz|\.zst)?$", "", PurePosixPath(file).name, flags=re.IGNORECASE)
    numbered = NUMBERED.match(name)
    return numbered[1] if numbered else name


def first_text(value: Any) -> str | None:
    """A text, or the first of a list of texts.

    None where there is none, or nothing but white space.
    """
    found = value[0] if isinstance(value, list) and value else value
    return found.strip() or None if isinstance(found, str) else None


def instance_rows(stream: BinaryIO, repair: Repair) -> Rows:
    """The instances of a file, each with the file's definition.

    Raises:
        Unreadable: the file is no object with a definition and instances.
    """
    objects = [record for _, record in json_rows(stream, None, repair)]
    task: Record = objects[0] if len(objects) == 1 and not isinstance(objects[0], Fault) else {}
    definition, instances = first_text(task.get(DEFINITION)), task.get("Instances")
    if definition is None or not isinstance(instances, list):
        raise Unreadable(
            "unreadable_file",
            f"no object with a text under `{DEFINITION}` and a list under `Instances`; is it a file of MedS-Ins?",
        )
    is_test = str(task.get("Split Type", "")).strip().lower() == "test"
    for row, instance in enumerate(instances, 1):
        yield row, Fault("test_split", "its file is marked as test") if is_test else _instance(instance, definition)


def _instance(instance: Any, definition: str) -> Record | Fault:
    if not isinstance(instance, dict):
        return Fault("malformed_row", f"a {type(instance).__name__}, not a JSON object")
    output = instance.get("output")
    if isinstance(output, list):
        output = output[0] if output else None
    return {**instance, "output": output, DEFINITION: definition}


def plain_words(text: str) -> str:
    """A text with one blank for each run of white space.

    Two that are equal so are one wording.
    """
    return " ".join(text.split())


def rewrites_frame(path: Path) -> pl.DataFrame:
    """REWRITES of a file, a row a task by its name.

    Each wording stands once, in order.

    Raises:
        BuildError: the file cannot be read or has another layout.
    """
    try:
        with open_binary(path) as stream:
            found = orjson.loads(whole(stream, WHOLE_BYTES))
    except (*ERRORS, Unreadable, ValueError) as error:
        raise BuildError(f"{path}: cannot be read: {error}; correct `rewrites` of the source, or the file") from None
    if not isinstance(found, dict) or not found:
        raise BuildError(f"{path}: no object of tasks; write {{task: [wording, ...]}}")
    rows = []
    for task, value in sorted(found.items()):
        texts = value.get(REWRITTEN) if isinstance(value, dict) else value
        if (
            not isinstance(texts, list)
            or not texts
            or not all(isinstance(text, str) and text.strip() for text in texts)
        ):
            raise BuildError(
                f"{path}: {task}: no list of texts, nor an object with one under `{REWRITTEN}`; correct it"
            )
        wordings: dict[str, str] = {}
        for text in texts:
            wordings.setdefault(plain_words(text), text.strip())
        rows.append((task, list(wordings.values())))
    return pl.DataFrame(rows, schema=REWRITES, orient="row")
