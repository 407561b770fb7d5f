"""One builder of a stage at a time.

A dvc that is killed leaves its stage running, and the next `dvc repro` starts it again: two would write to the same outs,
checkpoints and store.
"""

import fcntl
import json
import os
from pathlib import Path

from osler.build.section import BuildError

HELD = "OSLER_LOCK"  # the lock file that this process was started under


class HeldError(BuildError):
    """Another process builds the stage."""


def locks(root: Path, stage: str) -> Path:
    """The lock file of a stage."""
    return root / "scratch" / "locks" / stage


def held_lock(path: Path, stage: str) -> int:
    """Take the lock file.

    It is held by this process, and by what inherits it.

    Returns:
        Its descriptor; closing it gives the lock back.

    Raises:
        HeldError: another process holds it.
        BuildError: there can be no such file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise BuildError(
            f"{path}: cannot be made ({error.strerror}); a folder is needed there, not a file or a link"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode().strip() or "unknown"
        os.close(descriptor)
        raise HeldError(
            f"{stage} is still being built by process {holder}, from an earlier run; wait for it, or stop it with"
            f" `kill {holder}` (checkpoints and finished shards stay), then run this again"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def check_dvc_lock(root: Path) -> None:
    """Refuse to begin where DVC cannot.

    A dvc that is killed while it writes its list of who reads and writes what leaves half of it, at which every later one
    stops.

    Raises:
        BuildError: says what to remove.
    """
    path = root / ".dvc" / "tmp" / "rwlock"
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except ValueError:
        name = path.relative_to(root)
        raise BuildError(f"{name}: half of it, as a killed dvc leaves it; `rm {name}` while no dvc runs here") from None
