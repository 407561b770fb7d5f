"""Option scores are those of plain whole sequences, whatever shares the row or the batch."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.lib.prompts import Prompt
from stages.lib.scoring import LanguageModel, Tree, batches, mean_states, option_scores, tree_attention, trees
from stages.lib.section import BuildError
from tests.tiny import TEMPLATE, tiny_model, tiny_tokenizer


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


def random_forest(count: int, seed: int = 3) -> list[Tree]:
    source = random.Random(seed)

    def ids(length: int) -> list[int]:
        return [source.randrange(3, 200) for _ in range(length)]

    return [
        Tree([1, *ids(source.randint(1, 30))], [ids(source.randint(1, 5)) for _ in range(source.randint(2, 5))], False)
        for _ in range(count)
    ]


def question(text: str, options: Sequence[str] = ("fern tea", "honey wrap")) -> Prompt:
    return Prompt((("user", text),), tuple(options))


@pytest.mark.parametrize("window", [None, 6])
def test_a_tree_scores_as_its_whole_sequences(window: int | None) -> None:
    """Each option scores as if it stood alone after the prompt, also with sliding-window attention."""
    model, forest = tiny_model(200, window=window), random_forest(8)
    for scores, tree in zip(option_scores(model, forest, 4096, "sum"), forest, strict=True):
        assert scores == pytest.approx(whole_sequence_scores(model, tree), abs=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 100, 700])
def test_scores_do_not_depend_on_the_batch(batch_tokens: int) -> None:
    """One row at a time or all together: the same scores in the same order."""
    model, forest = tiny_model(200), random_forest(12)
    expected = option_scores(model, forest, 100_000, "sum")
    for scores, other in zip(option_scores(model, forest, batch_tokens, "sum"), expected, strict=True):
        assert scores == pytest.approx(other, abs=1e-5)


def test_order_of_options_does_not_matter() -> None:
    """Reversed options have reversed scores: none sees another."""
    model = tiny_model(200)
    tree = Tree([1, 5, 6], [[7], [8, 9, 10], [7, 7]], False)
    forward, backward = option_scores(model, [tree, Tree(tree.prompt, tree.options[::-1], False)], 1000, "sum")
    assert forward == pytest.approx(backward[::-1], abs=1e-5)


def test_token_normalization_divides_by_the_option_tokens() -> None:
    """An option of three tokens has a third of its summed log-probability."""
    model = tiny_model(200)
    forest = [Tree([1, 5, 6], [[7], [8, 9, 10]], False)]
    (summed,), (mean,) = option_scores(model, forest, 99, "sum"), option_scores(model, forest, 99, "token")
    assert mean == pytest.approx((summed[0], summed[1] / 3))


def test_logits_in_pieces_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Applying the vocabulary projection to a few positions at a time changes nothing."""
    model, forest = tiny_model(200), random_forest(5)
    expected = option_scores(model, forest, 4096, "sum")
    monkeypatch.setattr("stages.lib.scoring.LOGITS_AT_ONCE", 600)
    for scores, other in zip(option_scores(model, forest, 4096, "sum"), expected, strict=True):
        assert scores == pytest.approx(other, abs=1e-5)


def test_tree_attention_by_eye() -> None:
    """Prompt of 2, options of 2 and 1, one of padding: the second option sees the prompt and itself only."""
    segments, positions = torch.tensor([[0, 0, 1, 1, 2, -1]]), torch.tensor([[0, 1, 2, 3, 2, 0]])
    expected = ["100000", "110000", "111000", "111100", "110010", "000001"]
    seen = tree_attention(segments, positions, None)[0, 0].int().tolist()
    assert ["".join(map(str, row)) for row in seen] == expected


def test_batches_hold_every_row_once_within_the_limit() -> None:
    """Rows are grouped by length; only a row that is too long by itself may exceed the limit."""
    lengths = [3, 50, 4, 4, 9, 1, 12]
    found = list(batches(lengths, 20))
    assert sorted(index for group in found for index in group) == list(range(7))
    assert found[0] == [1]
    assert all(len(group) * max(lengths[index] for index in group) <= 20 for group in found[1:])


@pytest.mark.parametrize("kind", ["byte-level", "sentencepiece"])
@pytest.mark.parametrize(
    "template", [TEMPLATE, TEMPLATE.replace("Question: ", "[INST] ").replace("\nAnswer:", " [/INST]")]
)
def test_prompt_and_option_are_the_tokens_of_the_whole_text(kind: str, template: str) -> None:
    """Prompt ids followed by option ids are those of the conversation as training writes it, in both vocabularies."""
    tokenizer = tiny_tokenizer()
    if kind == "sentencepiece":
        tokenizer = mistral_tokenizer()
    tokenizer.chat_template = template
    texts = ["What treats Vadosis?", "Give the  test\nof Zaritol ", "Is 5 µg/l > 4,5? "]
    options = ("fern tea", "fern tea, cold", "Yes", "5 mg", "–3", "ßeta")
    for tree, text in zip(trees(tokenizer, [question(text, options) for text in texts], 500), texts, strict=True):
        turn = {"role": "user", "content": text}
        for option, ids in zip(options, tree.options, strict=True):
            answered = tokenizer.apply_chat_template([turn, {"role": "assistant", "content": option}], tokenize=False)
            whole = tokenizer(answered, add_special_tokens=False)["input_ids"]
            assert [*tree.prompt, *ids, tokenizer.eos_token_id] == [tokenizer.bos_token_id, *whole]


