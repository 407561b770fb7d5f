"""What people said of the same texts: a CSV of key, rater and verdict.

A key names a source, the texts as they were shown, and the criterion, and no model (osler/evaluation/judgements.py): a rating
belongs to a text, whoever wrote it, and to no later one. `osler rate` writes a file with keys to be filled in.
"""

from collections import Counter
from pathlib import Path

import polars as pl

from osler.build.section import BuildError
from osler.evaluation.verdicts import VERDICTS

RATINGS = ("key", "rater", "verdict")
SAID = frozenset(verdict for own in VERDICTS.values() for verdict in own)


def read_ratings(path: Path) -> pl.DataFrame:
    """The ratings of a file: key, rater and verdict.

    Each key is there once by each rater. Other columns are left out, and so are rows without a verdict: not yet rated.

    Raises:
        BuildError: it cannot be read, a column or a rater is missing, a verdict is none, or a rater has two of a key.
    """
    try:
        found = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BuildError(f"{path}: {' '.join(str(error).split())}; a CSV of {', '.join(RATINGS)} is read") from None
    if lacking := [name for name in RATINGS if name not in found.columns]:
        raise BuildError(f"{path}: no column {lacking[0]}; it needs {', '.join(RATINGS)}")
    rows = found.select(pl.col(name).fill_null("").str.strip_chars() for name in RATINGS).with_row_index("line", 2)
    rows = rows.filter(pl.col("verdict") != "")
    for line, key, rater, verdict in rows.iter_rows():
        if not key or not rater:
            raise BuildError(
                f"{path}: line {line}: a verdict without {'rater' if key else 'key'}; write it beside the verdict"
            )
        if verdict not in SAID:
            raise BuildError(f"{path}: line {line}: {verdict!r} is no verdict; write one of {', '.join(sorted(SAID))}")
    twice = [pair for pair, count in Counter(rows.select("key", "rater").iter_rows()).items() if count > 1]
    if twice:
        raise BuildError(f"{path}: {twice[0][1]} has two verdicts of {twice[0][0]}; keep one")
    return rows.drop("line")
