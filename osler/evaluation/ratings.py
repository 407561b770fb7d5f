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
FORM = "save it as CSV in UTF-8, with commas between columns and quotes around texts"
SAID = frozenset(verdict for own in VERDICTS.values() for verdict in own)


def read_ratings(path: Path) -> pl.DataFrame:
    """The ratings of a file: key, rater and verdict.

    Each key is there once by each rater. Other columns are left out, and so are rows without a verdict: not yet rated.

    Raises:
        BuildError: it cannot be read, a column or a rater is missing, a verdict is none, or a rater has two of a key.
    """
    try:
        found = pl.read_csv(path, infer_schema=False)
    except OSError as error:
        raise BuildError(f"{path}: {error.strerror}; a CSV of {', '.join(RATINGS)} is read") from None
    except pl.exceptions.PolarsError:  # whose message has words of the file
        raise BuildError(f"{path}: cannot be read; a CSV of {', '.join(RATINGS)} is read; {FORM}") from None
    if lacking := [name for name in RATINGS if name not in found.columns]:
        raise BuildError(f"{path}: no column {lacking[0]}; it needs {', '.join(RATINGS)}; {FORM}")
    choices = pl.col("choices") if "choices" in found.columns else pl.lit("")
    columns = [pl.col(name).fill_null("").str.strip_chars() for name in RATINGS]
    rows = found.select(*columns, choices.fill_null("").alias("choices")).with_row_index("line", 2)
    rows = rows.filter(pl.col("verdict") != "")
    for line, key, rater, verdict, own in rows.iter_rows():
        if not key or not rater:
            raise BuildError(
                f"{path}: line {line}: a verdict without {'rater' if key else 'key'}; write it beside the verdict"
            )
        may_be = own.split(", ") if own else sorted(SAID)
        if verdict not in may_be:
            raise BuildError(f"{path}: line {line}: {verdict!r} is no verdict here; write one of {', '.join(may_be)}")
    twice = [pair for pair, count in Counter(rows.select("key", "rater").iter_rows()).items() if count > 1]
    if twice:
        raise BuildError(f"{path}: {twice[0][1]} has two verdicts of {twice[0][0]}; keep one")
    return rows.drop("line", "choices")


def check_kinds(ratings: pl.DataFrame, judgements: pl.DataFrame) -> None:
    """What people said of texts must be verdicts of that kind.

    Nobody prefers the first of one text.

    Args:
        ratings: of people.
        judgements: rows of JUDGEMENTS.
    Raises:
        BuildError: names key and rater.
    """
    both = ratings.join(judgements.select("key", "kind").unique(), on="key")
    for key, rater, verdict, kind in both.select("key", "rater", "verdict", "kind").iter_rows():
        if verdict not in VERDICTS[kind]:
            raise BuildError(f"ratings: {key}: {rater} says {verdict}; write one of {', '.join(VERDICTS[kind])}")
