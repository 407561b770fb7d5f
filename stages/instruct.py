"""Stage `instruct`: conversations to chat-templated rows, packed.

The loss is on response tokens only.

Conversations are drawn per source by weight, without repetition, in an order of the seed; those that were not drawn, do
not fit a row or were cut are in the ledger, and counted per source in metrics/conversations.json. A conversation is one
segment of one row and sees no other. 500M tokens take 1.5 GB of memory.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from osler.build.files import write_json, write_parquet
from osler.build.progress import progress
from osler.build.section import BuildError, Section, Seed
from osler.build.stage import run
from osler.corpus.ledger import ledger as ledger_frame
from osler.ingest.messages import CONTEXT
from osler.tokens import packing
from osler.tokens.conversations import tokenized
from osler.tokens.mixture import Weights
from osler.tokens.shards import token_dtype, write_bounds, write_manifest, write_rows


class Instruct(Section):
    """Section `instruct`."""

    weights: Weights = Field(description="shares of conversations")
    conversations: int | None = Field(default=None, ge=1, le=1 << 40, description="in all; null takes every one")
    seed: Seed = Field(description="of which conversations are drawn, and of the order of rows")
    overlong: Literal["cut", "drop"] = Field(description="what to do with a conversation longer than a row")
    benchmark_training_splits: dict[str, str] = Field(
        description="source -> benchmark: sources that are a benchmark's training split; no other may be one"
    )


class Conversation(NamedTuple):
    """A conversation as it stands in a row."""

    source: str
    doc_id: str
    license: str
    ids: npt.NDArray[np.unsignedinteger[Any]]
    learned: npt.NDArray[np.bool_]
    answers: int  # turns of the assistant
    context_answers: int  # of these, those that are not learned


def drawn(documents: Path, keep: Path, instruct: Instruct) -> tuple[pl.DataFrame, list[dict[str, str | None]]]:
    """The conversations to train on, and ledger rows of the others.

    (source, doc_id, license, turns); the others are kept ones that were not drawn.
    """
    total = sum(instruct.weights.values())
    if total <= 0:
        raise BuildError("params.yaml: instruct.weights: no weight above 0")
    if unread := sorted(set(instruct.benchmark_training_splits) - set(instruct.weights)):
        raise BuildError(
            f"params.yaml: instruct.benchmark_training_splits: {', '.join(unread)}: not in instruct.weights"
        )
    chosen, skipped = [], []
    for index, (source, weight) in enumerate(sorted(instruct.weights.items())):
        if not (documents / source).is_dir():
            raise BuildError(f"params.yaml: instruct.weights.{source}: not a source of the collection instructions")
        there = pl.read_parquet(documents / source / "part-*.parquet", columns=["doc_id", "license", "turns"]).join(
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
        order = np.random.default_rng([instruct.seed, index, 0x1257]).permutation(len(there))
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


def fitted(
    tokenizer: Any, conversations: pl.DataFrame, width: int, overlong: str
) -> tuple[list[Conversation], list[dict[str, str | None]]]:
    """Conversations as tokens, at most `width`, and rows for the ledger.

    These are of the longer ones, which are dropped or cut.

    One that would be cut before its first answer is dropped too, since nothing of it could be learned.
    """
    dtype = token_dtype(len(tokenizer))
    found, rows = [], []
    frame = conversations.select("source", "doc_id", "license", "turns")
    for source, doc_id, license, turns in progress(frame.iter_rows(), len(frame), "instruct", "conversations"):
        ids, learned = tokenized(tokenizer, turns)
        if len(ids) > width:
            reason = "cut" if overlong == "cut" and learned[:width].any() else "too_long"
            rows.append(_row(source, doc_id, reason, f"{len(ids)} tokens in rows of {width}"))
            if reason == "too_long":
                continue
        roles = Counter(turn["role"] for turn in turns)
        answers = roles["assistant"] + roles[CONTEXT], roles[CONTEXT]
        found.append(Conversation(source, doc_id, license, ids[:width].astype(dtype), learned[:width], *answers))
    return found, rows


def counts_per_source(
    instruct: Instruct, found: list[Conversation], ledger: list[dict[str, str | None]]
) -> list[dict[str, Any]]:
    """What became of each source's kept conversations; for the metrics.

    Also its share asked for and got, and how many of its answers are context that is not learned.
    """
    total = sum(instruct.weights.values())
    counts = []
    for source, weight in sorted(instruct.weights.items()):
        own = [conversation for conversation in found if conversation.source == source]
        reasons = [row["reason"] for row in ledger if row["source"] == source]
        counts.append(
            {
                "answers": sum(conversation.answers for conversation in own),
                "benchmark_training_split": instruct.benchmark_training_splits.get(source),
                "context_answers": sum(conversation.context_answers for conversation in own),
                "conversations": len(own),
                "cut": reasons.count("cut"),
                "learned_tokens": sum(int(conversation.learned.sum()) for conversation in own),
                "not_drawn": reasons.count("not_drawn"),
                "share": round(len(own) / len(found), 6),
                "share_asked": round(weight / total, 6),
                "source": source,
                "tokens": sum(len(conversation.ids) for conversation in own),
                "too_long": reasons.count("too_long"),
            }
        )
    return counts


def write_instructions(
    folder: Path, found: list[Conversation], width: int, vocabulary: int, seed: int
) -> dict[str, int]:
    """Write conversations as packed rows with labels; counts of them.

    Also their origins and a manifest; the counts are those of `packing.fill`.
    """
    lengths = np.array([len(conversation.ids) for conversation in found])
    layout = packing.packed(lengths, width, seed)
    counts = packing.fill(layout, lengths, width)
    folder.mkdir()
    write_rows(folder, "tokens", layout, width, token_dtype(vocabulary), lambda document, *_: found[document].ids)
    write_rows(folder, "labels", layout, width, np.dtype(np.uint8), lambda document, *_: found[document].learned)
    origins = sorted({(conversation.source, conversation.license) for conversation in found})
    places = {origin: place for place, origin in enumerate(origins)}
    own = np.array([places[conversation.source, conversation.license] for conversation in found])
    write_bounds(folder, layout, np.arange(len(found)), own)
    write_parquet(
        folder / "documents.parquet", pl.DataFrame({"doc_id": [conversation.doc_id for conversation in found]})
    )
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


def main(
    documents: Path,
    keep: Path,
    template: Path,
    tokenizer: Path,
    instructions: Path,
    ledger: Path,
    conversations: Path,
    instruct: Instruct,
    sequence_length_tokens: Annotated[int, Field(ge=8)],
) -> None:
    """Write packed rows with labels to `instructions`, and the metrics `conversations`.

    The ledger has who was cut or left out.
    """
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(tokenizer)
    loaded.chat_template = template.read_text(encoding="utf-8")
    width = sequence_length_tokens
    chosen, rows = drawn(documents, keep, instruct)
    found, overlong = fitted(loaded, chosen, width, instruct.overlong)
    rows += overlong
    if not found:
        raise BuildError(f"params.yaml: pack.sequence_length_tokens: no conversation fits a row of {width} tokens")
    counts = write_instructions(instructions, found, width, len(loaded), instruct.seed)
    learned_tokens = sum(int(conversation.learned.sum()) for conversation in found)
    write_json(
        conversations,
        {
            "conversations": len(found),
            "fill_fraction": packing.shares(counts)["fill_fraction"],
            "learned_tokens": learned_tokens,
            "rows": counts["rows"],
            "sources": counts_per_source(instruct, found, rows),
            "tokens": counts["tokens"],
        },
    )
    write_parquet(ledger, ledger_frame(rows))
    print(
        f"instruct: {len(found):,} conversations in {counts['rows']:,} rows, {learned_tokens:,} of"
        f" {counts['tokens']:,} tokens learned"
    )


if __name__ == "__main__":
    run(main)
