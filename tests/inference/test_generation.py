"""A text depends on its prompt and its seed, not on what else is written beside it."""

import math
from collections import Counter
from typing import Any

import pytest
import torch

from osler.inference.generation import drawn_tokens, generated
from osler.inference.interface import Sampling, seeded_rank
from tests.inference.test_language_model import MODELS, model_of, random_forest

PROMPTS = [tree.prompt for tree in random_forest()]
SEEDS = [seeded_rank(1, str(index)) for index in range(len(PROMPTS))]
END = 2


def plain_text(model: Any, prompt: list[int], sampling: Sampling, seed: int) -> list[int]:
    """What is written one token at a time, each from a pass over the whole text, without a cache and without end."""
    written: list[int] = []
    while len(written) < sampling.limit_tokens:
        uniform = (seeded_rank(seed, "token", str(len(written))) >> 11) / 2**53
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + written]), use_cache=False).logits[0, -1:]
        written += drawn_tokens(logits, sampling.temperature, [uniform])
    return written


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_texts_are_those_of_whole_passes(kind: str, temperature: float) -> None:
    """Caches, padding, sharing and finished rows change no token, and a text ends with its first end token."""
    model, sampling = model_of(kind), Sampling(12, temperature)
    endless = [plain_text(model, prompt, sampling, seed) for prompt, seed in zip(PROMPTS, SEEDS, strict=True)]
    end = Counter(token for text in endless for token in set(text[1:-1]) - set(text[:1])).most_common()[0][0]
    expected = [[*text[: text.index(end)], end] if end in text else text for text in endless]
    assert len({len(text) for text in expected}) > 1  # some leave the batch while others go on
    assert generated(model, PROMPTS, sampling, SEEDS, [end], 4096) == expected


@pytest.mark.parametrize("kind", ["dense", "experts"])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_texts_do_not_depend_on_the_batch(kind: str, temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """In small batches, unshared, in reverse order or with another prompt changed, every prompt's text is the same."""
    model, sampling = model_of(kind), Sampling(12, temperature)
    expected = generated(model, PROMPTS, sampling, SEEDS, [END], 4096)
    assert generated(model, PROMPTS, sampling, SEEDS, [END], 64) == expected
    assert generated(model, PROMPTS[::-1], sampling, SEEDS[::-1], [END], 64) == expected[::-1]
    changed = [*PROMPTS[:9], [1, 7, 7], *PROMPTS[10:]]
    assert generated(model, changed, sampling, SEEDS, [END], 4096)[10:] == expected[10:]
    monkeypatch.setattr("osler.inference.prefix_cache.SHARED_TOKENS", 1000)
    assert generated(model, PROMPTS, sampling, SEEDS, [END], 4096) == expected


def test_a_seed_changes_its_own_text_only() -> None:
    """Another seed is another sample; at temperature 0 it changes nothing."""
    model = model_of("dense")
    seeds = [*SEEDS[:3], 99, *SEEDS[4:]]
    before, after = (generated(model, PROMPTS, Sampling(12, 0.8), chosen, [END], 4096) for chosen in (SEEDS, seeds))
    assert [index for index in range(len(PROMPTS)) if before[index] != after[index]] == [3]
    greedy = Sampling(12, 0.0)
    assert generated(model, PROMPTS, greedy, SEEDS, [END], 4096) == generated(
        model, PROMPTS, greedy, seeds, [END], 4096
    )


def test_a_token_is_drawn_where_the_cumulative_probability_passes() -> None:
    """Of probabilities 1/2, 1/4, 0 and 1/4 each number below 1/2 draws the first, and none the third."""
    logits = torch.tensor([[math.log(0.5), math.log(0.25), -math.inf, math.log(0.25)]]).repeat(7, 1)
    uniforms = [0.0, 0.499, 0.501, 0.749, 0.751, 0.9, 1 - 2**-53]
    assert drawn_tokens(logits, 1.0, uniforms) == [0, 0, 1, 1, 3, 3, 3]
    assert drawn_tokens(logits, 0.0, uniforms) == [0] * 7
    assert drawn_tokens(torch.tensor([[-math.inf, 0.0]]), 1.0, [0.0]) == [1]


def test_temperature_flattens() -> None:
    """At temperature 2 odds of 4 to 1 are 2 to 1."""
    logits = torch.tensor([[math.log(0.8), math.log(0.2)]]).repeat(2, 1)
    assert drawn_tokens(logits, 2.0, [0.66, 0.67]) == [0, 1]
    assert drawn_tokens(logits, 1.0, [0.79, 0.81]) == [0, 1]


def test_top_p_leaves_the_likeliest_tokens_of_that_share() -> None:
    """Of 1/2, 1/8, 1/4 and 1/8 the two of 3/4 are 0 and 2, in their own proportion; the first is always left."""
    logits = torch.tensor([[0.5, 0.125, 0.25, 0.125]]).log().repeat(6, 1)
    uniforms = [0.0, 0.66, 0.67, 0.75, 0.9, 1 - 2**-53]
    assert drawn_tokens(logits, 1.0, uniforms, 0.75) == [0, 0, 2, 2, 2, 2]
    assert drawn_tokens(logits, 1.0, uniforms, 0.51) == [0, 0, 2, 2, 2, 2]
    assert drawn_tokens(logits, 1.0, uniforms, 0.5) == [0] * 6
    assert drawn_tokens(logits, 1.0, uniforms, 0.01) == [0] * 6
    assert set(drawn_tokens(logits, 1.0, uniforms, 0.8)) == {0, 1, 2}  # of equal ones the first
    assert drawn_tokens(logits, 1.0, uniforms, 1.0) == drawn_tokens(logits, 1.0, uniforms)
