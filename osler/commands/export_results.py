"""`osler export results`: what was found, for other programs and for papers.

A folder with every table of the report as CSV and LaTeX, and a file in the results format of lm-evaluation-harness for each
model, strategy and protocol.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from osler.build.artifacts import Artifacts
from osler.build.files import write_json, write_text
from osler.build.pipeline import ROOT, artifact_name, declarations, read_params
from osler.build.recorded import check_deps, file_md5
from osler.build.section import BuildError
from osler.build.validation import PARAMS, validated
from osler.commands.export import new_folder
from osler.evaluation.settings import Questions
from osler.report.evaluated import Evaluated
from osler.report.harness_results import BenchmarkFacts, harness_results
from osler.report.sections import report_blocks
from osler.report.table_files import table_text, tables_of
from osler.statistics.settings import Statistics

NAME = "results"  # in place of a model's
REPORT = "report"  # the stage whose deps are read


def benchmark_facts(artifacts: Artifacts, benchmark: str) -> BenchmarkFacts:
    """Test items of a benchmark.

    Its version is the first digits of their file's md5.
    """
    path = artifacts.path(f"benchmarks@{benchmark}", "items")
    items = pl.read_parquet(path, columns=["split"])
    return BenchmarkFacts(items.filter(pl.col("split") == "test").height, file_md5(path)[:12])


def harness_files(
    artifacts: Artifacts, evaluated: Evaluated, confidence: float
) -> Iterator[tuple[str, dict[str, object]]]:
    """Path and contents of each file in the harness's format."""
    questions = Questions.model_validate_json(artifacts.path("questions", "questions").read_bytes())
    facts = {name: benchmark_facts(artifacts, name) for name in questions.benchmarks}
    answers = evaluated.joined("predictions")
    for (model, strategy, protocol), rows in sorted(
        answers.partition_by("model", "strategy", "protocol", as_dict=True).items()
    ):
        shots = getattr(getattr(questions.strategies, str(strategy)), "shots", 0)
        files = evaluated.models[str(model)]["files"]
        found = harness_results(rows, facts, shots, files, confidence)
        yield f"lm-eval/{model}/results_{strategy}_{protocol}.json", found


def write_results(artifacts: Artifacts, statistics: Statistics, folder: Path) -> tuple[int, int]:
    """Write tables and results below `folder`.

    Returns:
        How many tables, and how many results.
    """
    deps = {artifact_name(path, False): artifacts.root / path for path in artifacts.stages[REPORT].deps}
    evaluated = Evaluated.read(deps["predictions"])
    found = evaluated.findings(pl.read_parquet(deps["touched"]), statistics)
    said = {name: deps[name] for name in ("plan", "corpus", "contamination", "phi", "conversations", "judged")}
    records = evaluated.records(**said, confidence=statistics.confidence)
    tables = list(tables_of(report_blocks(found, records)))
    for name, title, table in tables:
        for ending in (".csv", ".tex"):
            write_text(folder / "tables" / f"{name}{ending}", table_text(table, title, ending))
    results = dict(harness_files(artifacts, evaluated, statistics.confidence))
    for path, contents in results.items():
        write_json(folder / path, contents)
    return len(tables), len(results)


def say(folder: Path) -> None:
    """Export the results, whole or not at all.

    Raises:
        BuildError: nothing has answered here, what did is not what was built, or `folder` cannot be written.
    """
    params = read_params(ROOT / PARAMS)
    artifacts = Artifacts(ROOT, declarations(ROOT, params))
    artifacts.path(REPORT, "cards")
    check_deps(ROOT, artifacts.stages[REPORT].deps, artifacts.stages.keys())
    statistics: Statistics = validated("statistics", params.get("statistics"), Statistics)
    try:
        with new_folder(folder) as temporary:
            tables, results = write_results(artifacts, statistics, temporary)
    except OSError as error:
        raise BuildError(f"{folder}: cannot be written: {error.strerror}; name another folder") from None
    print(f"{folder}: {tables} tables as CSV and LaTeX in tables/, {results} results in lm-eval/")
