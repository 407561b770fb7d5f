"""Which documents to keep or hold out, and why others go.

Rules in this order, the first that applies is the ledger's reason:

0. `withdrawn`, `retracted`: on the list `withdrawn`, or retracted by its journal (osler/corpus/withdrawn.py).
1. `license`: not among `licenses.allow`, where those are to be dropped and not to stop the build.
2. `too_short`: fewer than `minimum_words` words.
3. A rule of quality (osler/corpus/quality.py), by its name: `garbled`, `digits`, `foreign_language` and others.
4. `contaminated`: an overlap with a benchmark item of at least `contaminated_coverage`; the rules of short texts count as 1.
5. `near_copy`: of an item fewer n-grams, but a share of its shingles of at least `near_copy_shingles` in one place, and a run
   of `near_copy_run_words`: an edited copy of it.
6. `exact_duplicate`: the same normalized words as a document that comes first.
7. `withdrawn_twin`: in a cluster of near duplicates with a document of rule 0, which must not come back as a copy;
   `contaminated_twin`: in a cluster of near duplicates with a document of rule 4 or 5. Its wording differs a little, so
   the n-grams may miss what a reader would not; and keeping it would put back most of what those took out.
8. `near_duplicate`: in a cluster with a document that comes first. Clusters are the connected components of pairs with
   at least `jaccard` of their different word n-grams in common; too short documents and exact duplicates are in none.
9. `heldout`: a share of the remaining clinical and general documents, to measure bits per byte on; by a hash of the
   doc_id, so that it does not change with other documents. One document of a cluster remains by now, so a held-out
   document has no twin among the kept ones.

"First" is by `priority` of the source, then document order: documents are numbered so.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from osler.build.progress import progress
from osler.build.section import EACH_ONCE, Section
from osler.corpus.documents import BATCH_BYTES
from osler.corpus.near_duplicates import candidate_pairs, components, joining_similarities, nearest, shingle_sets
from osler.corpus.quality import RULES
from osler.corpus.word_hashes import I64, U64, Runs, shingles, text_hashes, word_runs

REASONS = (
    *("withdrawn", "retracted", "license", "too_short", *(rule.name for rule in RULES)),
    *("contaminated", "near_copy", "exact_duplicate"),
    *("withdrawn_twin", "contaminated_twin", "near_duplicate", "heldout"),
)
KEYS = {
    "withdrawn": "select.withdrawn",
    "retracted": "select.retracted",
    "withdrawn_twin": "select.withdrawn",
    "license": "licenses.allow",
    "too_short": "select.minimum_words",
    **{rule.name: f"quality.{rule.key}" for rule in RULES},
    "contaminated": "select.contaminated_coverage",
    "near_copy": "select.near_copy_shingles",
    "exact_duplicate": "select.priority",
    "contaminated_twin": "select.contaminated_coverage",
    "near_duplicate": "select.jaccard",
    "heldout": "select.heldout_fraction",
}
"""What decides each reason."""
VERIFIED_BYTES = 1 << 30  # of text compared at a time; its shingles take about as much again
HELDOUT_DOMAINS = ("clinical", "general")


class Select(Section):
    """The section `select`."""

    priority: Annotated[tuple[str, ...], EACH_ONCE] = Field(
        min_length=1, description="every source; of two duplicates the first named is kept"
    )
    minimum_words: int = Field(ge=0, le=1 << 31, description="words a document must have")
    jaccard: float = Field(
        gt=0, le=1, description="share of different word n-grams in common that makes near duplicates"
    )
    contaminated_coverage: float = Field(gt=0, le=1, description="share of an item's n-grams that makes contamination")
    near_copy_shingles: float = Field(
        gt=0,
        le=1,
        description="share of an item's shingles near each other that makes a near copy; 1 leaves edited copies in",
    )
    near_copy_run_words: int = Field(ge=0, le=1_000_000, description="words in a run that a near copy shares at least")
    heldout_fraction: float = Field(ge=0, lt=1, description="share of kept documents to hold out")
    heldout_limit_documents: int = Field(ge=0, le=10_000_000, description="held-out documents per domain, at most")
    withdrawn: str = Field(
        default="withdrawn.txt",
        min_length=1,
        description="file of documents to leave out, one a line: doc_id, id of a row, DOI or PMID",
    )
    retracted: Literal["drop", "keep"] = Field(
        default="drop",
        description="documents that PubMed or JATS mark as retracted, or that have the DOI or PMID of one",
    )


class Licenses(Section):
    """The section `licenses`."""

    allow: Annotated[tuple[str, ...], EACH_ONCE] = Field(
        min_length=1, description="licenses a document may have, spelled as it has them"
    )
    outside: Literal["ledger", "stop"] = Field(description="a document of another one: into the ledger, or no build")


def first_of_equal(values: U64) -> I64:
    """For each position the first position with the same value."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64)


