"""All documents decided upon, in passes over their files.

1. What `screen` measured, once: a reason, bytes and text hash of each document.
2. Exact copies, by the text hashes.
3. One band after another: candidates, and their texts, once.
4. Ids, for what is held out.

What is held is 13 bytes a document, then 30 to 40 while a band is looked at, and 50 to 100 a pair.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osler.build.progress import progress
from osler.build.section import BuildError
from osler.corpus.comparisons import verified_pairs
from osler.corpus.documents import HELDOUT_DOMAINS
from osler.corpus.leaks import leaks
from osler.corpus.near_duplicates import candidate_pairs
from osler.corpus.quality import INSTRUCTION_RULES, RULES, Quality, Rule
from osler.corpus.screened_parts import (
    Batch,
    ScreenedPart,
    bands_of,
    numbers_of,
    read_documents,
    read_overlaps,
    read_screens,
    refuse_others,
    values_at,
)
from osler.corpus.screening import Screen
from osler.corpus.selection import (
    KEPT,
    REASONS,
    Decisions,
    Licenses,
    Select,
    drop_copies,
    drop_near_duplicates,
    first_broken,
    lowest,
    under,
)
from osler.corpus.withdrawn import Named
from osler.corpus.word_hashes import U64


class Settings(NamedTuple):
    """The sections that decide."""

    licenses: Licenses
    quality: Quality
    select: Select
    screen: Screen


class Decided(NamedTuple):
    """What becomes of all documents.

    sizes: bytes of each.
    named: number and detail of those that are withdrawn or retracted, by number.
    """

    decisions: Decisions
    sizes: NDArray[np.uint32]
    named: pl.DataFrame


class _Measured(NamedTuple):
    """Of one batch: by its own place, not by number."""

    reasons: NDArray[np.uint8]
    sizes: NDArray[np.uint32]
    hashes: U64
    named: pl.DataFrame
    foreign: Counter[str]


def rules_of(collection: str) -> Sequence[Rule]:
    """The rules of quality that a collection's documents have to keep."""
    return INSTRUCTION_RULES if collection == "instructions" else RULES


def decide(parts: Batch, runs: Sequence[Batch], named: Named, settings: Settings, scratch: Path) -> Decided:
    """Decide upon all documents.

    Args:
        parts: result of `screened_parts`.
        runs: the same in batches.
        named: who has to go.
        settings: the sections.
        scratch: a folder with room for the shingles of what is compared.
    Raises:
        BuildError: a screen is not of its documents, or a license outside the list stops the build.
    """
    found, hashes = _measured(runs, named, settings)
    decided, sizes = found.decisions, found.sizes
    is_leak = np.isin(decided.reasons, [REASONS.index("contaminated"), REASONS.index("near_copy")])
    leaking, taken = np.flatnonzero(is_leak), found.named["number"].to_numpy().astype(np.int64)
    drop_copies(decided, hashes)
    del hashes
    compared = decided.kept | is_leak
    compared[taken] = True
    bands = bands_of(runs, compared, settings.screen.bands)
    candidates = candidate_pairs(bands, int(np.count_nonzero(compared)))
    candidates = np.flatnonzero(compared)[candidates]
    pairs, similarities = verified_pairs(
        candidates,
        sizes,
        lambda numbers: values_at(parts, numbers, "text"),
        settings.screen.shingle_words,
        settings.select.jaccard,
        scratch,
    )
    drop_near_duplicates(decided, taken, leaking, pairs, similarities)
    _hold_out(decided, runs, settings.select)
    return found


def _measured(runs: Sequence[Batch], named: Named, settings: Settings) -> tuple[Decided, U64]:
    """What the documents decide by themselves, and the hashes of their texts."""
    each = [_measured_batch(batch, named, settings) for batch in progress(runs, len(runs), "select", "batches")]
    foreign = {run[0].source: Counter[str]() for run in runs}
    for run, found in zip(runs, each, strict=True):
        foreign[run[0].source].update(found.foreign)
    refuse_licenses(foreign, settings.licenses)
    decisions = Decisions(0)
    decisions.reasons = np.concatenate([found.reasons for found in each])
    sizes = np.concatenate([found.sizes for found in each])
    rows = pl.concat([found.named for found in each])
    return Decided(decisions, sizes, rows), np.concatenate([found.hashes for found in each])


