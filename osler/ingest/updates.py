"""Which rows of a source stand where later ones replace them.

PubMed is distributed so: a baseline, and daily files with records that are new, revised or deleted. All rows that have an
id count, also those that give no document: a record that was revised to one without a text is gone, too. The order is that
of files, and of rows in a file. Of a record in several versions the highest stands; a deletion takes what was read before it.

Memory is 40 bytes a row for the whole source: ids are compared by 64-bit hashes. Strings are read of those rows only
that are replaced, and of what replaces them.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from osler.corpus.word_hashes import U64, text_hashes
from osler.ingest.pubmed import ANY_VERSION

REPLACED = pl.Schema({"origin": pl.String, "reason": pl.String, "detail": pl.String})


def repeated(keys: U64) -> U64:
    """The values that occur more than once, sorted."""
    ordered = np.sort(keys)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def verdicts(rows: pl.DataFrame) -> pl.DataFrame:
    """What is superseded or deleted, and by which row: position, reason, by.

    Args:
        rows: position, key, version, is_deletion; those of a key all or not at all.
    """
    deletions = rows.filter("is_deletion").select("key", pl.col("version").alias("of"), pl.col("position").alias("end"))
    records = rows.filter(~pl.col("is_deletion"))
    ends = (
        records.join(deletions, on="key")
        .filter(pl.col("end") > pl.col("position"), (pl.col("of") == ANY_VERSION) | (pl.col("of") == pl.col("version")))
        .group_by("position")
        .agg(pl.col("end").min())
    )
    standing = records.join(ends, on="position", how="left").sort("version", "position")
    last = pl.col("position").last().over("key", "end")
    return (
        standing.with_columns(last=last)
        .with_columns(
            reason=pl.when(pl.col("position") != pl.col("last")).then(pl.lit("superseded"))
            .when(pl.col("end").is_not_null()).then(pl.lit("deleted_by_source")),
            by=pl.when(pl.col("position") != pl.col("last")).then("last").otherwise("end"),
        )
        .drop_nulls("reason").select("position", "reason", "by").sort("position")
    )  # fmt: skip


def replaced(entries: list[Path]) -> Iterator[pl.DataFrame]:
    """Of each entry the rows that do not stand: origin, reason, detail.

    Args:
        entries: folders with records-*.parquet (osler/ingest/sidecars.py), in order.
    """
    files = [sorted(entry.glob("records-*.parquet")) for entry in entries]
    every = [file for own in files for file in own]
    if not every:
        yield from (pl.DataFrame(schema=REPLACED) for _ in entries)
        return
    frames = [pl.read_parquet(file, columns=["key", "version", "is_deletion"]) for file in every]
    rows = pl.concat(frames).with_row_index("position")
    starts = dict(zip(every, np.cumsum([0, *map(len, frames)]).tolist(), strict=False))
    del frames
    found = verdicts(rows.filter(pl.col("key").is_in(pl.Series(repeated(rows["key"].to_numpy())).implode())))
    del rows

    def origins(file: Path, positions: pl.Series) -> pl.DataFrame:
        own = pl.scan_parquet(file).select("origin").with_row_index("position", offset=starts[file])
        return own.filter(pl.col("position").is_in(positions.implode())).collect()

    by = pl.concat([origins(file, found["by"].unique()) for file in every]).rename({"origin": "detail"})
    named = found.join(by, left_on="by", right_on="position", how="left")
    for own in files:
        here = [origins(file, named["position"]) for file in own]
        yield (
            pl.concat([pl.DataFrame(schema={"position": pl.UInt32, "origin": pl.String}), *here])
            .join(named, on="position", maintain_order="left")
            .select("origin", "reason", pl.format("by {}", "detail").alias("detail"))
        )


def repeats(entries: list[Path]) -> Iterator[pl.DataFrame]:
    """Of each entry the documents whose id an earlier file has.

    origin, reason, detail.

    Within a file ids are different already.
    """
    parts = [(number, part) for number, entry in enumerate(entries) for part in sorted(entry.glob("part-*.parquet"))]
    hashes = [text_hashes(pl.read_parquet(part, columns=["doc_id"])["doc_id"]) for _, part in parts]
    twice = repeated(np.concatenate([np.zeros(0, np.uint64), *hashes]))
    suspects = [
        pl.read_parquet(part, columns=["doc_id", "origin"])
        .with_columns(pl.lit(number).alias("entry"))
        .filter(pl.Series(np.isin(own, twice)))
        for (number, part), own in zip(parts if len(twice) else [], hashes, strict=False)
    ]
    ids = (
        pl.concat(suspects)
        if suspects
        else pl.DataFrame(schema={"doc_id": pl.String, "origin": pl.String, "entry": pl.Int32})
    )
    first = ids.with_columns(first=pl.col("origin").first().over("doc_id")).filter(pl.col("first") != pl.col("origin"))
    later = first.select("entry", "origin", reason=pl.lit("duplicate_id"), detail=pl.format("the id of {}", "first"))
    for number in range(len(entries)):
        yield later.filter(pl.col("entry") == number).drop("entry")


def without(part: Path, lost: pl.DataFrame) -> tuple[pl.DataFrame | None, pl.DataFrame]:
    """A parquet file without the rows of `lost`, and those rows.

    None in place of the first where it has none of them; of those doc_id, origin, reason, detail.
    """
    if lost.is_empty():
        return None, lost
    frame = pl.read_parquet(part)
    gone = frame.select("doc_id", "origin").join(lost, on="origin", maintain_order="left")
    return (frame.join(lost, on="origin", how="anti", maintain_order="left") if len(gone) else None), gone
