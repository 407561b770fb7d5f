"""Ledger rows of the documents that `select` drops.

They are made when the ledger is written, a batch at a time, from what the documents' files hold: no detail waits in memory.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osler.corpus.deciding import Decided, Settings, rules_of
from osler.corpus.leaks import leaks
from osler.corpus.ledger import SCHEMA
from osler.corpus.quality import reasons
from osler.corpus.screened_parts import (
    Batch,
    numbers_of,
    read_documents,
    read_overlaps,
    read_screens,
    values_at,
)
from osler.corpus.selection import KEPT, REASONS
from osler.corpus.word_hashes import I64

FROM_SCREENS = [REASONS.index(name) for name in REASONS[REASONS.index("too_short") : REASONS.index("contaminated")]]
FROM_OVERLAPS = [REASONS.index(name) for name in ("contaminated", "near_copy")]


class _Links:
    """In words for whose sake documents went, with the ids of these."""

    def __init__(self, decided: Decided, parts: Batch) -> None:
        self._links = decided.decisions.links()
        self._numbers = self._links["number"].to_numpy()
        others = pl.concat([self._links["of"], self._links["through"].drop_nulls()]).unique().sort()
        self._others = others.to_numpy().astype(np.int64)
        ids = [pl.Series([], dtype=pl.String), *values_at(parts, self._others, "doc_id")]
        self._ids = pl.concat(ids)

    def _id(self, numbers: pl.Series) -> pl.Series:
        places = np.searchsorted(self._others, numbers.to_numpy())
        return self._ids.gather(places)

    def details(self, numbers: slice, codes: NDArray[np.uint8]) -> pl.DataFrame:
        """place and detail of the linked documents of a batch."""
        first, last = np.searchsorted(self._numbers, [numbers.start, numbers.stop])
        here = self._links[int(first) : int(last)]
        place = here["number"].cast(pl.Int64) - numbers.start
        columns = {"place": place, "of": self._id(here["of"])}
        columns["through"] = self._id(here["through"].fill_null(here["of"]))
        columns["similarity"] = here["similarity"].map_elements("{:.3f}".format, pl.String)
        columns["code"] = pl.Series(codes[place.to_numpy()])
        detour = pl.when(pl.col("of") != pl.col("through")).then(" through " + pl.col("through")).otherwise(pl.lit(""))
        is_copy = pl.col("code") == REASONS.index("exact_duplicate")
        is_near = pl.col("code") == REASONS.index("near_duplicate")
        detail = (
            pl.when(is_copy)
            .then("of " + pl.col("of"))
            .when(is_near)
            .then(pl.format("of {}{}, similarity {}", "of", detour, "similarity"))
            .otherwise("in one cluster with " + pl.col("of"))
        )
        return pl.DataFrame(columns).select("place", detail.alias("detail"))


def ledger_rows(decided: Decided, parts: Batch, runs: Sequence[Batch], settings: Settings) -> Iterator[pl.DataFrame]:
    """Rows of SCHEMA of all dropped documents, batch by batch.

    Args:
        decided: result of `decide`.
        parts: result of `screened_parts`.
        runs: the same in batches.
        settings: the sections.
    """
    links = _Links(decided, parts)
    named = decided.named["number"].to_numpy()
    for batch in runs:
        numbers = numbers_of(batch)
        codes = decided.decisions.reasons[numbers]
        dropped = np.flatnonzero(codes != KEPT)
        if not len(dropped):
            continue
        documents = read_documents(batch, ["doc_id", "origin", "license"])
        first, last = np.searchsorted(named, [numbers.start, numbers.stop])
        here = decided.named[int(first) : int(last)].select(pl.col("number") - numbers.start, "detail")
        details = [
            here.rename({"number": "place"}),
            links.details(numbers, codes),
            _own(batch, codes, documents, settings),
        ]
        rows = documents.select("doc_id", "origin")[dropped].with_columns(
            pl.Series("place", dropped),
            pl.lit("select").alias("stage"),
            pl.lit(batch[0].source).alias("source"),
            pl.Series("reason", REASONS).gather(codes[dropped]),
        )
        yield rows.join(pl.concat(details), on="place", how="left", maintain_order="left").select(SCHEMA.names())


def _own(batch: Batch, codes: NDArray[np.uint8], documents: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """place and detail of what goes for what it is itself, or is held out."""
    found = [pl.DataFrame(schema={"place": pl.Int64, "detail": pl.String})]

    def add(places: I64, details: pl.Series) -> None:
        found.append(pl.DataFrame({"place": places, "detail": details}))

    foreign = np.flatnonzero(codes == REASONS.index("license"))
    add(foreign, documents["license"].gather(foreign))
    heldout = np.flatnonzero(codes == REASONS.index("heldout"))
    add(heldout, pl.Series([f"domain {batch[0].collection}"], dtype=pl.String).new_from_index(0, len(heldout)))
    measured = np.flatnonzero(np.isin(codes, FROM_SCREENS))
    if len(measured):
        screen = read_screens(batch)[measured]
        said = reasons(screen, settings.quality, rules_of(batch[0].collection))["detail"]
        short = pl.Series(codes[measured] == REASONS.index("too_short"))
        add(measured, (screen["words"].cast(pl.String) + " words").zip_with(short, said))
    leaking = np.flatnonzero(np.isin(codes, FROM_OVERLAPS))
    if len(leaking):
        places = documents.select("doc_id").with_row_index("place")[leaking]
        why = places.join(leaks(read_overlaps(batch), settings.select), on="doc_id", maintain_order="left")
        add(why["place"].cast(pl.Int64).to_numpy(), why["detail"])
    return pl.concat(found)
