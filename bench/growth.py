"""How the corpus stages' cost, and DVC's own, grow with sources and with files.

    python -m bench.growth --grid 10x1000 40x1000 10x4000 --out results/bench/growth.json

Each point of the grid is SOURCESxFILES: a project of its own in the profile `micro`, to which that many sources are added, with
that many files in all and two documents in each. `dvc repro` runs there as users run it, group by group. Of each group the
table gives CPU seconds of DVC's own process, and those of the stages that it started. `again` is a whole run in which nothing
is to be done. The last lines compare the points: a cost that is linear in sources (in files) grows at most by their factor.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from osler.build.files import write_json
from tests.support.project import Project, copied

GROUPS = ("ingest", "items", "screen", "select", "tokenizer", "tokenize", "pack", "again")
TARGETS = {"again": "pack", "items": "benchmarks"}
DOCUMENTS_PER_FILE, SENTENCES = 2, 12
TOPICS = ("renal", "cardiac", "pulmonary", "hepatic", "thyroid", "gastric", "cranial", "spinal", "vascular", "dermal")
FINDINGS = (
    "pain",
    "swelling",
    "function",
    "pressure",
    "bleeding",
    "infection",
    "obstruction",
    "lesion",
    "fatigue",
    "fever",
)
COURSES = ("was mild", "was severe", "came back", "went away", "was not seen", "is treated", "is watched", "was denied")
DVC = """
import json, resource, sys, time
from dvc.cli import main
start = time.perf_counter()
code = main(["repro", "--quiet", sys.argv[1]])
seconds = lambda who: sum(resource.getrusage(who)[:2])
print(json.dumps({"code": code, "wall": time.perf_counter() - start,
                  "dvc": seconds(resource.RUSAGE_SELF), "stages": seconds(resource.RUSAGE_CHILDREN)}))
"""


def sentence(generator: np.random.Generator) -> str:
    """One of 80,000 that may stand in a note."""
    topic, finding, course = (str(generator.choice(words)) for words in (TOPICS, FINDINGS, COURSES))
    return f"On day {generator.integers(100)} the {topic} {finding} {course}."


def write_sources(folder: Path, sources: int, files: int) -> dict[str, dict[str, str]]:
    """Folders of JSONL files of invented notes, and the sections of `source` that read them."""
    generator = np.random.default_rng(0)
    for number in range(files):
        path = folder / f"s{number % sources:03}" / f"{number:06}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        notes = [" ".join(sentence(generator) for _ in range(SENTENCES)) for _ in range(DOCUMENTS_PER_FILE)]
        path.write_text("".join(json.dumps({"text": note}) + "\n" for note in notes), encoding="utf-8")
    section = {"collection": "clinical", "format": "jsonl", "text": "{text}", "license": "CC0-1.0"}
    return {f"s{number:03}": {**section, "path": f"many/s{number:03}"} for number in range(sources)}


def project_of(folder: Path, sources: int, files: int) -> Project:
    """The micro build with that many more sources, its own data made."""
    project = copied(folder, "micro")
    project.run("dvc", "repro", "synthesize")
    (folder / "data/raw/default").rename(folder / "data/raw/grown")
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    params |= {"root": "data/raw/grown", "synthesize": {}}
    added = write_sources(folder / "data/raw/grown/many", sources, files)
    params["source"] |= added
    params["select"]["priority"] += list(added)
    params["corpus"] |= dict.fromkeys(added, "clinical")
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    project.run("dvc", "repro", "code")
    return project


def point(sources: int, files: int) -> dict[str, dict[str, float]]:
    """CPU and wall seconds of each group of stages, in DVC's process and in theirs.

    Raises:
        RuntimeError: a stage failed; with the end of what was printed.
    """
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        project = project_of(Path(folder), sources, files)
        for group in GROUPS:
            command = [sys.executable, "-c", DVC, TARGETS.get(group, group)]
            done = subprocess.run(command, cwd=folder, env=project.environment, capture_output=True, text=True)
            *_, last = done.stdout.splitlines() or [""]
            if done.returncode or not last.startswith("{") or json.loads(last)["code"]:
                raise RuntimeError(f"{group}: {done.stdout[-1000:]}{done.stderr[-2000:]}")
            found[group] = {key: float(value) for key, value in json.loads(last).items() if key != "code"}
            print(f"{sources:>4} {files:>6}  {line(group, found[group])}", flush=True)
    return found


def line(group: str, costs: Mapping[str, float]) -> str:
    return f"{group:<10}" + "".join(f"{costs[key]:>9.1f}" for key in ("dvc", "stages", "wall"))


def growth(points: Mapping[tuple[int, int], Mapping[str, Mapping[str, float]]]) -> list[dict[str, Any]]:
    """Pairs of points that differ in one axis: how much that grew, and how much DVC's and the stages' seconds did."""
    compared = []
    for small, large in ((one, other) for one in points for other in points):
        for axis, name in enumerate(("sources", "files")):
            if small[axis] < large[axis] and small[1 - axis] == large[1 - axis]:
                pair: dict[str, Any] = {"axis": name, "from": small, "to": large, "times": large[axis] / small[axis]}
                for key in ("dvc", "stages"):
                    before, after = (sum(costs[key] for costs in points[at].values()) for at in (small, large))
                    pair[key] = after / before
                compared.append(pair)
    return compared


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", nargs="+", default=["10x1000", "40x1000", "10x4000"], metavar="SOURCESxFILES")
    parser.add_argument("--out", type=Path, default=Path("results/bench/growth.json"))
    options = parser.parse_args(arguments)
    grid = [(int(sources), int(files)) for sources, _, files in (text.partition("x") for text in options.grid)]
    print("sources files  group      dvc   stages     wall (CPU seconds, seconds)")
    points = {at: point(*at) for at in grid}
    compared = growth(points)
    for pair in compared:
        print(
            f"{pair['axis']} x{pair['times']:g}, {pair['from']} to {pair['to']}: "
            f"dvc x{pair['dvc']:.2f}, stages x{pair['stages']:.2f}"
        )
    write_json(
        options.out, {"points": [{"at": at, "groups": found} for at, found in points.items()], "growth": compared}
    )


if __name__ == "__main__":
    main()
