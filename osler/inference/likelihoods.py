"""Log-probabilities of a question's options, and of whole texts' tokens.

All options of a prompt share one row: [prompt][option 1][option 2]..., where each option attends to the prompt and to
itself and its positions continue from the prompt's end (a tree mask). The prompt is read once instead of once an
option; for 4 options of 3 tokens after 20 tokens of prompt a row is 32 tokens long instead of 4 x 23. What several
prompts begin with is read once for all of them (osler/inference/prefix_cache.py). Scores equal those of whole sequences to 1e-5
and do not depend on what else is in the batch (both tested).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from osler.build.progress import progress
from osler.inference.forward import batches, hidden_states, log_probabilities, padded
from osler.inference.prefix_cache import begun_batches
from osler.inference.prompt_tokens import Tree


def option_scores(model: Any, trees: Sequence[Tree], batch_tokens: int) -> list[tuple[float, ...]]:
    """The log-probability of each option's tokens after its prompt, in nats.

    Args:
        model: a MistralForCausalLM or one with the same `model` and `lm_head`, in eval mode.
        trees: prompts of at least one token, options of at least one token.
        batch_tokens: padded tokens of one forward pass.
    Returns:
        One tuple a tree, in the order of its options, summed over an option's tokens.
    """
    results: list[tuple[float, ...]] = [()] * len(trees)
    prompts = [tree.prompt for tree in trees]
    after = [tree.length - len(tree.prompt) for tree in trees]
    for group, shared, context in begun_batches(model, prompts, after, 0, batch_tokens, "scoring"):
        chosen = [trees[index] for index in group]
        rows, segments, positions = [], [], []
        predictors: list[int] = []
        targets: list[int] = []
        owners: list[int] = []
        options = 0
        length = max(tree.length - start for tree, start in zip(chosen, shared, strict=True))
        for row, (tree, start) in enumerate(zip(chosen, shared, strict=True)):
            ids, end = tree.prompt[start:], len(tree.prompt)
            segment, position = [0] * len(ids), list(range(start, end))
            last = row * length + len(ids) - 1
            for number, option in enumerate(tree.options, start=1):
                first = row * length + len(ids)
                predictors += [last, *range(first, first + len(option) - 1)]
                targets += option
                owners += [options] * len(option)
                options += 1
                ids = ids + option
                segment += [number] * len(option)
                position += range(end, end + len(option))
            rows.append(ids)
            segments.append(segment)
            positions.append(position)
        states = context.read(rows, positions, segments)
        values = log_probabilities(
            model,
            states.flatten(0, 1),
            torch.tensor(predictors, device=model.device),
            torch.tensor(targets, device=model.device),
        )
        sums = np.bincount(owners, weights=values, minlength=options).tolist()
        for index, tree in zip(group, chosen, strict=True):
            results[index], sums = tuple(sums[: len(tree.options)]), sums[len(tree.options) :]
    return results


def window_scores(model: Any, windows: Sequence[list[int]], batch_tokens: int) -> list[list[float]]:
    """For each row the log-probability of its tokens, in nats.

    Each token but the first is scored after those before it.

    Args:
        model: a causal language model with `model` and `lm_head`, in eval mode.
        windows: token ids, at least one each.
        batch_tokens: padded tokens of one forward pass.
    """
    results: list[list[float]] = [[] for _ in windows]
    groups = list(batches([len(window) for window in windows], batch_tokens))
    for group in progress(groups, len(groups), "held-out documents", "batches"):
        chosen = [windows[index] for index in group]
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
        ).tolist()
        for index, window in zip(group, chosen, strict=True):
            results[index], values = values[: len(window) - 1], values[len(window) - 1 :]
    return results
