"""Compressed streams and tar archives, of files that nobody vouches for.

Nothing is unpacked to disk. A stream stops at FILE_BYTES or at RATIO times its compressed size (real text packs 3 to 10
times, gzip's most is 1,032 and zstandard's 32,768), and all streams of one file together at RATIO times the file's size;
links, devices and names that leave an archive are faults, and what was read before damage stays. jsonl.gz 196 MB/s,
jsonl.zst 306 a core. Listing 100,000 files takes 1.1 s.
"""

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, cast

import zstandard

from osler.build.dvc_cache import is_cached
from osler.build.section import BuildError
from osler.ingest.encodings import SAMPLE_BYTES
from osler.ingest.faults import Fault, Unreadable

FILE_BYTES = 1 << 36
RATIO = 200
RATIO_FREE_BYTES = 1 << 26  # however small it was
WINDOW_BYTES = 1 << 27  # zstandard --long=27
MEMBERS = 1 << 22

COMPRESSIONS = ("", ".gz", ".zst")
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.zst")

IGNORED = (".gitignore", ".dvcignore")  # no part of a source: DVC's hash of a folder has neither
SKIPPED = ("empty_file", "hidden", "other_suffix")  # reasons for files that are in order and give no row
REFUSED = ("link", "unreadable_file")  # reasons of `raw_files` for what is mended before a build

ERRORS = (OSError, EOFError, zlib.error, zstandard.ZstdError, tarfile.TarError)


@dataclass(frozen=True)
class RawFile:
    """One file of a source.

    Attributes:
        name: as origins have it, relative to the source's folder, with `/`.
        path: where it lies.
        fault: why it must not be opened, such as a link that leads out of the source's folder.
    """

    name: str
    path: Path
    fault: Fault | None = None


def raw_files(path: Path, suffixes: tuple[str, ...]) -> list[RawFile]:
    """`path` itself, or all files in and below it, sorted by name.

    One that is not to be read has a fault.

    A link into DVC's cache is the file that DVC tracks there.

    The reasons: `link` (elsewhere out of the folder, or to a folder), `unreadable_file` (a pipe, a socket, a device, a link to
    nothing), `hidden` (a name on its way begins with a dot), `other_suffix` (it ends as none of `suffixes`, in upper or
    lower case). Of links the first two are told whatever their names.

    Raises:
        BuildError: nothing is there.
    """
    if path.is_file():
        return [RawFile(printable(path.name), path, _suffix_fault(path.name, suffixes))]
    if not path.is_dir():
        what = "is neither a file nor a folder" if os.path.lexists(path) else "does not exist"
        raise BuildError(f"{path}: {what}; correct `path` or `root` in params.yaml")
    files, folders, top, resolved = list[RawFile](), [str(path)], len(str(path)), path.resolve()
    for here in folders:
        try:
            entries = list(os.scandir(here))
        except OSError as error:
            fault = Fault("unreadable_file", f"a folder that cannot be listed: {error.strerror}")
            files.append(RawFile(printable(here[top:].lstrip("/") or path.name), Path(here), fault))
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif entry.name not in IGNORED:
                name = entry.path[top:].lstrip("/")
                found = _entry_fault(entry, resolved) or _hidden_fault(name) or _suffix_fault(name, suffixes)
                files.append(RawFile(printable(name), Path(entry.path), found))
    return sorted(files, key=lambda file: file.name)


def _hidden_fault(name: str) -> Fault | None:
    if any(part.startswith(".") and part != "." for part in name.split("/")):
        return Fault("hidden", "its name, or a folder's that it lies in, begins with a dot")
    return None


def _suffix_fault(name: str, suffixes: tuple[str, ...]) -> Fault | None:
    if name.lower().endswith(suffixes):
        return None
    return Fault("other_suffix", f"the source's `format` reads {', '.join(suffixes)}")


