"""`osler show`: what the last build found, from its metrics files."""

import sys
from pathlib import Path
from typing import Any

import yaml

from osler.build.files import read_json
from osler.build.section import BuildError
from osler.report.sections import summary
from osler.training.arithmetic import ADVICE, is_as_committed

ROOT = Path(__file__).resolve().parents[2]


def outs(root: Path, stage: str) -> dict[str, str]:
    """The metrics and plots of a stage by file name.

    Their paths are as dvc.yaml names them.
    """
    declared = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]
    paths = [path for entry in declared["metrics"] + declared["plots"] for path in entry]
    return {Path(path).name: path for path in paths}


def say(root: Path = ROOT) -> None:
    """Print the summary, or say what to run first."""
    paths = outs(root, "report")

    def read(name: str) -> Any:
        return read_json(root / paths[f"{name}.json"])

    try:
        benchmarks = {entry["benchmark"]: entry for entry in read("benchmarks")["benchmarks"]}
        claims = {name: claim["evidence"][0] for name, claim in read("claims").items() if "evidence" in claim}
        text = summary(read("eval"), benchmarks, claims, paths["report.md"], paths["figures"])
    except FileNotFoundError:
        raise BuildError(f"{paths['report.md']}: no build has finished here yet; run `dvc repro`") from None
    if not (root / "results/predictions").is_dir():
        print("osler: nothing has been built here: this is what is committed; run `dvc repro`", file=sys.stderr)
    print(text, end="")
    if not is_as_committed(root):
        print(ADVICE, file=sys.stderr)
