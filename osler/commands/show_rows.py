"""`osler show rows`: rows that a model is trained on, with what is learned of them in brackets.

Read are the packed rows that the build wrote, so what is seen is what training sees: the chat template, cuts, end marks and
loss mask included. Of a source with a section `phi` that is its screened text.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from osler.build.artifacts import Artifacts
from osler.build.pipeline import ROOT, declarations, read_params
from osler.build.section import BuildError
from osler.build.validation import PARAMS
from osler.inference.interface import seeded_rank
from osler.model.seeds import SEEDS
from osler.tokens.shards import PackedRows

OPEN, CLOSE = "⟦", "⟧"  # in no clinical text; a bracket of ASCII could be the text's own


def bracketed(tokenizer: Any, ids: list[int], learned: list[bool]) -> str:
    """The text of a segment, runs of learned tokens in brackets."""
    changes = np.flatnonzero(np.diff(np.array(learned, np.int8))) + 1
    bounds = [0, *changes.tolist(), len(ids)]
    pieces = []
    for first, last in pairwise(bounds):
        text = tokenizer.decode(ids[first:last])
        pieces.append(f"{OPEN}{text}{CLOSE}" if learned[first] else text)
    return "".join(pieces)


def of_source(rows: PackedRows, source: str | None) -> npt.NDArray[np.bool_]:
    """Which segments are of `source`; all where it is None."""
    own = [place for place, origin in enumerate(rows.origins) if source in (None, origin.source)]
    return np.isin(np.zeros(len(rows.lengths_S)) if rows.origins_S is None else rows.origins_S, own)


def segments(
    folder: Path, names: pl.Series, source: str | None, count: int
) -> Iterator[tuple[str, int, list[int], list[bool]]]:
    """Segments drawn from packed rows, in their order.

    Of each the doc_id, the row, its ids, and which are learned.

    Args:
        folder: of the rows, as `pack` or `instruct` write them.
        names: doc_id of each document by its number.
        source: whose, where the rows are of several.
        count: how many, the first of a fixed order.
    """
    rows, documents = PackedRows.open(folder), np.load(folder / "documents.npy")
    there = np.flatnonzero(of_source(rows, source))
    ranked = sorted(there.tolist(), key=lambda segment: seeded_rank(1, "show", names[int(documents[segment])]))
    for segment in sorted(ranked[:count]):
        row = int(np.searchsorted(rows.row_ends_R, segment, "right"))
        before = int(rows.row_ends_R[row - 1]) if row else 0
        lengths = rows.segment_lengths(row)
        start = sum(lengths[: segment - before])
        place = slice(start, start + lengths[segment - before])
        ids = rows.tokens_RT[row][place].tolist()
        labels = [True] * len(ids) if rows.labels_RT is None else (rows.labels_RT[row][place] > 0).tolist()
        yield names[int(documents[segment])], row, ids, [False, *labels[1:]]


def learned_rows(artifacts: Artifacts, source: str) -> Path:
    """The rows in which a source or an exercise has a part.

    The source is one of conversations. Of an exercise it is the draw of the lowest seed.
    """
    if f"ingest@{source}" in artifacts.stages:
        return artifacts.path("instruct", "instructions")
    draws = artifacts.path(f"exercises@{source}", "instructions") / SEEDS
    return min(draws.iterdir(), key=lambda draw: int(draw.name))


def shown(artifacts: Artifacts, source: str, count: int) -> Iterator[str]:
    """The lines to print.

    Raises:
        BuildError: no such source, or its rows are not built.
    """
    from transformers import AutoTokenizer

    is_text = f"pack@{source}" in artifacts.stages
    if is_text:
        folder, tokens = artifacts.path(f"pack@{source}", "packed"), artifacts.path(f"tokenize@{source}", "tokens")
        parts = sorted(tokens.glob("part-*.parquet"))
        names = pl.concat([pl.read_parquet(part, columns=["doc_id"]) for part in parts])["doc_id"]
    elif f"ingest@{source}" in artifacts.stages or f"exercises@{source}" in artifacts.stages:
        folder = learned_rows(artifacts, source)
        names = pl.read_parquet(folder / "documents.parquet")["doc_id"]
    else:
        known = sorted(
            name.partition("@")[2] for name in artifacts.stages if name.startswith(("ingest@", "exercises@"))
        )
        raise BuildError(f"{source}: no such source or exercise; they are {', '.join(known)}")
    tokenizer = AutoTokenizer.from_pretrained(artifacts.path("tokenizer", "trained_model"))
    learned_tokens = all_tokens = 0
    for doc_id, row, ids, learned in segments(folder, names, None if is_text else source, count):
        learned_tokens, all_tokens = learned_tokens + sum(learned), all_tokens + len(ids)
        ends = "learned" if learned[-1] else "not learned"
        mark = f"end mark {ends}" if ids[-1] == tokenizer.eos_token_id else "no end mark"
        yield f"--- {doc_id}, row {row}: {len(ids):,} tokens, {sum(learned):,} learned, {mark}"
        yield bracketed(tokenizer, ids, learned)
    if not all_tokens:
        raise BuildError(
            f"{source}: none of its documents is in {artifacts.shown(folder)}; `instruct.weights` leaves it out"
        )
    yield f"--- {OPEN}learned{CLOSE}: {learned_tokens / all_tokens:.1%} of these tokens; {cuts(artifacts, folder, source, is_text)}"


def cuts(artifacts: Artifacts, folder: Path, source: str, is_text: bool) -> str:
    """How much of all of the source was cut to fit rows."""
    if is_text:
        pieces = np.unique(np.load(folder / "documents.npy"), return_counts=True)[1]
        return f"of {len(pieces):,} documents {np.mean(pieces > 1):.1%} are longer than a row and divided; none is cut"
    stage = "instruct" if f"ingest@{source}" in artifacts.stages else f"exercises@{source}"
    ledger = pl.read_parquet(artifacts.path(stage, "ledger")).filter(pl.col("source") == source)
    reasons = dict(ledger.group_by("reason").len().iter_rows())
    there = int(of_source(PackedRows.open(folder), source).sum())
    asked = there + reasons.get("too_long", 0)
    if stage != "instruct":
        return f"{there:,} rows are in the draw of the lowest seed, {asked - there:,} are longer than a row of training"
    cut, too_long = (reasons.get(reason, 0) / asked for reason in ("cut", "too_long"))
    return f"of {asked:,} conversations {cut:.1%} are cut and {too_long:.1%} left out, since they are longer than a row"


def say(source: str, count: int) -> None:
    """Print sample rows of a source."""
    artifacts = Artifacts(ROOT, declarations(ROOT, read_params(ROOT / PARAMS)))
    for line in shown(artifacts, source, count):
        print(line, flush=True)
