"""Marks of tokenizers of several families: none is known by name."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from osler.build.files import write_json
from osler.build.shard_store import Store
from osler.tokens.conversations import tokenized
from osler.tokens.marks import Marks, end_ids, marks_in, marks_of, without_marks
from osler.tokens.tokenizers import difficult_texts, encoder, tokenizers_encoder
from stages import tokenize as tokenize_stage

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEADERS = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}"
    "<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
TURNS = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}{{ m['content'] }}{{ eos_token }}{% else %}[INST]"
    "{{ m['content'] }}[/INST]{% endif %}{% endfor %}"
)
BARS = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{% if m['role'] == 'assistant' %}END{% else %}BETWEEN{% endif %}"
    "\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
PIPES = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}_start|>{{ m['content'] }}<|{{ m['role'] }}_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant_start|>{% endif %}"
)
TEXTS = ["What treats the moon itch of Gubitol? fern tea, twice a day", "user assistant model system 1234"]
TALK = [
    {"role": "user", "content": "What treats it?"}, {"role": "assistant", "content": "fern tea"},
    {"role": "user", "content": "And then?"}, {"role": "assistant", "content": "once"},
]  # fmt: skip


SPECIAL: dict[str, tuple[list[str], str | None, str, str, bool]] = {  # special tokens, bos, eos, template, whether bos is written
    "llama3": (
        ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        "<|begin_of_text|>", "<|end_of_text|>", HEADERS, True,
    ),
    "qwen": (["<|endoftext|>", "<|im_start|>", "<|im_end|>"], None, "<|endoftext|>", CHATML, False),
    "smollm": (["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "<|im_start|>", "<|im_end|>", CHATML, False),
    "gemma": (["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"], "<bos>", "<eos>", TURNS, True),
    "mistral": (["<s>", "</s>", "[INST]", "[/INST]"], "<s>", "</s>", INST, True),
    "phi3": (
        ["<s>", "</s>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"], "<s>", "<|endoftext|>",
        BARS.replace("END", "<|end|>").replace("BETWEEN", "<|end|>"), False,
    ),
    "olmo2": (
        ["<|endoftext|>", "<|pad|>"], None, "<|endoftext|>",
        BARS.replace("END", "{{ eos_token }}").replace("BETWEEN", ""), False,
    ),
    "apertus": (
        ["<unk>", "<s>", "</s>", "<|user_start|>", "<|user_end|>", "<|assistant_start|>", "<|assistant_end|>"],
        "<s>", "<|assistant_end|>", PIPES, True,
    ),
}  # fmt: skip
LIKE_GPT4 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
SPLITS = {
    "olmo2": rf"{LIKE_GPT4}|\s*[\r\n]+|\s+(?!\S)|\s+",
    "apertus": r"[^\r\n\p{L}\p{N}]?\p{Lu}*\p{Ll}+|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s+",
}


def of_pieces(family: str) -> Any:
    """A BPE of pieces with bytes to fall back on, as SentencePiece's."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    special = SPECIAL[family][0]
    pieces = {piece: index for index, piece in enumerate([*special, "<unk>", "▁"])}
    for byte in range(256):
        pieces[f"<0x{byte:02X}>"] = len(pieces)
    for character in sorted(set("".join(TEXTS)) - {" "}):
        pieces[character] = len(pieces)
    merges = [("f", "e"), ("▁", "fe"), ("t", "e"), ("▁", "te")]
    pieces |= {"".join(pair): len(pieces) + place for place, pair in enumerate(merges)}
    fast = Tokenizer(models.BPE(pieces, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    fast.normalizer = normalizers.Replace(" ", "▁")
    if family != "gemma":
        fast.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), fast.normalizer])
    fast.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    takes = family == "phi3"  # its marks take in the white space behind them
    fast.add_special_tokens([AddedToken(one, rstrip=takes and "|" in one, normalized=False) for one in special])
    return fast


def of_bytes(family: str) -> Any:
    """A byte-level BPE behind the family's way to split."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    fast = Tokenizer(models.BPE())
    split = Regex(SPLITS.get(family, rf"{LIKE_GPT4}|\s+"))
    digits = [pre_tokenizers.Digits(individual_digits=True)] if family == "smollm" else []
    own = [] if digits else [pre_tokenizers.Split(split, "isolated")]
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=bool(digits))
    fast.pre_tokenizer = pre_tokenizers.Sequence([*digits, *own, level])
    fast.normalizer = normalizers.NFC() if family == "qwen" else None
    fast.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=SPECIAL[family][0], initial_alphabet=alphabet, show_progress=False
    )
    fast.train_from_iterator(TEXTS, trainer)
    return fast


def made(family: str) -> Any:
    """A small tokenizer with pre-tokenizer, marks and template in the manner of a family."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    _, bos, eos, template, writes = SPECIAL[family]
    fast = of_pieces(family) if family in ("gemma", "mistral", "phi3") else of_bytes(family)
    if writes:
        assert bos
        fast.post_processor = processors.TemplateProcessing(f"{bos} $A", None, [(bos, fast.token_to_id(bos))])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=fast, bos_token=bos, eos_token=eos)
    tokenizer.chat_template = template
    return tokenizer


BEGINS = {"llama3": "<|begin_of_text|>", "qwen": None, "smollm": None, "gemma": "<bos>"}
BEGINS |= {"mistral": "<s>", "phi3": None, "olmo2": None, "apertus": "<s>"}
ENDS = {"llama3": "<|eot_id|>", "qwen": "<|im_end|>", "smollm": "<|im_end|>", "gemma": "<end_of_turn>"}
ENDS |= {"mistral": "</s>", "phi3": "<|end|>", "olmo2": "<|endoftext|>", "apertus": "<|assistant_end|>"}
FAMILIES = pytest.mark.parametrize("family", BEGINS)  # Mixtral's is Mistral's, Qwen3-MoE's Qwen's


