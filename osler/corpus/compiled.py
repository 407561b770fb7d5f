"""Functions over arrays as machine code.

For what has to look at every character or word and has no vector form.

Numba compiles at the first call with arguments of a type (seconds) and keeps the result in CACHE, so that later processes
load it (tens of milliseconds) where its bytes are what was kept. It looks only at the file that a function is in, not at what
the function calls, so CACHE is named after the text of all files that are compiled. Arithmetic on np.uint64 wraps around, as
hashing wants it; a Python int mixed into it makes a float, so constants are np.uint64 too. What a loop runs a million times
should take arrays out of tuples before the loop and make no new ones in it: counting references to an array costs 10 ns each
time.
"""

import hashlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import config, njit
from numba.core import caching, entrypoints

ROOT = Path(__file__).parents[2]
Function = TypeVar("Function", bound=Callable[..., Any])

# Or the first call imports whatever package offers types to numba: awkward, which gigatoken brings, takes 0.4 s.
entrypoints._already_initialized = True


def _compiled_sources() -> bytes:
    files = sorted(file for name in ("osler", "stages") for file in (ROOT / name).rglob("*.py"))
    return b"".join(source for file in files if b".compiled import " in (source := file.read_bytes()))


CACHE = (
    ROOT / "scratch" / "compiled" / hashlib.blake2b(_compiled_sources(), digest_size=8, person=b"checked").hexdigest()
)
config.CACHE_DIR = str(CACHE)  # type: ignore[attr-defined]


class CheckedFiles(caching.IndexDataCacheFile):
    """Numba's files of one function, each after the hash of its bytes.

    One that is damaged is told in a line and counts as missing: the function is compiled again.
    """

    def _write(self, path: str, value: object) -> None:
        content = self._dump(value)  # type: ignore[no-untyped-call]
        with self._open_for_write(path) as stream:
            stream.write(hashlib.blake2b(content, digest_size=16).digest() + content)

    def _read(self, path: str) -> Any:
        found = Path(path).read_bytes()
        hash, content = found[:16], found[16:]
        if hashlib.blake2b(content, digest_size=16).digest() != hash:
            print(f"warning: {path}: damaged; compiled again", file=sys.stderr, flush=True)
            Path(path).unlink(missing_ok=True)
            raise FileNotFoundError(path)
        return pickle.loads(content)  # noqa: S301 - what this program wrote, as its hash says

    def _save_index(self, overloads: object) -> None:
        self._write(self._index_path, (self._version, self._source_stamp, overloads))

    def _load_index(self) -> Any:
        try:
            version, stamp, overloads = self._read(self._index_path)
        except FileNotFoundError:
            return {}
        return overloads if (version, stamp) == (self._version, self._source_stamp) else {}

    def _save_data(self, name: str, data: object) -> None:
        self._write(self._data_path(name), data)  # type: ignore[no-untyped-call]

    def _load_data(self, name: str) -> Any:
        return self._read(self._data_path(name))  # type: ignore[no-untyped-call]


caching.IndexDataCacheFile = CheckedFiles  # type: ignore[misc]


def compiled(function: Function) -> Function:
    """`function` as machine code.

    It holds no lock of the interpreter while it runs.
    """
    return cast("Function", njit(cache=True, nogil=True)(function))


def inlined(function: Function) -> Function:
    """A small function, put in place where a compiled one calls it."""
    return cast("Function", njit(inline="always")(function))
