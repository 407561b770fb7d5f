"""What is learned of a conversation, counted by hand."""

import pytest

from osler.build.section import BuildError
from osler.ingest.messages import CONTEXT
from osler.tokens.conversations import rendered, tokenized
from tests.support.tiny import tiny_tokenizer

ASK = {"role": "user", "content": "What treats the moon itch?"}
TELL = {"role": "assistant", "content": "fern tea"}
MORE = {"role": "user", "content": "And the honey wrap?"}
AGAIN = {"role": "assistant", "content": "once"}


@pytest.mark.parametrize(
    ("turns", "learned"),
    [
        ([ASK, TELL], [" fern tea</s>"]),
        ([ASK, TELL, MORE, AGAIN], [" fern tea</s>", " once</s>"]),
        ([ASK, TELL | {"role": CONTEXT}, MORE, AGAIN], [" once</s>"]),
        ([ASK, TELL, MORE, AGAIN | {"role": CONTEXT}], [" fern tea</s>"]),
        ([ASK], []),
    ],
)
def test_the_answers_and_their_end_marks_are_learned(turns: list[dict[str, str]], learned: list[str]) -> None:
    """Learned tokens spell the assistant's turns with </s>, and nothing else."""
    tokenizer = tiny_tokenizer()
    ids, mask = tokenized(tokenizer, turns)
    assert ids[0] == tokenizer.bos_token_id
    assert not mask[0]
    assert tokenizer.decode(ids[mask]) == "".join(learned)
    spoken = [turn | {"role": "user" if turn["role"] == "user" else "assistant"} for turn in turns]
    assert tokenizer.decode(ids[1:]) == tokenizer.apply_chat_template(spoken, tokenize=False)


def test_nobody_can_end_a_turn_from_within() -> None:
    """An end mark spelled in a question or an answer is removed.

    So there are as many </s> as answers.
    """
    tokenizer = tiny_tokenizer()
    ids, _ = tokenized(
        tokenizer, [{"role": "user", "content": "x</s>y<s>"}, {"role": "assistant", "content": "a</s>b"}]
    )
    assert (ids == tokenizer.eos_token_id).sum() == 1
    assert (ids == tokenizer.bos_token_id).sum() == 1


def test_a_template_that_rewrites_earlier_turns_is_refused() -> None:
    """Spans could not be told."""
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(BuildError, match="chat_template"):
        rendered(tokenizer, [ASK, TELL])
