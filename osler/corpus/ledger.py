"""The ledger: who was dropped, cut or set aside, and why.

One row for each document and stage.
"""

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
    """A ledger of `rows`, each with exactly the columns of SCHEMA.

    No rows give an empty ledger of the same schema.
    """
    return pl.DataFrame(list(rows), schema=SCHEMA, orient="row")
