"""provenance.json: how the model in a folder was made.

What is wrong with the file is told in one line that names it and the key.
"""

import json
from pathlib import Path
from typing import Any

from osler.build.section import BuildError

FILE = "provenance.json"
OBJECTS = ("files", "inputs", "packages", "rows_before", "rows_read", "rows_there", "settings")
TRAINED = ("continued_tokens", "steps", "stream_tokens", "token_ledger", "tokens")
"""What stages read of a model that was trained, which is one with `settings`."""
DOWNLOADED = ("revision",)
"""What they read of one from the Hub, which is one with `repository`."""


class Record(dict[str, Any]):
    """A JSON object that knows its file.

    Reading a key that it lacks is a BuildError that names both.
    """

    def __init__(self, values: dict[str, Any], file: str, above: str = "") -> None:
        own = {
            key: Record(value, file, f"{above}{key}.") if isinstance(value, dict) else value
            for key, value in values.items()
        }
        super().__init__(own)
        self.file = file
        self.above = above

    def __missing__(self, key: str) -> Any:
        where = f"{self.file}: {self.above}{key}"
        raise BuildError(f"{where}: missing; an older Osler wrote the file, or it was edited: build the model again")


def provenance(model: Path, root: Path) -> Record:
    """What is recorded of the model in a folder.

    Args:
        model: its folder, with a provenance.json.
        root: of the project, which errors name files from.
    Raises:
        BuildError: the file cannot be read, is no JSON object, or a part of it that is one elsewhere is none here.
    """
    path = model / FILE
    file, folder = ((one.relative_to(root) if one.is_relative_to(root) else one).as_posix() for one in (path, model))
    advice = f"`dvc checkout --force {folder}` brings back what was built"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BuildError(f"{file}: cannot be read: {error.strerror}; {advice}") from None
    except (ValueError, RecursionError) as error:
        raise BuildError(f"{file}: is no JSON: {error}; {advice}") from None
    if not isinstance(found, dict):
        raise BuildError(f"{file}: is no JSON object; {advice}")
    for key in OBJECTS:
        if key in found and not isinstance(found[key], dict):
            raise BuildError(f"{file}: {key}: is no JSON object; {advice}")
    if not isinstance(found.get("token_ledger", []), list):
        raise BuildError(f"{file}: token_ledger: is no list; {advice}")
    return Record(found, file)


def check_provenance(model: Path, root: Path) -> None:
    """Refuse a model whose provenance.json lacks what stages read.

    The models of other seeds below it are looked at, too. A folder without the file is no error.

    Raises:
        BuildError: see `provenance`; or a key is missing that goes with those which are there.
    """
    for file in sorted((*model.glob(FILE), *model.glob(f"seeds/*/{FILE}"))):
        record = provenance(file.parent, root)
        needed = (TRAINED if "settings" in record else ()) + (DOWNLOADED if "repository" in record else ())
        for key in needed:
            _ = record[key]
