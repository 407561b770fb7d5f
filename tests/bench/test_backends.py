"""vLLM beside transformers: how two backends are compared and timed, here two of transformers."""

from typing import Any

import pytest
import torch

from bench.backends import compared, timed
from bench.evaluation import Question
from osler.evaluation.questions import Item
from osler.inference.interface import Prompt
from osler.inference.language_model import LanguageModel
from osler.inference.torch_backend import TorchBackend
from tests.support.tiny import tiny_model, tiny_tokenizer

OPTIONS = ("fern tea", "honey wrap", "acorn")
ITEM = Item("b/1", "b", "b/1", "test", "which?", "", OPTIONS, 0)
ASKED = [Question(ITEM, Prompt((("user", "What treats the moon itch?"),), OPTIONS))]


def language_model(tokenizer: Any, changed: bool) -> LanguageModel:
    model = tiny_model(len(tokenizer))
    if changed:
        torch.nn.init.zeros_(model.lm_head.weight)
    backend = TorchBackend(model, 512)
    return LanguageModel(backend, tokenizer, backend, (tokenizer.eos_token_id,))


def test_what_differs_is_listed() -> None:
    """Nothing between equal models; each option's sum, and what is chosen, where one is uniform."""
    tokenizer = tiny_tokenizer()
    plain, uniform = language_model(tokenizer, changed=False), language_model(tokenizer, changed=True)
    same = compared({"transformers": plain, "vllm": language_model(tokenizer, changed=False)}, ASKED)
    assert (same["options"], same["largest_difference"], same["differences"]) == (3, 0.0, [])
    other = compared({"transformers": plain, "vllm": uniform}, ASKED)
    assert other["largest_difference"] >= other["mean_difference"] > 1e-4
    assert {"option 0", "option 1", "option 2"} <= {each["by"] for each in other["differences"]}


def test_both_are_timed_as_often_and_the_first_round_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that a step of vLLM moves by 1 s and one of transformers by 2: 10 units are 10 and 5 a second."""
    clock = [0.0]
    steps: list[str] = []

    def step(name: str, seconds: float) -> None:
        clock[0] += seconds if steps.count(name) else 100 * seconds
        steps.append(name)

    monkeypatch.setattr("bench.backends.time.perf_counter", lambda: clock[0])
    found = timed({"transformers": lambda: step("t", 2.0), "vllm": lambda: step("v", 1.0)}, 10, "items", 3)
    assert (steps.count("t"), steps.count("v")) == (4, 4)
    assert found["items_per_second"] == {"transformers": 5.0, "vllm": 10.0}
    assert found["vllm_over_transformers"]["ratio"] == pytest.approx(2.0)
