"""Stage `instruct`: conversations to chat-templated rows, packed.

The loss is on response tokens only.

Conversations are drawn per source by weight, without repetition, in an order of the seed; those that were not drawn, do
not fit a row or were cut are in the ledger, and counted per source in metrics/conversations.json. A conversation is one
segment of one row and sees no other. 500M tokens take 1.5 GB of memory.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from pydantic import Field

from osler.build.files import write_json, write_parquet
from osler.build.section import BuildError, Section, Seed
from osler.build.stage import run
from osler.corpus.ledger import ledger as ledger_frame
from osler.tokens import packing
from osler.tokens.instructions import Conversation, fitted, ledger_row, write_instructions
from osler.tokens.mixture import Weights
from osler.tokens.shards import token_dtype


class Instruct(Section):
    """Section `instruct`."""

    weights: Weights = Field(description="shares of conversations")
    conversations: int | None = Field(default=None, ge=1, le=1 << 40, description="in all; null takes every one")
    seed: Seed = Field(description="of which conversations are drawn, and of the order of rows")
    overlong: Literal["cut", "drop"] = Field(description="what to do with a conversation longer than a row")
    benchmark_training_splits: dict[str, str] = Field(
        description="source -> benchmark: sources that are a benchmark's training split; no other may be one"
    )


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
            ledger_row("instruct", source, doc_id, "not_drawn", f"{count} of {len(there)} were")
            for doc_id in there[order[count:]]["doc_id"]
        ]
    conversations = pl.concat(chosen)
    if conversations.is_empty():
        raise BuildError("params.yaml: instruct: no conversation is left to train on; see data/ledger/select.parquet")
    return conversations, skipped


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
    found, overlong = fitted(loaded, chosen, width, instruct.overlong, "instruct")
    rows += overlong
    if not found:
        raise BuildError(f"params.yaml: pack.sequence_length_tokens: no conversation fits a row of {width} tokens")
    counts = write_instructions(instructions, found, width, token_dtype(loaded), instruct.seed)
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
