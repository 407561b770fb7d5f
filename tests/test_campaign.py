"""The default on three seeds: `make campaign`, a quarter of an hour. The figures are printed; only clear ones are asserted."""

import json
from pathlib import Path

import pytest

from tests.project import copied

pytestmark = pytest.mark.campaign


def test_three_seeds_of_the_default(tmp_path: Path) -> None:
    """SFT alone stays near chance, CPT adds at least 40 points to it, and clinical bits per byte fall to a third, on every seed."""
    project = copied(tmp_path, None)
    project.run("dvc", "repro")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "built")
    for seed in (1, 2, 3):
        project.run("dvc", "exp", "run", "-S", f"seed={seed}")
        accuracy, loss = (json.loads((tmp_path / f"metrics/{name}.json").read_text()) for name in ("eval", "loss"))
        print(f"seed {seed}: {accuracy['zero_shot']}, clinical bits per byte {loss['clinical']}")
        zero_shot = accuracy["zero_shot"]
        assert zero_shot["base-sft"] <= 0.33
        assert zero_shot["cpt-sft"] - zero_shot["base-sft"] >= 0.40
        assert loss["clinical"]["cpt"] < loss["clinical"]["base"] / 3
