"""`osler clean`: checkpoints that no run will go on from, listed and, when asked to, removed.

Nothing else removes them: params may be set back to those of a run that was trained for weeks.
"""

import fcntl
import time
from pathlib import Path

from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.training.checkpoint_folders import LEFT, RunFolder, run_folders


def say(is_sure: bool, is_all: bool, root: Path = ROOT) -> None:
    """List the folders of checkpoints below scratch/, or remove some.

    Args:
        is_sure: remove those of other params or inputs, and not only list them.
        is_all: remove the others, too.
    Raises:
        BuildError: with `is_all`, while a stage is being built.
    """
    if is_sure and is_all:
        refuse_while_built(root)
    found = list(run_folders(root / "scratch"))
    chosen = [run for run in found if is_all or run.kind == LEFT]
    for run in found:
        if is_sure and run in chosen:
            run.remove()
        print(f"{'removed ' if is_sure and run in chosen else ''}{line(run, root)}", flush=True)
    size = sum(run.size for run in chosen) / 1e9
    if not found:
        print("no checkpoints of unfinished runs, and no milestones")
    elif is_sure:
        print(f"{len(chosen)} of {len(found)} removed: {size:,.2f} GB")
    elif chosen:
        print(f"`osler clean{' --all' if is_all else ''} --yes` removes {len(chosen)} of {len(found)}: {size:,.2f} GB")
    else:
        print(
            "runs begun last go on from theirs, if params are the same; `osler clean --all --yes` removes all of these"
        )


def line(run: RunFolder, root: Path) -> str:
    """What a person needs to know of a folder of checkpoints."""
    days = (time.time() - run.newest) / 86_400
    age = f"{days:.0f} days" if days >= 2 else f"{24 * days:.0f} hours"
    steps = f"to step {run.steps[-1]}" if run.steps else "none whole"
    return f"{run.path.relative_to(root)}: {run.kind}; {steps}, {run.size / 1e9:,.2f} GB, {age} old"


def refuse_while_built(root: Path) -> None:
    """Refuse to remove what a trainer may be writing.

    Raises:
        BuildError: names the stage.
    """
    for path in sorted((root / "scratch/locks").glob("*")):
        with path.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BuildError(f"{path.name} is being built; wait for it, or leave out --all") from None
