"""A causal language model run forward over rows of token ids.

Rows are batched by length, and given tokens get their probability.

The vocabulary projection, most of the cost of a small model, is applied only where a token is predicted.

Shapes: B rows, T tokens of the longest row, N predicted tokens, M hidden states, U those that predict, D hidden size,
V vocabulary.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from osler.build.section import BuildError

LOGITS_AT_ONCE = 1 << 25  # 128 MB in float32
SCALES = ("final_logit_softcapping", "logits_scaling", "logit_scale")  # Gemma 2, Granite, Cohere


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Indices of rows that are run together, longest first.

    They have at most `batch_tokens` once padded to the longest. A row longer than `batch_tokens` comes alone. Longest
    first, so that what does not fit in memory fails at once.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    start = 0
    while start < len(order):
        rows = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + rows]
        start += rows


def padded(rows: Sequence[Sequence[int]], fill: int) -> NDArray[np.int64]:
    """`rows` as one (B, T) array, filled up on the right."""
    array = np.full((len(rows), max(map(len, rows))), fill, dtype=np.int64)
    for index, row in enumerate(rows):
        array[index, : len(row)] = row
    return array


def refuse_other_logits(model: Any) -> None:
    """Refuse a model whose logits are not `lm_head` of states.

    Probabilities are computed from these two. A bias of the head counts.

    Raises:
        BuildError: names what config.json scales or caps logits by, or the model's type.
    """
    if not hasattr(model, "lm_head") or not hasattr(model, "model"):
        raise BuildError(f"{model.config.model_type}: no decoder with `model` and `lm_head`; take another base")
    found = [f"{key} {value:g}" for key in SCALES if (value := getattr(model.config, key, None)) not in (None, 1)]
    if found:
        raise BuildError(
            f"{model.config.model_type}: {', '.join(found)} in config.json: scaled or capped logits are not computed; take"
            " another base"
        )


def hidden_states(model: Any, ids_BT: Tensor, positions_BT: Tensor | None, attention: Tensor | None) -> Tensor:
    """States (B, T, D) after the last norm.

    There is no cache, since transformers ignores document masks when it keeps one.
    """
    with torch.inference_mode():
        output = model.model(input_ids=ids_BT, position_ids=positions_BT, attention_mask=attention, use_cache=False)
    states: Tensor = output.last_hidden_state
    return states


def log_probabilities(model: Any, states_MD: Tensor, rows_N: Tensor, targets_N: Tensor) -> NDArray[np.float64]:
    """Natural log-probability of each target token, softmax in float32.

    Args:
        states_MD: hidden states; only those named in `rows_N` go through the vocabulary projection, each of them
            once.
        rows_N: int64, the state that predicts each target.
        targets_N: int64, token ids.
    Returns:
        float64 (N,).
    """
    unique_U, place_N = torch.unique(rows_N, return_inverse=True)
    vocabulary = model.lm_head.weight.shape[0]
    step = max(1, LOGITS_AT_ONCE // vocabulary)
    result = np.zeros(len(rows_N))
    for start in range(0, len(unique_U), step):
        with torch.inference_mode():
            logits_UV = model.lm_head(states_MD[unique_U[start : start + step]]).float()
        total_U = torch.logsumexp(logits_UV, dim=1)
        here = torch.nonzero((place_N >= start) & (place_N < start + step))[:, 0]
        place = place_N[here] - start
        result[here.cpu().numpy()] = (logits_UV[place, targets_N[here]] - total_U[place]).double().cpu().numpy()
    return result


def mean_states(model: Any, rows: Sequence[Sequence[int]], batch_tokens: int) -> NDArray[np.float32]:
    """The mean last hidden state of each row of token ids.

    The first token is left out, which is BOS and the same for all.

    Returns:
        float32 (rows, D), not normalized.
    """
    result = np.zeros((len(rows), model.config.hidden_size), dtype=np.float32)
    for group in batches([len(row) for row in rows], batch_tokens):
        chosen = [rows[index] for index in group]
        # Padding stands on the right, where a causal model does not look, so no mask is needed.
        states = hidden_states(model, torch.from_numpy(padded(chosen, 0)).to(model.device), None, None).float()
        for index, state, row in zip(group, states, chosen, strict=True):
            result[index] = state[1 : len(row)].mean(dim=0).cpu().numpy()
    return result
