"""The marks of a tokenizer: before a text, after it, and inside conversations.

No mark is known by name. What stands before a text is what the tokenizer itself writes there: Llama 3, Gemma and Mistral
have one, Qwen and OLMo 2 none, and SmolLM2 names one that it does not write.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from osler.build.files import read_json
from osler.build.section import BuildError

PROBE = "x"
ANSWER = "@@"
SPECIAL_FILES = ("special_tokens_map.json", "tokenizer_config.json")


@dataclass(frozen=True)
class Marks:
    """Ids of a tokenizer's marks.

    `bos` is what it writes before a text, or None; `eos` ends a document.
    """

    bos: int | None
    eos: int

    @property
    def start(self) -> int:
        """What a text's first token is predicted from: `bos`, else `eos`."""
        return self.eos if self.bos is None else self.bos


def before_text(with_marks: list[int], without: list[int], name: str) -> int | None:
    """The id that a tokenizer writes before a text.

    It is found from one text's ids with its marks and without.

    Raises:
        BuildError: it writes several.
    """
    for count in range(len(with_marks) - len(without) + 1) if without else [len(with_marks)]:
        if with_marks[count : count + len(without)] == without:
            if count > 1:
                raise BuildError(
                    f"{name}: its tokenizer writes {count} tokens before a text, not one; take another base"
                )
            return with_marks[0] if count else None
    raise BuildError(f"{name}: its tokenizer writes other tokens of a text with marks than without; take another base")


@lru_cache(maxsize=4)
def marks_of(tokenizer: Any) -> Marks:
    """The marks of one of transformers' tokenizers.

    Raises:
        BuildError: it has no end mark, or several tokens before a text.
    """
    name = str(tokenizer.name_or_path or "tokenizer")
    if tokenizer.eos_token_id is None:
        raise BuildError(f"{name}: the tokenizer has no eos_token, which ends documents; take another one")
    marked, plain = (list(tokenizer(PROBE, add_special_tokens=one)["input_ids"]) for one in (True, False))
    return Marks(before_text(marked, plain, name), int(tokenizer.eos_token_id))


def eos_token(folder: Path) -> str | None:
    """The eos_token that a tokenizer's folder names, as text."""
    for name in SPECIAL_FILES:
        found = read_json(folder / name).get("eos_token") if (folder / name).is_file() else None
        if found:
            return str(found["content"] if isinstance(found, dict) else found)
    return None


def marks_in(folder: Path) -> Marks:
    """The marks of the tokenizer in `folder`, without transformers.

    Raises:
        BuildError: see `marks_of`.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    token = eos_token(folder)
    eos = None if token is None else tokenizer.token_to_id(token)
    if eos is None:
        raise BuildError(f"{folder}: the tokenizer has no eos_token, which ends documents; take another one")
    marked, plain = (list(tokenizer.encode(PROBE, add_special_tokens=one).ids) for one in (True, False))
    return Marks(before_text(marked, plain, str(folder)), int(eos))


@lru_cache(maxsize=4)
def special_tokens(tokenizer: Any) -> re.Pattern[str] | None:
    """What spells a special token of one of transformers' tokenizers.

    These are the named ones, and all that it was given as such.
    """
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    texts = sorted({*added, *tokenizer.all_special_tokens} - {""}, key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, texts))) if texts else None


def without_marks(tokenizer: Any, text: str) -> str:
    """`text` without what spells a special token.

    Also where taking one out makes another.
    """
    pattern = special_tokens(tokenizer)
    while pattern and (shorter := pattern.sub("", text)) != text:
        text = shorter
    return text


def end_marks(tokenizer: Any, written: str) -> list[re.Match[str]]:
    """The special tokens in what a template writes after an answer.

    A mark that begins texts is none.
    """
    pattern = special_tokens(tokenizer)
    begins = tokenizer.bos_token if tokenizer.bos_token != tokenizer.eos_token else None
    return [found for found in pattern.finditer(written) if found[0] != begins] if pattern else []


def end_ids(folder: Path, tokenizer: Any) -> tuple[int, ...]:
    """The tokens that end what the model in `folder` writes.

    Each does; they are sorted. Those are what its generation_config.json or config.json names, the tokenizer's own, and what
    the chat template writes after an answer, which is what a model that was fine-tuned here has learned.
    """
    ends = {marks_of(tokenizer).eos}
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file() and (found := read_json(folder / name).get("eos_token_id")) is not None:
            ends |= set(found if isinstance(found, list) else [found])
            break
    question = {"role": "user", "content": PROBE}
    text = tokenizer.apply_chat_template([question, {"role": "assistant", "content": ANSWER}], tokenize=False)
    tail = text.rpartition(ANSWER)[2]
    return tuple(sorted(ends | {tokenizer.convert_tokens_to_ids(one[0]) for one in end_marks(tokenizer, tail)}))
