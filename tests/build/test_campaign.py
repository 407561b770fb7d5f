"""What takes too long for every day: `make campaign`. Figures are printed; only clear ones are asserted."""

import json
import random
import signal
from pathlib import Path

import polars as pl
import pytest

from tests.support.kills import KILLED, killed_and_run_again, outcome
from tests.support.project import copied

pytestmark = pytest.mark.campaign


def shares(folder: Path, model: str) -> dict[int, float]:
    """Zero-shot accuracy of a model under each seed."""
    rows = pl.read_parquet(folder / f"results/predictions/{model}/predictions.parquet")
    asked = rows.filter(strategy="zero_shot", protocol="full_answer").group_by("seed").agg(pl.col("correct").mean())
    return dict(sorted(asked.iter_rows()))


def test_other_seeds_of_the_default(tmp_path: Path) -> None:
    """Seeds 1 to 3 and 4 to 6: the same verdicts, cpt-sft within 85 to 97 % and 6 points, SFT alone at chance on each.

    And clinical bits per byte of continued pretraining are a third of the base model's at most.
    """
    project = copied(tmp_path, None)
    project.run("dvc", "repro")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "built")
    verdicts: list[dict[str, str]] = []
    everything: dict[str, list[float]] = {"base-sft": [], "cpt-sft": []}
    for seeds in ("1,2,3", "4,5,6"):
        project.run("dvc", "exp", "run", "-S", f"seeds=[{seeds}]")
        claims, loss = (json.loads((tmp_path / f"metrics/{name}.json").read_text()) for name in ("claims", "loss"))
        verdicts.append({key: claim["evidence"][0]["verdict"] for key, claim in claims.items()})
        for model, found in everything.items():
            print(f"{model}: {shares(tmp_path, model)}")
            found += shares(tmp_path, model).values()
        print(verdicts[-1], f"clinical bits per byte {loss['clinical']}")
        assert loss["clinical"]["cpt"] < loss["clinical"]["base"] / 3
    assert verdicts[0] == verdicts[1]
    assert verdicts[0]["cpt_strengthens_sft"] == "supported"
    assert 0.85 <= min(everything["cpt-sft"]) <= max(everything["cpt-sft"]) <= 0.97
    assert max(everything["cpt-sft"]) - min(everything["cpt-sft"]) <= 0.06
    assert max(everything["base-sft"]) <= 0.33


def test_kill_9_and_sigterm_at_twenty_moments(tmp_path: Path) -> None:
    """cpt, sft and neftune, ended within the second after their first checkpoint, end with the bytes of whole runs.

    By turns kill -9 and SIGTERM end them. Moments are seeded; at least 15 of 20 signals must have hit a living trainer, and 10
    second runs gone on from a checkpoint.
    """
    project = copied(tmp_path, "micro")
    project.edit("params.yaml", "\n  epochs: 1.0", "\n  epochs: 12.0")  # of sft: four steps are too few to be killed in
    project.run("dvc", "repro", *(address for address, *_ in KILLED))
    expected = {model: outcome(project, model) for *_, model in KILLED}
    rng, hits, resumed = random.Random(20), 0, 0
    for number in range(20):
        stage = KILLED[number % len(KILLED)]
        how = (signal.SIGKILL, signal.SIGTERM)[number // len(KILLED) % 2]
        hit, said = killed_and_run_again(project, stage, moment := rng.uniform(0, 1.0), how)
        hits, resumed = hits + hit, resumed + ("resumed at step" in said)
        print(
            f"{stage[0]}, {how.name} after {moment:.3f} s: {'killed' if hit else 'had ended'}, {said.splitlines()[0]}"
        )
        assert outcome(project, stage[2]) == expected[stage[2]], said
    assert hits >= 15
    assert resumed >= 10
