"""Conversations as packed rows with labels, which fine-tuning reads.

Stages `instruct` and `exercises` write them. A conversation is one segment of one row and sees no other.
"""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from osler.build.files import write_parquet
from osler.build.progress import progress
from osler.corpus.ledger import SCHEMA
from osler.ingest.messages import CONTEXT
from osler.tokens import packing
from osler.tokens.conversations import tokenized
from osler.tokens.shards import token_dtype, write_bounds, write_manifest, write_rows

OF_TASK = {"task": pl.String, "wording": pl.Int64}
"""Columns of conversations of which some are of a task; see `Conversation`."""


class Conversation(NamedTuple):
    """A conversation as it stands in a row."""

    source: str
    doc_id: str
    license: str
    ids: npt.NDArray[np.unsignedinteger[Any]]
    learned: npt.NDArray[np.bool_]
    answers: int  # turns of the assistant
    context_answers: int  # of these, those that are not learned
    task: str | None = None  # of a source with a file a task
    wording: int | None = None  # of the task's definition: 0 is the file's own, k the k-th other one


def ledger_row(stage: str, source: str, doc_id: str, reason: str, detail: str) -> dict[str, str | None]:
    """A row of the ledger (osler/corpus/ledger.py) without an origin."""
    return dict(zip(SCHEMA, (stage, source, doc_id, None, reason, detail), strict=True))


def fitted(
    tokenizer: Any, conversations: pl.DataFrame, width: int, overlong: str, stage: str
) -> tuple[list[Conversation], list[dict[str, str | None]]]:
    """Conversations as tokens, at most `width`, and rows for the ledger.

    These are of the longer ones, which are dropped or cut.

    One that would be cut before its first answer is dropped too, since nothing of it could be learned.
    """
    dtype = token_dtype(tokenizer)
    found, rows = [], []
    frame = conversations.select(
        "source", "doc_id", "license", "turns", pl.selectors.by_name(*OF_TASK, require_all=False)
    )
    for source, doc_id, license, turns, *of_task in progress(frame.iter_rows(), len(frame), stage, "conversations"):
        ids, learned = tokenized(tokenizer, turns)
        if len(ids) > width:
            reason = "cut" if overlong == "cut" and learned[:width].any() else "too_long"
            rows.append(ledger_row(stage, source, doc_id, reason, f"{len(ids)} tokens in rows of {width}"))
            if reason == "too_long":
                continue
        roles = Counter(turn["role"] for turn in turns)
        answers = roles["assistant"] + roles[CONTEXT], roles[CONTEXT]
        cut = ids[:width].astype(dtype), learned[:width]
        found.append(Conversation(source, doc_id, license, *cut, *answers, *of_task))
    return found, rows


def write_instructions(
    folder: Path, found: list[Conversation], width: int, dtype: np.dtype[Any], seed: int
) -> dict[str, int]:
    """Write conversations as packed rows with labels; counts of them.

    Also their origins and a manifest; the counts are those of `packing.fill`. `dtype` is `token_dtype` of their tokenizer.
    """
    lengths = np.array([len(conversation.ids) for conversation in found])
    layout = packing.packed(lengths, width, seed)
    counts = packing.fill(layout, lengths, width)
    folder.mkdir(parents=True)
    write_rows(folder, "tokens", layout, width, dtype, lambda document, *_: found[document].ids)
    write_rows(folder, "labels", layout, width, np.dtype(np.uint8), lambda document, *_: found[document].learned)
    origins = sorted({(conversation.source, conversation.license) for conversation in found})
    places = {origin: place for place, origin in enumerate(origins)}
    own = np.array([places[conversation.source, conversation.license] for conversation in found])
    write_bounds(folder, layout, np.arange(len(found)), own)
    documents = pl.DataFrame({"doc_id": [conversation.doc_id for conversation in found]})
    if any(conversation.task is not None for conversation in found):
        of_task = {name: [getattr(conversation, name) for conversation in found] for name in OF_TASK}
        documents = documents.hstack(pl.DataFrame(of_task, schema=OF_TASK))
    write_parquet(folder / "documents.parquet", documents)
    write_manifest(
        folder,
        {
            "conversations": len(found),
            "learned_tokens": sum(int(conversation.learned.sum()) for conversation in found),
            "origins": [{"source": source, "license": license} for source, license in origins],
            "rows": counts["rows"],
            "sequence_length_tokens": width,
            "tokens": counts["tokens"],
        },
    )
    return counts
