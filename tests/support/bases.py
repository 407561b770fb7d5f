"""Repositories of a Hub with tiny random models of families, each with a tokenizer in its family's manner."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osler.build.files import read_json, write_json
from tests.support.families import tiny
from tests.tokens.test_marks import BEGINS, ENDS, made

POSITIONS = 512


@dataclass(frozen=True)
class Repository:
    """What a repository of a family has.

    Args:
        tokenizer: whose manner its tokenizer has, a key of `tests.tokens.test_marks.SPECIAL`.
        tokenizer_class: that its tokenizer_config.json names, as the family's does on the Hub.
        stops: end tokens that generation_config.json lists; one alone stands there as a number.
        tied: whether the head is the embedding.
        in_config: whether the chat template stands in tokenizer_config.json, not in a file of its own.
        shard: the largest bytes of a file of weights.
        dtype: of its weights.
        padding: rows of the embedding beyond the tokenizer's ids.
        begun_by_tokenizer: whether its template leaves BOS to the tokenizer.
        closed: whether the tokenizer writes its end mark after a text, too.
    """

    tokenizer: str
    tokenizer_class: str
    stops: tuple[str, ...]
    tied: bool = False
    in_config: bool = False
    shard: str = "5GB"
    dtype: str = "float32"
    padding: int = 0
    begun_by_tokenizer: bool = False
    closed: bool = False

    @property
    def begin(self) -> str | None:
        """The mark that the tokenizer writes before a text."""
        return BEGINS[self.tokenizer]

    @property
    def end(self) -> str:
        """The mark that the template writes after an answer."""
        return ENDS[self.tokenizer]


REPOSITORIES = {
    "mistral": Repository("mistral", "LlamaTokenizer", ("</s>",), in_config=True, closed=True),
    "mixtral": Repository(  # BOS left to the tokenizer here: this one's attention reaches back to it, as Mistral's here does not
        "mistral", "LlamaTokenizer", ("</s>",), in_config=True, shard="20KB", begun_by_tokenizer=True
    ),
    "llama": Repository(
        "llama3", "PreTrainedTokenizerFast", ("<|end_of_text|>", "<|eot_id|>"), in_config=True, dtype="bfloat16"
    ),
    "qwen3": Repository(
        "qwen", "Qwen2Tokenizer", ("<|im_end|>", "<|endoftext|>"), tied=True, in_config=True, padding=21
    ),
    "qwen3_moe": Repository("qwen", "Qwen2Tokenizer", ("<|im_end|>", "<|endoftext|>"), shard="20KB", padding=5),
    "gemma3_text": Repository("gemma", "GemmaTokenizer", ("<eos>", "<end_of_turn>"), tied=True),
    "olmo2": Repository("olmo2", "GPT2Tokenizer", ("<|endoftext|>",), in_config=True, padding=7),
    "phi3": Repository(
        "phi3", "LlamaTokenizer", ("<|endoftext|>", "<|assistant|>", "<|end|>"), in_config=True, shard="20KB", padding=9
    ),
    "apertus": Repository("apertus", "PreTrainedTokenizerFast", ("<|assistant_end|>", "</s>"), dtype="bfloat16"),
}


def written(folder: Path, family: str, **values: Any) -> Any:
    """Fill `folder` as the family's repository.

    `values` are of its config. It returns the tokenizer.
    """
    import torch
    from tokenizers.processors import TemplateProcessing

    own = REPOSITORIES[family]
    tokenizer = made(own.tokenizer)
    if own.begun_by_tokenizer:
        tokenizer.chat_template = tokenizer.chat_template.replace("{{ bos_token }}", "")
    if own.closed:
        marks = [(mark, tokenizer.convert_tokens_to_ids(mark)) for mark in (tokenizer.bos_token, tokenizer.eos_token)]
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(f"{marks[0][0]} $A {marks[1][0]}", None, marks)
    tokenizer.save_pretrained(folder)
    config = read_json(folder / "tokenizer_config.json") | {"tokenizer_class": own.tokenizer_class}
    if own.in_config:
        config["chat_template"] = (folder / "chat_template.jinja").read_text()
        (folder / "chat_template.jinja").unlink()
    write_json(folder / "tokenizer_config.json", config)
    model = tiny(
        family,
        **{
            "vocab_size": len(tokenizer) + own.padding,
            "max_position_embeddings": POSITIONS,
            "tie_word_embeddings": own.tied,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        }
        | values,
    )
    stops = tokenizer.convert_tokens_to_ids(list(own.stops))
    model.generation_config.bos_token_id = tokenizer.bos_token_id
    model.generation_config.eos_token_id = stops if len(stops) > 1 else stops[0]
    model.to(getattr(torch, own.dtype)).save_pretrained(folder, max_shard_size=own.shard)
    return tokenizer
