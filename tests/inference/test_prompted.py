"""A model with virtual tokens, or a prefix, scores and writes as peft's own does, with all that reads prompts together."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from osler.inference.forward import mean_states
from osler.inference.generation import generated
from osler.inference.interface import Sampling
from osler.inference.likelihoods import option_scores, window_scores
from osler.inference.prompt_tokens import Tree
from osler.model.adapters import OWN
from osler.model.virtual_tokens import PROMPT, Preceded
from tests.support.families import tiny
from tests.support.tiny import tiny_model

PROMPTS = [[5, 9, 3], [*range(3, 20), 7], [*range(3, 20), 8, 9], [11, 4]]  # two begin alike, so that it is read once
OPTIONS = [[4], [6, 7], [8, 9, 10]]
pytestmark = pytest.mark.parametrize("method", ["prompt_tuning", "prefix_tuning"])


def models(method: str, base: Callable[[], Any]) -> tuple[Preceded, Any]:
    """Ours and peft's, with the same three virtual tokens or the same prefix of three."""
    from peft import PrefixTuningConfig, PromptTuningConfig, get_peft_model

    kinds = {"prompt_tuning": PromptTuningConfig, "prefix_tuning": PrefixTuningConfig}
    theirs = get_peft_model(base(), kinds[method](task_type="CAUSAL_LM", num_virtual_tokens=3))
    weight = theirs.prompt_encoder.default.embedding.weight
    learned = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        weight.copy_(learned)
    ours: Preceded = OWN[method].answering(base(), {PROMPT: learned})
    return ours, theirs.eval()


def logs(theirs: Any, ids: list[int]) -> torch.Tensor:
    """Log-probabilities of what follows each token."""
    with torch.no_grad():
        found: torch.Tensor = theirs(input_ids=torch.tensor([ids])).logits[0, -len(ids) :].log_softmax(1)
    return found


BASES: dict[str, Callable[[], Any]] = {
    "mistral": lambda: tiny_model(50),
    "mistral with a window": lambda: tiny_model(50, window=6),
    "mixtral": lambda: tiny_model(50, experts=4),
    "gemma 3": lambda: tiny("gemma3_text"),
}


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_options_are_scored_as_by_peft(method: str, base: Callable[[], Any]) -> None:
    """Also where attention of all layers, or of some, has a window that leaves virtual tokens behind."""
    ours, theirs = models(method, base)
    found = option_scores(ours, [Tree(prompt, OPTIONS, False) for prompt in PROMPTS], 64)
    for prompt, row in zip(PROMPTS, found, strict=True):
        for option, score in zip(OPTIONS, row, strict=True):
            rows = logs(theirs, prompt + option)
            wanted = sum(float(rows[len(prompt) - 1 + place, token]) for place, token in enumerate(option))
            assert score == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_texts_are_written_as_by_peft(method: str, base: Callable[[], Any]) -> None:
    """The likeliest token, many prompts at a time."""
    ours, theirs = models(method, base)
    found = generated(ours, PROMPTS, Sampling(6, 0.0), [0] * 4, (2,), 64)
    for prompt, written in zip(PROMPTS, found, strict=True):
        ids = list(prompt)
        while len(ids) < len(prompt) + 6 and (len(ids) == len(prompt) or ids[-1] != 2):
            ids.append(int(logs(theirs, ids)[-1].argmax()))
        assert written == ids[len(prompt) :]


def test_documents_are_scored_as_by_peft(method: str) -> None:
    """And their states are those of tokens alone."""
    ours, theirs = models(method, BASES["mistral"])
    found = window_scores(ours, PROMPTS, 64)
    for prompt, row in zip(PROMPTS, found, strict=True):
        rows = logs(theirs, prompt)
        assert row == pytest.approx([float(rows[place, token]) for place, token in enumerate(prompt[1:])], abs=1e-5)
    assert np.isfinite(mean_states(ours, PROMPTS, 64)).all()
    assert ours.config.max_position_embeddings == theirs.config.max_position_embeddings - 3


def test_routers_count_tokens_alone(method: str) -> None:
    """Virtual tokens are no tokens of a text."""
    ours, _ = models(method, BASES["mixtral"])
    output = ours.model(torch.tensor([[5, 9, 3], [4, 4, 4]]), use_cache=False, output_router_logits=True)
    assert [layer.shape for layer in output.router_logits] == [(6, 4), (6, 4)]
