"""A Parquet file of more rows than should be in memory.

Up to GROUP_ROWS the file is what `write_parquet` writes. A longer one has row groups of equal size, which depend on the number
of its rows alone: not on how they came.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from osler.build.files import write_parquet

GROUP_ROWS = 122_880  # in a row group, at most; as polars divides one frame


def write_long_parquet(path: Path, frames: Iterable[pl.DataFrame], rows: int, schema: pl.Schema) -> None:
    """Write `frames` one after another as one file.

    Row groups are kept in a folder beside it until all are there.

    Args:
        path: of the file.
        frames: of `schema`; none is held longer than its row group needs it.
        rows: in all of them.
        schema: of the file.
    """
    if rows <= GROUP_ROWS:
        write_parquet(path, pl.concat([pl.DataFrame(schema=schema), *frames], rechunk=True))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as name:
            whole = Path(name) / "whole"
            pieces = [Path(name) / f"{number:06d}.parquet" for number in range(-(-rows // GROUP_ROWS))]
            for piece, group in zip(pieces, _even(frames, rows, len(pieces)), strict=True):
                group.write_parquet(piece, compression="lz4", statistics=False)
            pl.scan_parquet(pieces).sink_parquet(whole, compression="zstd", statistics=False, engine="streaming")
            os.replace(whole, path)
    except (OSError, pl.exceptions.PolarsError) as error:
        error.add_note(f"while writing {path}")  # not every library names the file; shortages.py reads it
        raise


def _even(frames: Iterable[pl.DataFrame], rows: int, groups: int) -> Iterator[pl.DataFrame]:
    """`frames` as `groups` of nearly equal length, the longer ones first."""
    held: list[pl.DataFrame] = []
    number, count = 0, 0
    size = -(-rows // groups)
    for frame in frames:
        held.append(frame)
        count += len(frame)
        while number < groups and count >= size:
            joined = pl.concat(held)
            yield joined[:size].rechunk()
            held, count, number = [joined[size:]], count - size, number + 1
            rows -= size
            size = -(-rows // (groups - number)) if number < groups else 0
    if number < groups or count:
        raise AssertionError(f"{count} rows and {groups - number} groups are left")
