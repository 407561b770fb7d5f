"""Stage `report`: turn predictions into what people read.

These are metrics, verdicts on the claims, tables, figures and model cards. Takes 10 s.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from osler.build.files import read_json, write_bytes, write_json, write_text
from osler.build.section import BuildError
from osler.build.stage import run
from osler.report.figures import figures_of, png
from osler.report.findings import Findings, findings
from osler.report.metrics_files import benchmark_metrics, expert_metrics, headline_metrics, metrics, plot_tables
from osler.report.model_cards import card
from osler.report.page import html, markdown
from osler.report.sections import Records, report_blocks, summary
from osler.statistics.adapter_effects import bases
from osler.statistics.claims import Test
from osler.statistics.settings import Statistics
from osler.statistics.task_scores import generation_metrics


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
    """Write the metrics of all models, the report, and the cards.

    The models are those in `predictions`, one folder each; each gets a card. A summary is printed.

    Raises:
        BuildError: no model has predictions, or their headline protocols differ.
    """
    evaluated = Evaluated.read(predictions)
    found = evaluated.findings(pl.read_parquet(touched), statistics)
    records = Records(
        plan=read_json(plan / "plan.json"),
        corpus=read_json(corpus),
        contamination=read_json(contamination),
        phi=read_json(phi),
        models=evaluated.models,
        generation=generation_metrics(evaluated.joined("generations"), statistics.confidence),
    )
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


@dataclass(frozen=True)
class Evaluated:
    """The predictions of all models.

    It has their folders, what model.json says of each, and the headline protocol.
    """

    folders: tuple[Path, ...]
    models: dict[str, dict[str, Any]]
    protocol: str

    @classmethod
    def read(cls, predictions: Path) -> "Evaluated":
        """Those of a folder with one folder a model.

        Raises:
            BuildError: no model has predictions, or their headline protocols differ.
        """
        folders = tuple(sorted(path for path in predictions.iterdir() if (path / "predictions.parquet").is_file()))
        if not folders:
            raise BuildError(f"{predictions}: no model has predictions; run `dvc repro evaluate`")
        models = {folder.name: read_json(folder / "model.json") for folder in folders}
        protocol, *others = sorted({own["protocol"] for own in models.values()})
        if others:
            listed = ", ".join([protocol, *others])
            raise BuildError(f"{predictions}: read by different protocols: {listed}; run `dvc repro evaluate`")
        return cls(folders, models, protocol)

    def joined(self, table: str) -> pl.DataFrame:
        """The rows of `table`.parquet of all models."""
        return pl.concat([pl.read_parquet(folder / f"{table}.parquet") for folder in self.folders], how="diagonal")

    def findings(self, touched: pl.DataFrame, statistics: Statistics) -> Findings:
        """All that the report says of the models.

        `touched` are the items that share words with the corpus.
        """
        test = Test(
            statistics.confidence,
            statistics.bootstrap_samples,
            statistics.bootstrap_seed,
            statistics.little_points,
            statistics.equivalence_points,
        )
        seen = {name: own["continued_tokens"] for name, own in self.models.items()}
        beside = {benchmark for own in self.models.values() for benchmark in own.get("beside", ())}
        answers, heldout, below = self.joined("predictions"), self.joined("heldout"), bases(self.models)
        return findings(answers, heldout, touched, seen, below, self.protocol, test, beside)


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