def _entry_fault(entry: "os.DirEntry[str]", folder: Path) -> Fault | None:
    if entry.is_symlink():
        return _link_fault(Path(entry.path), folder)
    if not entry.is_file():
        return Fault("unreadable_file", "a pipe, a socket or a device, not a file")
    return None if os.access(entry.path, os.R_OK) else Fault("unreadable_file", "no permission to read it")


def listed_files(folder: Path, paths: Iterable[Path]) -> list[RawFile]:
    """Files that are named elsewhere than in a folder's listing.

    Sorted by name, with a fault for each that lies outside the folder.
    """
    tops, files = (folder.absolute(), folder.resolve()), list[RawFile]()
    for path in dict.fromkeys(Path(os.path.normpath(path.absolute())) for path in paths):
        top, found = next((top for top in tops if path.is_relative_to(top)), None), path.resolve()
        if top is None or not (found.is_relative_to(tops[1]) or is_cached(found)):
            files.append(RawFile(printable(path.name), path, Fault("link", "leads out of the source's folder")))
        else:
            files.append(RawFile(printable(path.relative_to(top).as_posix()), path, _link_fault(path, tops[1])))
    return sorted(files, key=lambda file: file.name)


def printable(name: str) -> str:
    """A file's name as it can be written to a ledger.

    Bytes that are no UTF-8 are replaced.
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _link_fault(file: Path, folder: Path) -> Fault | None:
    if file.is_symlink():
        if file.is_dir():
            return Fault("link", "a link to a folder, which is not followed")
        if not file.exists():
            return Fault("unreadable_file", "a link to nothing")
        found = file.resolve()
        if not (found.is_relative_to(folder) or is_cached(found)):
            return Fault("link", "a link that leads out of the source's folder, which is not followed")
    return None if file.is_file() or file.is_dir() else Fault("unreadable_file", "neither a file nor a folder")


class _Readable(Protocol):
    def read1(self, size: int, /) -> bytes: ...


class _Reads(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Zstandard:
    def __init__(self, stream: BinaryIO) -> None:
        self._blocks, self._pending = self._decompressed(stream), memoryview(b"")

    def _decompressed(self, stream: BinaryIO) -> Iterator[bytes]:
        decoder: zstandard.ZstdDecompressionObj | None = None
        while chunk := stream.read(1 << 12):  # four bytes can stand for 128 KiB, so at most 128 MiB at a time
            while chunk:
                decoder = decoder or zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES).decompressobj()
                yield decoder.decompress(chunk)
                chunk = decoder.unused_data if decoder.eof else b""
                decoder = None if decoder.eof else decoder
        if decoder:
            raise EOFError("the file ended within a zstandard frame")

    def read1(self, size: int) -> bytes:
        while not self._pending:
            block = next(self._blocks, None)
            if block is None:
                return b""
            self._pending = memoryview(block)
        block, self._pending = bytes(self._pending[:size]), self._pending[size:]
        return block


class Allowance:
    """What one file of `size_bytes` may unpack to.

    Its own stream and all that its archive holds count together.
    """

    def __init__(self, size_bytes: int) -> None:
        self.limit_bytes = self._left_bytes = max(RATIO_FREE_BYTES, RATIO * size_bytes)

    def take(self, taken_bytes: int) -> bool:
        """Whether so much may still be unpacked."""
        self._left_bytes -= taken_bytes
        return self._left_bytes >= 0


class _Bounded(io.RawIOBase):
    """Up to `limit_bytes` of a stream.

    What comes before an error is read before the error is raised.
    """

    def __init__(self, stream: _Readable, limit_bytes: int, file: BinaryIO, allowance: Allowance | None) -> None:
        self._stream, self._file, self._limit_bytes, self._left_bytes = stream, file, limit_bytes, limit_bytes
        self._allowance = allowance
        self._error: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        filled = 0
        while filled < len(buffer) and not self._error:
            try:
                block = self._stream.read1(len(buffer) - filled)
            except ERRORS as error:
                self._error = error
                break
            if not block:
                break
            self._left_bytes -= len(block)
            if self._left_bytes < 0:
                self._error = Unreadable("unreadable_file", f"holds more than {self._limit_bytes} bytes uncompressed")
                break
            if self._allowance and not self._allowance.take(len(block)):
                message = (
                    f"with what was read before of the file more than {self._allowance.limit_bytes} bytes uncompressed"
                )
                self._error = Unreadable("unreadable_file", message)
                break
            buffer[filled : filled + len(block)] = block
            filled += len(block)
        if self._error and not filled:
            raise self._error
        return filled

    def close(self) -> None:
        self._file.close()
        super().close()


def decompressed(stream: BinaryIO, name: str, size_bytes: int, allowance: Allowance) -> io.BufferedReader:
    """`stream` without the compression that the end of `name` tells.

    Args:
        stream: a file or an archive's member, of `size_bytes` bytes.
        allowance: the file's; what is not compressed takes nothing of it.
    """
    source: _Readable
    limit_bytes = min(FILE_BYTES, max(RATIO_FREE_BYTES, RATIO * size_bytes))
    if name.lower().endswith((".gz", ".tgz")):
        source = gzip.GzipFile(fileobj=stream)
    elif name.lower().endswith(".zst"):
        source = _Zstandard(stream)
    else:
        plain = _Bounded(cast(_Readable, stream), max(FILE_BYTES, size_bytes), stream, None)
        return io.BufferedReader(plain, SAMPLE_BYTES)
    return io.BufferedReader(_Bounded(source, limit_bytes, stream, allowance), SAMPLE_BYTES)


def open_binary(path: Path, allowance: Allowance | None = None) -> io.BufferedReader:
    """`path` for reading, decompressed where its name ends in .gz or .zst."""
    size_bytes = path.stat().st_size
    return decompressed(path.open("rb"), path.name, size_bytes, allowance or Allowance(size_bytes))


class _Header(tarfile.TarInfo):
    """A header; a damaged or missing one is an error.

    The standard library takes it for the archive's end.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "_Header":
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {archive.offset}") from None


