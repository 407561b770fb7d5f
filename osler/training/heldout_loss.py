"""The loss on held-out documents as a run goes.

It is shown in the live files (live.py), and changes no weight: nothing is drawn for it, and no gradient computed. The rows are
packed from the first held-out documents of each domain, ROWS at most, and read as a batch of training is: by all processes.

No stage of training declares these documents, as none declares `launch`, which asks for the loss: a model is not made from
them, and one of them that is withdrawn must not train a model anew. `osler launch` says where they lie.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from osler.corpus.documents import HELDOUT_DOMAINS
from osler.tokens.marks import marks_in
from osler.tokens.packing import packed
from osler.tokens.shards import PackedRows, fill, row_pieces
from osler.tokens.tokenizers import tokenizers_encoder

if TYPE_CHECKING:
    from osler.training.batches import Batch
    from osler.training.run import Run

FOLDER = "OSLER_HELDOUT"  # of the documents, in the environment
ROWS = 64  # of a domain, at most: of 8192 tokens half a million
AT_ONCE = 8  # rows that a process holds, where launch says nothing


@dataclass(frozen=True)
class Heldout:
    """Held-out rows by domain.

    They are looked at every `every_steps` steps and after the last one.
    """

    rows: Mapping[str, PackedRows]
    every_steps: int

    def is_due(self, step: int, steps: int) -> bool:
        """Whether to look after step `step`, counted from 1."""
        return step % self.every_steps == 0 or step == steps


def heldout_rows(documents: Path, tokenizer: Path, width: int) -> dict[str, PackedRows]:
    """Rows from the held-out documents of each domain that has any.

    Args:
        documents: the folder of <domain>.parquet.
        tokenizer: a folder with tokenizer.json, the model's own.
        width: of a row of training, in tokens.
    """
    from tokenizers import Tokenizer

    encode = tokenizers_encoder(Tokenizer.from_file(str(tokenizer / "tokenizer.json")), marks_in(tokenizer))
    rows: dict[str, PackedRows] = {}
    for domain in HELDOUT_DOMAINS:
        texts = pl.read_parquet(documents / f"{domain}.parquet", columns=["text"])["text"]
        read: list[npt.NDArray[np.uint32]] = []
        for text in texts:
            read.append(encode([text]).ids)
            if sum(map(len, read)) >= ROWS * width:
                break
        if read:
            rows[domain] = _rows(read, width)
    return rows


def _rows(documents: Sequence[npt.NDArray[np.uint32]], width: int) -> PackedRows:
    """The first ROWS rows of a packing of documents' tokens."""
    layout = packed(np.array([len(one) for one in documents]), width, 0)
    ends_R = layout.row_ends[:ROWS]
    tokens_RT = np.zeros((len(ends_R), width), np.uint32)
    fill(tokens_RT, row_pieces(layout), lambda document, start, length: documents[document][start : start + length])
    return PackedRows(tokens_RT, ends_R, layout.length.astype(np.int32), None)


def probes(
    run: "Run", heldout: Heldout, rank: int, processes: int, limit: int | None
) -> Iterator[tuple[str, list["Batch"], int]]:
    """What a process reads of each domain, and all processes' labels.

    All processes get as many batches, so that they can answer each other.
    """
    from osler.training.run import Run

    for domain, rows in heldout.rows.items():
        places = np.arange(len(rows.row_ends_R))
        recipe = run.recipe.model_copy(update={"batch_tokens": len(places) * rows.tokens_RT.shape[1]})
        whole = Run(domain, {domain: rows}, np.stack([np.zeros_like(places), places], axis=1), recipe, run.seed)
        one = whole.prepared(0, rank, processes, limit or AT_ONCE, 0)
        yield domain, one.parts, one.labels
