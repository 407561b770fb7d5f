"""Print what the last build found, from its metrics files: `python -m stages.show`. A command, not a stage."""

import sys
from pathlib import Path
from typing import Any

import yaml

from stages.lib.files import read_json
from stages.lib.tables import summary

ROOT = Path(__file__).resolve().parents[1]


def outs(root: Path, stage: str) -> dict[str, str]:
    """The metrics and plots of a stage by file name, as dvc.yaml names their paths."""
    declared = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]
    paths = [path for entry in declared["metrics"] + declared["plots"] for path in entry]
    return {Path(path).name: path for path in paths}


def main(root: Path = ROOT) -> None:
    """Print the summary, or say what to run first."""
    paths = outs(root, "report")

    def read(name: str) -> Any:
        return read_json(root / paths[f"{name}.json"])

    try:
        benchmarks = {entry["benchmark"]: entry for entry in read("benchmarks")["benchmarks"]}
        claims = {name: claim["evidence"][0] for name, claim in read("claims").items()}
        text = summary(read("eval"), benchmarks, claims, paths["report.md"], paths["figures"])
    except FileNotFoundError:
        sys.exit(f"osler: {paths['report.md']}: no build has finished here yet; run `dvc repro`")
    print(text, end="")


if __name__ == "__main__":
    main()