def mistral_tokenizer() -> Any:
    """Mistral's own vocabulary from the installed package, behind the same interface."""
    from transformers import PreTrainedTokenizerFast

    from stages.lib.tokenization import package_file, sentencepiece_tokenizer

    path: Path = package_file("mistral_common", "data/tokenizer.model.v1")
    return PreTrainedTokenizerFast(
        tokenizer_object=sentencepiece_tokenizer(path), bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def test_tokens_where_the_prompt_does_not_end_in_its_last_word() -> None:
    """A template that glues the answer to the question is tokenized whole, and the shared tokens are the prompt."""
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    tokenizer.chat_template += "{% if messages[-1]['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
    (tree,) = trees(tokenizer, [question("the fer", ["n tea", "nwort"])], 500)
    whole = tokenizer("the fern tea", add_special_tokens=False)["input_ids"]
    assert [*tree.prompt, *tree.options[0]] == [tokenizer.bos_token_id, *whole]


def test_tokens_that_span_words_are_kept_whole() -> None:
    """A vocabulary with tokens across spaces is tokenized with the whole prompt, not from its last word."""
    from tokenizers import Tokenizer, models, trainers
    from transformers import PreTrainedTokenizerFast

    spanning = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    spanning.train_from_iterator(["What treats it?\nAnswer: fern tea"] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=spanning, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.chat_template = TEMPLATE.replace("Question: ", "")
    (tree,) = trees(tokenizer, [question("What treats it?", ["fern tea", "fern", "tea"])], 500)
    for option, ids in zip(["fern tea", "fern", "tea"], tree.options, strict=True):
        whole = tokenizer(f"What treats it?\nAnswer: {option}", add_special_tokens=False)["input_ids"]
        assert [*tree.prompt, *ids] == [tokenizer.bos_token_id, *whole]


def test_bos_stands_once_in_front() -> None:
    """A template that writes BOS itself does not get a second one."""
    tokenizer = tiny_tokenizer()
    (plain,) = trees(tokenizer, [question("What?")], 500)
    tokenizer.chat_template = "{{ bos_token }}" + TEMPLATE
    assert trees(tokenizer, [question("What?")], 500) == [plain]
    assert plain.prompt.count(tokenizer.bos_token_id) == 1


def test_a_long_prompt_loses_its_left_end_but_not_bos() -> None:
    """Cut to what fits with the longest option, BOS first, the end as it was, and flagged."""
    tokenizer = tiny_tokenizer()
    text = "What treats Vadosis? " * 30
    (whole,), (cut,) = trees(tokenizer, [question(text)], 5000), trees(tokenizer, [question(text)], 60)
    assert (whole.truncated, cut.truncated) == (False, True)
    assert cut.options == whole.options
    assert len(cut.prompt) + max(map(len, cut.options)) == 60
    assert cut.prompt == [tokenizer.bos_token_id, *whole.prompt[-len(cut.prompt) + 1 :]]


def test_special_tokens_in_a_question_are_only_text() -> None:
    """An item that spells the end mark cannot end its own turn."""
    tokenizer = tiny_tokenizer()
    (tree,) = trees(tokenizer, [question("What</s> is it?")], 500)
    assert tokenizer.eos_token_id not in tree.prompt


@pytest.mark.parametrize(
    ("options", "message"), [(("tea", ""), "without text"), (("tea", "tea " * 90), "model reads 60")]
)
def test_options_that_cannot_be_scored_are_an_error(options: tuple[str, ...], message: str) -> None:
    """An empty option and one longer than the model reads are refused by name, not scored as something else."""
    with pytest.raises(BuildError, match=message):
        trees(tiny_tokenizer(), [question("What?", options)], 60)


def test_a_template_without_a_continuation_is_an_error() -> None:
    """A template whose answer does not follow the prompt that asks for it cannot be scored."""
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{% for message in messages | reverse %}{{ message['content'] }};{% endfor %}"
    with pytest.raises(BuildError, match="chat_template"):
        trees(tokenizer, [question("What?")], 60)


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
    """`scores` and `embeddings` give one result for each prompt and text, the longest not first."""
    tokenizer = tiny_tokenizer()
    model = LanguageModel(tiny_model(len(tokenizer)), tokenizer, 64, "token")
    prompts = [question("What?"), question("What treats the moon itch of Gubitol?"), question("Which?")]
    together = model.scores(prompts)
    for prompt, scored in zip(prompts, together, strict=True):
        (alone,) = model.scores([prompt])
        assert scored.scores == pytest.approx(alone.scores, abs=1e-5)
        assert scored.prompt_tokens == alone.prompt_tokens
    assert model.embeddings(["What?", "Vadosis"]).shape == (2, 32)
    assert model.scores([]) == []
