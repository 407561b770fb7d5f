"""How well a model predicts held-out documents: bits per document.

The report makes bits per byte of them.
"""

import math
from collections.abc import Sequence
from typing import Any

import polars as pl

from osler.build.section import BuildError
from osler.inference.backend import Backend
from osler.inference.prompt_tokens import token_ids
from osler.tokens.marks import marks_of

BITS = pl.Schema({"doc_id": pl.String, "bits": pl.Float64, "bytes": pl.Int64, "tokens": pl.Int64})
BITS_DIGITS = 4  # further ones depend on the machine


def windows(ids: Sequence[int], start: int, window_tokens: int) -> list[list[int]]:
    """`ids` cut into runs, each behind a start mark of its own.

    A run has at most `window_tokens - 1` of them. No ids give no window.
    """
    step = window_tokens - 1
    return [[start, *ids[place : place + step]] for place in range(0, len(ids), step)]


def document_bits(
    backend: Backend, tokenizer: Any, doc_ids: Sequence[str], texts: Sequence[str], window_tokens: int
) -> pl.DataFrame:
    """Bits that a model needs for each text.

    They are the sum over its tokens of -log2 p(token | the window so far). Every token of the text is scored exactly
    once; the start mark (BOS, or EOS of models without one) is read but not scored, and no end of text is.
    A window does not see the one before it, so the number is
    an upper bound of what the model could reach with all the context it takes, and `window_tokens` is part of the
    measurement.

    `bits` over `bytes` (of the text in UTF-8, before tokenizing) is bits per byte. Unlike perplexity it does not
    depend on how many tokens a text has, so it may be compared between models of different tokenizers, provided the
    texts and `window_tokens` are the same; between tokenizers the same window holds a little more or less text. Sum
    both over documents before dividing: a mean of per-document ratios would weigh short documents more.

    Args:
        backend: the model.
        tokenizer: its tokenizer. It must be lossless, or what it drops would be predicted for free.
        doc_ids: names, one a text.
        texts: any lengths; an empty text has 0 bits, 0 bytes and 0 tokens.
        window_tokens: positions of one window, BOS included; at least 2, at most what the model reads.
    Returns:
        doc_id, bits, bytes, tokens (scored ones), in the order given.
    Raises:
        BuildError: the window is longer than the model reads.
    """
    if window_tokens > backend.maximum_positions:
        raise BuildError(
            f"evaluate.window_tokens: {window_tokens} is more than the {backend.maximum_positions} "
            "positions the model reads; set it lower"
        )
    ids = token_ids(tokenizer, texts, split_special_tokens=True)  # as the stage `tokenize` does
    rows = [windows(row, marks_of(tokenizer).start, window_tokens) for row in ids]
    owners = [document for document, row in enumerate(rows) for _ in row]
    flat = [window for row in rows for window in row]
    nats: list[list[float]] = [[] for _ in texts]
    for owner, scores in zip(owners, backend.window_scores(flat), strict=True):
        nats[owner] += [-score for score in scores]
    return pl.DataFrame(
        {
            "doc_id": list(doc_ids),
            "bits": [round(math.fsum(row) / math.log(2), BITS_DIGITS) for row in nats],
            "bytes": [len(text.encode()) for text in texts],
            "tokens": [len(row) for row in ids],
        },
        schema=BITS,
    )
