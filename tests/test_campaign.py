"""What takes too long for every day: `make campaign`. Figures are printed; only clear ones are asserted."""

import json
import random
from pathlib import Path

import pytest

from tests.kills import KILLED, killed_and_run_again, outcome
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


def test_kill_9_at_twenty_moments(tmp_path: Path) -> None:
    """cpt, sft and neftune, killed within the second after their first checkpoint, end with the bytes of whole runs.

    Moments are seeded; at least 15 of 20 kills must have hit a living trainer, and 10 second runs gone on from a checkpoint.
    """
    project = copied(tmp_path, "micro")
    project.edit("params.yaml", "\n  epochs: 1.0", "\n  epochs: 12.0")  # of sft: four steps are too few to be killed in
    project.run("dvc", "repro", *(address for address, *_ in KILLED))
    expected = {model: outcome(project, model) for *_, model in KILLED}
    rng, hits, resumed = random.Random(20), 0, 0
    for number in range(20):
        stage = KILLED[number % len(KILLED)]
        hit, said = killed_and_run_again(project, stage, moment := rng.uniform(0, 1.0))
        hits, resumed = hits + hit, resumed + ("resumed at step" in said)
        print(f"{stage[0]} after {moment:.3f} s: {'killed' if hit else 'had ended'}, {said.splitlines()[0]}")
        assert outcome(project, stage[2]) == expected[stage[2]], said
    assert hits >= 15
    assert resumed >= 10
