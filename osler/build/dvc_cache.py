"""Where DVC keeps files by their md5, and whether a link leads there.

With `cache.type symlink`, usual where several share a machine, a tracked file is a link into the cache. That may be one
cache for all, outside of every project. Importing dvc to ask it costs 0.9 s, reading its four files 4 ms.
"""

import io
import os
import re
from functools import cache
from pathlib import Path

from osler.build.pipeline import ROOT

OBJECT = re.compile(r"(?:files/md5/)?[0-9a-f]{2}/[0-9a-f]{30}")  # without the folder as DVC 2 had it


def config_files(root: Path) -> list[Path]:
    """DVC's configuration.

    The file for all users of the machine first, that of this copy last.
    """
    import platformdirs

    system = os.environ.get("DVC_SYSTEM_CONFIG_DIR") or platformdirs.site_config_dir("dvc", "iterative")
    user = os.environ.get("DVC_GLOBAL_CONFIG_DIR") or platformdirs.user_config_dir("dvc", "iterative")
    return [Path(system, "config"), Path(user, "config"), root / ".dvc/config", root / ".dvc/config.local"]


def cache_folder(root: Path) -> Path:
    """Where the cache of a project has files by their md5."""
    from configobj import ConfigObj, ConfigObjError

    place = root / ".dvc" / "cache"
    for file in config_files(root):
        try:
            named = ConfigObj(io.BytesIO(file.read_bytes()), interpolation=False)["cache"]["dir"]
        except (OSError, KeyError, TypeError, UnicodeDecodeError, ConfigObjError):
            continue  # it names none; DVC says what is wrong with it
        if isinstance(named, str):
            place = file.parent / Path(named).expanduser()
    return place / "files" / "md5"


@cache
def _cache(root: Path) -> Path:
    return cache_folder(root).parents[1].resolve()


def is_cached(path: Path, root: Path = ROOT) -> bool:
    """Whether a path without links is a file of the cache."""
    folder = _cache(root)
    return path.is_relative_to(folder) and bool(OBJECT.fullmatch(path.relative_to(folder).as_posix()))
