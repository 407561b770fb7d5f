"""Text that a causal language model writes after a prompt, many prompts at a time.

Prompts of about the same length are continued together, one token each a step, with keys and values kept; a finished
one leaves the batch. What several prompts begin with, or all of them where one prompt is sampled several times, is read
once (stages/lib/contexts.py). A token is drawn by one uniform number that depends on the prompt's own seed and the step
only, so that no text depends on what else is asked, up to float32's last bits: two tokens whose scores differ by 1e-6
may change places. With the default's model on one core 32 tokens after each of 399 questions take 0.6 s.

Shapes: B rows, D hidden size, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stages.lib.contexts import begun_batches
from stages.lib.prompts import Sampling, seeded_rank

PROBABILITY_UNIT = 2.0**-40


def drawn_tokens(logits_BV: Tensor, temperature: float, uniforms: Sequence[float]) -> list[int]:
    """One token a row: the likeliest at temperature 0, else where the cumulative probability passes the row's uniform.

    Cumulated are whole multiples of 2^-40, since sums of floats have no deterministic form on a GPU.

    Args:
        logits_BV: float32.
        temperature: at least 0; probabilities are those of the logits divided by it.
        uniforms: at least 0, below 1.
    """
    if temperature == 0:
        likeliest: list[int] = logits_BV.argmax(dim=1).tolist()
        return likeliest
    weights_BV = ((logits_BV / temperature).softmax(dim=1) / PROBABILITY_UNIT).long()
    totals_BV = weights_BV.cumsum(dim=1)
    wanted_B1 = torch.tensor(uniforms, dtype=torch.float64, device=logits_BV.device)[:, None] * totals_BV[:, -1:]
    tokens: list[int] = torch.searchsorted(totals_BV, wanted_B1.long(), right=True)[:, 0].tolist()
    return tokens


def generated(
    model: Any,
    prompts: Sequence[list[int]],
    sampling: Sampling,
    seeds: Sequence[int],
    end: int,
    batch_tokens: int,
) -> list[list[int]]:
    """Tokens written after each prompt, up to and with the first `end`, `sampling.limit_tokens` of them at most.

    Args:
        model: a MistralForCausalLM or one with the same `model` and `lm_head`, in eval mode.
        prompts: token ids, at least one each.
        sampling: limit and temperature.
        seeds: one a prompt; equal prompts of equal seeds are continued alike.
        end: the token that ends a text.
        batch_tokens: padded tokens of one forward pass.
    """
    results: list[list[int]] = [[] for _ in prompts]
    batches = begun_batches(model, prompts, [0] * len(prompts), sampling.limit_tokens, batch_tokens, "writing")
    for batch, shared, context in batches:
        rows = [prompts[index][start:] for index, start in zip(batch, shared, strict=True)]
        states = context.read(rows, [range(start, start + len(row)) for row, start in zip(rows, shared, strict=True)])
        last_BD = states[torch.arange(len(rows)), torch.tensor([len(row) - 1 for row in rows])]
        for step in range(sampling.limit_tokens):
            uniforms = [(seeded_rank(seeds[index], "token", str(step)) >> 11) / 2**53 for index in batch]
            with torch.inference_mode():
                tokens = drawn_tokens(model.lm_head(last_BD).float(), sampling.temperature, uniforms)
            for index, token in zip(batch, tokens, strict=True):
                results[index].append(token)
            going = [place for place, token in enumerate(tokens) if token != end]
            if not going or step + 1 == sampling.limit_tokens:
                break
            if len(going) < len(batch):
                batch, context = [batch[place] for place in going], context.rows(going)
            positions = [[len(prompts[index]) + step] for index in batch]
            last_BD = context.read([[tokens[place]] for place in going], positions)[:, 0]
    return results
