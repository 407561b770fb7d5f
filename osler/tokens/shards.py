"""The two formats that hold tokens.

A source's tokens in document order, and rows packed from them.

Both are raw little-endian integers read through a memory map (a random row costs microseconds; parquet or safetensors cost
milliseconds), beside a manifest.json with sizes and the checksum of every file.

A source's tokens: for each part of its documents `part-*.bin` and `part-*.parquet` (doc_id, license, tokens).
Packed rows: `tokens-*.npy` (rows x length, at most SHARD_BYTES a file, since DVC hashes a file by one thread),
`row_ends.npy` (segments up to each row's end), `lengths.npy`, `documents.npy` and `origins.npy` (tokens, document, and
place in the manifest's list of sources and licenses of each segment) and, for instructions, `labels-*.npy` (which tokens
are learned, one byte each).

Checksums are blake2b's, 0.8 GB/s a thread, compared before training reads a row: on each machine every shard once, by one of
its processes, so that 130 GB (65B tokens) on eight processes of two threads take 10 s where the disk gives as much.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from osler.build.files import file_hash, read_json, write_json
from osler.build.progress import progress
from osler.build.section import BuildError
from osler.model.seeds import model_hash
from osler.model.vocabulary import id_limit
from osler.tokens.packing import Packing

SHARD_BYTES = 1 << 29
MANIFEST = "manifest.json"


def token_dtype(tokenizer: Any) -> np.dtype[Any]:
    """uint16 where every id of a tokenizer fits, else uint32; little-endian.

    Args:
        tokenizer: of `tokenizers` or transformers. Its largest id counts, not how many tokens it has.
    """
    return np.dtype("<u2" if id_limit(tokenizer) <= 1 << 16 else "<u4")


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Write `facts` and the files' checksums to manifest.json.

    Of every other file in `folder`.
    """
    files = {path.name: file_hash(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    write_json(folder / MANIFEST, facts | {"files": files})


def manifest(folder: Path) -> dict[str, Any]:
    """The facts about a shard or packed rows, as written by `write_manifest`."""
    value: dict[str, Any] = read_json(folder / MANIFEST)
    return value


def verify(*folders: Path) -> None:
    """Compare files with their checksums.

    On each machine every file is read once, by one of its processes.

    Each process takes the files of its local rank and returns when these are sound. No step of training is taken before
    all have, since the first one needs every process.

    Raises:
        BuildError: names the first file that differs or is missing.
    """
    files = [(folder / name, hash) for folder in folders for name, hash in manifest(folder)["files"].items()]
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    mine = files[int(os.environ.get("LOCAL_RANK", "0")) :: processes]

    def sound(file: tuple[Path, str]) -> bool:
        return file[0].is_file() and file_hash(file[0]) == file[1]

    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // processes)) as threads:  # hashing lets other threads run
        for (path, _), is_sound in zip(
            mine, progress(threads.map(sound, mine), len(mine), "verify", "files"), strict=True
        ):
            if not is_sound:
                threads.shutdown(wait=False, cancel_futures=True)
                raise BuildError(
                    f"{path}: missing or damaged (its checksum is not the one in {MANIFEST}); rerun its stage"
                )


def content_hash(folder: Path) -> str:
    """What is in `folder`, as one hash.

    Of its manifest, which has the checksum of every file; or of the files themselves, of a model without those of
    other seeds.

    Where there is a manifest nothing else is read, so this is worth as much as the last `verify`.
    """
    return file_hash(folder / MANIFEST) if (folder / MANIFEST).is_file() else model_hash(folder)


class ShardedRows:
    """The rows of an array in several files, memory-mapped.

    All files but the last have the same number.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Map <name>-*.npy of `folder`."""
        self.shards = [np.load(path, mmap_mode="r") for path in sorted(folder.glob(f"{name}-*.npy"))]
        self.shape = (sum(len(shard) for shard in self.shards), self.shards[0].shape[1])

    def __getitem__(self, row: int) -> npt.NDArray[Any]:
        """One row (T,)."""
        shard, place = divmod(row, len(self.shards[0]))
        found: npt.NDArray[Any] = self.shards[shard][place]
        return found


def _reserve(path: Path) -> None:
    """Take the disk space of a file that is to be mapped.

    A full disk is an error then. Noticed in the middle of a write to the map it would kill the process.
    """
    with path.open("r+b") as stream:
        if hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)


Piece = Callable[[int, int, int], npt.ArrayLike]
"""From (document, start, length) to the values there."""


def fill(rows_RT: Iterable[npt.NDArray[Any]], pieces: Iterator[list[tuple[int, int, int]]], piece: Piece) -> None:
    """Write each row's pieces one after another.

    What is left of a row stays as it is.

    Args:
        rows_RT: rows of (T,), each written in place.
        pieces: of each row, as (document, start, length), taken as far as there are rows.
        piece: the values of one.
    """
    for row in rows_RT:
        place = 0
        for document, start, length in next(pieces):
            row[place : place + length] = piece(document, start, length)
            place += length


def row_pieces(layout: Packing) -> Iterator[list[tuple[int, int, int]]]:
    """The pieces of each row of a packing, as (document, start, length)."""
    segments = zip(layout.document.tolist(), layout.start.tolist(), layout.length.tolist(), strict=True)
    for number in np.diff(layout.row_ends, prepend=0).tolist():
        yield list(islice(segments, number))


def write_rows(
    folder: Path,
    name: str,
    layout: Packing,
    width: int,
    dtype: np.dtype[Any],
    piece: Piece,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write `<name>-00000.npy` and on: the rows of a packing, padded with zeros.

    Args:
        folder: is there.
        name: of the array.
        layout: which pieces of which documents make each row.
        width: of a row.
        dtype: of the array.
        piece: the values of one.
        shard_bytes: of one file, at most, if a row fits.
    """
    rows = len(layout.row_ends)
    per_shard = max(1, shard_bytes // (width * dtype.itemsize))
    pieces = row_pieces(layout)
    for first in progress(range(0, rows, per_shard), -(-rows // per_shard), f"{folder.name}: {name}", "shards"):
        path = folder / f"{name}-{first // per_shard:05d}.npy"
        shard = np.lib.format.open_memmap(  # type: ignore[no-untyped-call] # numpy leaves it untyped
            path, mode="w+", dtype=dtype, shape=(min(per_shard, rows - first), width)
        )
        _reserve(path)
        fill(shard, pieces, piece)
        shard.flush()


@dataclass(frozen=True)
class Origin:
    """Where tokens come from.

    As far as somebody has to answer for it.
    """

    source: str
    license: str


def write_bounds(
    folder: Path, layout: Packing, documents: npt.NDArray[np.int64], origins: npt.NDArray[np.integer[Any]]
) -> None:
    """Write what belongs to the segments of a packing.

    Their ends, lengths, documents and origins.

    Args:
        folder: of the rows.
        layout: of D documents.
        documents: (D,) the number of each, by which it is found again.
        origins: (D,) the place of each one's `Origin` in the manifest's list `origins`.
    """
    np.save(folder / "row_ends.npy", layout.row_ends)
    np.save(folder / "lengths.npy", layout.length.astype(np.int32))
    np.save(folder / "documents.npy", documents[layout.document])
    np.save(folder / "origins.npy", origins[layout.document].astype(np.uint16))


@dataclass(frozen=True)
class PackedRows:
    """Memory-mapped packed rows; R rows of T tokens, S segments, O origins."""

    tokens_RT: npt.NDArray[np.unsignedinteger[Any]] | ShardedRows
    row_ends_R: npt.NDArray[np.int64]
    lengths_S: npt.NDArray[np.int32]
    labels_RT: npt.NDArray[np.uint8] | ShardedRows | None
    origins_S: npt.NDArray[np.integer[Any]] | None = None  # None: all tokens are of the first origin
    origins: tuple[Origin, ...] = (Origin("unknown", "unknown"),)

    @classmethod
    def open(cls, folder: Path, rows: int | None = None) -> "PackedRows":
        """Map the first `rows` rows in `folder`, or all.

        Call `verify` first where damage matters.
        """
        return cls(
            ShardedRows(folder, "tokens"),
            np.load(folder / "row_ends.npy")[:rows],
            np.load(folder / "lengths.npy", mmap_mode="r"),
            ShardedRows(folder, "labels") if (folder / "labels-00000.npy").is_file() else None,
            np.load(folder / "origins.npy", mmap_mode="r"),
            tuple(Origin(**origin) for origin in manifest(folder)["origins"]),
        )

    def segment_lengths(self, row: int) -> list[int]:
        """Tokens of each segment of `row`.

        What they leave of the row's length is padding.
        """
        first = int(self.row_ends_R[row - 1]) if row else 0
        return [int(length) for length in self.lengths_S[first : int(self.row_ends_R[row])]]

    def tokens_by_origin(self) -> npt.NDArray[np.int64]:
        """Tokens of each origin in each row, padding in none: (R, O)."""
        rows, segments = len(self.row_ends_R), int(self.row_ends_R[-1])
        keys_S = np.repeat(np.arange(rows), np.diff(self.row_ends_R, prepend=0)) * len(self.origins)
        if self.origins_S is not None:
            keys_S += self.origins_S[:segments]
        tokens = np.bincount(keys_S, self.lengths_S[:segments], rows * len(self.origins))
        return tokens.astype(np.int64).reshape(rows, len(self.origins))
