"""`osler show rows`: rows that a model is trained on, with what is learned of them in brackets.

Read are the packed rows that the build wrote, so what is seen is what training sees: the chat template, cuts, end marks and
loss mask included. Of a source with a section `phi` that is its screened text.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from osler.build.artifacts import Artifacts
from osler.build.pipeline import ROOT, declarations, read_params
from osler.build.section import BuildError
from osler.build.validation import PARAMS
from osler.inference.interface import seeded_rank
from osler.tokens.shards import PackedRows

OPEN, CLOSE = "⟦", "⟧"  # in no clinical text; a bracket of ASCII could be the text's own


def bracketed(tokenizer: Any, ids: list[int], learned: list[bool]) -> str:
    """The text of a segment, runs of learned tokens in brackets."""
    changes = np.flatnonzero(np.diff(np.array(learned, np.int8))) + 1
    bounds = [0, *changes.tolist(), len(ids)]
    pieces = []
    for first, last in zip(bounds, bounds[1:], strict=False):
        text = tokenizer.decode(ids[first:last])
        pieces.append(f"{OPEN}{text}{CLOSE}" if learned[first] else text)
    return "".join(pieces)


def segments(folder: Path, source: str | None, count: int) -> Iterator[tuple[str, int, list[int], list[bool]]]:
    """Segments drawn from packed rows: doc_id, row, ids, and which are learned.

    Args:
        folder: of the rows, as `pack` or `instruct` write them.
        source: whose, where the rows are of several.
        count: how many, drawn by a fixed order.
    """
    rows, names = PackedRows.open(folder), pl.read_parquet(folder / "documents.parquet")["doc_id"]
    documents = np.load(folder / "documents.npy")
    own = [place for place, origin in enumerate(rows.origins) if source in (None, origin.source)]
    there = np.arange(len(documents)) if rows.origins_S is None else np.flatnonzero(np.isin(rows.origins_S, own))
    drawn = sorted(there.tolist(), key=lambda segment: seeded_rank(1, "show", names[int(documents[segment])]))[:count]
    for segment in sorted(drawn):
        row = int(np.searchsorted(rows.row_ends_R, segment, "right"))
        lengths, first = rows.segment_lengths(row), int(rows.row_ends_R[row - 1]) if row else 0
        start = sum(lengths[: segment - first])
        place = slice(start, start + lengths[segment - first])
        ids = rows.tokens_RT[row][place].tolist()
        learned = [True] * len(ids) if rows.labels_RT is None else (rows.labels_RT[row][place] > 0).tolist()
        yield names[int(documents[segment])], row, ids, [False, *learned[1:]]
