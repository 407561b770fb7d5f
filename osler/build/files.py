"""Write artifacts: whole or not at all, and the same bytes for the same values.

Every writer goes through a temporary name beside the target and `os.replace`, so that a killed stage leaves no half file
and a hard link into the DVC cache is never written through.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import polars as pl


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    except (OSError, pl.exceptions.PolarsError) as error:
        error.add_note(f"while writing {path}")  # not every library names the file; shortages.py reads it
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file or a folder's list is on the disk.

    What another name will stand for is synced before it gets that name: a power cut then leaves all of it or nothing.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """`sync` all files below a folder, and the names in it."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def link(existing: Path, new: Path) -> None:
    """Make `new` a hard link to `existing`.

    It is a copy where the file system has no links. What `new` was before is replaced and never written through: it may be a
    link to something else. So may `existing`, with DVC's `cache.type symlink`: what it leads to is linked.
    """

    def linked(temporary: Path) -> None:
        temporary.unlink(missing_ok=True)
        try:
            os.link(existing.resolve(), temporary)
        except OSError:
            shutil.copyfile(existing, temporary)

    _replace(new, linked)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content`."""
    _replace(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with the line ends it has."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys.

    NaN is an error, since DVC would call such a file changed for ever.
    """
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The contents of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_parquet(path: Path, frame: pl.DataFrame) -> None:
    """Write `frame` as Parquet with zstd.

    The bytes depend on its rows and on the polars version only.
    """
    _replace(path, lambda temporary: frame.write_parquet(temporary, compression="zstd", statistics=False))


def file_hash(path: Path) -> str:
    """blake2b-128 of the file's bytes, hexadecimal."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def digest_of(folder: Path, files: Iterable[Path]) -> str:
    """The digest of some `files` of a folder, hexadecimal.

    It is blake2b-128 over their names, relative to the folder, and their bytes, in the order given.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()}\0{file_hash(path)}\n".encode())
    return digest.hexdigest()


def folder_hash(folder: Path) -> str:
    """`digest_of` all files below `folder`."""
    return digest_of(folder, sorted(path for path in folder.rglob("*") if path.is_file()))
