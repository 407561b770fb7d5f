"""Stage `instruct`: conversations to chat-templated rows, packed, with the loss on response tokens only.

Conversations are drawn per source by weight, without repetition, in an order of the seed; those that were not drawn, do
not fit a row or were cut are in the ledger.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field

from stages.lib import packing
from stages.lib.conversations import tokenized
from stages.lib.files import write_parquet
from stages.lib.ledger import ledger as ledger_frame
from stages.lib.mixture import Weights
from stages.lib.packing import Pack
from stages.lib.progress import progress
from stages.lib.section import BuildError, Section, Seed
from stages.lib.shards import token_dtype, write_manifest
from stages.lib.stage import run


class Instruct(Section):
    """Section `instruct`."""

    weights: Weights = Field(description="shares of conversations")
    conversations: int | None = Field(ge=1, description="in all; null takes every one")
    overlong: Literal["cut", "drop"] = Field(description="what to do with a conversation longer than a row")


def drawn(
    documents: Path, keep: Path, instruct: Instruct, seed: int
) -> tuple[pl.DataFrame, list[dict[str, str | None]]]:
    """The conversations to train on (source, doc_id, turns), and ledger rows for kept ones that were not drawn."""
    total = sum(instruct.weights.values())
    if total <= 0:
        raise BuildError("params.yaml: instruct.weights: no weight above 0")
    chosen, skipped = [], []
    for index, (source, weight) in enumerate(sorted(instruct.weights.items())):
        if not (documents / source).is_dir():
            raise BuildError(f"params.yaml: instruct.weights.{source}: not a source of the collection instructions")
        there = pl.read_parquet(documents / source / "*.parquet", columns=["doc_id", "turns"]).join(
            pl.read_parquet(keep / f"{source}.parquet"), on="doc_id", how="semi", maintain_order="left"
        )
        count = len(there) if weight else 0
        if instruct.conversations is not None:
            count = round(instruct.conversations * weight / total)
        if count > len(there):
            raise BuildError(
                f"params.yaml: instruct.weights.{source}: its share is {count} conversations and {len(there)} are kept;"
                " lower its weight or instruct.conversations"
            )
        order = np.random.default_rng([seed, index, 0x1257]).permutation(len(there))
        chosen.append(there[order[:count]].with_columns(source=pl.lit(source)))
        skipped += [
            _row(source, doc_id, "not_drawn", f"{count} of {len(there)} were")
            for doc_id in there[order[count:]]["doc_id"]
        ]
    conversations = pl.concat(chosen)
    if conversations.is_empty():
        raise BuildError("params.yaml: instruct: no conversation is left to train on; see data/ledger/select.parquet")
    return conversations, skipped


def _row(source: str, doc_id: str, reason: str, detail: str) -> dict[str, str | None]:
    names = ("stage", "source", "doc_id", "origin", "reason", "detail")
    return dict(zip(names, ("instruct", source, doc_id, None, reason, detail), strict=True))


def main(
    documents: Path,
    keep: Path,
    tokenizer: Path,
    instructions: Path,
    ledger: Path,
    instruct: Instruct,
    pack: Pack,
    seed: Seed,
) -> None:
    """Write packed rows with labels to the folder `instructions`."""
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(tokenizer)
    width = pack.sequence_length_tokens
    conversations, rows = drawn(documents, keep, instruct, seed)
    included: list[str] = []
    ids: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
    learned: list[np.ndarray[tuple[int], np.dtype[np.bool_]]] = []

    def shown() -> Iterator[tuple[str, str, list[dict[str, str]]]]:
        yield from conversations.select("source", "doc_id", "turns").iter_rows()

    for source, doc_id, turns in progress(shown(), len(conversations), "instruct", "conversations"):
        tokens, mask = tokenized(loaded, turns)
        if len(tokens) > width:
            reason = "cut" if instruct.overlong == "cut" and mask[:width].any() else "too_long"
            rows.append(_row(source, doc_id, reason, f"{len(tokens)} tokens in rows of {width}"))
            if reason == "too_long":
                continue
        included.append(doc_id)
        ids.append(tokens[:width])
        learned.append(mask[:width])
    if not ids:
        raise BuildError(f"params.yaml: pack.sequence_length_tokens: no conversation fits a row of {width} tokens")
    lengths = np.array([len(tokens) for tokens in ids])
    layout = packing.packed(lengths, width, seed)
    shape = (len(layout.row_ends), width)
    tokens_RT, labels_RT = np.zeros(shape, token_dtype(len(loaded))), np.zeros(shape, np.uint8)
    segment = 0
    for row, end in enumerate(layout.row_ends):
        place = 0
        for index in range(segment, int(end)):
            document, length = layout.document[index], int(layout.length[index])
            tokens_RT[row, place : place + length] = ids[document]
            labels_RT[row, place : place + length] = learned[document]
            place += length
        segment = int(end)
    learned_tokens = int(labels_RT.sum())
    instructions.mkdir()
    np.save(instructions / "tokens.npy", tokens_RT)
    np.save(instructions / "labels.npy", labels_RT)
    np.save(instructions / "row_ends.npy", layout.row_ends)
    np.save(instructions / "lengths.npy", layout.length.astype(np.int32))
    np.save(instructions / "documents.npy", layout.document)
    write_parquet(instructions / "documents.parquet", pl.DataFrame({"doc_id": included}))
    per_source = dict(conversations.group_by("source").len().sort("source").iter_rows())
    write_manifest(
        instructions,
        {
            "conversations": len(ids),
            "drawn_per_source": per_source,
            "learned_tokens": learned_tokens,
            "rows": shape[0],
            "sequence_length_tokens": width,
            "tokens": int(lengths.sum()),
        },
    )
    write_parquet(ledger, ledger_frame(rows))
    print(f"instruct: {len(ids):,} conversations, {int(lengths.sum()):,} tokens, {learned_tokens:,} of them learned")


if __name__ == "__main__":
    run(main)
