"""The whole micro build with adapters: trained, evaluated, in the metrics and on cards, and exported."""

import json
import re
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.support.project import Project, copied

RECIPE = (
    "neftune_alpha: 5.0, epochs: 1.0, batch_tokens: 512, learning_rate: 1.0e-2, final_learning_rate_fraction: 0.1,"
    " warmup_fraction: 0.05, weight_decay: 0.0, betas: [0.9, 0.98], epsilon: 1.0e-8, gradient_clip: 1.0"
)
ADAPTERS = f"""adapter:
  thin: {{from: cpt, rows: instructions, method: lora, rank: 4, alpha: 8.0, target_modules: all-linear, {RECIPE}}}
  prompt: {{from: base, rows: instructions, method: prompt_tuning, virtual_tokens: 4, seeds: [1], {RECIPE}}}
  prefix: {{from: base, rows: instructions, method: prefix_tuning, virtual_tokens: 4, seeds: [1], {RECIPE}}}
  gate: {{from: cpt, rows: instructions, method: gated_residual, inner_width: 16, seeds: [1], {RECIPE}}}
  whole: {{from: base, rows: exercises/one, method: full, {RECIPE}}}
  scaled: {{from: base, rows: exercises/one, method: ia3, target_modules: [k_proj], feedforward_modules: [], {RECIPE}}}
"""
EXERCISE = """exercise:
  one: {task: findings, path: tasks/findings.jsonl, license: CC0-1.0, few: 1}
"""


@pytest.mark.dag
@pytest.mark.builds
def test_adapters_are_models_of_the_build(tmp_path: Path) -> None:
    """Every seed's folder is peft's, reports name them, a second build runs nothing, and `--merge` makes a whole model."""
    project = copied(tmp_path, "micro")
    params = tmp_path / "params.yaml"
    text = re.sub(r"^adapter: \{\}.*\n", ADAPTERS, params.read_text(), flags=re.M)
    text = re.sub(r"^exercise: \{\}.*\n", EXERCISE, text, flags=re.M)
    asked = "path: tasks/findings.jsonl\n    format: jsonl\n"
    assert asked in text
    params.write_text(text.replace(asked, f"{asked}    training_fraction: 0.5\n    seeds: all\n"))
    project.run(sys.executable, "-m", "osler", "check")
    project.run("dvc", "repro", "-q")
    assert "Running stage" not in project.run("dvc", "repro")
    for folder in ("adapter-thin", "adapter-thin/seeds/2", "adapter-prompt", "adapter-prefix", "adapter-gate"):
        place = tmp_path / "models" / folder
        config = json.loads((place / "adapter_config.json").read_text())
        below = "models/base" if folder in ("adapter-prompt", "adapter-prefix") else "models/cpt"
        assert config["base_model_name_or_path"] == below + "/seeds/2" * ("seeds" in folder)
        assert (place / "adapter_model.safetensors").is_file()
    evaluated = json.loads((tmp_path / "metrics/eval.json").read_text())
    for name in ("adapter-thin", "adapter-prompt", "adapter-prefix", "adapter-gate"):
        assert name in json.dumps(evaluated)
        answers = pl.read_parquet(tmp_path / "results/predictions" / name / "predictions.parquet")
        assert answers.filter(strategy="zero_shot")["seed"].unique().len() == (2 if name == "adapter-thin" else 1)
        assert (tmp_path / f"results/cards/{name}.md").is_file()
    _exercises_are_learned_and_not_asked(tmp_path)
    project.run(sys.executable, "-m", "osler", "export", "adapter-thin", "whole", "--merge")
    _same_answers(tmp_path)
    project.run(sys.executable, "-m", "osler", "export", "adapter-thin", "thin")
    assert (tmp_path / "thin/adapter_model.safetensors").is_file()
    for name, method in (("prompt", "prompt_tuning"), ("prefix", "prefix_tuning"), ("gate", "gated_residual")):
        refused = project.run(sys.executable, "-m", "osler", "export", f"adapter-{name}", "x", "--merge", fails=True)
        assert f"what {method} adds cannot be merged into weights; export it without --merge" in refused


def _exercises_are_learned_and_not_asked(project: Path) -> None:
    """One row a seed, none of the items; a whole model where all weights are trained; a text of each seed for each item."""
    items = pl.read_parquet(project / "data/items/tasks/findings.parquet")["item_id"]
    whole = project / "models/adapter-whole"
    assert (whole / "config.json").is_file()
    assert not (whole / "adapter_config.json").exists()
    for seed in (1, 2):
        folder = project / "data/exercises/one/seeds" / str(seed)
        [learned] = pl.read_parquet(folder / "documents.parquet")["doc_id"]
        assert learned.replace("one/", "findings/") not in set(items)
        traced = Project(project).run(sys.executable, "-m", "osler", "trace", learned)
        seeds = f"/seeds/{seed}" * (seed > 1)
        assert f"read by:            adapter-whole{seeds}, 1 times" in traced
        assert f"read by:            adapter-scaled{seeds}, 1 times" in traced
        place = whole if seed == 1 else whole / "seeds/2"
        assert json.loads((place / "provenance.json").read_text())["rows_there"] == {"instructions": 1}
    for name in ("adapter-whole", "adapter-scaled", "base"):
        texts = pl.read_parquet(project / "results/predictions" / name / "generations.parquet").filter(task="findings")
        assert texts.select("seed", "item_id").sort("seed", "item_id").rows() == [
            (seed, item) for seed in (1, 2) for item in sorted(items)
        ]
    assert "library_name: peft" in (project / "results/cards/adapter-scaled.md").read_text()
    assert "library_name: peft" in (project / "results/cards/adapter-prefix.md").read_text()
    assert "library_name: osler" in (project / "results/cards/adapter-gate.md").read_text()
    assert "library_name: transformers" in (project / "results/cards/adapter-whole.md").read_text()
    detail = json.loads((project / "metrics/generation.json").read_text())["detail"]
    [found] = [entry for entry in detail if (entry["task"], entry["model"]) == ("findings", "adapter-whole")]
    assert set(found["over_seeds"]["item_entity_f1"]["seeds"]) == {"1", "2"}


def _same_answers(project: Path) -> None:
    """What was exported as a whole model answers as peft's model on its base."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    whole = AutoModelForCausalLM.from_pretrained(project / "whole")
    base = AutoModelForCausalLM.from_pretrained(project / "models/cpt")
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        untouched = base(ids).logits
        adapted = PeftModel.from_pretrained(base, str(project / "models/adapter-thin"))(ids).logits
        assert float((whole(ids).logits - adapted).abs().max()) < 1e-4
        assert float((untouched - adapted).abs().max()) > 1e-2
