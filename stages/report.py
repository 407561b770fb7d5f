"""Stage `report`: turn predictions into what people read.

These are metrics, verdicts on the claims, tables, figures and model cards. Takes 10 s.
"""

from pathlib import Path

import polars as pl

from osler.build.files import write_bytes, write_json, write_text
from osler.build.stage import run
from osler.report.evaluated import Evaluated
from osler.report.figures import figures_of, png
from osler.report.findings import Findings
from osler.report.metrics_files import benchmark_metrics, expert_metrics, headline_metrics, metrics, plot_tables
from osler.report.model_cards import card
from osler.report.page import html, markdown
from osler.report.sections import Records, report_blocks, summary
from osler.statistics.settings import Statistics


def main(
    contamination: Path,
    conversations: Path,
    corpus: Path,
    judged: Path,
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
    """Write the metrics of all models, the report, and the cards.

    The models are those in `predictions`, one folder each; each gets a card. A summary is printed.

    Raises:
        BuildError: no model has predictions, or their headline protocols differ.
    """
    evaluated = Evaluated.read(predictions)
    found = evaluated.findings(pl.read_parquet(touched), statistics)
    files = {
        "conversations": conversations,
        "corpus": corpus,
        "contamination": contamination,
        "judged": judged,
        "phi": phi,
    }
    records = evaluated.records(plan, **files, confidence=statistics.confidence)
    write_json(experts, expert_metrics(evaluated.joined("experts")))
    write_json(generation, records.generation)
    values = metrics(found)
    for path in (benchmarks, claims, costs, credit, curve, eval, loss, protocols):
        write_json(path, values[path.stem])
    tables = plot_tables(found)
    for path in plots:
        write_text(path, tables[path.stem].write_csv())
    write_pages(found, records, training, report, figures)
    for name in evaluated.models:
        write_text(cards / f"{name}.md", card(name, found, records))
    shown = [f"{path.parent.name}/{path.name}" for path in (max(report), figures)]
    print(summary(headline_metrics(found), benchmark_metrics(found), found.claims, *shown), end="")


def write_pages(found: Findings, records: Records, training: Path, report: tuple[Path, Path], figures: Path) -> None:
    """Write the report as HTML and Markdown, and its figures."""
    logs = {path.stem: pl.read_csv(path) for path in sorted(training.glob("*.csv"))}
    curves = {name: (log["tokens"].to_list(), log["loss"].to_list()) for name, log in logs.items()}
    pictures = {name: png(figure) for name, figure in figures_of(found, curves).items()}
    for name, picture in pictures.items():
        write_bytes(figures / f"{name}.png", picture)
    blocks = report_blocks(found, records)
    page, text = sorted(report)
    write_text(page, html(blocks, pictures))
    write_text(text, markdown(blocks))


if __name__ == "__main__":
    run(main)
