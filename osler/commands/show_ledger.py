"""`osler show ledger`: what was dropped, cut or set aside, by which stage and why.

All ledgers that have been written are counted, also after `dvc repro select` alone. Of one source rows are shown, too.
"""

from collections.abc import Iterator

import polars as pl

from osler.build.artifacts import Artifacts
from osler.build.pipeline import ROOT, artifact_name, declarations, read_params
from osler.build.section import BuildError
from osler.build.validation import PARAMS, suggestion
from osler.commands.compare import columns
from osler.inference.interface import seeded_rank

LEDGER = ["stage", "source", "doc_id", "origin", "reason", "detail"]


def ledger_rows(artifacts: Artifacts) -> pl.DataFrame:
    """The rows of all ledgers that are there.

    Raises:
        BuildError: none is.
    """
    declared = {
        out for stage in artifacts.stages.values() for out in stage.outs if artifact_name(out, True) == "ledger"
    }
    outs = [artifacts.root / out for out in sorted(declared)]
    files = [file for out in outs for file in ([out] if out.is_file() else sorted(out.rglob("*.parquet")))]
    if not files:
        raise BuildError("data/ledger: nothing has been built yet; run `dvc repro select`")
    frames = [pl.read_parquet(file).select(pl.col(LEDGER).cast(pl.String)) for file in files]
    return pl.concat(frames)


def lines(rows: pl.DataFrame, count: int) -> Iterator[str]:
    """Counts by stage, source and reason, and `count` rows of each.

    Which rows is drawn by their names, so that it stays the same.
    """
    keys = ["stage", "source", "reason"]
    counts = (
        rows.group_by(keys, maintain_order=True).len().sort("stage", "source", "len", descending=[False, False, True])
    )
    body = [[*row[:3], f"{row[3]:,}"] for row in counts.rows()]
    yield from columns([[*keys, "rows"], *body], 3)
    for stage, source, reason, _ in counts.rows() if count else ():
        own = rows.filter(stage=stage, source=source, reason=reason)
        named = [
            (row["doc_id"] or f"{source}/{row['origin']}", row["origin"], row["detail"])
            for row in own.iter_rows(named=True)
        ]
        ranked = sorted(named, key=lambda row: (seeded_rank(1, "show", row[0]), row[0]))[:count]
        yield ""
        yield f"{stage} {reason}:"
        yield from (f"  {name}  {'; '.join(filter(None, (origin, detail)))}" for name, origin, detail in ranked)


def say(source: str | None, reason: str, count: int) -> None:
    """Print what the ledgers have.

    Args:
        source: only of this one, with `count` rows for each reason; None: counts of all.
        reason: only reasons with these words.
        count: of rows.
    Raises:
        BuildError: no ledger is there, or none has such rows.
    """
    rows = ledger_rows(Artifacts(ROOT, declarations(ROOT, read_params(ROOT / PARAMS))))
    if rows.is_empty():
        print("the ledgers are empty: nothing was dropped, cut or set aside")
        return
    known = sorted(rows["source"].drop_nulls().unique())
    if source is not None and source not in known:
        raise BuildError(f"{source}: in no ledger{suggestion(source, known)}; there are {', '.join(known)}")
    if source is not None:
        rows = rows.filter(source=source)
    found = rows.filter(pl.col("reason").str.contains(reason.lower(), literal=True))
    if found.is_empty():
        raise BuildError(f"--search {reason}: no such reason; there are {', '.join(sorted(rows['reason'].unique()))}")
    print("\n".join(lines(found, count if source is not None else 0)))
