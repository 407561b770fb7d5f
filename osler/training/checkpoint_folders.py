"""The folders of checkpoints in scratch/: which run each belongs to, and which no run will go on from.

A run's folder is named after its params and inputs, and removed when its model is finished. So a folder is an unfinished run's.
Params that change leave the one before as it was: going back to them goes on from it. Nothing removes it but `osler clean`.
`scratch/<model>/seed-<seed>.json` names the folder of the last run that was begun.

Milestones of a finished run (`launch.keep_every_steps`) lie beside it in `<folder>-finished-<code>`.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from osler.build.files import read_json, write_json

FINISHED = "finished"
NAME = re.compile(r"(aside-)?step-\d{8,}|\.step-\d{8,}\.tmp")  # of a checkpoint
CURRENT, LEFT, MILESTONES = "of the run begun last", "other params or inputs", "milestones of a finished run"


@dataclass(frozen=True)
class RunFolder:
    """The checkpoints of a run.

    `newest` is the time of the last one in seconds since 1970, `kind` one of CURRENT, LEFT and MILESTONES.
    """

    path: Path
    kind: str
    steps: tuple[int, ...]
    size: int  # bytes
    newest: float

    def remove(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path)


def begin(folder: Path, seed: int) -> None:
    """Note that the run of `seed` begins or goes on in `folder`.

    If it begins, and there are checkpoints that it does not go on from, a line says so.
    """
    write_json(folder.parent / f"seed-{seed}.json", {"folder": folder.name})
    if not folder.is_dir():
        left = [run for run in run_folders(folder.parent.parent, folder.parent.name) if run.kind == LEFT]
        if left:
            steps = max(max(run.steps, default=0) for run in left)
            print(
                f"{folder.parent.name} seed {seed}: begins anew; the checkpoints of {len(left)} runs of other params or"
                f" inputs, up to step {steps}, stay in {folder.parent}: `osler clean` lists and removes them",
                flush=True,
            )


def run_folders(scratch: Path, title: str = "*") -> Iterator[RunFolder]:
    """Folders of checkpoints below `scratch`.

    They are all, or those of the runs called `title`.
    """
    found = {path.parent for path in scratch.glob(f"{title}/*/*") if NAME.fullmatch(path.name) and path.is_dir()}
    for folder in sorted(found):
        files = [path.stat() for path in folder.rglob("*") if path.is_file()]
        kind = MILESTONES if f"-{FINISHED}-" in folder.name else CURRENT if _goes_on(folder) else LEFT
        steps = sorted(int(path.name[5:]) for path in folder.iterdir() if path.name.startswith("step-"))
        newest = max([facts.st_mtime for facts in files], default=folder.stat().st_mtime)
        yield RunFolder(folder, kind, tuple(steps), sum(facts.st_size for facts in files), newest)


def _goes_on(folder: Path) -> bool:
    """Whether a run that was begun last goes on from `folder`; so too if that cannot be read."""
    try:
        notes = [read_json(path) for path in folder.parent.glob("seed-*.json")]
        return any(note["folder"] == folder.name for note in notes)
    except (OSError, ValueError, KeyError, TypeError):
        return True
