"""A store of finished shards, so that one changed file of a thousand costs one, and a process for each shard.

A stage that treats its input file by file keeps the result of each in `scratch/shards/<stage>/<key>/`, outside DVC's outs.
The key hashes all that the result depends on (the input's bytes, the settings, the code), so the bytes are those of a
clean build and deleting the store costs time only. An entry is written under another name and renamed: a killed build
leaves no half one. The store holds the entries of the last run that succeeded, hard-linked into the outs where the file
system can, and those of runs that failed since: only a success removes what is nobody's, so that going back from a
mistake costs nothing. Until then old and new entries need the disk together; deleting the store is always safe.

Reading an input to hash it costs 1 GB/s. joblib starts the processes, so that another of its backends (Ray, Dask) can
take over without a change to the functions; with one job all runs in the calling process.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from osler.build.files import file_hash
from osler.build.fingerprint import fingerprint
from osler.build.progress import progress

ROOT = Path(__file__).resolve().parents[2]


def content_key(**parts: Any) -> str:
    """sha256 of the named parts as JSON, hexadecimal.

    Keys are equal only when all parts are.
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def link(existing: Path, new: Path) -> None:
    """Make `new` a hard link to `existing`, or a copy.

    It is a copy where the file system has no links.
    """
    new.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(existing, new)
    except OSError:
        shutil.copyfile(existing, new)


@dataclass(frozen=True)
class Store:
    """The finished shards of one stage, in `folder`.

    Missing ones are made by `jobs` processes. Of inputs below `alone_bytes` in all they are made by this one, since
    starting others takes longer.
    """

    folder: Path
    jobs: int
    alone_bytes: int = 0
    _used: set[Path] = field(default_factory=set, init=False, compare=False)

    def entries(
        self, module: str, tasks: Sequence[tuple[dict[str, Any], Callable[[Path], None]]], inputs: Sequence[Path]
    ) -> list[Path]:
        """The finished entry of each task, in order.

        Args:
            module: the stage's `__file__`; its running code and packages are part of every key.
            tasks: for each the parts of its key, and a picklable function that fills the folder it is given.
            inputs: the files that they read.
        """
        code = fingerprint(Path(module), ROOT, with_packages=True)
        paths = [self.folder / content_key(code=code, **parts)[:32] for parts, _ in tasks]
        missing = {path: work for path, (_, work) in zip(paths, tasks, strict=True) if not path.is_dir()}
        self.folder.mkdir(parents=True, exist_ok=True)
        self._used.update(paths)
        jobs = self.jobs if sum(path.stat().st_size for path in inputs) >= self.alone_bytes else 1
        for _ in progress(self._making(missing, jobs), len(missing), self.folder.name, "shards"):
            pass
        if len(tasks) > 1 and len(missing) < len(tasks):
            print(f"{self.folder.name}: made {len(missing)} shards, reused {len(tasks) - len(missing)}")
        return paths

    def mapped(
        self, module: str, inputs: Sequence[Path], work: Callable[[Path, Path], None], **settings: Any
    ) -> list[Path]:
        """`entries` for a function `work(input file, folder)`.

        The key is the file's bytes and `settings`. The input's name is no part of the key, so no file in the folder may
        be named after it.
        """
        tasks = [({"input": file_hash(path), **settings}, _Call(work, path)) for path in inputs]
        return self.entries(module, tasks, inputs)

    def prune(self) -> None:
        """Remove the entries that this run did not ask for.

        This is for the end of a run that succeeded.
        """
        for entry in self.folder.iterdir() if self._used else ():
            if entry not in self._used:
                shutil.rmtree(entry)

    def _making(self, missing: dict[Path, Callable[[Path], None]], jobs: int) -> Iterator[Path]:
        if jobs == 1 or len(missing) < 2:
            return (_made(path, work) for path, work in missing.items())
        from joblib import Parallel, delayed

        threads = max(1, (os.cpu_count() or 1) // jobs)
        os.environ["POLARS_MAX_THREADS"] = str(threads)  # of the new processes; here polars has started already
        made: Iterator[Path] = Parallel(n_jobs=jobs, return_as="generator_unordered")(
            delayed(_made)(path, work) for path, work in missing.items()
        )
        return made


@dataclass(frozen=True)
class _Call:
    work: Callable[[Path, Path], None]
    path: Path

    def __call__(self, folder: Path) -> None:
        self.work(self.path, folder)


def _made(entry: Path, work: Callable[[Path], None]) -> Path:
    temporary = entry.with_name(f".{entry.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        work(temporary)
        for file in temporary.iterdir():
            file.chmod(0o444)  # an out may be the same inode: nobody edits it in place
        return temporary.rename(entry)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