def _measured_batch(batch: Batch, named: Named, settings: Settings) -> _Measured:
    documents, screen = read_documents(batch, ["doc_id", "license"]), read_screens(batch)
    refuse_others(batch, documents["doc_id"], screen["doc_id"])
    reasons = first_broken(screen, settings.quality, rules_of(batch[0].collection))
    reasons[(screen["words"] < settings.select.minimum_words).to_numpy()] = REASONS.index("too_short")
    is_foreign = ~documents["license"].is_in(settings.licenses.allow)
    reasons[is_foreign.fill_null(False).to_numpy()] = REASONS.index("license")
    foreign = Counter(dict(documents.filter(is_foreign).group_by("license").len().iter_rows()))
    places = documents.select("doc_id").with_row_index("place")
    gone = places.join(named.rows(documents["doc_id"]), on="doc_id", maintain_order="left")
    for name in ("withdrawn", "retracted"):
        reasons[gone.filter(pl.col("reason") == name)["place"].to_numpy()] = REASONS.index(name)
    leaking = places.join(leaks(read_overlaps(batch), settings.select), on="doc_id", maintain_order="left")
    for name in ("contaminated", "near_copy"):
        numbers = leaking.filter(pl.col("reason") == name)["place"].to_numpy()
        reasons[numbers[reasons[numbers] == KEPT]] = REASONS.index(name)
    sizes, hashes = screen["bytes"].cast(pl.UInt32).to_numpy().copy(), screen["text_hash"].to_numpy().copy()
    number = (pl.col("place").cast(pl.Int64) + batch[0].first).alias("number")
    return _Measured(reasons, sizes, hashes, gone.select(number, "detail"), foreign)


def refuse_licenses(foreign: dict[str, Counter[str]], licenses: Licenses) -> None:
    """Stop where a license outside the list is to stop the build.

    Args:
        foreign: source -> license outside the list -> documents.
        licenses: the section.
    Raises:
        BuildError: names the licenses and how many documents of which source have each.
    """
    if licenses.outside == "stop" and any(foreign.values()):
        listed = "; ".join(
            f"{n} of {name}: {text}" for name, counts in sorted(foreign.items()) for text, n in sorted(counts.items())
        )
        raise BuildError(
            f"params.yaml: licenses.allow: lacks the license of {listed}; add it, drop the source, or set"
            " licenses.outside: ledger"
        )


def _hold_out(decided: Decisions, runs: Sequence[Batch], select: Select) -> None:
    """Hold out documents of each domain, by the hashes of their ids."""
    if not select.heldout_fraction or not select.heldout_limit_documents:
        return
    for domain in HELDOUT_DOMAINS:
        chosen: list[pl.DataFrame] = []
        held = 0
        for batch in runs:
            if batch[0].collection != domain:
                continue
            here = np.flatnonzero(decided.kept[numbers_of(batch)])
            ids = read_documents(batch, ["doc_id"]).with_row_index("number")[here]
            found = under(ids["doc_id"], select.heldout_fraction)
            number = pl.col("number").cast(pl.Int64) + batch[0].first
            chosen.append(found.join(ids.with_columns(number), on="doc_id"))
            held += len(found)
            if held > 2 * select.heldout_limit_documents:
                chosen = [lowest(pl.concat(chosen), select.heldout_limit_documents)]
                held = len(chosen[0])
        if chosen:
            last = lowest(pl.concat(chosen), select.heldout_limit_documents)
            decided.drop(last["number"].sort().to_numpy(), "heldout")


def sources_of(parts: Sequence[ScreenedPart]) -> dict[str, slice]:
    """The numbers of each source's documents."""
    ends = {part.source: part.first + part.rows for part in parts}
    starts = {part.source: part.first for part in reversed(parts)}
    return {name: slice(starts[name], end) for name, end in ends.items()}
