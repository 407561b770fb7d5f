"""A model with virtual tokens scores and writes as peft's own does, with all that reads prompts together."""

from typing import Any

import numpy as np
import pytest
import torch

from osler.inference.forward import mean_states
from osler.inference.generation import generated
from osler.inference.interface import Sampling
from osler.inference.likelihoods import option_scores, window_scores
from osler.inference.prompt_tokens import Tree
from osler.model.adapters import Prompted
from tests.support.tiny import tiny_model

PROMPTS = [[5, 9, 3], [*range(3, 20), 7], [*range(3, 20), 8, 9], [11, 4]]  # two begin alike, so that it is read once
OPTIONS = [[4], [6, 7], [8, 9, 10]]


def models(window: int | None = None, experts: int = 0) -> tuple[Prompted, Any]:
    """Ours and peft's, with the same three virtual tokens."""
    from peft import PromptTuningConfig, get_peft_model

    virtual_VD = torch.randn(3, 32, generator=torch.Generator().manual_seed(2))
    theirs = get_peft_model(
        tiny_model(50, window=window, experts=experts),
        PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
    )
    with torch.no_grad():
        theirs.prompt_encoder.default.embedding.weight.copy_(virtual_VD)
    return Prompted(tiny_model(50, window=window, experts=experts), virtual_VD), theirs.eval()


def logs(theirs: Any, ids: list[int]) -> torch.Tensor:
    """Log-probabilities of what follows each token."""
    with torch.no_grad():
        found: torch.Tensor = theirs(input_ids=torch.tensor([ids])).logits[0, 3:].log_softmax(1)
    return found


@pytest.mark.parametrize("window", [None, 6])
def test_options_are_scored_as_by_peft(window: int | None) -> None:
    """Also where attention has a window that leaves virtual tokens behind."""
    ours, theirs = models(window)
    found = option_scores(ours, [Tree(prompt, OPTIONS, False) for prompt in PROMPTS], 64)
    for prompt, row in zip(PROMPTS, found, strict=True):
        for option, score in zip(OPTIONS, row, strict=True):
            rows = logs(theirs, prompt + option)
            wanted = sum(float(rows[len(prompt) - 1 + place, token]) for place, token in enumerate(option))
            assert score == pytest.approx(wanted, abs=1e-4)


def test_texts_are_written_as_by_peft() -> None:
    """The likeliest token, many prompts at a time."""
    ours, theirs = models()
    found = generated(ours, PROMPTS, Sampling(6, 0.0), [0] * 4, (2,), 64)
    for prompt, written in zip(PROMPTS, found, strict=True):
        ids = list(prompt)
        while len(ids) < len(prompt) + 6 and (len(ids) == len(prompt) or ids[-1] != 2):
            ids.append(int(logs(theirs, ids)[-1].argmax()))
        assert written == ids[len(prompt) :]


def test_documents_are_scored_as_by_peft() -> None:
    """And their states are those of tokens alone."""
    ours, theirs = models()
    found = window_scores(ours, PROMPTS, 64)
    for prompt, row in zip(PROMPTS, found, strict=True):
        rows = logs(theirs, prompt)
        assert row == pytest.approx([float(rows[place, token]) for place, token in enumerate(prompt[1:])], abs=1e-5)
    assert np.isfinite(mean_states(ours, PROMPTS, 64)).all()
    assert ours.config.max_position_embeddings == theirs.config.max_position_embeddings - 3


def test_routers_count_tokens_alone() -> None:
    """Virtual tokens are no tokens of a text."""
    ours, _ = models(experts=4)
    output = ours.model(torch.tensor([[5, 9, 3], [4, 4, 4]]), use_cache=False, output_router_logits=True)
    assert [layer.shape for layer in output.router_logits] == [(6, 4), (6, 4)]
