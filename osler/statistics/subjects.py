"""Accuracy by subject, where items tell theirs.

An id `<benchmark>/<subject>-<number>` does: those of MMLU, MMLU-Pro, MedXpertQA and HEAD-QA here, or of a file of one's own.
"""

from collections.abc import Mapping

import polars as pl

from osler.statistics.accuracy import Accuracy, accuracies

NUMBERED = r"^(.+?)-(?:[a-z]+-)?\d+$"
"""Of an id without its benchmark: the subject, perhaps a split, and a number."""


def subject_accuracies(
    answers: pl.DataFrame, strategy: str, confidence: float
) -> dict[str, dict[tuple[str, str], Accuracy]]:
    """Benchmark -> accuracy by subject and model.

    Benchmarks are left out where an item tells no subject, or all tell the same.

    Args:
        answers: predictions of one protocol.
        strategy: of which accuracies are.
        confidence: of the intervals.
    """
    own = answers.filter(strategy=strategy).with_columns(
        subject=pl.col("item_id").str.strip_prefix(pl.concat_str("benchmark", pl.lit("/"))).str.extract(NUMBERED)
    )
    found: dict[str, dict[tuple[str, str], Accuracy]] = {}
    for (benchmark,), rows in sorted(own.partition_by("benchmark", as_dict=True).items()):
        if rows["subject"].null_count() or rows["subject"].n_unique() < 2:
            continue
        cells = accuracies(rows.with_columns(benchmark="subject"), confidence)
        found[str(benchmark)] = {(subject, model): share for (subject, _, model), share in cells.items()}
    return found


def sizes(cells: Mapping[tuple[str, str], Accuracy]) -> dict[str, int]:
    """Items of each subject, the most that a model was asked."""
    names = sorted({subject for subject, _ in cells})
    return {name: max(own.items for (subject, _), own in cells.items() if subject == name) for name in names}
