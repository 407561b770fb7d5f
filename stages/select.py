"""Stage `select`: which documents to keep, and why others go.

It also says which to hold out (osler/corpus/selection.py).

Documents = kept + ledger rows, for every source. Files are read in passes, a few parts at a time, and one band of all documents
is held; texts are read of candidates and held-out documents only, once. About 360 MB and 43 bytes a document; bench/select.py
has the cost of millions.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from osler.build.files import read_json, write_json, write_parquet
from osler.build.section import BuildError
from osler.build.stage import run
from osler.corpus.deciding import Settings, decide, sources_of
from osler.corpus.documents import COLLECTIONS, HELDOUT_DOMAINS
from osler.corpus.dropped import ledger_rows
from osler.corpus.leaks import Shares
from osler.corpus.ledger import SCHEMA
from osler.corpus.long_parquet import write_long_parquet
from osler.corpus.quality import Quality
from osler.corpus.screened_parts import Batch, batches, numbers_of, read_documents, read_overlaps, screened_parts
from osler.corpus.screening import Screen
from osler.corpus.selection import KEPT, KEYS, REASONS, Decisions, Licenses, Select, counted
from osler.corpus.withdrawn import Named, listed_names

SHOWN_NAMES = 5


def sources(documents: Path, priority: tuple[str, ...]) -> dict[str, str]:
    """Source -> collection, in order of priority.

    Raises:
        BuildError: `priority` names a source twice, or it and the folders in `documents` differ.
    """
    found = {folder.name: folder.parent.name for c in COLLECTIONS for folder in sorted((documents / c).glob("*"))}
    twice = sorted(name for name, count in Counter(priority).items() if count > 1)
    if twice:
        raise BuildError(f"params.yaml: select.priority: names {', '.join(twice)} more than once")
    if missing := sorted(found.keys() - set(priority)):
        raise BuildError(f"params.yaml: select.priority: lacks {', '.join(missing)}; every source needs a rank")
    if unknown := sorted(set(priority) - found.keys()):
        raise BuildError(f"params.yaml: select.priority: {', '.join(unknown)}: no such source; remove it there")
    return {name: found[name] for name in priority}


def refuse_emptied(counts: Mapping[str, Any]) -> None:
    """Stop where no document of a source is left.

    Raises:
        BuildError: names the source, the reasons, and the key that decides the commonest.
    """
    for name, found in counts.items():
        if not found["kept"]:
            reasons = Counter(found["dropped"]).most_common()
            listed = ", ".join(f"{count} {reason}" for reason, count in reasons)
            raise BuildError(
                f"params.yaml: {KEYS[reasons[0][0]]}: keeps none of the {found['documents']} documents of {name}"
                f" ({listed}); change it, or take the source out"
            )


def write_corpus(file: Path, counts: Mapping[str, Any], ingested: Mapping[str, Any]) -> None:
    """Write the metrics of what was kept.

    The sources are a list, which DVC leaves out of `dvc metrics diff`: a column for each total, not for each source's.
    """
    totals = {key: sum(found[key] for found in counts.values()) for key in ("documents", "kept", "kept_bytes")}
    rows = [{"source": name, **counts[name], "ingest": ingested[name]} for name in counts]
    write_json(file, totals | {"sources": rows})


def write_phi(file: Path, audited: Mapping[str, Any], ingested: Mapping[str, Any]) -> None:
    """Write the metrics of screened identifiers."""
    screened_sources = [{"source": name, **audit} for name, audit in audited.items() if audit["action"]]
    replaced = sum(sum(found["identifiers"].values()) for found in ingested.values())
    write_json(file, {"identifiers_found": replaced, "sources": screened_sources})


def say_unknown(named: Named, listed: int, list_name: str) -> None:
    """Tell what a list of `listed` names has that no document has."""
    if unknown := named.unknown():
        shown = ", ".join(unknown[:SHOWN_NAMES]) + ", ..." * (len(unknown) > SHOWN_NAMES)
        print(f"{list_name}: {len(unknown)} of {listed} names fit no document: {shown}")


def kept_ids(decided: Decisions, runs: Sequence[Batch]) -> Iterator[pl.DataFrame]:
    """doc_id of the kept documents of each batch."""
    for batch in runs:
        ids = read_documents(batch, ["doc_id"])
        yield ids.filter(pl.Series(decided.kept[numbers_of(batch)]))


def write_kept(decided: Decisions, parts: Batch, runs: Sequence[Batch], keep: Path, heldout: Path) -> None:
    """Write the keep-list of each source and the held-out documents."""
    for name, numbers in sources_of(parts).items():
        here = [batch for batch in runs if batch[0].source == name]
        file = keep / here[0][0].collection / f"{name}.parquet"
        count = int(np.count_nonzero(decided.kept[numbers]))
        write_long_parquet(file, kept_ids(decided, here), count, pl.Schema({"doc_id": pl.String}))
    chosen = np.flatnonzero(decided.reasons == REASONS.index("heldout"))
    for domain in HELDOUT_DOMAINS:
        rows = [pl.DataFrame(schema={"doc_id": pl.String, "source": pl.String, "text": pl.String})]
        for part in parts:
            first, last = np.searchsorted(chosen, [part.first, part.first + part.rows])
            if part.collection == domain and first < last:
                found = read_documents([part], ["doc_id", "text"])[chosen[first:last] - part.first]
                rows.append(found.select("doc_id", pl.lit(part.source).alias("source"), "text"))
        write_parquet(heldout / f"{domain}.parquet", pl.concat(rows))


def shares(decided: Decisions, runs: Sequence[Batch], select: Select) -> Shares:
    """What documents share with items, with which of them were kept."""
    found = Shares(select)
    for batch in runs:
        overlaps = read_overlaps(batch)
        if len(overlaps):
            kept = read_documents(batch, ["doc_id"]).with_columns(kept=decided.kept[numbers_of(batch)])
            found.add(batch[0].source, overlaps, kept)
    return found


def say(metrics: Mapping[str, Any]) -> None:
    """Print a line for each source."""
    for name, found in metrics.items():
        listed = ", ".join(f"{count} {reason}" for reason, count in found["dropped"].items())
        print(f"{name}: {found['documents']} documents, {found['kept']} kept" + f", {listed}" * bool(listed))


def main(
    audits: Path,
    counts: Path,
    documents: Path,
    overlaps: Path,
    screens: Path,
    licenses: Licenses,
    quality: Quality,
    select: Select,
    screen: Screen,
    heldout: Path,
    keep: Path,
    ledger: Path,
    touched: Path,
    corpus: Path,
    contamination: Path,
    phi: Path,
    raw: Path | None = None,
) -> None:
    """Write the keep-lists, held-out documents, ledger, items still touched, and metrics.

    `raw` is the list of withdrawn documents.
    """
    collections = sources(documents, select.priority)
    listed = listed_names(raw) if raw else {}
    folders = {name: documents / collection / name for name, collection in collections.items()}
    named = Named(folders, listed, select.retracted == "drop")
    parts = screened_parts(documents, screens, overlaps, collections)
    runs, settings = batches(parts), Settings(licenses, quality, select, screen)
    decided = decide(parts, runs, named, settings, documents.parent)
    say_unknown(named, len(listed), select.withdrawn)
    decisions = decided.decisions
    metrics = counted(decisions, decided.sizes, sources_of(parts))
    refuse_emptied(metrics)
    write_kept(decisions, parts, runs, keep, heldout)
    dropped = int(np.count_nonzero(decisions.reasons != KEPT))
    write_long_parquet(ledger, ledger_rows(decided, parts, runs, settings), dropped, SCHEMA)
    found = shares(decisions, runs, select)
    write_parquet(touched, found.touched())
    leaked = sum(
        metrics[name]["dropped"].get(reason, 0)
        for name in metrics
        for reason in ("contaminated", "near_copy", "contaminated_twin")
    )
    write_json(contamination, {"documents_dropped": leaked, "shared": found.shared()})
    ingested = {name: read_json(counts / f"{name}.json") for name in collections}
    write_corpus(corpus, metrics, ingested)
    write_phi(phi, {name: read_json(audits / f"{name}.json") for name in collections}, ingested)
    say(metrics)


if __name__ == "__main__":
    run(main)
