"""The predictions of a build's models, and what is found in them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from osler.build.files import read_json
from osler.build.section import BuildError
from osler.report.findings import Findings, findings
from osler.report.sections import Records
from osler.statistics.adapter_effects import bases
from osler.statistics.claims import Test
from osler.statistics.settings import Statistics
from osler.statistics.task_scores import generation_metrics


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

    def records(
        self,
        plan: Path,
        corpus: Path,
        contamination: Path,
        phi: Path,
        conversations: Path,
        judged: Path,
        confidence: float,
    ) -> Records:
        """What else the report says.

        It is read from the folder `plan` and the metrics files of these names.
        """
        return Records(
            plan=read_json(plan / "plan.json"),
            corpus=read_json(corpus),
            contamination=read_json(contamination),
            phi=read_json(phi),
            conversations=read_json(conversations),
            models=self.models,
            generation=generation_metrics(self.joined("generations"), confidence),
            judged=read_json(judged),
        )
