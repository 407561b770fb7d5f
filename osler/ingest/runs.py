"""Small files together, so that thousands of them cost what a few large ones do.

What a store entry costs, syncing and a frame, is 6 ms and more whatever it holds.
"""

import hashlib
from collections.abc import Sequence

from osler.ingest.archives import RawFile

SMALL_BYTES = 1 << 17  # a larger file is a run of its own
RUN_FILES = 64  # on average


def file_runs(files: Sequence[RawFile]) -> list[list[RawFile]]:
    """`files`, in their order, as runs that are read together.

    Where a run ends depends on one file each, its size and the hash of its name, so that one file more, or less, changes
    the run that it lies in and no other (or cuts or joins two).
    """
    runs: list[list[RawFile]] = []
    is_after_large = True
    for file in files:
        is_large = file.fault is None and file.path.stat().st_size > SMALL_BYTES
        if is_large or is_after_large or _begins_run(file.name):
            runs.append([])
        runs[-1].append(file)
        is_after_large = is_large
    return runs


def _begins_run(name: str) -> bool:
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % RUN_FILES == 0