def verified_pairs(
    pairs: I64, sizes: I64, texts: Callable[[I64], list[str]], shingle_words: int, threshold: float
) -> tuple[I64, NDArray[np.float64]]:
    """Candidate pairs that are near duplicates: enough to join clusters.

    Their different word n-grams have a Jaccard similarity of at least `threshold`.

    Documents that are compared with each other, directly or through others, are taken together, and as many such groups
    at a time as VERIFIED_BYTES allows, so that memory does not grow with the corpus.

    Args:
        pairs: (candidates, 2) numbers of documents.
        sizes: bytes of every document.
        texts: numbers of documents -> their texts.
        shingle_words: n.
        threshold: 0 to 1.
    Returns:
        (pairs, 2), and their similarities.
    """
    clusters = components(pairs, len(sizes))
    groups = clusters[pairs[:, 0]]
    order = np.argsort(groups, kind="stable")
    pairs, groups = pairs[order], groups[order]
    involved = np.unique(pairs)
    group_of = clusters[involved]
    group_order = np.argsort(group_of, kind="stable")
    names, first = np.unique(group_of[group_order], return_index=True)
    weights = np.add.reduceat(sizes[involved[group_order]], first) if len(names) else np.zeros(0, np.int64)
    batch_of_group = np.cumsum(weights) // VERIFIED_BYTES
    batch_of_pair = batch_of_group[np.searchsorted(names, groups)]
    similarities = np.zeros(len(pairs), np.float64)
    shown = progress(np.unique(batch_of_pair), len(np.unique(batch_of_pair)), "compare", "batches")
    for batch in shown:
        here = np.flatnonzero(batch_of_pair == batch)
        numbers = np.unique(pairs[here])
        sets = shingle_sets_of(texts(numbers), shingle_words)
        similarities[here] = joining_similarities(np.searchsorted(numbers, pairs[here]), sets, threshold)
    return pairs[similarities >= threshold], similarities[similarities >= threshold]


def shingle_sets_of(texts: list[str], shingle_words: int) -> Runs:
    """The different shingles of each text.

    They are made of about BATCH_BYTES of text at a time.
    """
    made = [Runs(np.zeros(0, np.uint64), np.zeros(0, np.int64))]
    batches = np.cumsum([len(text) for text in texts]) // BATCH_BYTES
    for batch in np.unique(batches):
        first, last = np.searchsorted(batches, [batch, batch + 1])
        made.append(shingle_sets(shingles(word_runs(pl.Series(texts[first:last], dtype=pl.String)), shingle_words)))
    lengths = np.concatenate([runs.lengths for runs in made])
    return Runs(np.concatenate([runs.hashes for runs in made]), lengths.cumsum())


def heldout_documents(doc_ids: pl.Series, fraction: float, limit: int) -> pl.Series:
    """The doc_ids to hold out.

    Those with a hash in the lowest `fraction` of its range, of these the `limit` lowest.
    """
    hashed = pl.DataFrame({"doc_id": doc_ids, "hash": text_hashes(doc_ids)})
    return hashed.filter(pl.col("hash") < int(fraction * 2**64)).sort("hash", "doc_id").head(limit)["doc_id"]


