"""`osler doctor --verify`: whether all that was built is what it was.

Looked at are the outs that lie here, DVC's cache, the stores of finished shards, predictions and models, and checkpoints, each
against the hash that was taken when it was made. Nothing is changed. A line for each damaged one says what to do.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from osler.build.dvc_cache import cache_folder
from osler.build.files import folder_hash
from osler.build.pipeline import ROOT, declarations, read_params
from osler.build.progress import progress
from osler.build.recorded import FOLDER, Expected, advice, expected, is_sound, recorded
from osler.build.section import BuildError
from osler.build.validation import PARAMS
from osler.training.checkpoints import faults


@dataclass(frozen=True)
class Suspect:
    """One thing that may be damaged.

    `wrong` says what is, if anything.
    """

    kind: str
    wrong: Callable[[], str | None]


def out_suspects(root: Path) -> Iterator[Suspect]:
    """Files of outs that lie here."""
    cache = cache_folder(root)

    def wrong(each: Expected) -> str | None:
        if each.is_there():
            return None
        return f"{each.path.relative_to(root)}: is not what {each.out.stage} left there; {advice(root, each, cache)}"

    for out in recorded(root, declarations(root, read_params(root / PARAMS)).keys()):
        if (root / out.path).exists():
            for each in expected(root, out, cache):
                yield Suspect("files of outs", lambda each=each: wrong(each))  # type: ignore[misc]


def absent_outs(root: Path) -> list[str]:
    """Paths of outs that dvc.lock has and that do not lie here."""
    stages = declarations(root, read_params(root / PARAMS)).keys()
    return sorted(out.path for out in recorded(root, stages) if not (root / out.path).exists())


def cache_suspects(root: Path) -> Iterator[Suspect]:
    """Files of DVC's cache."""
    cache = cache_folder(root)

    def wrong(path: Path) -> str | None:
        shown = path.relative_to(root) if path.is_relative_to(root) else path
        return None if is_sound(path) else f"{shown}: damaged; `rm -f {shown}`, then `dvc fetch` if a remote has it"

    for path in sorted(cache.glob("??/*")):
        if path.is_file() and len(path.parent.name + path.name.removesuffix(FOLDER)) == 32:
            yield Suspect("files of DVC's cache", lambda path=path: wrong(path))  # type: ignore[misc]


def store_suspects(root: Path) -> Iterator[Suspect]:
    """Entries of the stores, and checkpoints."""

    def wrong_entry(entry: Path) -> str | None:
        if folder_hash(entry) == entry.name:
            return None
        return f"{entry.relative_to(root)}: damaged; the next build that needs it makes it again"

    def wrong_checkpoint(folder: Path) -> str | None:
        found = faults(folder)
        return f"{found[0]}; training goes on from the one before it, or anew" if found else None

    for pattern in ("shards/*/*/*", "predictions/*/*", "trained/*/*/*"):
        for entry in sorted((root / "scratch").glob(pattern)):
            if entry.is_dir():
                yield Suspect("finished shards, predictions and models", lambda entry=entry: wrong_entry(entry))  # type: ignore[misc]
    for folder in sorted((root / "scratch").glob("*/*/step-*")):
        yield Suspect("checkpoints", lambda folder=folder: wrong_checkpoint(folder))  # type: ignore[misc]


def say(root: Path = ROOT) -> None:
    """Print what is damaged, and how much was looked at.

    Raises:
        BuildError: something is.
    """
    suspects = [*out_suspects(root), *cache_suspects(root), *store_suspects(root)]
    counts: dict[str, int] = {}
    damaged = 0
    with ThreadPoolExecutor() as threads:  # hashing lets other threads run
        found = progress(threads.map(lambda suspect: suspect.wrong(), suspects), len(suspects), "verify", "files")
        for suspect, wrong in zip(suspects, found, strict=True):
            counts[suspect.kind] = counts.get(suspect.kind, 0) + 1
            if wrong:
                damaged += 1
                print(wrong, flush=True)
    told = ", ".join(f"{count:,} {kind}" for kind, count in counts.items()) or "nothing has been built here"
    if absent := absent_outs(root):
        told += (
            f"; {len(absent)} outs of dvc.lock are not here ({absent[0]}): `dvc checkout`, `dvc pull` or `dvc repro`"
        )
    if damaged:
        raise BuildError(f"{damaged} not as they were made; looked at {told}")
    print(f"all as they were made: {told}")
