"""Conversations as token ids, and which of them are learned.

Those of the assistant, and the end mark after them; but for answers that are context alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from osler.build.section import BuildError
from osler.ingest.messages import CONTEXT
from osler.tokens.marks import end_marks, marks_of, without_marks

Turn = Mapping[str, str]


def rendered(tokenizer: Any, turns: Sequence[Turn]) -> tuple[str, list[tuple[int, int]]]:
    """The conversation by the chat template, and the character spans to learn.

    Those are the assistant's, but for its turns of the role CONTEXT. A span begins where the template asked for the answer
    ends, and goes up to and with the end mark that the template writes after the words: there the model must stop, and
    what stands behind it (a line feed) is never asked of it.
    Text that spells a special token loses it, so that no user can end a turn.

    Raises:
        BuildError: the template does not write a longer conversation as a continuation of a shorter one, or no end mark
            after an answer.
    """
    cleaned = []
    for turn in turns:
        role = "assistant" if turn["role"] == CONTEXT else turn["role"]
        cleaned.append({"role": role, "content": without_marks(tokenizer, turn["content"])})
    spans: list[tuple[int, int]] = []
    text = ""
    for count, turn in enumerate(cleaned, start=1):
        before = text
        if turn["role"] == "assistant" and count > 1:
            before = tokenizer.apply_chat_template(cleaned[: count - 1], tokenize=False, add_generation_prompt=True)
        text = tokenizer.apply_chat_template(cleaned[:count], tokenize=False)
        if not text.startswith(before):
            raise BuildError(
                "params.yaml: chat_template: a conversation does not begin with its own first turns;"
                " write each turn as a continuation of the ones before"
            )
        if turn["role"] == "assistant":
            if not (found := end_marks(tokenizer, text[len(before) :])):
                raise BuildError(
                    "params.yaml: chat_template: no end mark, such as {{ eos_token }}, after an answer; the model"
                    " would not learn to stop"
                )
            if turns[count - 1]["role"] != CONTEXT:
                spans.append((len(before), len(before) + found[-1].end()))
    return text, spans


def tokenized(tokenizer: Any, turns: Sequence[Turn]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Ids of a conversation, and which of them are learned.

    BOS comes first if the tokenizer writes one before a text, and once.

    The text is tokenized whole, as it is read in evaluation; a token that spans the border of a turn counts to the turn
    that it ends in.

    Returns:
        ids (L,) and learned (L,); the first token is never learned.
    """
    text, spans = rendered(tokenizer, turns)
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, offsets = encoding["input_ids"], encoding["offset_mapping"]
    bos = marks_of(tokenizer).bos
    if bos is not None and ids[:1] != [bos]:
        ids, offsets = [bos, *ids], [(0, 0), *offsets]
    ends = np.array([end for _, end in offsets])
    learned = np.zeros(len(ids), np.bool_)
    for first, last in spans:
        learned |= (ends > first) & (ends <= last)
    learned[0] = False
    return np.array(ids, np.int64), learned