class Decisions:
    """What becomes of each document; the first reason given stays."""

    def __init__(self, doc_ids: pl.Series) -> None:
        self.doc_ids = doc_ids
        self.kept = np.ones(len(doc_ids), np.bool_)
        self._dropped: list[pl.DataFrame] = []

    def drop(self, numbers: I64, reason: str | pl.Series, details: pl.Series) -> None:
        """Drop those of `numbers` (each once) that still are kept."""
        still = self.kept[numbers]
        self.kept[numbers] = False
        rows = pl.DataFrame({"number": numbers, "detail": details}, schema_overrides={"detail": pl.String})
        reasons = pl.lit(reason) if isinstance(reason, str) else reason.alias("reason")
        self._dropped.append(rows.with_columns(reasons.alias("reason")).filter(pl.Series(still)))

    def rows(self, numbers: I64) -> pl.Series:
        """The doc_ids of `numbers`."""
        return self.doc_ids.gather(numbers)

    def frame(self) -> pl.DataFrame:
        """reason and detail of each document, null where it is kept."""
        dropped = pl.concat(self._dropped)
        numbers = pl.DataFrame({"number": np.arange(len(self.kept))})
        joined = numbers.join(dropped, on="number", how="left", maintain_order="left")
        return joined.select("reason", "detail")


