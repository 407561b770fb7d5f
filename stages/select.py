"""Stage `select`: which documents to keep, which to hold out, and why the others were dropped.

Rules in this order, the first that applies is the ledger's reason:

1. `too_short`: fewer than `minimum_words` words.
2. `contaminated`: an overlap with a benchmark item of at least `contaminated_coverage`; question and answer count as 1.
3. `exact_duplicate`: the same normalized words as a document that comes first.
4. `contaminated_twin`: in a cluster of near duplicates with a contaminated document. Its wording differs a little, so
   the n-grams may miss what a reader would not; and keeping it would put back most of what rule 2 took out.
5. `near_duplicate`: in a cluster with a document that comes first. Clusters are the connected components of pairs with
   at least `jaccard` of their different word n-grams in common; too short documents and exact duplicates are in none.
6. `heldout`: a share of the remaining clinical and general documents, to measure bits per byte on; by a hash of the
   doc_id, so that it does not change with other documents. One document of a cluster remains by now, so a held-out
   document has no twin among the kept ones.

"First" is by `priority` of the source, then document order. Documents = kept + ledger rows, for every source.
5 s and 0.3 GB for 31,000 documents of 100 MB; only candidates and held-out texts are read.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from stages.lib.duplicates import candidate_pairs, components, jaccard, nearest, shingle_sets
from stages.lib.files import write_json, write_parquet
from stages.lib.ledger import ledger as ledger_frame
from stages.lib.progress import progress
from stages.lib.records import BATCH_BYTES, COLLECTIONS, document_files
from stages.lib.section import BuildError, Section
from stages.lib.shingles import I64, U64, shingles, text_hashes, word_runs
from stages.lib.stage import run
from stages.screen import Screen

REASONS = ("too_short", "contaminated", "exact_duplicate", "contaminated_twin", "near_duplicate", "heldout")
HELDOUT_DOMAINS = ("clinical", "general")


class Select(Section):
    """The section `select`."""

    priority: tuple[str, ...] = Field(
        min_length=1, description="every source; of two duplicates the first named is kept"
    )
    minimum_words: int = Field(ge=0, description="words a document must have")
    jaccard: float = Field(
        gt=0, le=1, description="share of different word n-grams in common that makes near duplicates"
    )
    contaminated_coverage: float = Field(gt=0, le=1, description="share of an item's n-grams that makes contamination")
    heldout_fraction: float = Field(ge=0, lt=1, description="share of kept documents to hold out")
    heldout_limit_documents: int = Field(ge=0, description="held-out documents per domain, at most")


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


def read_screened(documents: Path, screens: Path, collections: dict[str, str], bands: int) -> pl.DataFrame:
    """All documents in order of preference: source, collection, doc_id, origin, bytes, words, text_hash, bands.

    Raises:
        BuildError: a source's screen is not of its documents, or has another number of bands.
    """
    frames = []
    for name, collection in collections.items():
        files = document_files(documents / collection / name)
        frame = pl.concat([pl.read_parquet(file, columns=["doc_id", "origin"]) for file in files])
        screen = pl.read_parquet(screens / f"{name}.parquet")
        if not frame["doc_id"].equals(screen["doc_id"]) or not (screen["bands"].list.len() == bands).all():
            raise BuildError(
                f"{screens / name}.parquet: does not fit the documents or `screen`; run `dvc repro -f screen`"
            )
        here = [pl.lit(name).alias("source"), pl.lit(collection).alias("collection")]
        frames.append(pl.concat([frame.select(*here, "doc_id", "origin"), screen.drop("doc_id")], how="horizontal"))
    return pl.concat(frames)


def contamination(overlaps: pl.DataFrame, coverage: float) -> dict[str, str]:
    """doc_id -> which item it contains and by which rule (the largest coverage, then the first item).

    Args:
        overlaps: as the stage `overlap` writes them.
        coverage: the share of n-grams from which on they count; question and answer are recorded as 1.
    """
    worst = (
        overlaps.filter(pl.col("covered") >= coverage)
        .sort("doc_id", "covered", "item_id", "rule", descending=[False, True, False, False])
        .group_by("doc_id", maintain_order=True)
        .first()
    )
    return {
        row["doc_id"]: f"{row['item_id']} by {row['rule']}, {row['covered']:.3f} covered"
        for row in worst.iter_rows(named=True)
    }


def first_of_equal(values: U64) -> I64:
    """For each position the first position with the same value."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64)


