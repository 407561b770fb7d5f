"""The report of a build with an adapter says what it adds to its base."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from osler.commands import show
from osler.evaluation.answered import EXPERTS
from osler.evaluation.task_predictions import GENERATIONS
from tests.report.test_report import HASH, answers, build, documents, facts, folder, read

__all__ = ["folder"]  # a fixture


def add_adapter(folder: Path, right: int) -> None:
    """Predictions of an adapter of cpt-sft."""
    place = folder / "predictions/adapter-thin"
    place.mkdir()
    answers("adapter-thin", right).write_parquet(place / "predictions.parquet")
    documents("adapter-thin", 1.0).write_parquet(place / "heldout.parquet")
    pl.DataFrame(schema=EXPERTS).write_parquet(place / "experts.parquet")
    pl.DataFrame(schema=GENERATIONS).write_parquet(place / "generations.parquet")
    said = facts("adapter-thin", None)
    said["provenance"]["inputs"]["model"] = f"{HASH}-cpt-sft"
    (place / "model.json").write_text(json.dumps(said))


def test_an_adapter_stands_beside_its_base(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a table of its own and metrics that DVC compares; the claims and the summary are those of the build without it."""
    before = build(folder, "before")
    claims: dict[str, Any] = read(before / "claims.json")
    assert "### Adapters" not in (before / "report.md").read_text()
    add_adapter(folder, 18)
    after = build(folder, "after")
    found = read(after / "claims.json")
    own = found.pop("adapters")["adapter-thin"]
    assert found == claims
    assert own["zero_shot"]["effect_points"] == -50.0
    assert own["zero_shot"]["verdict"] == "loss on 1 seed"
    (evidence,) = own["medprompt"]["evidence"]
    assert (evidence["base"], evidence["items"]) == ("cpt-sft", 40)
    section = (after / "report.md").read_text().partition("### Adapters")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `adapter-thin` | `cpt-sft` |")]
    assert [row.split(" | ")[2:5] for row in rows] == [
        [strategy, "**loss on 1 seed**", "-50.0"] for strategy in ("zero_shot", "medprompt")
    ]
    capsys.readouterr()
    outs = {"report.md": "after/report.md", "figures": "after/figures", "plots": "after/plots"}
    outs |= {f"{name}.json": f"after/{name}.json" for name in ("benchmarks", "claims", "eval")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(show, "outs", lambda *_: outs)
        patch.setattr(show, "is_as_committed", lambda *_: True)
        show.say(folder)
    printed = capsys.readouterr().out
    assert "adapter-thin" in printed
    assert printed.count(" points, ") == len(claims)
