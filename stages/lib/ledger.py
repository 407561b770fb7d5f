"""The ledger: one row for each document that a stage drops, cuts or sets aside, with the reason."""

from collections.abc import Iterable, Mapping

import polars as pl

SCHEMA = pl.Schema(
    {
        "stage": pl.String,
        "source": pl.String,
        "doc_id": pl.String,
        "origin": pl.String,
        "reason": pl.String,
        "detail": pl.String,
    }
)


def ledger(rows: Iterable[Mapping[str, str | None]]) -> pl.DataFrame:
    """A ledger of `rows`, each with exactly the columns of SCHEMA; no rows give an empty ledger of the same schema."""
    return pl.DataFrame(list(rows), schema=SCHEMA, orient="row")