def texts_of(documents: Path, collections: dict[str, str], wanted: pl.DataFrame) -> list[str]:
    """The texts of `wanted` (source, doc_id), in its order; sources must be contiguous there."""
    texts: list[str] = []
    for (name,), rows in wanted.group_by("source", maintain_order=True):
        files = document_files(documents / collections[str(name)] / str(name))
        scan = pl.scan_parquet(files).select("doc_id", "text").filter(pl.col("doc_id").is_in(rows["doc_id"].implode()))
        joined = rows.select("doc_id").join(scan.collect(), on="doc_id", how="left", maintain_order="left")
        texts += joined["text"].to_list()
    return texts


def verified_pairs(
    pairs: I64, texts: dict[int, str], shingle_words: int, threshold: float
) -> tuple[I64, NDArray[np.float64]]:
    """The candidate pairs whose different word n-grams have a Jaccard similarity of at least `threshold`.

    Args:
        pairs: (candidates, 2) numbers of documents.
        texts: document -> text, for those in `pairs`.
        shingle_words: n.
        threshold: 0 to 1.
    Returns:
        (pairs, 2), and their similarities.
    """
    sets: dict[int, U64] = {}
    numbers, sizes = list(texts), np.cumsum([len(text) for text in texts.values()]) // BATCH_BYTES
    for batch in np.unique(sizes):
        chosen = [number for number, size in zip(numbers, sizes, strict=True) if size == batch]
        runs = word_runs(pl.Series([texts[number] for number in chosen], dtype=pl.String))
        sets.update(zip(chosen, shingle_sets(shingles(runs, shingle_words)), strict=True))
    compared = progress(pairs.tolist(), len(pairs), "compare", "pairs")
    similarities = np.array([jaccard(sets[one], sets[other]) for one, other in compared], np.float64)
    return pairs[similarities >= threshold], similarities[similarities >= threshold]


def heldout_documents(doc_ids: pl.Series, fraction: float, limit: int) -> pl.Series:
    """The doc_ids to hold out: those with a hash in the lowest `fraction` of its range, of these the `limit` lowest."""
    hashed = pl.DataFrame({"doc_id": doc_ids, "hash": text_hashes(doc_ids)})
    return hashed.filter(pl.col("hash") < int(fraction * 2**64)).sort("hash", "doc_id").head(limit)["doc_id"]


def decisions(
    documents: pl.DataFrame, contaminated: dict[str, str], texts: Any, screen: Screen, select: Select
) -> tuple[list[str | None], list[str]]:
    """For each document its reason not to be kept (None: keep) and the detail.

    Args:
        documents: result of `read_screened`.
        contaminated: result of `contamination`.
        texts: function from rows of `documents` to their texts.
        screen: the section.
        select: the section.
    """
    doc_ids = documents["doc_id"].to_list()
    reasons: list[str | None] = [None] * len(doc_ids)
    details = [""] * len(doc_ids)
    for number, (doc_id, words) in enumerate(zip(doc_ids, documents["words"].to_list(), strict=True)):
        if words < select.minimum_words:
            reasons[number], details[number] = "too_short", f"{words} words"
        elif doc_id in contaminated:
            reasons[number], details[number] = "contaminated", contaminated[doc_id]

    remaining = np.array([number for number, reason in enumerate(reasons) if reason is None], np.int64)
    first = remaining[first_of_equal(documents["text_hash"].to_numpy()[remaining])]
    for number, kept in zip(remaining.tolist(), first.tolist(), strict=True):
        if number != kept:
            reasons[number], details[number] = "exact_duplicate", f"of {doc_ids[kept]}"

    nodes = np.array([n for n, reason in enumerate(reasons) if reason in (None, "contaminated")], np.int64)
    band_lists = documents["bands"].gather(nodes)
    bands = (band_lists.list.get(band).to_numpy() for band in range(screen.bands))
    candidates = nodes[candidate_pairs(bands, len(nodes))]
    involved = np.unique(candidates)
    involved_texts = dict(zip(involved.tolist(), texts(documents[involved]), strict=True))
    pairs, similarities = verified_pairs(candidates, involved_texts, screen.shingle_words, select.jaccard)
    clusters = components(pairs, len(doc_ids))
    tainted: dict[int, int] = {}
    for number in nodes.tolist():
        if reasons[number] == "contaminated":
            tainted.setdefault(int(clusters[number]), number)
    neighbors = nearest(pairs, similarities, clusters)
    for number in nodes.tolist():
        cluster = int(clusters[number])
        if reasons[number] is not None:
            continue
        if cluster in tainted:
            reasons[number], details[number] = "contaminated_twin", f"in one cluster with {doc_ids[tainted[cluster]]}"
        elif cluster != number:
            neighbor, similarity = neighbors[number]
            through = "" if neighbor == cluster else f" through {doc_ids[neighbor]}"
            reasons[number] = "near_duplicate"
            details[number] = f"of {doc_ids[cluster]}{through}, similarity {similarity:.3f}"

    left = documents.filter(pl.Series([reason is None for reason in reasons], dtype=pl.Boolean))
    for domain in HELDOUT_DOMAINS:
        here = left.filter(pl.col("collection") == domain)["doc_id"]
        chosen = set(heldout_documents(here, select.heldout_fraction, select.heldout_limit_documents))
        for number, doc_id in enumerate(doc_ids):
            if doc_id in chosen:
                reasons[number], details[number] = "heldout", f"domain {domain}"
    return reasons, details


