"""Stage `select`: which documents to keep, and why others go.

It also says which to hold out (osler/corpus/selection.py).

Documents = kept + ledger rows, for every source. Only candidates and held-out texts are read, and one band of all documents
is held at a time: 5 s and 0.3 GB for 31,000 documents of 100 MB; bench/select.py has the cost of millions.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from osler.build.files import read_json, write_json, write_parquet
from osler.build.section import BuildError
from osler.build.stage import run
from osler.corpus.documents import COLLECTIONS, document_files
from osler.corpus.leaks import leaks, shared_items, touched_items
from osler.corpus.ledger import ledger as ledger_frame
from osler.corpus.quality import INSTRUCTION_RULES, RULES, Quality, reasons
from osler.corpus.screening import Screen, band_column
from osler.corpus.selection import HELDOUT_DOMAINS, KEYS, Licenses, Select, counted, decisions
from osler.corpus.withdrawn import listed_names, named
from osler.corpus.word_hashes import U64

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


def read_screened(documents: Path, screens: Path, collections: dict[str, str], quality: Quality) -> pl.DataFrame:
    """All documents in order of preference, with what was measured of them.

    source, collection, doc_id, origin, license, bytes, words, text_hash, and the `reason` and `detail` of the first rule
    of quality that a document breaks; its signals are left behind.

    Raises:
        BuildError: a part's screen is not of its documents.
    """
    frames = []
    for name, collection in collections.items():
        for part in document_files(documents / collection / name):
            frame = pl.read_parquet(part, columns=["doc_id", "origin", "license"])
            screen_part = screens / name / part.name
            columns = [column for column in pl.read_parquet_schema(screen_part) if not column.startswith("band_")]
            screen = pl.read_parquet(screen_part, columns=columns)
            if not frame["doc_id"].equals(screen["doc_id"]):
                raise BuildError(f"{screen_part}: does not fit the documents; run `dvc repro -f screen`")
            here = [pl.lit(name).alias("source"), pl.lit(collection).alias("collection")]
            broken = reasons(screen, quality, INSTRUCTION_RULES if collection == "instructions" else RULES)
            sizes = screen.select("bytes", "words", "text_hash")
            frames.append(pl.concat([frame.select(*here, pl.all()), sizes, broken], how="horizontal"))
    return pl.concat(frames)


def refuse_licenses(documents: pl.DataFrame, licenses: Licenses) -> None:
    """Stop where a license outside the list is to stop the build.

    Raises:
        BuildError: names the licenses and how many documents of which source have each.
    """
    foreign = documents.filter(~pl.col("license").is_in(licenses.allow)).group_by("source", "license").len()
    if licenses.outside == "stop" and len(foreign):
        listed = "; ".join(f"{n} of {name}: {text}" for name, text, n in foreign.sort("source", "license").rows())
        raise BuildError(
            f"params.yaml: licenses.allow: lacks the license of {listed}; add it, drop the source, or set"
            " licenses.outside: ledger"
        )


def band_of(screens: Path, collections: dict[str, str], band: int) -> U64:
    """One band of every document, in the order of `read_screened`.

    It is all that is held of the bands at a time.
    """
    column = band_column(band)
    parts = [part for name in collections for part in document_files(screens / name)]
    return np.concatenate([pl.read_parquet(part, columns=[column])[column].to_numpy() for part in parts])


def texts_of(documents: Path, collections: dict[str, str], wanted: pl.DataFrame) -> list[str]:
    """The texts of `wanted` (source, doc_id), in its order.

    Sources must be contiguous there.
    """
    texts: list[str] = []
    for (name,), rows in wanted.group_by("source", maintain_order=True):
        files = document_files(documents / collections[str(name)] / str(name))
        scan = pl.scan_parquet(files).select("doc_id", "text").filter(pl.col("doc_id").is_in(rows["doc_id"].implode()))
        joined = rows.select("doc_id").join(scan.collect(), on="doc_id", how="left", maintain_order="left")
        texts += joined["text"].to_list()
    return texts


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


def left_out(
    doc_ids: pl.Series, documents: Path, collections: Mapping[str, str], file: Path | None, select: Select
) -> pl.DataFrame:
    """The withdrawn and retracted documents.

    What the list in `file` names and no document has is told.
    """
    listed = listed_names(file) if file else {}
    folders = {name: documents / collection / name for name, collection in collections.items()}
    found, unknown = named(doc_ids, folders, listed, select.retracted == "drop")
    if unknown:
        shown = ", ".join(unknown[:SHOWN_NAMES]) + ", ..." * (len(unknown) > SHOWN_NAMES)
        print(f"{select.withdrawn}: {len(unknown)} of {len(listed)} names fit no document: {shown}")
    return found


def write_kept(
    decided: pl.DataFrame,
    collections: Mapping[str, str],
    texts: Callable[[pl.DataFrame], list[str]],
    keep: Path,
    heldout: Path,
) -> None:
    """Write the keep-list of each source and the held-out documents."""
    for name, collection in collections.items():
        kept = decided.filter((pl.col("source") == name) & pl.col("reason").is_null())
        write_parquet(keep / collection / f"{name}.parquet", kept.select("doc_id"))
    for domain in HELDOUT_DOMAINS:
        chosen = decided.filter((pl.col("collection") == domain) & (pl.col("reason") == "heldout"))
        with_text = chosen.select("doc_id", "source").with_columns(pl.Series("text", texts(chosen), pl.String))
        write_parquet(heldout / f"{domain}.parquet", with_text)


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
    screened = read_screened(documents, screens, collections, quality)
    refuse_licenses(screened, licenses)
    parts = [part for name in collections for part in document_files(overlaps / name)]
    overlap = pl.concat([pl.read_parquet(part) for part in parts])

    left = left_out(screened["doc_id"], documents, collections, raw, select)

    def texts(wanted: pl.DataFrame) -> list[str]:
        return texts_of(documents, collections, wanted)

    found = decisions(
        screened,
        leaks(overlap, select),
        (band_of(screens, collections, band) for band in range(screen.bands)),
        texts,
        screen.shingle_words,
        select,
        licenses,
        left,
    )
    decided = pl.concat([screened.drop("reason", "detail"), found], how="horizontal")
    metrics = counted(decided)
    refuse_emptied(metrics)
    write_kept(decided, collections, texts, keep, heldout)
    dropped = decided.filter(pl.col("reason").is_not_null()).with_columns(pl.lit("select").alias("stage"))
    write_parquet(ledger, dropped.select(ledger_frame([]).columns))
    write_parquet(touched, touched_items(overlap, decided.filter(pl.col("reason").is_null()).select("doc_id")))
    shared = shared_items(overlap, decided, select)
    leaked = decided.filter(pl.col("reason").is_in(["contaminated", "near_copy", "contaminated_twin"]))
    write_json(contamination, {"documents_dropped": len(leaked), "shared": shared})
    ingested = {name: read_json(counts / f"{name}.json") for name in collections}
    write_corpus(corpus, metrics, ingested)
    write_phi(phi, {name: read_json(audits / f"{name}.json") for name in collections}, ingested)
    say(metrics)


if __name__ == "__main__":
    run(main)
