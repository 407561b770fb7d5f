"""Whether what lies there is what was built: files against the md5 that dvc.lock has of them.

DVC takes a file for unchanged whose size and times are, and what is in its cache for what it was. Disks think otherwise now
and then, and so do hands. So a stage reads its deps once before it starts, 0.6 GB/s a thread; of the processes of a training
on one machine each reads its share. Raw files are nobody's out: for them it says whether they stayed what they were.
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from osler.build.dvc_cache import cache_folder
from osler.build.progress import progress
from osler.build.section import BuildError
from osler.build.shortages import is_damage

LOCK = "dvc.lock"
FOLDER = ".dir"  # the end of a folder's md5, which is that of the list of its files


@dataclass(frozen=True)
class Out:
    """An out as the last run of its stage left it.

    `path` is relative to the root.
    """

    stage: str
    path: str
    md5: str


@dataclass(frozen=True)
class Expected:
    """A file of an out and its md5.

    It is the folder where no list of its files is there.
    """

    out: Out
    path: Path
    md5: str

    def is_there(self) -> bool:
        """Whether it has the md5."""
        try:
            return (folder_md5 if self.md5.endswith(FOLDER) else file_md5)(self.path) == self.md5
        except OSError as error:
            if is_damage(error):
                return False
            raise


def file_md5(path: Path) -> str:
    """md5 of the file's bytes, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def bytes_md5(content: bytes) -> str:
    """md5 of bytes, hexadecimal."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def files_below(folder: Path) -> list[Path]:
    """Files of an out, in no order.

    Hidden ones are those that a killed process left.
    """
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [folder / path for path in found if not any(part.startswith(".") for part in path.parts)]


def folder_md5(folder: Path) -> str:
    """What DVC calls the md5 of a folder."""
    files = {path.relative_to(folder).as_posix(): file_md5(path) for path in files_below(folder)}
    listed = [{"md5": files[name], "relpath": name} for name in sorted(files)]
    return bytes_md5(json.dumps(listed, sort_keys=True).encode()) + FOLDER


def locked_stages(root: Path) -> dict[str, Any]:
    """What dvc.lock has of each stage.

    Raises:
        BuildError: DVC was killed while it wrote the file, or somebody edited it.
    """
    import yaml

    try:
        text = (root / LOCK).read_text(encoding="utf-8")
        stages: dict[str, Any] = dict(yaml.load(text, yaml.CSafeLoader)["stages"])
        if not text.endswith("\n"):
            raise ValueError("its last line is cut")
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, ValueError):
        kept = ["git", "cat-file", "-e", f"HEAD:./{LOCK}"]
        is_in_git = not subprocess.run(kept, cwd=root, capture_output=True, check=False).returncode
        advice = f"git checkout {LOCK}" if is_in_git else f"rm {LOCK}"
        raise BuildError(
            f"{LOCK}: half of it, as a killed dvc leaves it; `{advice}`, then `dvc repro`: what was built comes from the cache"
        ) from None
    return stages


def recorded(root: Path, stages: Collection[str]) -> list[Out]:
    """The outs of these stages that dvc.lock has.

    Raises:
        BuildError: see `locked_stages`.
    """
    entries = locked_stages(root)
    return [
        Out(stage, out["path"], out["md5"])
        for stage in sorted(stages & entries.keys())
        for out in entries[stage].get("outs", ())
        if "md5" in out
    ]


def cached(cache: Path, md5: str) -> Path:
    """Where in the cache a file or list of that md5 lies."""
    return cache / md5[:2] / md5[2:]


def is_sound(object: Path) -> bool:
    """Whether a file of the cache is what its name says."""
    name = (object.parent.name + object.name).removesuffix(FOLDER)
    try:
        return file_md5(object) == name
    except OSError as error:
        if is_damage(error):
            return False
        raise


def expected(root: Path, out: Out, cache: Path, below: str = "") -> Iterator[Expected]:
    """What should lie at an out, or `below` a path in it.

    File by file where the cache has its list.
    """
    place = root / out.path
    if not out.md5.endswith(FOLDER):
        yield Expected(out, place, out.md5)
        return
    listing = cached(cache, out.md5)
    if not is_sound(listing):
        yield Expected(out, place, out.md5)
        return
    names = {each["relpath"]: each["md5"] for each in json.loads(listing.read_bytes())}
    wanted = {name: md5 for name, md5 in names.items() if not below or PurePosixPath(name).is_relative_to(below)}
    yield from (Expected(out, place / name, md5) for name, md5 in wanted.items())
    there = (place / below).is_dir()
    more = {path.relative_to(place).as_posix() for path in files_below(place / below)} - names.keys() if there else ()
    yield from (Expected(out, place / name, "none, it is not of the build") for name in sorted(more))


def of_deps(root: Path, deps: Iterable[str], outs: Iterable[Out], cache: Path) -> Iterator[Expected]:
    """What should lie at these deps.

    They are outs, paths in one, or folders of several.
    """
    paths = [PurePosixPath(os.path.normpath(dep)) for dep in deps]  # `..` may lead from one folder into another
    for out in outs:
        place = PurePosixPath(out.path)
        if any(place.is_relative_to(path) for path in paths):
            yield from expected(root, out, cache)
        else:
            for path in paths:
                if path.is_relative_to(place):
                    yield from expected(root, out, cache, path.relative_to(place).as_posix())


def advice(root: Path, wrong: Expected, cache: Path) -> str:
    """What brings it back."""
    path = wrong.path.relative_to(root).as_posix()
    copy = cached(cache, wrong.md5)
    if copy.is_file() and not is_sound(copy):
        inside = copy.relative_to(root) if copy.is_relative_to(root) else copy
        return f"so is DVC's copy: `rm -rf {path} {inside}`, then `dvc pull {wrong.out.path}` or `dvc repro` makes it again"
    what = f"dvc checkout {wrong.out.path}` brings back" if copy.is_file() else "dvc repro` makes again"
    return f"`rm -rf {path} && {what} what was built"


def check_deps(root: Path, deps: Iterable[str], stages: Collection[str], share: tuple[int, int] = (0, 1)) -> None:
    """Refuse deps that are not what the stages that make them left.

    Args:
        root: the project's.
        deps: paths relative to it; what no stage has made is passed over.
        stages: names of all that there are.
        share: (i, n): only every n-th file from the i-th on, where n processes look at the same files.

    Raises:
        BuildError: names the first file that differs and says what brings it back.
    """
    cache = cache_folder(root)
    number, processes = share
    mine = list(of_deps(root, deps, recorded(root, stages), cache))[number::processes]
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // processes)) as threads:  # hashing lets other threads run
        found = progress(threads.map(Expected.is_there, mine), len(mine), "verify", "files")
        for each, is_there in zip(mine, found, strict=True):
            if not is_there:
                threads.shutdown(wait=False, cancel_futures=True)
                path = each.path.relative_to(root).as_posix()
                raise BuildError(f"{path}: is not what {each.out.stage} left there; {advice(root, each, cache)}")


def stamps(root: Path, paths: Iterable[str]) -> dict[str, tuple[int, int, int]]:
    """Size, time of change and inode of the files at these paths.

    What Python writes beside modules as it imports them is no content, and .dvcignore has it too.
    """
    found: dict[str, tuple[int, int, int]] = {}
    for path in paths:
        place = root / path
        for file in place.rglob("*") if place.is_dir() else [place]:
            if file.is_file() and file.parent.name != "__pycache__":
                facts = file.stat()
                name = file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
                found[name] = (facts.st_size, facts.st_mtime_ns, facts.st_ino)
    return found


def check_unchanged(before: Mapping[str, object], after: Mapping[str, object]) -> None:
    """Refuse raw files that changed between two `stamps`.

    Raises:
        BuildError: names the first one.
    """
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            what = "changed" if name in before and name in after else "appeared" if name in after else "vanished"
            raise BuildError(f"{name}: {what} while it was read; run again when nobody writes to it")