def counts(decided: pl.DataFrame) -> dict[str, Any]:
    """The metrics: for each source documents, kept, kept_bytes and, for every reason, dropped documents."""
    metrics: dict[str, Any] = {}
    for (name,), rows in decided.group_by("source", maintain_order=True):
        kept = rows.filter(pl.col("reason").is_null())
        metrics[str(name)] = {
            "documents": len(rows),
            "kept": len(kept),
            "kept_bytes": int(kept["bytes"].cast(pl.Int64).sum()),
            "dropped": {reason: int((rows["reason"] == reason).sum()) for reason in REASONS},
        }
        if len(rows) != len(kept) + sum(metrics[str(name)]["dropped"].values()):
            raise AssertionError(f"{name}: {metrics[str(name)]} does not add up")
    return metrics


def main(
    documents: Path,
    overlaps: Path,
    screens: Path,
    select: Select,
    screen: Screen,
    heldout: Path,
    keep: Path,
    ledger: Path,
    corpus: Path,
) -> None:
    """Write `keep`, `heldout`, `ledger` and the counts in `corpus`."""
    collections = sources(documents, select.priority)
    screened = read_screened(documents, screens, collections, screen.bands)
    overlap = pl.concat([pl.read_parquet(overlaps / f"{name}.parquet") for name in collections])

    def texts(wanted: pl.DataFrame) -> list[str]:
        return texts_of(documents, collections, wanted)

    reasons, details = decisions(screened, contamination(overlap, select.contaminated_coverage), texts, screen, select)
    decided = screened.with_columns(
        pl.Series("reason", reasons, pl.String), pl.Series("detail", details, pl.String)
    ).drop("bands")
    metrics = counts(decided)
    for name, collection in collections.items():
        kept = decided.filter((pl.col("source") == name) & pl.col("reason").is_null())
        write_parquet(keep / collection / f"{name}.parquet", kept.select("doc_id"))
    for domain in HELDOUT_DOMAINS:
        chosen = decided.filter((pl.col("collection") == domain) & (pl.col("reason") == "heldout"))
        with_text = chosen.select("doc_id", "source").with_columns(pl.Series("text", texts(chosen), pl.String))
        write_parquet(heldout / f"{domain}.parquet", with_text)
    dropped = decided.filter(pl.col("reason").is_not_null()).with_columns(pl.lit("select").alias("stage"))
    write_parquet(ledger, ledger_frame(dropped.select(ledger_frame([]).columns).iter_rows(named=True)))
    totals = {key: sum(found[key] for found in metrics.values()) for key in ("documents", "kept", "kept_bytes")}
    # the sources in a list, which DVC leaves out of `dvc metrics diff`: a column for each total, not for each source's
    write_json(corpus, totals | {"sources": [{"source": name, **found} for name, found in metrics.items()]})
    for name, found in metrics.items():
        listed = ", ".join(f"{count} {reason}" for reason, count in found["dropped"].items() if count)
        print(f"{name}: {found['documents']} documents, {found['kept']} kept" + (f", {listed}" if listed else ""))


if __name__ == "__main__":
    run(main)
