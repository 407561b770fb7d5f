"""What of the machine ran out, in one line: disk, file handles, memory, leave to write.

Python, numpy, torch, polars, safetensors and SQLite each say it with an exception of their own. The line replaces the
traceback of whatever process of the project ends by one, while it imports too.
"""

import errno
import os
import re
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

FULL, QUOTA, LARGE, HANDLES, MEMORY = errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENOMEM
REFUSED = {
    errno.EACCES: "no permission; change the owner or the mode, and run again",
    errno.EPERM: "no permission; change the owner or the mode, and run again",
    errno.EROFS: "lies on a file system that is mounted read-only; mount it for writing, and run again",
}
KINDS = (FULL, QUOTA, LARGE, HANDLES, errno.ENFILE, MEMORY, *REFUSED)
WORDS = {
    r"\d+ requested and \d+ written": FULL,  # numpy
    r"database or disk is full": FULL,
    r"basic_ios::clear|inline_container.*unexpected pos|PytorchStreamWriter failed": FULL,
    r"failed to map segment|out of memory|can't allocate memory|bad_alloc|could not allocate|can't start new thread": MEMORY,
    r"process pool was terminated|worker process .* terminated|terminated abruptly": MEMORY,
}
NOTE = "while writing "


def causes(error: BaseException) -> Iterator[BaseException]:
    """`error`, and what it was raised from."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__


def kind(error: BaseException) -> int | None:
    """The errno that stands for what ran out, if something did."""
    if isinstance(error, MemoryError):
        return MEMORY
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in KINDS else None
    text = str(error)
    if (number := re.search(r"\(os error (\d+)\)", text)) and int(number[1]) in KINDS:  # Rust
        return int(number[1])
    named = (number for number in KINDS if os.strerror(number) in text)
    return next(named, None) or next((number for words, number in WORDS.items() if re.search(words, text)), None)


def path_of(error: BaseException) -> Path | None:
    """The file that `error` names, or a note on it (osler/build/files.py)."""
    notes = getattr(error, "__notes__", ())
    if (noted := next((note.removeprefix(NOTE) for note in notes if note.startswith(NOTE)), None)) is not None:
        return Path(noted)
    name = getattr(error, "filename", None)
    return Path(os.fsdecode(name)) if isinstance(name, str | bytes) else None


def shortage(error: BaseException) -> str | None:
    """Which file, what ran out, and what is needed.

    None for an error of another kind.
    """
    for one in causes(error):
        if (number := kind(one)) is not None:
            path = next(filter(None, map(path_of, causes(error))), None)
            return f"{path}: {_needed(number, path)}" if path else _needed(number, Path.cwd())
    return None


def _needed(number: int, path: Path) -> str:
    if number == FULL:
        there = next(place for place in (path.absolute(), *path.absolute().parents) if place.is_dir())
        return f"the disk is full, {shutil.disk_usage(there).free:,} bytes are free on it; free more, and run again"
    if number == QUOTA:
        return "your quota of the disk is used up; remove files of yours or have it raised, and run again"
    if number == LARGE:
        return f"must be larger than a file may be, {_limit(resource.RLIMIT_FSIZE)} bytes; raise `ulimit -f`, and run again"
    if number in (HANDLES, errno.ENFILE):
        have = _limit(resource.RLIMIT_NOFILE)
        return f"needs more than the {have} file handles that there are; run `ulimit -n 4096`, then this again"
    if number == MEMORY:
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
        return (
            f"needs more memory, {free / 1e9:,.1f} GB are free; lower launch.jobs or what params.yaml holds at once"
            " (batch_tokens, launch.micro_batch_rows), or end other programs, and run again"
        )
    return REFUSED[number]


def _limit(what: int) -> str:
    soft = resource.getrlimit(what)[0]
    return "unlimited" if soft == resource.RLIM_INFINITY else f"{soft:,}"


def is_damage(error: OSError) -> bool:
    """Whether a file that cannot be read is missing or damaged.

    Other reasons, such as too few file handles, say nothing about it.
    """
    return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO)


def say_in_one_line() -> None:
    """Let an uncaught shortage be one line, and other errors their traceback."""
    said: list[str] = []

    def say(line: str) -> None:
        if not said:  # what fails at exit fails of the same
            stage = os.environ.get("DVC_STAGE", "").rpartition(":")[2]
            print(f"osler: {f'{stage}: ' if stage else ''}{' '.join(line.split())}", file=sys.stderr)
        said.append(line)

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        say(line) if (line := shortage(error)) else uncaught(kind, error, traceback)

    def at_exit(unraisable: "sys.UnraisableHookArgs") -> None:
        error = unraisable.exc_value
        say(line) if error and (line := shortage(error)) else ignored(unraisable)

    uncaught, ignored, sys.excepthook, sys.unraisablehook = sys.excepthook, sys.unraisablehook, hook, at_exit
