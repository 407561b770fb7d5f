"""Stage `ingest@source`: raw files to documents, one row each.

With license and origin.

Every later stage reads these documents only. A row that gives no document is in the ledger, so that rows in = documents
+ ledger rows. The documents of a file, or of a run of small ones, are kept in the store, so a changed file costs its run;
what two files have in common, an id, is looked at afterwards. 20 MB/s on one core, reading, cleaning and writing; memory
is one part of each process.
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from osler.build.files import file_hash, link, read_json, write_json, write_parquet
from osler.build.section import BuildError
from osler.build.shard_store import Shard, Store
from osler.build.stage import run
from osler.ingest.archives import SKIPPED
from osler.ingest.audit import Audit, write_audit
from osler.ingest.ingested import ingested_files, listed
from osler.ingest.records import source_files
from osler.ingest.runs import file_runs
from osler.ingest.shared_lines import without_shared_lines
from osler.ingest.source import Source
from osler.ingest.task_files import rewrites_frame
from osler.ingest.updates import repeats, replaced, without
from osler.privacy.screening import check_detector


def main(
    raw: Path,
    audit: Audit,
    source: Source,
    name: str,
    audits: Path,
    documents: Path,
    ledger: Path,
    counts: Path,
    store: Store,
) -> None:
    """Write `documents` (part-*.parquet of SCHEMA), `ledger`, `counts`, `audits`; print a line.

    Raises:
        BuildError: no document, a field that no row has, or identifiers that the screening misses (write_audit).
    """
    if source.phi:
        check_detector(source.phi, name)
    files = source_files(raw, source)
    section = source.model_dump(exclude={"path", "shared_line_fraction"}) | {"name": name}
    hashes = {file.path: file_hash(file.path) for file in files if not file.fault}
    tasks = [
        Shard(
            {"files": [(file.name, str(file.fault or hashes[file.path])) for file in run], "source": section},
            partial(ingested_files, files=run, name=name, source=source),
            {file.path: hashes[file.path] for file in run if not file.fault},
        )
        for run in file_runs(files)
    ]
    entries = store.entries(__file__, tasks)
    facts: list[dict[str, Any]] = [read_json(entry / "counts.json") for entry in entries]
    dropped = [pl.read_parquet(entry / "ledger.parquet") for entry in entries]
    rows = sum(fact["rows"] for fact in facts)
    made = any(any(entry.glob("part-*.parquet")) for entry in entries)
    refuse_unseen_fields(name, facts, rows)
    if not made:
        raise no_documents(raw, rows, dropped)
    dropped += write_parts(documents, entries, name, source.keeps_last)
    if not any(documents.glob("part-*.parquet")):
        raise no_documents(raw, rows, dropped)
    emptied, shared = relinked(documents, source, name, store)
    dropped += emptied
    if not any(documents.glob("part-*.parquet")):
        raise no_documents(raw, rows, dropped)
    write_rewrites(documents, raw, source)
    in_documents = pl.scan_parquet(documents / "part-*.parquet").select(pl.len()).collect().item()
    in_ledger = pl.concat(dropped)
    if rows != in_documents + len(in_ledger):
        raise AssertionError(f"{name}: {rows} rows, but {in_documents} documents and {len(in_ledger)} ledger rows")
    write_parquet(ledger, in_ledger)
    totals = {
        name: sum((Counter[str](fact[name]) for fact in facts), Counter[str]())
        for name in ("changes", "encodings", "identifiers", "notation")
    }
    sizes = {"documents": in_documents, "files": sum(not file.fault for file in files), "rows": rows}
    write_json(counts, totals | sizes | shared)
    told = f"{listed(dropped)}{formulas(totals['notation'])}"
    print(f"{name}: {rows} rows, {in_documents} documents, {len(in_ledger)} in the ledger{told}")
    write_audit(documents, source, audit, name, audits)


def write_rewrites(documents: Path, raw: Path, source: Source) -> None:
    """Write other wordings of the tasks' definitions, where the source has some."""
    if source.rewrites:
        write_parquet(documents / "rewrites.parquet", rewrites_frame(raw / source.rewrites))


def relinked(documents: Path, source: Source, name: str, store: Store) -> tuple[list[pl.DataFrame], dict[str, Any]]:
    """Take out of all parts the lines that most documents share.

    Returns:
        Ledgers of the documents that are nothing without them, and what is counted.
    """
    parts = sorted(documents.glob("part-*.parquet"))
    cleaned, emptied, counted = without_shared_lines(parts, source, name, store, __file__)
    if cleaned != parts:
        for part in parts:
            part.unlink()
        for number, part in enumerate(cleaned):
            link(part, documents / f"part-{number:05d}.parquet")
    return emptied, counted


def formulas(counts: Counter[str]) -> str:
    """What became of formulas, or nothing.

    As "; formulas: 7 as text, 2 as markers".
    """
    said = {"formulas_text": "as text", "formulas_tex": "as TeX", "formulas_marker": "as markers"}
    found = [f"{counts[key]} {words}" for key, words in said.items() if counts[key]]
    return f"; formulas: {', '.join(found)}" if found else ""


def refuse_unseen_fields(name: str, facts: list[dict[str, Any]], rows: int) -> None:
    """Stop where an optional field is in no row at all.

    Its absence costs a row nothing, so that a misspelled one would go unseen.

    Raises:
        BuildError: names the field.
    """
    unseen = [set(fact["unseen"]) for fact in facts if fact["unseen"] is not None]
    if unseen and (misspelled := sorted(set.intersection(*unseen))):
        raise BuildError(
            f"params.yaml: source.{name}: '{misspelled[0]}' is in none of {rows} rows; correct the field's name in"
            " `text`, `turns` or `date_field`, or take it out"
        )


def no_documents(raw: Path, rows: int, dropped: list[pl.DataFrame]) -> BuildError:
    """Why a source gives no document at all."""
    if not rows:
        return BuildError(f"{raw}: has no rows; remove the source or correct `path`")
    first = pl.concat(dropped).sort(pl.col("reason").is_in(SKIPPED), maintain_order=True).row(0, named=True)
    return BuildError(
        f"{raw}: none of {rows} rows gives a document{listed(dropped)}; {first['origin']}: {first['detail']}"
    )


def write_parts(documents: Path, entries: list[Path], name: str, keeps_last: bool) -> Iterator[pl.DataFrame]:
    """Write or link parts, names, tasks without rows that do not stand.

    Yields ledger rows of documents whose id another has. The other is the first, or with `keeps_last` the last. Part by part.
    """
    written = Counter[str]()
    for entry, lost in zip(entries, (replaced if keeps_last else repeats)(entries), strict=True):
        for kind in ("part", "names", "tasks"):
            for file in sorted(entry.glob(f"{kind}-*.parquet")):
                target = documents / f"{kind}-{written[kind]:05d}.parquet"
                left, gone = without(file, lost)
                if left is None:
                    link(file, target)
                elif len(left):
                    write_parquet(target, left)
                written[kind] += left is None or len(left) > 0
                if kind == "part" and len(gone):
                    here = (pl.lit("ingest").alias("stage"), pl.lit(name).alias("source"))
                    yield gone.select(*here, "doc_id", "origin", "reason", "detail")


if __name__ == "__main__":
    run(main)
