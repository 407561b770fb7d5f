"""Stage `judge`: what judges say of the texts that models wrote, if there is a judge.

What was judged already on this machine is not asked again (osler/evaluation/judgements.py).
"""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from osler.build.files import write_json, write_parquet
from osler.build.stage import run
from osler.evaluation.asked_judges import judged as judged_by
from osler.evaluation.asked_judges import refuse_leaving
from osler.evaluation.judgements import JUDGEMENTS
from osler.evaluation.judges import Judge
from osler.evaluation.ratings import check_kinds, read_ratings
from osler.evaluation.tasks import Task
from osler.ingest.source import Source
from osler.model.numerics import Numerics
from osler.statistics.judged_scores import judged_metrics
from osler.statistics.settings import Statistics


def main(
    items: Path,
    judges: Path,
    predictions: Path,
    raw: Path,
    template: Path,
    judge: Mapping[str, Judge],
    numerics: Numerics,
    source: Mapping[str, Source],
    statistics: Statistics,
    task: Mapping[str, Task],
    judgements: Path,
    judged: Path,
) -> None:
    """Write all judgements, and the metrics `judged`.

    Args:
        items, judges, predictions, template: artifacts of those names.
        raw: ratings of people.
        judgements: out, with `judgements.parquet`.
    Raises:
        BuildError: a text would leave this machine that may not, or see `judged_by` and `read_ratings`.
    """
    paths = {name: section.path for name, section in task.items()}
    screened = {name: own.path for name, own in source.items() if own.phi and not own.phi.judged_elsewhere}
    for name, section in judge.items():
        refuse_leaving(name, section, paths, screened)
    ratings = read_ratings(raw)
    files = sorted(predictions.glob("*/generations.parquet")) if judge else []
    written = pl.concat([pl.read_parquet(file) for file in files], how="diagonal") if files else pl.DataFrame()
    rows = {name: pl.read_parquet(items / "tasks" / f"{name}.parquet") for one in judge.values() for name in one.tasks}
    chat_template = template.read_text(encoding="utf-8")
    found = [
        judged_by(name, section, judges / name, rows, written, chat_template, numerics)
        for name, section in sorted(judge.items())
    ]
    whole = pl.concat([pl.DataFrame(schema=JUDGEMENTS), *found], how="diagonal")
    check_kinds(ratings, whole)
    write_json(judged, judged_metrics(whole, ratings, statistics))
    judgements.mkdir(exist_ok=True)
    write_parquet(judgements / "judgements.parquet", whole)


if __name__ == "__main__":
    run(main)
