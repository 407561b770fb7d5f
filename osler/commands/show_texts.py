"""`osler show texts`: what the models of a build wrote for a generative task.

Some items are printed; all stand on a page in scratch/texts/. Sources, targets and texts may be about patients: neither is
tracked by Git or DVC.
"""

from collections.abc import Iterator

import polars as pl

from osler.build.artifacts import Artifacts
from osler.build.files import write_text
from osler.build.pipeline import ROOT, declarations, read_params
from osler.build.section import BuildError
from osler.build.validation import PARAMS
from osler.commands.show_items import refuse_patients
from osler.inference.interface import seeded_rank
from osler.report.page import html
from osler.report.text_page import page_blocks, terminal_lines

FOLDER = "scratch/texts"


def written(artifacts: Artifacts, task: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What the models wrote, and the items of the task.

    Rows of GENERATIONS of all models that answered, and the rows of its file.

    Raises:
        BuildError: no such task, no model has answered, or models answered different items.
    """
    tasks = sorted(name.partition("@")[2] for name in artifacts.stages if name.startswith("tasks@"))
    if task not in tasks:
        raise BuildError(f"{task}: no such task; they are {', '.join(tasks) or 'none'}")
    stages = sorted(name for name in artifacts.stages if name.startswith(("evaluate@", "evaluate_adapter@")))
    folders = {stage: artifacts.root / artifacts.stages[stage].outs[0] for stage in stages}
    files = [file for folder in folders.values() if (file := folder / "generations.parquet").is_file()]
    found = [rows for file in files if len(rows := pl.read_parquet(file).filter(pl.col("task") == task))]
    if not found:
        raise BuildError(f"{task}: no model has answered yet; run `dvc repro`")
    if len({tuple(rows["item_id"].sort()) for rows in found}) > 1:
        raise BuildError(f"{task}: models answered different items, under other params; run `dvc repro`")
    return pl.concat(found, how="diagonal"), pl.read_parquet(artifacts.root / artifacts.stages[f"tasks@{task}"].outs[0])


def shown(artifacts: Artifacts, task: str, count: int, confidence: float) -> Iterator[str]:
    """The lines to print; the page is written on the way.

    Raises:
        BuildError: see `written`.
    """
    generations, items = written(artifacts, task)
    page = artifacts.root / FOLDER / f"{task}.html"
    write_text(page, html(page_blocks(generations, items, confidence), {}))
    ranked = sorted(generations["item_id"].unique(), key=lambda item_id: (seeded_rank(1, "show", item_id), item_id))
    yield from terminal_lines(generations, items, ranked[:count])
    yield f"--- all {len(ranked):,} items as a page: {artifacts.shown(page)}"


def say(task: str, count: int) -> None:
    """Print some items, and write the page of all.

    Raises:
        BuildError: see `written` and `refuse_patients`.
    """
    params = read_params(ROOT / PARAMS)
    artifacts = Artifacts(ROOT, declarations(ROOT, params))
    if task in params["task"]:
        refuse_patients(params, task, "task")
    for line in shown(artifacts, task, count, params["statistics"]["confidence"]):
        print(line, flush=True)
