"""The two formats that hold tokens: a source's tokens in document order, and rows packed from them.

Both are raw little-endian integers read through a memory map (a random row costs microseconds; parquet or safetensors cost
milliseconds), beside a manifest.json with sizes and the checksum of every file.

A source's tokens: for each part of its documents `part-*.bin` and `part-*.parquet` (doc_id, license, tokens).
Packed rows: `tokens.npy` (rows x length), `row_ends.npy` (segments up to each row's end), `lengths.npy` and `documents.npy`
(tokens and document of each segment) and, for instructions, `labels.npy` (which tokens are learned, one byte each).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.lib.files import file_hash, write_json
from stages.lib.section import BuildError


def token_dtype(vocabulary_size: int) -> np.dtype[Any]:
    """uint16 where every id fits, else uint32; little-endian."""
    return np.dtype("<u2" if vocabulary_size <= 1 << 16 else "<u4")


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Write `facts` and the checksum of every other file in `folder` to manifest.json."""
    files = {path.name: file_hash(path) for path in sorted(folder.iterdir()) if path.name != "manifest.json"}
    write_json(folder / "manifest.json", facts | {"files": files})


def manifest(folder: Path) -> dict[str, Any]:
    """The facts about a shard or packed rows, as written by `write_manifest`."""
    value: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return value


def verify(folder: Path) -> None:
    """Compare every file with its checksum.

    Raises:
        BuildError: names the file that differs or is missing.
    """
    for name, expected in manifest(folder)["files"].items():
        path = folder / name
        if not path.is_file() or file_hash(path) != expected:
            raise BuildError(
                f"{path}: missing or damaged (its checksum is not the one in manifest.json); rerun its stage"
            )


@dataclass(frozen=True)
class PackedRows:
    """Memory-mapped packed rows; R rows of T tokens, S segments."""

    tokens_RT: npt.NDArray[np.unsignedinteger[Any]]
    row_ends_R: npt.NDArray[np.int64]
    lengths_S: npt.NDArray[np.int32]
    labels_RT: npt.NDArray[np.uint8] | None

    @classmethod
    def open(cls, folder: Path) -> "PackedRows":
        """Map the rows in `folder`; call `verify` first where damage matters."""
        labels = folder / "labels.npy"
        return cls(
            np.load(folder / "tokens.npy", mmap_mode="r"),
            np.load(folder / "row_ends.npy"),
            np.load(folder / "lengths.npy"),
            np.load(labels, mmap_mode="r") if labels.is_file() else None,
        )

    def segment_lengths(self, row: int) -> list[int]:
        """Tokens of each segment of `row`; what they leave of the row's length is padding."""
        first = int(self.row_ends_R[row - 1]) if row else 0
        return [int(length) for length in self.lengths_S[first : int(self.row_ends_R[row])]]
