"""A store of finished shards, so that one changed file of a thousand costs one, and a process for each shard.

A stage that treats its input file by file keeps the result of each in `scratch/shards/<stage>/<key>/`, outside DVC's outs.
The key hashes all that the result depends on (the input's bytes, the settings, the code), so the bytes are those of a
clean build and deleting the store costs time only. In the place of a key lies an entry: a folder named after the hash of
its files, by which a damaged one is told from a whole one and made again. It is written and synced under another name and
renamed: a killed build or a power cut leaves no half one. The store holds the entries of the last run that succeeded,
hard-linked into the outs where the file system can, and those of runs that failed since: only a success removes what is
nobody's, so that going back from a mistake costs nothing. Until then old and new entries need the disk together; deleting
the store is always safe.

Reading an input or an entry to hash it costs 1 GB/s. joblib starts the processes, or the machines of a Ray cluster run the same
function (osler/build/cluster.py); with one job all runs in the calling process.
"""

import hashlib
import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from osler.build.cluster import Cluster, Making, Program, made_on
from osler.build.files import file_hash, folder_hash, sync, sync_folder
from osler.build.fingerprint import fingerprint
from osler.build.progress import progress
from osler.build.section import BuildError
from osler.build.shortages import is_damage

ROOT = Path(__file__).resolve().parents[2]


def content_key(**parts: Any) -> str:
    """sha256 of the named parts as JSON, hexadecimal.

    Keys are equal only when all parts are.
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def whole_entry(place: Path) -> Path | None:
    """The whole entry in the place of a key, or None.

    One whose files have other bytes than it is named after is told in a line and removed.
    """
    for entry in sorted(place.iterdir()) if place.is_dir() else ():
        try:
            if folder_hash(entry) == entry.name:
                return entry
        except OSError as error:  # another process may have found the damage, too
            if not is_damage(error):
                raise
        print(f"warning: {entry}: damaged; made again", file=sys.stderr, flush=True)
        shutil.rmtree(entry, ignore_errors=True)
    return None


def made_entry(place: Path, fill: Callable[[Path], None]) -> Path:
    """Make the entry of a key in its place.

    `fill` gets an empty folder, which is made read-only, synced and then named. An equal one that another process has made in
    the meantime is as good.
    """
    temporary = place.with_name(f".{place.name}.{socket.gethostname()}.{os.getpid()}")  # several machines may make one
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        fill(temporary)
        for file in temporary.rglob("*"):
            if file.is_file():
                file.chmod(0o444)  # an out may be the same inode: nobody edits it in place
        sync_folder(temporary)
        entry = place / folder_hash(temporary)
        place.mkdir(exist_ok=True)
        try:
            temporary.rename(entry)
        except OSError:
            if not entry.is_dir():
                raise
        sync(place)
        sync(place.parent)
        return entry
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@dataclass(frozen=True)
class Shard:
    """What one shard is made of.

    That is the parts of its key, a picklable function that fills a folder, and the files that it reads, with the hashes that
    are in the key.
    """

    parts: dict[str, Any]
    fill: Callable[[Path], None]
    reads: dict[Path, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file that it reads, or the first of several."""
        first, *others = self.reads or ("a shard of no file",)
        return f"{first} and {len(others)} more" if others else str(first)

    def filled(self, folder: Path) -> None:
        """Fill the folder.

        Raises:
            BuildError: a file that it reads is not the one that the key is of.
        """
        self.fill(folder)
        for path, hash in self.reads.items():
            if not path.is_file() or file_hash(path) != hash:
                raise BuildError(f"{path}: changed while it was read; run again when nobody writes to it")


@dataclass(frozen=True)
class Store:
    """The finished shards of one stage, in `folder`.

    Missing ones are made by `jobs` processes, or by those of a `cluster`. Of inputs below `alone_bytes` in all they are made by
    this one, since starting others takes longer.
    """

    folder: Path
    jobs: int
    alone_bytes: int = 0
    cluster: Cluster | None = None
    _used: set[Path] = field(default_factory=set, init=False, compare=False)

    def entries(self, module: str, shards: Sequence[Shard]) -> list[Path]:
        """The finished entry of each shard, in order.

        Args:
            module: the stage's `__file__`; its running code and packages are part of every key.
            shards: of which equal keys are equal shards.
        """
        code = fingerprint(Path(module), ROOT, with_packages=True)
        places = [self.folder / content_key(code=code, **shard.parts)[:32] for shard in shards]
        by_place = dict(zip(places, shards, strict=True))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._used.update(places)
        with ThreadPoolExecutor() as threads:  # hashing lets other threads run
            found = dict(zip(by_place, threads.map(whole_entry, by_place), strict=True))
        missing = {place: by_place[place] for place, entry in found.items() if not entry}
        size = sum(path.stat().st_size for shard in shards for path in shard.reads)
        program = Program(module, code) if size >= self.alone_bytes else None
        for made in progress(self._making(missing, program), len(missing), self.folder.name, "shards"):
            found[made.parent] = made
        if len(shards) > 1 and len(missing) < len(shards):
            print(f"{self.folder.name}: made {len(missing)} shards, reused {len(shards) - len(missing)}")
        return [entry for place in places if (entry := found[place])]

    def mapped(
        self, module: str, inputs: Sequence[Path], work: Callable[[Path, Path], None], **settings: Any
    ) -> list[Path]:
        """`entries` for a function `work(input file, folder)`.

        The key is the file's bytes and `settings`. The input's name is no part of the key, so no file in the folder may
        be named after it.
        """
        hashes = {path: file_hash(path) for path in inputs}
        shards = [
            Shard({"input": hash, **settings}, partial(work, path), {path: hash}) for path, hash in hashes.items()
        ]
        return self.entries(module, shards)

    def prune(self) -> None:
        """Remove the entries that this run did not ask for.

        This is for the end of a run that succeeded.
        """
        for place in self.folder.iterdir() if self._used else ():
            if place not in self._used:
                shutil.rmtree(place)

    def _making(self, missing: dict[Path, Shard], program: Program | None) -> Iterator[Path]:
        """Make entries, as they get ready; without a program in this process."""
        jobs = self.jobs if program else 1
        if program and self.cluster and missing:
            shards = [Making(shard.name, partial(made_entry, place, shard.filled)) for place, shard in missing.items()]
            return made_on(self.cluster, shards, program, self.folder.parents[1] / "cluster" / self.folder.name)
        if jobs == 1 or len(missing) < 2:
            return (made_entry(place, shard.filled) for place, shard in missing.items())
        from joblib import Parallel, delayed

        threads = max(1, (os.cpu_count() or 1) // jobs)
        os.environ["POLARS_MAX_THREADS"] = str(threads)  # of the new processes; here polars has started already
        made: Iterator[Path] = Parallel(n_jobs=jobs, return_as="generator_unordered")(
            delayed(made_entry)(place, shard.filled) for place, shard in missing.items()
        )
        return made
