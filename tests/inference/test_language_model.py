"""Option scores are those of plain whole sequences, whatever shares the row, the batch or the beginning."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from osler.inference.forward import batches, mean_states
from osler.inference.interface import Prompt, Sampling
from osler.inference.language_model import LanguageModel
from osler.inference.likelihoods import option_scores
from osler.inference.prompt_tokens import Tree
from osler.inference.torch_backend import TorchBackend
from tests.support.tiny import tiny_model, tiny_tokenizer

MODELS = {"dense": (None, 0), "window": (6, 0), "experts": (None, 4), "experts, window": (6, 4)}


def model_of(kind: str, vocabulary: int = 200) -> Any:
    window, experts = MODELS[kind]
    return tiny_model(vocabulary, window=window, experts=experts)


def whole_sequence_scores(model: Any, tree: Tree) -> list[float]:
    """Sum of log-probabilities of each option, one plain forward pass each, softmax over the full logits."""
    scores = []
    for option in tree.options:
        ids = torch.tensor([tree.prompt + option])
        with torch.no_grad():
            logits = model(input_ids=ids, use_cache=False).logits[0]
        each = logits.log_softmax(-1)[:-1].gather(1, ids[0, 1:, None])[:, 0]
        scores.append(float(each[len(tree.prompt) - 1 :].sum()))
    return scores


def random_forest(seed: int = 3) -> list[Tree]:
    """Eight prompts of their own, six after the same 20 tokens, five times the same, five equal but for the last."""
    source = random.Random(seed)

    def ids(length: int) -> list[int]:
        return [source.randrange(3, 200) for _ in range(length)]

    first, second = ids(19), ids(24)
    prompts = [ids(source.randint(1, 30)) for _ in range(8)]
    prompts += [[*first, *ids(source.randint(1, 9))] for _ in range(6)] + [second] * 5
    prompts += [[*second, 5, last] for last in range(7, 12)]
    return [Tree([1, *row], [ids(source.randint(1, 5)) for _ in range(source.randint(2, 5))], False) for row in prompts]


def asked(text: str, options: Sequence[str] = ("fern tea", "honey wrap"), begun: str = "") -> Prompt:
    return Prompt((("user", text),), tuple(options), begun)


def language_model(model: Any, tokenizer: Any, batch_tokens: int) -> LanguageModel:
    backend = TorchBackend(model, batch_tokens)
    return LanguageModel(backend, tokenizer, backend, (tokenizer.eos_token_id,))


@pytest.mark.parametrize("kind", MODELS)
def test_a_tree_scores_as_its_whole_sequences(kind: str) -> None:
    """Each option scores as if it stood alone after the prompt, whatever is shared, and also with sliding windows."""
    model, forest = model_of(kind), random_forest()
    for scores, tree in zip(option_scores(model, forest, 4096), forest, strict=True):
        assert scores == pytest.approx(whole_sequence_scores(model, tree), abs=1e-5)


@pytest.mark.parametrize("kind", ["dense", "experts"])
@pytest.mark.parametrize("batch_tokens", [1, 64, 700])
@pytest.mark.parametrize("shared_tokens", [8, 1000])
def test_scores_do_not_depend_on_the_batch(
    kind: str, batch_tokens: int, shared_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row at a time or all together, beginnings shared or not: the same scores in the same order."""
    model, forest = model_of(kind), random_forest()
    expected = option_scores(model, forest, 4096)
    monkeypatch.setattr("osler.inference.prefix_cache.SHARED_TOKENS", shared_tokens)
    for scores, other in zip(option_scores(model, forest, batch_tokens), expected, strict=True):
        assert scores == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize("kind", ["dense", "experts"])
def test_other_prompts_do_not_move_a_score(kind: str) -> None:
    """With one prompt changed in its first tokens, in its last or in its options, no other score moves."""
    model, forest = model_of(kind), random_forest()
    expected = option_scores(model, forest, 4096)
    for place, prompt, options in ((9, [1, 7, 7, 7], [[8]]), (10, [*forest[10].prompt, 7], [[9], [9, 8]])):
        changed = [*forest[:place], Tree(prompt, options, False), *forest[place + 1 :]]
        found = option_scores(model, changed, 4096)
        for index, (scores, other) in enumerate(zip(found, expected, strict=True)):
            assert index == place or scores == pytest.approx(other, abs=1e-5)


