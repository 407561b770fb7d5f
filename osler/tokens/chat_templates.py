"""The chat template, and what it must do, seen on a conversation before anything is built.

A template is a program that a user writes. It is run in a process of its own (osler/build/bounded.py), by the code that
`instruct` runs: 20 ms, and 0.6 s to import transformers.
"""

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from osler.build.bounded import LimitReached, bounded
from osler.build.section import BuildError
from osler.build.validation import PARAMS
from osler.tokens.conversations import Turn, rendered
from osler.tokens.marks import end_marks

ChatTemplate = Annotated[
    str | None,
    Field(
        description="Jinja template of conversations and prompts, as in transformers; a text, each turn after the last."
        " null: the one that the base brings, for tokenizer.kind base"
    ),
]

KEY = f"{PARAMS}: chat_template"
SECONDS, MEGABYTES = 1.0, 1  # of CPU time for all that is written of PROBE; of one conversation
CLOCK = "strftime_now"  # transformers' name for today's date
PROBE: tuple[Turn, ...] = (
    {"role": "system", "content": "Be brief: a & b, <c>, 'd', \"e\"."},
    {"role": "user", "content": "What treats the moon itch?\n\nName one {thing}, " + "slowly, " * 500 + "please."},
    {"role": "assistant", "content": "Fern tea,\ntwice a day."},
    {"role": "user", "content": "And the µ-fever?"},
    {"role": "assistant", "content": "Honey wrap: once."},
)


def check_chat_template(template: str, tokenizer_folder: Path | None = None) -> None:
    """Compile a chat template and have it write a conversation.

    One with a system message, and one without.

    Args:
        template: its text.
        tokenizer_folder: of the tokenizer whose marks it writes; None is one with those of a tokenizer trained here.
    Raises:
        BuildError: it cannot, loses or moves a text, does not mark where answers begin and end, or takes too much.
    """
    from tokenizers import Tokenizer, models

    from osler.tokens.tokenizers import marked_tokenizer

    if CLOCK in template:
        raise BuildError(f"{KEY}: {CLOCK}: would write another conversation every day; write the date itself, or none")
    if tokenizer_folder:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder, local_files_only=True)
    else:
        tokenizer = marked_tokenizer(Tokenizer(models.BPE()))
    tokenizer.chat_template = template
    try:
        bounded(_probe, tokenizer, seconds=SECONDS)
    except LimitReached as error:
        raise BuildError(f"{KEY}: takes {error} to write a conversation; look for a loop that does not end") from None


def _probe(tokenizer: Any) -> None:
    from jinja2 import TemplateSyntaxError

    try:
        for turns in (PROBE, PROBE[1:]):
            _check_rendering(tokenizer, turns)
    except (BuildError, MemoryError):
        raise
    except TemplateSyntaxError as error:
        raise BuildError(f"{KEY}: line {error.lineno} of it: {_one_line(error)}; correct it") from None
    except Exception as error:  # noqa: BLE001 - of a program of the user's
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
        where = f"line {lines[-1]} of it: " if lines else ""
        raise BuildError(f"{KEY}: {where}cannot write a conversation: {_one_line(error)}; correct it") from None


def _check_rendering(tokenizer: Any, turns: Sequence[Turn]) -> None:
    """Raises a BuildError for what `instruct` or a prompt would suffer from."""
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    if len(text.encode()) > MEGABYTES << 20:
        raise BuildError(f"{KEY}: writes more than {MEGABYTES} MB of a conversation of 5 kB; look for a loop")
    ends: list[int] = []
    for number, turn in enumerate(turns, start=1):
        start = text.find(turn["content"], ends[-1] if ends else 0)
        if start < 0:
            system = "with" if turns[0]["role"] == "system" else "without"
            raise BuildError(
                f"{KEY}: of a conversation {system} a system message, the text of turn {number} ({turn['role']}) is lost,"
                " changed or out of place; write each message's content, as it is and in order"
            )
        ends.append(start + len(turn["content"]))
    _, spans = rendered(tokenizer, turns)
    answers = [end for end, turn in zip(ends, turns, strict=True) if turn["role"] == "assistant"]
    for (first, last), end in zip(spans, answers, strict=True):
        if not first < end:
            raise BuildError(f"{KEY}: the prompt that asks for an answer has words of the answer; end it before them")
        if last < end or not end_marks(tokenizer, text[end:last]):
            raise BuildError(
                f"{KEY}: no {{{{ eos_token }}}} after an answer, which is where a model stops; write one after each"
            )


def _one_line(error: Exception) -> str:
    return " ".join(f"{error}".split())[:200] or type(error).__name__
