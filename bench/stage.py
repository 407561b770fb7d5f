"""Run one stage of a folder that has a dvc.yaml and a params.yaml, bound as `dvc repro` binds it, and say what it took.

    python -m bench.stage FOLDER STAGE CORE

Nothing here knows what a stage does: a step added to a stage, or a stage whose arguments change, is measured without an edit.
"""

import importlib
import sys
from pathlib import Path

from bench.measure import measured, pinned
from osler.build.pipeline import declarations, read_params
from osler.build.stage import bound
from osler.build.validation import PARAMS


def main(folder: Path, stage: str, core: int) -> None:
    """Run `stage` on `core` and write what it took to <folder>/costs/<stage>.json."""
    pinned(core)
    params = read_params(folder / PARAMS)
    declared = declarations(folder, params)[stage]
    module = importlib.import_module(f"stages.{stage.partition('@')[0]}")
    values = bound(module.main, declared, folder, params)
    for path in declared.outs:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
    measured(lambda: module.main(**values), folder / "costs" / f"{stage}.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