def test_order_of_options_does_not_matter() -> None:
    """Reversed options have reversed scores: none sees another."""
    model = tiny_model(200)
    tree = Tree([1, 5, 6], [[7], [8, 9, 10], [7, 7]], False)
    forward, backward = option_scores(model, [tree, Tree(tree.prompt, tree.options[::-1], False)], 1000)
    assert forward == pytest.approx(backward[::-1], abs=1e-5)


def test_logits_in_pieces_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Applying the vocabulary projection to a few positions at a time changes nothing."""
    model, forest = tiny_model(200), random_forest()
    expected = option_scores(model, forest, 4096)
    monkeypatch.setattr("osler.inference.forward.LOGITS_AT_ONCE", 600)
    for scores, other in zip(option_scores(model, forest, 4096), expected, strict=True):
        assert scores == pytest.approx(other, abs=1e-5)


def test_batches_hold_every_row_once_within_the_limit() -> None:
    """Rows are grouped by length; only a row that is too long by itself may exceed the limit."""
    lengths = [3, 50, 4, 4, 9, 1, 12]
    found = list(batches(lengths, 20))
    assert sorted(index for group in found for index in group) == list(range(7))
    assert found[0] == [1]
    assert all(len(group) * max(lengths[index] for index in group) <= 20 for group in found[1:])


def test_mean_states_leave_bos_and_padding_out() -> None:
    """A row's vector is the mean over its own tokens after BOS, whatever else is in the batch."""
    model = tiny_model(200)
    rows = [[1, 5, 6, 7], [1, 9], [1, *range(10, 40)]]
    together = mean_states(model, rows, 1000)
    for row, vector in zip(rows, together, strict=True):
        with torch.no_grad():
            states = model.model(input_ids=torch.tensor([row]), use_cache=False).last_hidden_state[0]
        assert np.allclose(vector, states[1:].mean(0), atol=1e-5)


def test_a_language_model_answers_in_the_order_asked() -> None:
    """Each prompt and text has its own result, the longest not first, and each option its number of tokens."""
    tokenizer = tiny_tokenizer()
    model = language_model(tiny_model(len(tokenizer)), tokenizer, 64)
    prompts = [asked("What?"), asked("What treats the moon itch of Gubitol?"), asked("Which?"), asked("What?")]
    together = model.likelihoods(prompts)
    for prompt, scored in zip(prompts, together, strict=True):
        (alone,) = LanguageModel(model.scorer, tokenizer, model.writer, model.ends).likelihoods([prompt])
        assert scored.sums == pytest.approx(alone.sums, abs=1e-5)
        assert (scored.prompt_tokens, scored.tokens) == (alone.prompt_tokens, alone.tokens)
        assert scored.tokens == tuple(
            len(tokenizer(f" {option}", add_special_tokens=False)["input_ids"]) for option in prompt.options
        )
    assert model.embeddings(["What?", "Vadosis"]).shape == (2, 32)
    assert model.likelihoods([]) == []


def test_a_prompt_is_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked again, by another protocol or twice in a call, a prompt takes no pass; one that is begun is another."""
    tokenizer = tiny_tokenizer()
    model = language_model(tiny_model(len(tokenizer)), tokenizer, 64)
    first = model.likelihoods([asked("What?")])
    read: list[int] = []

    def counted(_: Any, forest: Sequence[Tree], __: int) -> list[tuple[float, ...]]:
        read.append(len(forest))
        return [(0.0,) * len(tree.options) for tree in forest]

    monkeypatch.setattr("osler.inference.torch_backend.option_scores", counted)
    again = model.likelihoods([asked("What?"), asked("What?", begun="It is"), asked("Who?"), asked("Who?")])
    assert again[0] == first[0]
    assert read == [2]


def test_written_text_is_counted_and_cut() -> None:
    """A text has no end mark and no white space around it, counts its end token, and says when the prompt was cut."""
    tokenizer = tiny_tokenizer()
    model = language_model(tiny_model(len(tokenizer)), tokenizer, 4096)
    prompts = [asked("What?"), asked("What? " * 99), asked("What?", begun="It is")]
    short, long, begun = model.texts(prompts, Sampling(9, 0.0), [0, 0, 0])
    assert (short.truncated, long.truncated, begun.truncated) == (False, True, False)
    assert long.prompt_tokens == 128 - 9
    assert begun.prompt_tokens > short.prompt_tokens
    assert all(text.tokens <= 9 and text.text == text.text.strip() for text in (short, long, begun))
    assert model.texts([], Sampling(9, 0.0), []) == []