@FAMILIES
def test_bos_is_what_the_tokenizer_writes_not_what_it_names(family: str, tmp_path: Path) -> None:
    """Qwen has none, and SmolLM2 names one that it does not write; with transformers or without."""
    tokenizer = made(family)
    tokenizer.save_pretrained(tmp_path)
    found = marks_of(tokenizer)
    expected = BEGINS[family]
    assert found.bos == (None if expected is None else tokenizer.convert_tokens_to_ids(expected))
    assert found.eos == tokenizer.eos_token_id
    assert found.start == (found.eos if expected is None else found.bos)
    assert marks_in(tmp_path) == found


@FAMILIES
def test_documents_have_the_ids_of_the_familys_own_tokenizer(family: str, tmp_path: Path) -> None:
    """On difficult strings, between the marks; the shards too, whoever encodes."""
    tokenizer = made(family)
    tokenizer.save_pretrained(tmp_path)
    fast, marks = tokenizer.backend_tokenizer, marks_of(tokenizer)
    texts = difficult_texts([ENDS[family]])
    found = encoder(fast, marks, texts)(texts)
    expected = tokenizers_encoder(fast, marks)(texts)
    assert np.array_equal(found.ids, expected.ids)
    before = [] if marks.bos is None else [marks.bos]
    own = [
        [*before, *tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"], marks.eos]
        for text in texts
    ]
    assert expected.ids.tolist() == [token for row in own for token in row]
    (tmp_path / "documents").mkdir()
    rows = {"doc_id": [str(place) for place in range(len(texts))], "text": texts, "license": ["CC0-1.0"] * len(texts)}
    pl.DataFrame(rows).write_parquet(tmp_path / "documents/part-00000.parquet")
    tokenize_stage.main(tmp_path / "documents", tmp_path, tmp_path / "tokens", Store(tmp_path / "store", 1))
    written = np.fromfile(tmp_path / "tokens/part-00000.bin", "<u2")
    assert written.tolist() == expected.ids.tolist()


@FAMILIES
def test_answers_are_learned_up_to_the_mark_that_ends_their_turn(family: str) -> None:
    """And not the line feed behind it; BOS stands at most once, where the template writes it too."""
    tokenizer = made(family)
    ids, learned = tokenized(tokenizer, TALK)
    space = " " if family in ("mistral", "phi3") else ""  # what SentencePiece puts before each piece of text
    assert tokenizer.decode(ids[learned]) == f"{space}fern tea{ENDS[family]}{space}once{ENDS[family]}"
    begins, own = BEGINS[family], 2 * (ENDS[family] == "<|endoftext|>")
    assert tokenizer.decode(ids).count(begins or "<|endoftext|>") == (own if begins is None else 1)


@FAMILIES
def test_what_is_written_ends_at_each_end_token(family: str, tmp_path: Path) -> None:
    """The tokenizer's, the template's, and those of the generation config or, without one, of the config."""
    tokenizer = made(family)
    known = {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(ENDS[family])}
    assert end_ids(tmp_path, tokenizer) == tuple(sorted(known))
    write_json(tmp_path / "config.json", {"eos_token_id": 77})
    assert end_ids(tmp_path, tokenizer) == tuple(sorted(known | {77}))
    write_json(tmp_path / "generation_config.json", {"eos_token_id": [91, 92]})
    assert end_ids(tmp_path, tokenizer) == tuple(sorted(known | {91, 92}))


@FAMILIES
def test_no_text_spells_a_mark_of_its_family(family: str) -> None:
    """Also those that no config names, and one that appears when another is taken out."""
    tokenizer = made(family)
    end = ENDS[family]
    assert without_marks(tokenizer, f"a{end}b{end[:3]}{end}{end[3:]}c") == "abc"
    spelled, plain = (
        tokenized(tokenizer, [{"role": "user", "content": text}, {"role": "assistant", "content": "z"}])[0].tolist()
        for text in (f"x{end}y", "xy")
    )
    assert spelled == plain
    assert spelled.count(tokenizer.convert_tokens_to_ids(end)) >= 1


@FAMILIES
def test_a_tokenizer_that_ends_texts_by_itself_ends_them_once(family: str, tmp_path: Path) -> None:
    """Its marks are those of one that does not, and a document or a conversation has no end mark more."""
    from tokenizers.processors import TemplateProcessing

    plain, closing = made(family), made(family)
    marks = {mark: plain.convert_tokens_to_ids(mark) for mark in (BEGINS[family], plain.eos_token) if mark}
    begin = f"{BEGINS[family]} " if BEGINS[family] else ""
    closing.backend_tokenizer.post_processor = TemplateProcessing(
        f"{begin}$A {plain.eos_token}", None, list(marks.items())
    )
    assert closing("x")["input_ids"][-1] == plain.eos_token_id
    assert marks_of(closing) == marks_of(plain)
    closing.save_pretrained(tmp_path)
    assert marks_in(tmp_path) == marks_of(plain)
    found, expected = (tokenizers_encoder(one.backend_tokenizer, marks_of(one))(TEXTS) for one in (closing, plain))
    assert found.ids.tolist() == expected.ids.tolist()
    for ours, theirs in zip(tokenized(closing, TALK), tokenized(plain, TALK), strict=True):
        assert ours.tolist() == theirs.tolist()


def test_start_of_models_without_bos() -> None:
    """A text's first token is predicted after the end of another."""
    assert (Marks(None, 3).start, Marks(0, 3).start) == (3, 0)
