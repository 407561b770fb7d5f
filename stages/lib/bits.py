"""How well a model predicts held-out documents: bits per document, from which the report makes bits per byte."""

import math
from collections.abc import Sequence
from typing import Any

import polars as pl
import torch

from stages.lib.forward import batches, hidden_states, log_probabilities, padded
from stages.lib.progress import progress
from stages.lib.prompt_tokens import token_ids
from stages.lib.section import BuildError

BITS = pl.Schema({"doc_id": pl.String, "bits": pl.Float64, "bytes": pl.Int64, "tokens": pl.Int64})


def windows(ids: Sequence[int], bos: int, window_tokens: int) -> list[list[int]]:
    """`ids` cut into runs of at most `window_tokens - 1`, each behind a BOS of its own; no ids give no window."""
    step = window_tokens - 1
    return [[bos, *ids[start : start + step]] for start in range(0, len(ids), step)]


def document_bits(
    model: Any, tokenizer: Any, doc_ids: Sequence[str], texts: Sequence[str], window_tokens: int, batch_tokens: int
) -> pl.DataFrame:
    """Bits that `model` needs for each text: the sum over its tokens of -log2 p(token | the window so far).

    Every token of the text is scored exactly once; BOS is read but not scored, and no end of text is. A window does
    not see the one before it, so the number is an upper bound of what the model could reach with all the context it
    takes, and `window_tokens` is part of the measurement.

    `bits` over `bytes` (of the text in UTF-8, before tokenizing) is bits per byte. Unlike perplexity it does not
    depend on how many tokens a text has, so it may be compared between models of different tokenizers, provided the
    texts and `window_tokens` are the same; between tokenizers the same window holds a little more or less text. Sum
    both over documents before dividing: a mean of per-document ratios would weigh short documents more.

    Args:
        model: a causal language model with `model` and `lm_head`, in eval mode.
        tokenizer: its tokenizer, with a BOS token. It must be lossless, or what it drops would be predicted for free.
        doc_ids: names, one a text.
        texts: any lengths; an empty text has 0 bits, 0 bytes and 0 tokens.
        window_tokens: positions of one window, BOS included; at least 2, at most what the model reads.
        batch_tokens: padded tokens of one forward pass.
    Returns:
        doc_id, bits, bytes, tokens (scored ones), in the order given.
    Raises:
        BuildError: the window is longer than the model reads.
    """
    if window_tokens > model.config.max_position_embeddings:
        raise BuildError(
            f"evaluate.window_tokens: {window_tokens} is more than the {model.config.max_position_embeddings} "
            "positions the model reads; set it lower"
        )
    ids = token_ids(tokenizer, texts, split_special_tokens=True)  # as the stage `tokenize` does
    rows = [windows(row, tokenizer.bos_token_id, window_tokens) for row in ids]
    owners = [document for document, row in enumerate(rows) for _ in row]
    flat = [window for row in rows for window in row]
    nats: list[list[float]] = [[] for _ in texts]
    groups = list(batches([len(window) for window in flat], batch_tokens))
    for group in progress(groups, len(groups), "held-out documents", "batches"):
        chosen = [flat[index] for index in group]
        length = max(map(len, chosen))
        ids_BT = torch.from_numpy(padded(chosen, 0)).to(model.device)
        # Padding stands on the right, where a causal model does not look, so no mask is needed.
        states = hidden_states(model, ids_BT, None, None)
        predictors = [row * length + place for row, window in enumerate(chosen) for place in range(len(window) - 1)]
        targets = [token for window in chosen for token in window[1:]]
        values = log_probabilities(
            model,
            states.flatten(0, 1),
            torch.tensor(predictors, device=model.device),
            torch.tensor(targets, device=model.device),
        )
        start = 0
        for index, window in zip(group, chosen, strict=True):
            nats[owners[index]] += (-values[start : start + len(window) - 1]).tolist()
            start += len(window) - 1
    return pl.DataFrame(
        {
            "doc_id": list(doc_ids),
            "bits": [math.fsum(row) / math.log(2) for row in nats],
            "bytes": [len(text.encode()) for text in texts],
            "tokens": [len(row) for row in ids],
        },
        schema=BITS,
    )
