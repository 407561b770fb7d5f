"""Families of the Hub asked as any model: likelihoods, generation, windows, states and experts."""

from typing import Any

import pytest
import torch

from osler.build.section import BuildError
from osler.inference.forward import mean_states
from osler.inference.generation import generated
from osler.inference.interface import Sampling
from osler.inference.likelihoods import option_scores, window_scores
from osler.inference.prompt_tokens import Tree
from osler.inference.torch_backend import TorchBackend
from tests.support.families import FAMILIES, tiny

PREFIX = [1, *range(20, 32)]
TREES = [
    Tree([*PREFIX, 40 + number], [[50, 51, 52], [53 + number], [60, 61, 62, 63, 64]], False) for number in range(4)
]


def alone(model: Any, ids: list[int]) -> torch.Tensor:
    """Log-probabilities (T, V) of a text by itself, through the model's own head."""
    with torch.inference_mode():
        return model(torch.tensor([ids]), use_cache=False).logits[0].float().log_softmax(-1)


@pytest.mark.parametrize("family", FAMILIES)
def test_likelihoods_are_those_of_whole_texts(family: str) -> None:
    """Options in a tree after a beginning that is read once for all; sliding windows count."""
    model = tiny(family)
    scores = option_scores(model, TREES, 4096)
    for tree, row in zip(TREES, scores, strict=True):
        for option, score in zip(tree.options, row, strict=True):
            table = alone(model, [*tree.prompt, *option])
            start = len(tree.prompt) - 1
            expected = sum(float(table[start + place, token]) for place, token in enumerate(option))
            assert score == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_windows_are_scored_as_texts_alone(family: str) -> None:
    """In one batch with a longer one."""
    model = tiny(family)
    rows = [[*PREFIX, 33, 34], [1, 40, 41, 42]]
    for row, scores in zip(rows, window_scores(model, rows, 4096), strict=True):
        table = alone(model, row)
        assert scores == pytest.approx([float(table[place, token]) for place, token in enumerate(row[1:])], abs=2e-5)
    assert mean_states(model, rows, 4096).shape == (2, 32)


@pytest.mark.parametrize("family", FAMILIES)
def test_generation_is_transformers_greedy(family: str) -> None:
    """After prompts of several lengths that begin alike, up to the first of two end tokens."""
    model = tiny(family)
    prompts = [[*PREFIX, 33], [*PREFIX, 34, 35], [1, 40]]
    expected = []
    for prompt in prompts:
        with torch.inference_mode():
            ids = model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False, eos_token_id=[95, 96])
        expected.append(ids[0, len(prompt) :].tolist())
    assert generated(model, prompts, Sampling(12, 0.0), [0] * 3, [95, 96], 4096) == expected
    ends = [expected[0][len(expected[0]) // 2], 95, 96]
    cut = [row[: row.index(ends[0]) + 1] if ends[0] in row else row for row in expected]
    assert generated(model, prompts, Sampling(12, 0.0), [0] * 3, ends, 4096) == cut


@pytest.mark.parametrize(
    ("family", "values", "said"),
    [
        ("gemma3_text", {"final_logit_softcapping": 30.0}, "final_logit_softcapping 30"),
        ("granite", {"logits_scaling": 8.0}, "logits_scaling 8"),
        ("cohere", {"logit_scale": 0.0625}, "logit_scale 0.0625"),
    ],
)
def test_heads_that_change_logits_are_refused(family: str, values: dict[str, Any], said: str) -> None:
    """Probabilities would be others than the model's."""
    with pytest.raises(BuildError, match=said):
        TorchBackend(tiny(family, **values), 4096)