def members(
    stream: BinaryIO, suffixes: tuple[str, ...], allowance: Allowance
) -> Iterator[tuple[str, io.BufferedReader | Fault]]:
    """The files of a tar archive, in its order.

    Those that are not to be read are faults; folders are left out.

    Each is to be read before the next is asked for.

    Args:
        stream: the archive.
        suffixes: how the names of files to be read end.
        allowance: of the file that the archive is.
    Raises:
        tarfile.TarError, and what reading `stream` raises: the archive is damaged.
    """
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as archive:
        count = 0
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined] # what has been read is not needed again
            name, count = printable(member.name), count + 1
            if count > MEMBERS:
                raise Unreadable("unreadable_file", f"more than {MEMBERS} members")
            if member.isdir() or PurePosixPath(name).name in IGNORED:
                continue
            if name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name:
                yield name, Fault("unsafe_member", "a name that leads out of the archive")
            elif fault := _hidden_fault(name) or _suffix_fault(name, suffixes):
                yield name, fault
            elif not member.isreg() or member.issparse():
                yield name, Fault("unsafe_member", "a link, a device or a sparse file")
            else:
                yield name, decompressed(cast(BinaryIO, archive.extractfile(member)), name, member.size, allowance)


def whole(stream: "BinaryIO | _Reads", limit_bytes: int) -> bytes:
    """All of `stream`.

    Raises:
        Unreadable: that is more than `limit_bytes`.
    """
    blocks: list[bytes] = []
    while block := stream.read(1 << 20):
        blocks.append(block)
        if sum(map(len, blocks)) > limit_bytes:
            raise Unreadable("unreadable_file", f"holds more than {limit_bytes} bytes, too much to be read as a whole")
    return b"".join(blocks)


def is_archive(name: str) -> bool:
    """Whether the name is that of a tar archive."""
    return name.lower().endswith(ARCHIVES)
