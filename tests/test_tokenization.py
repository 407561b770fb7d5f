"""Tokenizers: trained ones are deterministic, Mistral's is Mistral's."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import tokenizer as tokenizer_stage
from stages.lib.section import BuildError
from stages.lib.tokenization import TokenizerSettings, encoded, package_file, sentencepiece_tokenizer, trained_bpe

HARD = [
    "The patient's BP was 120/80 mmHg;\n\n  no   change.",
    "µg/mL – 37.5 °C, β-blocker, naïve, 𝛼",
    " leading and trailing ",
    "<s> not a mark </s>",
    "",
    "tabs\tand\r\nlines",
]


def test_mistrals_tokenizer_gives_the_ids_of_sentencepiece_itself() -> None:
    """On text with odd spaces, unusual characters and spelled marks, ids equal those of the SentencePiece library."""
    from sentencepiece import SentencePieceProcessor

    path = package_file("mistral_common", "data/tokenizer.model.v1")
    ours = sentencepiece_tokenizer(path)
    ours.encode_special_tokens = True
    theirs = SentencePieceProcessor(model_file=str(path))
    assert ours.get_vocab_size() == theirs.vocab_size() == 32000
    for text, ids in zip(HARD, encoded(ours, HARD), strict=True):
        assert ids.tolist() == [1, *theirs.encode(text), 2], text


def test_training_twice_gives_the_same_tokenizer() -> None:
    """Byte for byte, marks first."""
    texts = [f"Gubitol {n} treats moon itch" for n in range(50)]
    first, again = (trained_bpe(texts, 400).to_str() for _ in range(2))
    assert first == again
    assert [trained_bpe(texts, 400).id_to_token(index) for index in range(3)] == ["<unk>", "<s>", "</s>"]


def test_a_byte_level_tokenizer_loses_nothing() -> None:
    """Decoding gives the text back, whatever it is, between the two marks."""
    tokenizer = trained_bpe(["a few words"], 300)
    tokenizer.encode_special_tokens = True
    for text, ids in zip(HARD, encoded(tokenizer, HARD), strict=True):
        assert (ids[0], ids[-1]) == (1, 2)
        assert tokenizer.decode(ids[1:-1].tolist(), skip_special_tokens=False) == text


def settings(**changes: object) -> TokenizerSettings:
    values: dict[str, object] = {
        "kind": "bpe", "sources": {"a": "clinical"}, "sample_limit_bytes": 10, "vocabulary_size": 300,
        "package": None, "file": None, "chat_template": "{{ messages }}",
    }  # fmt: skip
    return TokenizerSettings.model_validate(values | changes)


def test_the_stage_writes_a_folder_that_transformers_loads(tmp_path: Path) -> None:
    """With marks, chat template and the trained vocabulary."""
    from transformers import AutoTokenizer

    pl.DataFrame({"text": ["some words " * 20]}).write_parquet(tmp_path / "a.parquet")
    tokenizer_stage.main(tmp_path, tmp_path / "out", settings())
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert (loaded.bos_token_id, loaded.eos_token_id) == (1, 2)
    assert loaded.chat_template == "{{ messages }}"
    assert np.array_equal(loaded("some words", add_special_tokens=False)["input_ids"], loaded.encode("some words"))


def test_settings_that_contradict_each_other_are_refused() -> None:
    """bpe without sources, and a package without a file; an installed package without that file."""
    with pytest.raises(ValueError, match="sources to train on"):
        settings(sources={})
    with pytest.raises(ValueError, match="needs package and file"):
        settings(kind="package", sources={})
    with pytest.raises(BuildError, match="tokenizer.file"):
        package_file("mistral_common", "data/nothing.model")
