"""`osler show texts`, on predictions that are written here."""

from pathlib import Path

import polars as pl
import pytest

from osler.build.artifacts import Artifacts
from osler.build.files import write_parquet
from osler.build.pipeline import Declaration
from osler.build.section import BuildError
from osler.commands.show_texts import shown
from tests.report.test_text_page import SOURCES, answered

OUTS = {
    "tasks@t": ("data/items/tasks/t.parquet",),
    "evaluate@base": ("results/predictions/base",),
    "evaluate@cpt": ("results/predictions/cpt",),
    "evaluate_adapter@thin": ("results/predictions/adapter-thin",),
}


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    """A model and an adapter that have answered, and a model that has not."""
    write_parquet(tmp_path / "data/items/tasks/t.parquet", SOURCES)
    for (model,), rows in answered().partition_by("model", as_dict=True).items():
        write_parquet(tmp_path / f"results/predictions/{model}/generations.parquet", rows)
    return Artifacts(tmp_path, {name: Declaration(name, (), outs, {}) for name, outs in OUTS.items()})


def test_some_are_printed_and_all_are_on_the_page(artifacts: Artifacts) -> None:
    """Below scratch/, which nothing tracks."""
    lines = list(shown(artifacts, "t", 2, 0.95))
    assert sum(line.startswith("--- t/") for line in lines) == 2
    assert lines[-1] == "--- all 3 items as a page: scratch/texts/t.html"
    page = (artifacts.root / "scratch/texts/t.html").read_text(encoding="utf-8")
    assert all(item in page for item in ("t/1", "t/2", "t/3"))
    assert page.count("<code>adapter-thin</code>") == 5


def test_what_cannot_be_shown_is_one_line(artifacts: Artifacts) -> None:
    """An unknown task, items of two builds, and no answer at all."""
    with pytest.raises(BuildError, match="^u: no such task; they are t$"):
        list(shown(artifacts, "u", 1, 0.95))
    file = artifacts.root / "results/predictions/base/generations.parquet"
    write_parquet(file, pl.read_parquet(file).head(2))
    with pytest.raises(BuildError, match="^t: models answered different items, under other params; run `dvc repro`$"):
        list(shown(artifacts, "t", 1, 0.95))
    for model in ("base", "adapter-thin"):
        (artifacts.root / f"results/predictions/{model}/generations.parquet").unlink()
    with pytest.raises(BuildError, match="^t: no model has answered yet; run `dvc repro`$"):
        list(shown(artifacts, "t", 1, 0.95))
