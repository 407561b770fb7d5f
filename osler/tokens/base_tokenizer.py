"""The tokenizer that a base model brings: its tokenizer.json, with the marks and the chat template that its configs name.

Ids are those of tokenizer.json. It is wrapped by transformers' class for any tokenizer.json, not by the family's own: some of
those build another tokenizer from the vocabulary. What is written is read back and compared on difficult strings.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from osler.build.files import read_json
from osler.build.section import BuildError
from osler.tokens.tokenizers import difficult_texts

NAMED = ("bos_token", "eos_token", "unk_token", "pad_token")
TEMPLATE = "chat_template.jinja"
CONFIGS = ("tokenizer_config.json", "special_tokens_map.json")


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(path) if path.is_file() else {}
    return found


def _text(token: Any) -> str | None:
    return str(token["content"]) if isinstance(token, dict) else token


def special_tokens(folder: Path, tokenizer: Any) -> dict[str, str]:
    """The named special tokens of a model's folder.

    Those of the tokenizer's configs; bos and eos that these do not name by their ids in the model's configs.
    """
    named: dict[str, str] = {}
    configs = [_json(folder / name) for name in CONFIGS]
    for key in NAMED:
        found = next((_text(config[key]) for config in configs if config.get(key)), None)
        if found is None and not any(key in config for config in configs):  # `bos_token: null` says that there is none
            ids = (
                _json(folder / name).get(f"{key}_id" if key != "unk_token" else "")
                for name in ("config.json", "generation_config.json")
            )
            number = next((one for one in ids if one is not None), None)
            number = number[0] if isinstance(number, list) else number
            found = None if number is None or key == "pad_token" else tokenizer.id_to_token(number)
        if found is not None:
            named[key] = found
    return named


def _check_added(folder: Path, tokenizer: Any, title: str) -> None:
    """Refuse added tokens that are read under other ids than they have.

    `tokenizers` counts tokens to find the next id: behind a hole it gives an added token another one than
    tokenizer.json says, or that of another token, without a word.
    """
    for token in _json(folder / "tokenizer.json").get("added_tokens", []):
        if (found := tokenizer.token_to_id(token["content"])) != token["id"]:
            raise BuildError(
                f"{title}: tokenizer.json gives {token['content']!r} the id {token['id']}, `tokenizers` reads {found}; take"
                " another base"
            )


def _added(folder: Path, tokenizer: Any, title: str) -> None:
    """Add the tokens that only tokenizer_config.json lists, under the ids that it gives them."""
    from tokenizers import AddedToken

    listed = _json(folder / "tokenizer_config.json").get("added_tokens_decoder", {})
    for number, token in sorted(listed.items(), key=lambda entry: int(entry[0])):
        if tokenizer.token_to_id(token["content"]) is None:
            flags = {key: bool(token.get(key)) for key in ("single_word", "lstrip", "rstrip", "normalized", "special")}
            tokenizer.add_tokens([AddedToken(token["content"], **flags)])
        if tokenizer.token_to_id(token["content"]) != int(number):
            raise BuildError(
                f"{title}: tokenizer_config.json gives {token['content']!r} the id {number}, its tokenizer another; take"
                " another base"
            )


def chat_template(folder: Path) -> str | None:
    """The chat template of a model's folder, if any.

    Of several it is the one named default.
    """
    if (folder / TEMPLATE).is_file():
        return (folder / TEMPLATE).read_text(encoding="utf-8")
    found = _json(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(found, list):
        found = next((one["template"] for one in found if one.get("name") == "default"), None)
    return found


def write_base_tokenizer(source: Path, folder: Path, title: str) -> int:
    """Write the tokenizer of a model as a tokenizer folder.

    The chat template goes with it, if the model in `source` has one.

    Returns:
        How many tokens it has.

    Raises:
        BuildError: it has no end mark, or other ids are read than tokenizer.json gives.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    fast = Tokenizer.from_file(str(source / "tokenizer.json"))
    fast.no_padding()
    fast.no_truncation()
    _check_added(source, fast, title)
    _added(source, fast, title)
    named = special_tokens(source, fast)
    if "eos_token" not in named:
        raise BuildError(f"{title}: neither its tokenizer nor config.json names an eos_token, which ends documents")
    wrapped = PreTrainedTokenizerFast(tokenizer_object=fast, clean_up_tokenization_spaces=False, **named)
    wrapped.chat_template = chat_template(source)
    wrapped.save_pretrained(folder)
    if texts := list(differences(source, folder)):
        raise BuildError(
            f"{title}: transformers reads other ids from its tokenizer.json than `tokenizers`, as of {texts[0]!r}; take"
            " another base"
        )
    return len(wrapped)


def differences(source: Path, folder: Path) -> Iterator[str]:
    """Difficult strings of which the written tokenizer has other ids.

    Other than those of the tokenizer.json in `source`.
    """
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    own = Tokenizer.from_file(str(source / "tokenizer.json"))
    own.no_padding()
    own.no_truncation()
    _added(source, own, source.name)
    written = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for text in difficult_texts([token.content for token in own.get_added_tokens_decoder().values()]):
        for marks in (False, True):
            found = written(text, add_special_tokens=marks, verbose=False)["input_ids"]
            if own.encode(text, add_special_tokens=marks).ids != list(found):
                yield text
