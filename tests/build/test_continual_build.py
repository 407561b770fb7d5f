"""The part of the micro build that learns tasks one after another: made by DVC, kept, and found by its commands."""

import json
import re
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

from tests.support.project import Project, copied, ran
from tests.support.task_sequence import LABELS, SECTION, items

STAGES = {"task_rows@pair", "continual@pair", "evaluate_continual@pair"}


def with_tasks(folder: Path) -> Project:
    """A project whose raw files lie in a folder of its own, with two tasks more, and the section that learns them."""
    project = copied(folder, "micro")
    project.run("dvc", "repro", "-q", "synthesize@default")
    shutil.move(folder / "data/raw/default", folder / "given")
    for task in LABELS:
        rows = items(task).select("item_id", "source", "target").to_dicts()
        (folder / f"given/{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = (folder / "params.yaml").read_text()
    text = text.replace("root: data/raw/default", "root: given")
    text = re.sub(r"^synthesize:\n(  .*\n)+", "synthesize: {}\n", text, flags=re.M)
    asked = yaml.safe_dump({"pair": SECTION | {"batch_tokens": 512}}, sort_keys=False).replace("\n", "\n  ").rstrip()
    text = re.sub(r"^continual: \{\}.*\n", f"continual:\n  {asked}\n", text, flags=re.M)
    tasks = "".join(
        f"  {task}: {{path: {task}.jsonl, format: jsonl, id: item_id, source: '{{source}}', target: '{{target}}',"
        " instruction: '', limit_tokens: 4, limit_items: 2, metric: label}\n"
        for task in LABELS
    )
    text = re.sub(r"^task:.*\n", lambda found: found[0] + tasks, text, flags=re.M)
    (folder / "params.yaml").write_text(text)
    return project


@pytest.mark.dag
@pytest.mark.builds
def test_tasks_in_sequence_are_a_part_of_the_build(tmp_path: Path) -> None:
    """Two seeds by two processes; nothing runs twice; another way to infer trains nothing; DVC shows its metrics and plots."""
    project = with_tasks(tmp_path)
    osler = (sys.executable, "-m", "osler")
    project.run(*osler, "check")
    assert "continual@pair" in project.run(*osler, "plan")
    made = project.run("dvc", "repro", "evaluate_continual@pair")
    assert ran(made) >= STAGES | {"pretrain@base"}
    assert not ran(made) & {"cpt", "instruct", "sft@base", "report"}
    assert not ran(project.run("dvc", "repro", "evaluate_continual@pair"))
    model = tmp_path / "models/continual-pair"
    config = json.loads((model / "seeds/2/tasks/tests/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "models/base/seeds/2"
    assert (model / "distributions.safetensors").is_file()
    before = (model / "tasks/tests/adapter_model.safetensors").read_bytes()
    answers = pl.read_parquet(tmp_path / "results/task_answers/pair/answers.parquet")
    assert answers["seed"].unique().sort().to_list() == [1, 2]
    rows = pl.read_parquet(tmp_path / "data/task_rows/pair/rows.parquet").filter(split="train", task="tests")
    traced = project.run(*osler, "trace", rows["item_id"][0])
    assert "read by:            continual-pair/seeds/2/tasks/tests, 1 times" in traced
    shown = json.loads(project.run("dvc", "metrics", "show", "--json", "metrics/forgetting/pair.json"))
    assert "final_average" in json.dumps(shown)
    assert "metrics/plots/continual/pair.csv" in project.run("dvc", "plots", "show", "--json")
    project.edit("params.yaml", "infer_by: distance", "infer_by: head")
    again = project.run("dvc", "repro", "evaluate_continual@pair")
    assert again.count("reused, it has been trained before") == 6
    assert (model / "tasks/tests/adapter_model.safetensors").read_bytes() == before
    peft_loads(tmp_path, "models/continual-pair/tasks/tests")


def peft_loads(project: Path, folder: str) -> None:
    """One task's adapter alone is what peft takes for one."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(project / "models/base")
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        untouched = base(ids).logits
        adapted = PeftModel.from_pretrained(base, str(project / folder))(ids).logits
    assert float((untouched - adapted).abs().max()) > 1e-3
