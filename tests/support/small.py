"""A project of two stages with the artifacts of a build, which DVC makes in seconds: 40 items, two models, planted scores."""

import subprocess
import sys
from pathlib import Path

import yaml

from osler.build.pipeline import ROOT
from tests.support.project import Project

ITEMS = 40  # in 20 groups

BUILD = '''"""Predictions of two models: `base` has the first 10 of the items right, `tuned` alpha + seed more."""
import json, sys, time
from pathlib import Path
import polars as pl
import yaml
sys.path.insert(0, OSLER)
from osler.evaluation.benchmark_formats import SCHEMA
from osler.evaluation.questions import PREDICTIONS

params = yaml.safe_load(Path("params.yaml").read_text())
alpha, seed = params["neftune"]["alpha"], params["seeds"][0]
print("building", flush=True)
time.sleep(params["pause_seconds"])
if alpha < 0:
    sys.exit("alpha is negative")
ids = [f"small/{number:02}" for number in range(ITEMS)]
groups = [f"small/{number // 2}" for number in range(ITEMS)]
options = [["aye", "nay"]] * ITEMS
options[ITEMS - 1] = [params["option"], "nay"]
items = pl.DataFrame(
    {
        "item_id": ids, "benchmark": "small", "group": groups, "split": "test", "question": ids, "context": "",
        "options": options, "answer": 0,
    },
    schema=SCHEMA,
)
Path("data/items").mkdir(parents=True, exist_ok=True)
items.write_parquet("data/items/small.parquet")
Path("data/items/tasks").mkdir(exist_ok=True)
pl.DataFrame({"item_id": ["talk/0"], "task": "talk"}).write_parquet("data/items/tasks/talk.parquet")
touched = pl.DataFrame({"benchmark": "small", "item_id": ids[:4], "documents": 1})
touched.head(params["touched"]).write_parquet("data/touched.parquet")
accuracy = {}
for model in params["evaluated"]:
    right = range(10 + (alpha + seed if model == "tuned" else 0))
    frames = []
    for strategy, draws in (("zero_shot", 1), ("few_shot", 2)):
        for draw in range(draws):
            correct = [number in right and not (draw and number == 0) for number in range(ITEMS)]
            frame = {
                "item_id": ids, "benchmark": "small", "group": groups, "protocol": "full_answer", "seed": seed,
                "draw": draw, "prediction": [0 if one else 1 for one in correct], "gold": 0, "correct": correct,
                "scores": [[0.0, 0.0]] * ITEMS, "prompt_tokens": 1, "generated_tokens": 0, "truncated": False,
                "texts": [[]] * ITEMS,
            }
            named = {"strategy": pl.lit(strategy), "model": pl.lit(model)}
            frames.append(pl.DataFrame(frame, schema=PREDICTIONS).with_columns(**named))
    folder = Path("results/predictions") / model
    folder.mkdir(parents=True, exist_ok=True)
    answers = pl.concat(frames)
    answers.write_parquet(folder / "predictions.parquet")
    (folder / "model.json").write_text(json.dumps({"continued_tokens": None, "protocol": "full_answer"}))
    for (strategy,), rows in answers.partition_by("strategy", as_dict=True).items():
        accuracy.setdefault(strategy, {})[model] = rows["correct"].mean()
Path("data/accuracy.json").write_text(json.dumps(accuracy))
'''.replace("ITEMS", str(ITEMS)).replace("OSLER", repr(str(ROOT)))

DVC_YAML = """stages:
  build:
    cmd: python build.py
    deps:
    - build.py
    params:
    - evaluated
    - neftune
    - option
    - pause_seconds
    - seeds
    - touched
    outs:
    - data/accuracy.json
    - data/items/small.parquet
    - data/items/tasks/talk.parquet
    - data/touched.parquet
    - results/predictions/base
    - results/predictions/tuned
  report:
    cmd: mkdir -p metrics/figures && cp data/accuracy.json metrics/eval.json
      && cp metrics/eval.json metrics/figures/`md5sum < metrics/eval.json | cut -c1-32`
    deps:
    - data/accuracy.json
    metrics:
    - metrics/eval.json:
        cache: false
    plots:
    - metrics/figures:
        cache: false
"""


def small_project(folder: Path) -> Project:
    """The project in `folder`, built with alpha 0 and seed 1, and committed as `first`."""
    project = Project(folder)
    statistics = yaml.safe_load((ROOT / "params.yaml").read_text())["statistics"]
    params = {
        "seeds": [1], "neftune": {"alpha": 0}, "option": "aye", "touched": 4, "pause_seconds": 0,
        "evaluated": ["base", "tuned"], "statistics": statistics,
    }  # fmt: skip
    (folder / "build.py").write_text(BUILD)
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (folder / ".gitignore").write_text("/data/\n/results/\n/scratch/\n")
    subprocess.run(["git", "init", "-qb", "main", folder], check=True)
    project.run(sys.executable, "-m", "dvc", "init", "-q")
    project.run("dvc", "repro", "-q")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "first")
    project.run("git", "tag", "first")
    return project
