"""The tokenizers: a byte-pair encoding trained on samples, or the base model's own file from an installed package."""

import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from stages.lib.section import BuildError, Section

if TYPE_CHECKING:
    import mistral_common  # noqa: F401 - read by name below; named here so that its version is in the fingerprint

BOS, EOS, UNKNOWN = "<s>", "</s>", "<unk>"


class TokenizerSettings(Section):
    """Section `tokenizer`."""

    kind: Literal["bpe", "package"]
    sources: Mapping[str, str]
    sample_limit_bytes: int = Field(ge=1)
    vocabulary_size: int = Field(ge=300, description="bpe: tokens, the 256 bytes and 3 special ones included")
    package: str | None
    file: str | None
    chat_template: str

    @model_validator(mode="after")
    def _matches_kind(self) -> "TokenizerSettings":
        if self.kind == "bpe" and not self.sources:
            raise ValueError("kind bpe needs sources to train on")
        if self.kind == "package" and (not self.package or not self.file or self.sources):
            raise ValueError("kind package needs package and file, and sources: {}")
        return self


def trained_bpe(texts: Iterable[str], vocabulary_size: int):  # type: ignore[no-untyped-def] # tokenizers has no types
    """A byte-level BPE with <unk>, <s> and </s> as ids 0, 1 and 2; the same texts in the same order give the same merges."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[UNKNOWN, BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def package_file(package: str, file: str) -> Path:
    """The path of `file` inside the installed `package`.

    Raises:
        BuildError: the package is not installed, or has no such file.
    """
    spec = importlib.util.find_spec(package)
    folder = Path(spec.origin).parent if spec and spec.origin else None
    if folder is None or not (folder / file).is_file():
        raise BuildError(f"params.yaml: tokenizer.file: the installed package {package!r} has no file {file!r}")
    return folder / file


def sentencepiece_tokenizer(path: Path):  # type: ignore[no-untyped-def] # tokenizers has no types
    """A fast tokenizer with the ids of the SentencePiece BPE model at `path`, as Llama and Mistral use it.

    transformers' LlamaConverter would be the library's way, but cannot read BPE models in 5.23 (it hands its extractor a
    list where a class is expected); the merges below come from the function it would have called.
    """
    from sentencepiece import SentencePieceProcessor
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers.tokenization_utils_base import generate_merges

    pieces = SentencePieceProcessor(model_file=str(path))
    vocabulary = {pieces.id_to_piece(index): index for index in range(pieces.vocab_size())}
    scores = {piece: pieces.get_score(index) for piece, index in vocabulary.items()}
    tokenizer = Tokenizer(
        models.BPE(
            vocabulary, generate_merges(vocabulary, scores), unk_token=UNKNOWN, fuse_unk=True, byte_fallback=True
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([UNKNOWN, BOS, EOS])
    return tokenizer


def encoded(tokenizer, texts: list[str]) -> Iterator[np.ndarray]:  # type: ignore[no-untyped-def] # as above
    """Each text's ids with <s> before and </s> after it; text that spells a special token is encoded as ordinary text."""
    bos, eos = tokenizer.token_to_id(BOS), tokenizer.token_to_id(EOS)
    for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
        yield np.array([bos, *encoding.ids, eos], np.int64)
