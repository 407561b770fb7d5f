"""Text that a model writes after a prompt, many at a time.

Prompts are continued together, one token each a step, with keys and values kept; finished ones leave the batch. What
several prompts begin with, or all of them where one prompt is sampled several times, is read once
(osler/inference/prefix_cache.py). A token is drawn by one uniform number that depends on the prompt's own seed and the step
only, so that no text depends on what else is asked, up to float32's last bits: two tokens whose scores differ by 1e-6
may change places. With the default's model on one core 32 tokens after each of 399 questions take 0.6 s.

Shapes: B rows, D hidden size, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from osler.inference.interface import Sampling, seeded_rank
from osler.inference.prefix_cache import CACHED_PER_READ, Prefix, begun_batches, joined

PROBABILITY_UNIT = 2.0**-40
DROPPED = 0.75  # finished rows are taken out, which copies the others' cache, when fewer than this share go on


def drawn_tokens(logits_BV: Tensor, temperature: float, uniforms: Sequence[float], top_p: float = 1.0) -> list[int]:
    """One drawn token for each row.

    At temperature 0 it is the likeliest. Else it stands where the cumulative probability passes the row's uniform.
    Cumulated are whole multiples of 2^-40, since sums of floats have no deterministic form on a GPU.

    Args:
        logits_BV: float32.
        temperature: at least 0; probabilities are those of the logits divided by it.
        uniforms: at least 0, below 1.
        top_p: drawn are the fewest likeliest tokens with this share of the probability, at least one (Holtzman et al.,
            arXiv 1904.09751). Of equal ones the first in the vocabulary is taken.
    """
    if temperature == 0:
        likeliest: list[int] = logits_BV.argmax(dim=1).tolist()
        return likeliest
    weights_BV = ((logits_BV / temperature).softmax(dim=1) / PROBABILITY_UNIT).long()
    if top_p < 1:
        sorted_BV, order_BV = weights_BV.sort(dim=1, descending=True, stable=True)
        likelier_BV = sorted_BV.cumsum(dim=1) - sorted_BV
        left_BV = sorted_BV * (likelier_BV < top_p * sorted_BV.sum(dim=1, keepdim=True).double())
        weights_BV = torch.zeros_like(weights_BV).scatter(1, order_BV, left_BV)
    totals_BV = weights_BV.cumsum(dim=1)
    wanted_B1 = torch.tensor(uniforms, dtype=torch.float64, device=logits_BV.device)[:, None] * totals_BV[:, -1:]
    tokens: list[int] = torch.searchsorted(totals_BV, wanted_B1.long(), right=True)[:, 0].tolist()
    return tokens


def generated(
    model: Any,
    prompts: Sequence[list[int]],
    sampling: Sampling,
    seeds: Sequence[int],
    ends: Sequence[int],
    batch_tokens: int,
) -> list[list[int]]:
    """Tokens written after each prompt.

    They go up to and with the first of `ends`, and are `sampling.limit_tokens` at most.

    Args:
        model: a MistralForCausalLM or one with the same `model` and `lm_head`, in eval mode.
        prompts: token ids, at least one each.
        sampling: limit, temperature and top_p.
        seeds: one a prompt; equal prompts of equal seeds are continued alike.
        ends: the tokens of which each ends a text.
        batch_tokens: padded tokens of one forward pass.
    """
    results: list[list[int]] = [[] for _ in prompts]
    for batch, context, last_BD in _read(model, prompts, sampling.limit_tokens, batch_tokens):
        going = list(range(len(batch)))
        for step in range(sampling.limit_tokens):
            uniforms = [(seeded_rank(seeds[index], "token", str(step)) >> 11) / 2**53 for index in batch]
            with torch.inference_mode():
                tokens = drawn_tokens(model.lm_head(last_BD).float(), sampling.temperature, uniforms, sampling.top_p)
            for place in going:
                results[batch[place]].append(tokens[place])
            going = [place for place in going if tokens[place] not in ends]
            if not going or step + 1 == sampling.limit_tokens:
                break
            if len(going) < DROPPED * len(batch):
                batch, tokens = [batch[place] for place in going], [tokens[place] for place in going]
                context, going = context.rows(going), list(range(len(going)))
            positions = [[len(prompts[index]) + step] for index in batch]
            last_BD = context.read([[token] for token in tokens], positions)[:, 0]
    return results


def _read(
    model: Any, prompts: Sequence[list[int]], limit_tokens: int, batch_tokens: int
) -> Iterator[tuple[list[int], Prefix, Tensor]]:
    """Prompts that have been read and are continued together: their indices, their context and their last states (B, D).

    Reading takes `batch_tokens` at a time, but going on takes a token a row, so batches are joined for it, as many as
    the cache may hold.
    """
    parts: list[tuple[list[int], Prefix, Tensor]] = []
    for batch, shared, context in begun_batches(
        model, prompts, [0] * len(prompts), limit_tokens, batch_tokens, "writing"
    ):
        rows = [prompts[index][start:] for index, start in zip(batch, shared, strict=True)]
        states = context.read(rows, [range(start, start + len(row)) for row, start in zip(rows, shared, strict=True)])
        last_BD = states[torch.arange(len(rows)), torch.tensor([len(row) - 1 for row in rows])]
        longest = max(context.length, *(other.length for _, other, _ in parts)) if parts else context.length
        together = len(batch) + sum(len(other) for other, _, _ in parts)
        if parts and together * (longest + limit_tokens) > CACHED_PER_READ * batch_tokens:
            yield _joined(parts)
            parts = []
        parts.append((batch, context, last_BD))
    if parts:
        yield _joined(parts)


def _joined(parts: Sequence[tuple[list[int], Prefix, Tensor]]) -> tuple[list[int], Prefix, Tensor]:
    return (
        [index for batch, _, _ in parts for index in batch],
        joined([context for _, context, _ in parts]),
        torch.cat([last_BD for _, _, last_BD in parts]),
    )
