"""Turn predictions into what people read: metrics, the verdicts on the claims, tables, figures and model cards. Takes 10 s."""

from pathlib import Path

import polars as pl
from pydantic import Field

from stages.lib.cards import card
from stages.lib.claims import Test
from stages.lib.figures import figures_of, png
from stages.lib.files import read_json, write_bytes, write_json, write_text
from stages.lib.findings import findings
from stages.lib.metrics import benchmark_metrics, expert_metrics, headline_metrics, metrics, plot_tables
from stages.lib.pages import html, markdown
from stages.lib.section import BuildError, Section
from stages.lib.stage import run
from stages.lib.tables import Records, report_blocks, summary
from stages.lib.task_scores import generation_metrics


class Statistics(Section):
    """Settings of `statistics`."""

    confidence: float = Field(gt=0, lt=1, description="of every interval")
    bootstrap_samples: int = Field(ge=100, description="resamplings of an effect, and sign flips of a test")
    bootstrap_seed: int = Field(ge=0)
    little_points: float = Field(gt=0, description="percentage points; what claim 1 calls a little gain is below it")
    equivalence_points: float = Field(gt=0, description="percentage points; a difference surely within +- this is none")


def main(
    contamination: Path,
    corpus: Path,
    phi: Path,
    plan: Path,
    predictions: Path,
    touched: Path,
    training: Path,
    cards: Path,
    benchmarks: Path,
    claims: Path,
    costs: Path,
    credit: Path,
    curve: Path,
    eval: Path,
    experts: Path,
    generation: Path,
    loss: Path,
    protocols: Path,
    report: tuple[Path, Path],
    figures: Path,
    plots: tuple[Path, ...],
    statistics: Statistics,
) -> None:
    """Write the metrics of all models in `predictions`, one folder each, the report, a card a model; print a summary.

    Raises:
        BuildError: no model has predictions, or their headline protocols differ.
    """
    folders = sorted(path for path in predictions.iterdir() if (path / "predictions.parquet").is_file())
    if not folders:
        raise BuildError(f"{predictions}: no model has predictions; run `dvc repro evaluate`")
    models = {folder.name: read_json(folder / "model.json") for folder in folders}
    protocol, *others = sorted({own["protocol"] for own in models.values()})
    if others:
        raise BuildError(
            f"{predictions}: read by different protocols: {', '.join([protocol, *others])}; run `dvc repro evaluate`"
        )
    found = findings(
        pl.concat([pl.read_parquet(folder / "predictions.parquet") for folder in folders]),
        pl.concat([pl.read_parquet(folder / "heldout.parquet") for folder in folders]),
        pl.read_parquet(touched),
        {name: own["continued_tokens"] for name, own in models.items()},
        protocol,
        Test(
            statistics.confidence,
            statistics.bootstrap_samples,
            statistics.bootstrap_seed,
            statistics.little_points,
            statistics.equivalence_points,
        ),
    )
    loads = pl.concat([pl.read_parquet(folder / "experts.parquet") for folder in folders])
    generations = pl.concat([pl.read_parquet(folder / "generations.parquet") for folder in folders])
    records = Records(
        plan=read_json(plan / "plan.json"),
        corpus=read_json(corpus),
        contamination=read_json(contamination),
        phi=read_json(phi),
        models=models,
        generation=generation_metrics(generations, statistics.confidence),
    )

    write_json(experts, expert_metrics(loads))
    write_json(generation, records.generation)
    values = metrics(found)
    for path in (benchmarks, claims, costs, credit, curve, eval, loss, protocols):
        write_json(path, values[path.stem])
    tables = plot_tables(found)
    for path in plots:
        write_text(path, tables[path.stem].write_csv())

    logs = {path.stem: pl.read_csv(path) for path in sorted(training.glob("*.csv"))}
    curves = {name: (log["tokens"].to_list(), log["loss"].to_list()) for name, log in logs.items()}
    pictures = {name: png(figure) for name, figure in figures_of(found, curves).items()}
    for name, picture in pictures.items():
        write_bytes(figures / f"{name}.png", picture)
    blocks = report_blocks(found, records)
    page, text = sorted(report)
    write_text(page, html(blocks, pictures))
    write_text(text, markdown(blocks))
    for name in models:
        write_text(cards / f"{name}.md", card(name, found, records))

    shown = [f"{path.parent.name}/{path.name}" for path in (text, figures)]
    print(summary(headline_metrics(found), benchmark_metrics(found), found.claims, *shown), end="")


if __name__ == "__main__":
    run(main)
