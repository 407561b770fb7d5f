"""Files whose texts are screened for identifiers, by their paths."""

from collections.abc import Mapping
from os.path import normpath
from pathlib import PurePosixPath


def screened_by(path: str, screened: Mapping[str, str]) -> str | None:
    """The first source that screens the file or folder at `path`.

    It may be some of it, or a folder around it.

    Args:
        path: relative to `root`.
        screened: paths of sources with a section `phi`, by name.
    """
    own = PurePosixPath(normpath(path))
    for name, other in screened.items():
        its = PurePosixPath(normpath(other))
        if own == its or its in own.parents or own in its.parents:
            return name
    return None
