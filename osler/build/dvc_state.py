"""Where DVC keeps its index of the names of all files: in the project.

DVC's own place lies below /var/tmp. All can read it, and it outlives the project. `.dvc/config` names FOLDER instead, which DVC
takes relative to where it is called. The copies in which `dvc exp run --temp` and `dvc queue` work are not where they are
called; they take the whole path from .dvc/config.local, as calls from a folder of the project do.
"""

import io
import os
import re
from contextlib import suppress
from pathlib import Path

FOLDER = ".dvc-state"
VARIABLE = "DVC_SITE_CACHE_DIR"  # DVC asks it before its configuration


def keep_private(root: Path) -> None:
    """Close the folder to others, and name its whole path.

    It is named in .dvc/config.local, and to what this process asks of DVC. Another place that the user has named stays; one of
    another project, whose command became this one, does not. Where nothing can be written, nothing is done.
    """
    place, file = root / FOLDER, root / ".dvc" / "config.local"
    if Path(os.environ.get(VARIABLE, FOLDER)).name != FOLDER or not file.parent.is_dir():
        return
    with suppress(OSError):
        if not _names_another(file, place):
            os.environ[VARIABLE] = str(place)
            place.mkdir(mode=0o700, exist_ok=True)
            if place.stat().st_mode & 0o077:
                place.chmod(0o700)  # DVC was here first, and makes it for all


def _names_another(file: Path, place: Path) -> bool:
    """Whether the user named a place other than FOLDER; else it names `place` now."""
    text = file.read_bytes() if file.is_file() else b""
    if re.search(rb"""[\s="']""" + re.escape(os.fsencode(place)) + rb"""["']?\s*$""", text, re.M):
        return False
    from configobj import ConfigObj, ConfigObjError

    try:
        config = ConfigObj(io.BytesIO(text), interpolation=False)
    except ConfigObjError:
        return True  # DVC will say so
    core = config.setdefault("core", {})
    if not isinstance(core, dict) or Path(str(core.get("site_cache_dir", FOLDER))).name != FOLDER:
        return True
    core["site_cache_dir"] = str(place)  # also where the project has been moved or copied
    config.write(written := io.BytesIO())
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(written.getvalue())
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    return False
