"""`osler show training`: how runs train or trained, from scratch/live/."""

import shutil
from pathlib import Path

from osler.build.files import write_text
from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.report.live_curves import live_page, terminal_lines
from osler.training.live import FOLDER, lines


def say(root: Path = ROOT) -> None:
    """Print the curves of all runs, and write the page.

    The run that was written to last stands at the end.

    Raises:
        BuildError: nothing was trained here.
    """
    folder = root / "scratch" / FOLDER
    files = sorted(folder.glob("*.jsonl"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    runs = {file.stem: found for file in files if (found := lines(file))}
    if not runs:
        raise BuildError(f"{folder.relative_to(root)}: nothing was trained here yet; run `dvc repro`")
    width = shutil.get_terminal_size().columns
    for run, found in runs.items():
        print("\n".join(terminal_lines(run, found, width)))
    page = folder / "training.html"
    write_text(page, live_page(dict(reversed(runs.items()))))
    print(f"As a page: {page.relative_to(root)}. `watch -n 10 osler show training` keeps both up to date.")