def decisions(
    documents: pl.DataFrame,
    contaminated: pl.DataFrame,
    bands: Iterable[U64],
    texts: Callable[[pl.DataFrame], list[str]],
    shingle_words: int,
    select: Select,
    licenses: Licenses,
    named: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """reason and detail for each document, null where it is kept.

    Args:
        documents: result of `read_screened`.
        contaminated: result of `leaks`.
        bands: for each band its hash of every document; one is held at a time.
        texts: rows of `documents` -> their texts.
        shingle_words: words in an n-gram that documents are compared by.
        select, licenses: the sections.
        named: doc_id, reason, detail of what is withdrawn or retracted.
    """
    decided = Decisions(documents["doc_id"])
    taken = _drop_named(decided, documents, named)
    _drop_by_rules(decided, documents, select, licenses)
    leaking = _drop_leaking(decided, documents, contaminated)
    _drop_copies(decided, documents)
    nodes = np.sort(np.concatenate([np.flatnonzero(decided.kept), leaking, taken]))
    candidates = nodes[candidate_pairs((band[nodes] for band in bands), len(nodes))]
    sizes = documents["bytes"].cast(pl.Int64).to_numpy()
    pairs, similarities = verified_pairs(
        candidates, sizes, lambda numbers: texts(documents[numbers]), shingle_words, select.jaccard
    )
    clusters = components(pairs, len(documents))
    _drop_twins(decided, taken, "withdrawn_twin", pairs, clusters)
    _drop_twins(decided, leaking, "contaminated_twin", pairs, clusters)
    _drop_alike(decided, pairs, similarities, clusters)
    for domain in HELDOUT_DOMAINS:
        here = np.flatnonzero(decided.kept & (documents["collection"] == domain).to_numpy())
        chosen = heldout_documents(decided.rows(here), select.heldout_fraction, select.heldout_limit_documents)
        numbers = here[decided.rows(here).is_in(chosen.implode()).to_numpy()]
        decided.drop(numbers, "heldout", pl.Series([f"domain {domain}"] * len(numbers), dtype=pl.String))
    return decided.frame()


def _drop_by_rules(decided: Decisions, documents: pl.DataFrame, select: Select, licenses: Licenses) -> None:
    """Drop what its license, its length or its quality excludes."""
    foreign = (~documents["license"].is_in(licenses.allow)).arg_true().to_numpy().astype(np.int64)
    decided.drop(foreign, "license", documents["license"].gather(foreign))
    short = (documents["words"] < select.minimum_words).arg_true()
    counts = documents["words"].gather(short).cast(pl.String) + " words"
    decided.drop(short.to_numpy().astype(np.int64), "too_short", counts)
    poor = documents["reason"].is_not_null().arg_true()
    decided.drop(poor.to_numpy().astype(np.int64), documents["reason"].gather(poor), documents["detail"].gather(poor))


def _drop_named(decided: Decisions, documents: pl.DataFrame, named: pl.DataFrame | None) -> I64:
    """Drop what is withdrawn or retracted; its numbers."""
    if named is None:
        return np.zeros(0, np.int64)
    found = documents.select("doc_id").with_row_index("number").join(named, on="doc_id", maintain_order="left")
    numbers: I64 = found["number"].to_numpy().astype(np.int64)
    decided.drop(numbers, found["reason"], found["detail"])
    return numbers


def _drop_leaking(decided: Decisions, documents: pl.DataFrame, contaminated: pl.DataFrame) -> I64:
    """Drop the documents that hold benchmark items; their numbers."""
    leaks = documents.select("doc_id").with_row_index("number").join(contaminated, on="doc_id", maintain_order="left")
    leaking: I64 = leaks["number"].to_numpy().astype(np.int64)
    still = decided.kept[leaking]
    leaking, leaks = leaking[still], leaks.filter(pl.Series(still))
    decided.drop(leaking, leaks["reason"], leaks["detail"])
    return leaking


def _drop_copies(decided: Decisions, documents: pl.DataFrame) -> None:
    """Drop all of the same text but the first."""
    remaining = np.flatnonzero(decided.kept)
    first = remaining[first_of_equal(documents["text_hash"].to_numpy()[remaining])]
    copies, originals = remaining[remaining != first], first[remaining != first]
    decided.drop(copies, "exact_duplicate", "of " + decided.rows(originals))


def _drop_twins(decided: Decisions, dropped: I64, reason: str, pairs: I64, clusters: I64) -> None:
    """Drop what is in a cluster with a document that had to go.

    Args:
        dropped: numbers of those.
        pairs: result of `verified_pairs`.
        clusters: the components of these, one number for each document.
    """
    tainted = (
        pl.DataFrame({"cluster": clusters[dropped], "leak": dropped}).group_by("cluster").agg(pl.col("leak").min())
    )
    linked = np.unique(pairs)
    twins = (
        pl.DataFrame({"document": linked, "cluster": clusters[linked]})
        .join(tainted, on="cluster", maintain_order="left")
        .filter(pl.col("document") != pl.col("leak"))
    )
    names = "in one cluster with " + decided.rows(twins["leak"].to_numpy().astype(np.int64))
    decided.drop(twins["document"].to_numpy().astype(np.int64), reason, names)


def _drop_alike(decided: Decisions, pairs: I64, similarities: NDArray[np.float64], clusters: I64) -> None:
    """Drop of each cluster all but one.

    Args:
        pairs, similarities: result of `verified_pairs`.
        clusters: the components of the pairs.
    """
    near = nearest(pairs, similarities, clusters)
    named = near.with_columns(
        of=decided.rows(clusters[near["document"].to_numpy()]), through=decided.rows(near["neighbor"].to_numpy())
    )
    through = pl.when(pl.col("of") != pl.col("through")).then(" through " + pl.col("through")).otherwise(pl.lit(""))
    similarity = pl.col("similarity").map_elements("{:.3f}".format, pl.String)
    detail = named.select(pl.format("of {}{}, similarity {}", "of", through, similarity)).to_series()
    decided.drop(near["document"].to_numpy(), "near_duplicate", detail)


def counted(decided: pl.DataFrame) -> dict[str, Any]:
    """The metrics of each source.

    documents, kept, kept_bytes and, for each reason that occurs, dropped documents.
    """
    metrics: dict[str, Any] = {}
    for (name,), rows in decided.group_by("source", maintain_order=True):
        kept = rows.filter(pl.col("reason").is_null())
        metrics[str(name)] = {
            "documents": len(rows),
            "kept": len(kept),
            "kept_bytes": int(kept["bytes"].cast(pl.Int64).sum()),
            "dropped": {reason: n for reason in REASONS if (n := int((rows["reason"] == reason).sum()))},
        }
        if len(rows) != len(kept) + sum(metrics[str(name)]["dropped"].values()):
            raise AssertionError(f"{name}: {metrics[str(name)]} does not add up")
    return metrics
