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

A document is a byte here, and a number; its id and what the ledger says of it are read when that is written. So 50 million
documents take megabytes, whatever their ids are.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from osler.build.section import EACH_ONCE, Section
from osler.corpus.near_duplicates import components, copies, nearest
from osler.corpus.quality import RULES, Quality, Rule, failures
from osler.corpus.word_hashes import I64, U64, text_hashes

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
KEPT = 255
"""Among the reasons of documents: none."""


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


def first_broken(signals: pl.DataFrame, quality: Quality, rules: Sequence[Rule]) -> NDArray[np.uint8]:
    """The first rule that each document breaks.

    Its place in REASONS, or KEPT.
    """
    broken = failures(signals, quality, rules)
    found = np.full(len(signals), KEPT, np.uint8)
    for rule in reversed(rules):
        found[broken[rule.name].fill_null(False).to_numpy()] = REASONS.index(rule.name)
    return found


class Decisions:
    """What becomes of each document; the first reason given stays.

    reasons: for each document the place in REASONS of what drops it, or KEPT.
    """

    def __init__(self, documents: int) -> None:
        """All are kept."""
        self.reasons = np.full(documents, KEPT, np.uint8)
        self._links = [pl.DataFrame(schema=LINKS)]

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Whether each document is kept."""
        kept: NDArray[np.bool_] = self.reasons == KEPT
        return kept

    def drop(self, numbers: I64, reason: str) -> NDArray[np.bool_]:
        """Drop those of `numbers` that still are kept.

        Each stands there once. Returns which these were.
        """
        still: NDArray[np.bool_] = self.reasons[numbers] == KEPT
        self.reasons[numbers[still]] = REASONS.index(reason)
        return still

    def drop_linked(self, numbers: I64, reason: str, of: I64, **more: Any) -> None:
        """As `drop`, for another document's sake.

        Args:
            numbers, reason: as in `drop`.
            of: the other one of each.
            more: other columns of LINKS.
        """
        still = pl.Series(self.drop(numbers, reason))
        columns = {"number": numbers, "of": of, **more}
        here = pl.DataFrame({name: pl.Series(values).filter(still) for name, values in columns.items()})
        self._links.append(here.select(pl.col(name).cast(dtype) for name, dtype in LINKS.items() if name in columns))

    def links(self) -> pl.DataFrame:
        """LINKS of documents that went for another's sake, by number."""
        return pl.concat(self._links, how="diagonal").sort("number")


LINKS = pl.Schema({"number": pl.UInt32, "of": pl.UInt32, "through": pl.UInt32, "similarity": pl.Float64})
"""Of a document that goes for another's sake; null where a reason has no such thing."""


def drop_copies(decided: Decisions, hashes: U64) -> None:
    """Drop all of the same text but the first.

    Args:
        decided: so far.
        hashes: of every document's words.
    """
    remaining = np.flatnonzero(decided.kept)
    decided_copies, originals = copies(hashes[remaining], remaining)
    decided.drop_linked(decided_copies, "exact_duplicate", originals)


def drop_near_duplicates(
    decided: Decisions, taken: I64, leaking: I64, pairs: I64, similarities: NDArray[np.float64]
) -> None:
    """Drop twins of what had to go, and near duplicates.

    Of a cluster all go but one.

    Args:
        decided: so far.
        taken, leaking: numbers of the documents of rules 0, and of 4 and 5.
        pairs, similarities: result of `verified_pairs`.
    """
    linked, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(-1, 2).astype(np.int64)
    clusters = components(places, len(linked))
    _drop_twins(decided, taken, "withdrawn_twin", linked, clusters)
    _drop_twins(decided, leaking, "contaminated_twin", linked, clusters)
    near = nearest(places, similarities, clusters)
    documents = near["document"].to_numpy()
    through = linked[near["neighbor"].to_numpy()]
    decided.drop_linked(
        linked[documents],
        "near_duplicate",
        linked[clusters[documents]],
        through=through,
        similarity=near["similarity"],
    )


def _drop_twins(decided: Decisions, dropped: I64, reason: str, linked: I64, clusters: I64) -> None:
    """Drop what is in a cluster with a document that had to go.

    Args:
        decided: so far.
        dropped: numbers of those, ascending.
        reason: of their twins.
        linked: numbers of the documents in clusters.
        clusters: of each the place in `linked` of the first in its cluster.
    """
    is_dropped = np.isin(linked, dropped)
    leak = np.full(len(linked), -1, np.int64)  # of each cluster, at its first
    leaks = np.flatnonzero(is_dropped)[::-1]
    leak[clusters[leaks]] = leaks  # the smallest comes last and stays
    twins = np.flatnonzero(leak[clusters] >= 0)
    of = leak[clusters[twins]]
    decided.drop_linked(linked[twins[twins != of]], reason, linked[of[twins != of]])


def under(doc_ids: pl.Series, fraction: float) -> pl.DataFrame:
    """doc_id and hash of those with a low hash.

    That is one in the lowest `fraction` of its range.
    """
    hashed = pl.DataFrame({"doc_id": doc_ids, "hash": text_hashes(doc_ids)})
    return hashed.filter(pl.col("hash") < int(fraction * 2**64))


def lowest(hashed: pl.DataFrame, limit: int) -> pl.DataFrame:
    """The `limit` rows with the lowest hashes."""
    return hashed.sort("hash", "doc_id").head(limit)


def heldout_documents(doc_ids: pl.Series, fraction: float, limit: int) -> pl.Series:
    """The doc_ids to hold out.

    Those with a hash in the lowest `fraction` of its range, of these the `limit` lowest.
    """
    return lowest(under(doc_ids, fraction), limit)["doc_id"]


def counted(decided: Decisions, sizes: NDArray[np.integer], sources: dict[str, slice]) -> dict[str, Any]:
    """The metrics of each source.

    documents, kept, kept_bytes and, for each reason that occurs, dropped documents.

    Args:
        decided: all.
        sizes: bytes of every document.
        sources: the numbers of each one's documents.
    """
    metrics: dict[str, Any] = {}
    for name, numbers in sources.items():
        found = np.bincount(decided.reasons[numbers], minlength=KEPT + 1)
        kept = decided.reasons[numbers] == KEPT
        metrics[name] = {
            "documents": len(kept),
            "kept": int(found[KEPT]),
            "kept_bytes": int(sizes[numbers][kept].sum(dtype=np.int64)),
            "dropped": {reason: int(n) for reason, n in zip(REASONS, found, strict=False) if n},
        }
        if len(kept) != found[KEPT] + sum(metrics[name]["dropped"].values()):
            raise AssertionError(f"{name}: {metrics[name]} does not add up")
    return metrics
