"""Prompts and options are the tokens that training reads, cut on the left where the model cannot read them all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from osler.build.section import BuildError
from osler.inference.interface import Prompt
from osler.inference.prompt_tokens import prompt_rows, trees
from osler.tokens.tokenizers import marked_tokenizer
from tests.support.tiny import TEMPLATE, tiny_tokenizer


def question(text: str, options: Sequence[str] = ("fern tea", "honey wrap"), begun: str = "") -> Prompt:
    return Prompt((("user", text),), tuple(options), begun)


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
    from osler.tokens.tokenizers import package_file, sentencepiece_tokenizer

    path: Path = package_file("mistral_common", "data/tokenizer.model.v1")
    return marked_tokenizer(sentencepiece_tokenizer(path))


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

    spanning = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    spanning.train_from_iterator(["What treats it?\nAnswer: fern tea"] * 3, trainer)
    tokenizer = marked_tokenizer(spanning)
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


@pytest.mark.parametrize("kind", ["byte-level", "sentencepiece"])
@pytest.mark.parametrize("begun", ["Ferns calm. The answer is", "Ferns calm. The answer is\n", "So:"])
def test_options_follow_what_the_assistant_has_begun(kind: str, begun: str) -> None:
    """An answer that is begun and then an option are the tokens of the answer that says both, one space between."""
    tokenizer = tiny_tokenizer() if kind == "byte-level" else mistral_tokenizer()
    tokenizer.chat_template = TEMPLATE
    options = ("fern tea", "A", "– 3")
    prompt = question("What treats Vadosis?", options, begun)
    (tree,), (row,) = trees(tokenizer, [prompt], 500), prompt_rows(tokenizer, [prompt], 500, 10)
    for option, ids in zip(options, tree.options, strict=True):
        text = f"Question: What treats Vadosis?\nAnswer: {begun.strip()} {option}"
        assert [*tree.prompt, *ids] == [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
    text = f"Question: What treats Vadosis?\nAnswer: {begun.strip()}"
    assert row.prompt == [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]


def test_a_prompt_leaves_room_for_what_is_generated() -> None:
    """With the limit it is as long as the model reads, BOS first and its end as it was; no room is an error."""
    tokenizer = tiny_tokenizer()
    prompt = question("What treats Vadosis? " * 30)
    (whole,), (cut,) = prompt_rows(tokenizer, [prompt], 5000, 7), prompt_rows(tokenizer, [prompt], 60, 7)
    assert (whole.truncated, cut.truncated) == (False, True)
    assert len(cut.prompt) == 53
    assert cut.prompt == [tokenizer.bos_token_id, *whole.prompt[-52:]]
    with pytest.raises(BuildError, match="59 tokens are to be generated by a model that reads 60"):
        prompt_rows(tokenizer, [prompt], 60, 59)


def test_no_prompts_are_no_tokens() -> None:
    """Nothing asked is nothing read."""
    assert trees(tiny_tokenizer(), [], 500) == prompt_rows(tiny_tokenizer(), [], 500, 5) == []


def test_an_end_mark_in_what_is_begun_is_only_text() -> None:
    """A generated chain that spells the end mark does not end the turn before the answer."""
    tokenizer = tiny_tokenizer()
    (tree,) = trees(tokenizer, [question("What?", begun="So</s> it is")], 500)
    assert tokenizer.eos_token_id not in tree.prompt


def test_a_plain_prompt_is_its_own_tokens_beside_chats() -> None:
    """No template around it, BOS before it, in the place where it was asked; what spells a mark is text."""
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TEMPLATE
    plain = Prompt((("user", "Input:\nthe fern\n\nOutput:\n"),), (), is_plain=True)
    marked = Prompt((("user", f"the{tokenizer.eos_token} fern"),), (), is_plain=True)
    chat = question("What treats Vadosis?")
    rows = prompt_rows(tokenizer, [plain, chat, marked], 500, 5)
    assert rows[0].prompt == [
        tokenizer.bos_token_id,
        *tokenizer("Input:\nthe fern\n\nOutput:\n", add_special_tokens=False)["input_ids"],
    ]
    assert rows[1] == prompt_rows(tokenizer, [chat], 500, 5)[0]
    assert tokenizer.eos_token_id not in rows[2].prompt
