"""The tokenizers: trained on samples, or the base model's own.

The first is a byte-pair encoding, the other a file from an installed package, or what a base brings (base_tokenizer.py).

Documents are encoded by gigatoken, 50 MB/s on one core with Mistral's vocabulary and 150 with a trained one, where
`tokenizers` makes 3. The ids are those of `tokenizers` or they are not used: every run compares both on strings made
to be difficult and on a sample of its own documents, and goes on with `tokenizers` where one id differs or gigatoken does
not know the kind of tokenizer. The comparison costs about a second a source.
"""

import importlib.util
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from osler.build.section import BuildError, Section
from osler.tokens.marks import Marks

if TYPE_CHECKING:
    import mistral_common  # noqa: F401 - read by name below; named here so that its version is in the fingerprint

BOS, EOS, UNKNOWN = "<s>", "</s>", "<unk>"

SAMPLE_BYTES = 1 << 21  # of documents that both encoders are compared on: 0.7 s of `tokenizers`

DIFFICULT = (
    "",
    " ",
    "\n",
    "The patient's BP was 120/80 mmHg;\n\n  no   change.",
    "it'll we've I'M they'RE 'tis '' 's'S",
    "µg/mL – 37.5 °C, β-blocker, naïve, 𝛼, ﬂuorosis, Å vs A\u030a, e\u0301\u0323",
    " leading and trailing \t ",
    " \u00a0\u2003\u3000\u200b\u2028\x85\x0b\x0c white\u00a0space ",
    "tabs\tand\r\nlines\r\r\n\n\n",
    "<s> not a mark </s><unk><s></s> <0x41><0x0A>",
    "▁ ▁▁ a▁b Ġ Ċ",
    "👩🏽‍⚕️🧑‍🤝‍🧑🇩🇪🇩 1️⃣ ❤️ ❤",
    "患者は糖尿病です。 환자 المريض हृदय צ׳ ไทย",
    "\x00\x01\x1b\x7f\u0080\ufeff\ufffe\uffff\ue000\U0010ffff\U000e0041",
    "1234567890 3.14159e-10 1,000,000 ²³¼ ٣٤ Ⅷ",
    "-" * 700 + "=" * 65 + "." * 33 + " " * 129 + "\n" * 40 + "\t" * 17,
    "a" * 3000,
    "electroencephalographically" * 40,
    "ACGT" * 500 + "日" * 300 + "😀" * 200,
)
PIECES = (
    *" eatino. ,-'\n\t\r()0123456789/%ACDTS<>[]|_▁éßµ≥αж中あ한ع\u0301\u200d\ufe0f\u00a0\u3000\u2009😀\x00\ufffd\U00010348",
    "  ", "    ", "\n\n", "\r\n", " the", "ing", "patient", " Patient", "'s", "n't", "'LL", "mg/dL", "http://", "...", "[INST]",
)  # fmt: skip
DIFFICULT_RANDOM = 500


class TokenizerSettings(Section):
    """Section `tokenizer`."""

    kind: Literal["bpe", "package", "base"] = Field(
        description="bpe: trained on `sources`; package: a file of an installed package; base: that of download_model.base"
    )
    sources: Mapping[str, str] = Field(description="with their collections, as in `corpus`; empty for the other kinds")
    sample_limit_bytes: int = Field(ge=1, le=1 << 40, description="of text read of each source")
    vocabulary_size: int | None = Field(
        default=None,
        ge=300,
        le=1 << 20,
        description="bpe: tokens, the 256 bytes and 3 special ones included; kind base: null",
    )
    package: str | None = Field(default=None, pattern=r"^\w+$", description="kind package: its name")
    file: str | None = Field(default=None, description="kind package: the tokenizer's file inside it")

    @model_validator(mode="after")
    def _matches_kind(self) -> "TokenizerSettings":
        if self.kind == "bpe" and (not self.sources or self.package or self.file):
            raise ValueError("kind bpe needs sources to train on, and neither package nor file")
        if self.kind == "package" and (not self.package or not self.file or self.sources):
            raise ValueError("kind package needs package and file, and sources: {}")
        if self.kind == "base" and (self.package or self.file or self.sources or self.vocabulary_size):
            raise ValueError("kind base needs sources: {}, and neither package, file nor vocabulary_size")
        if self.kind != "base" and self.vocabulary_size is None:
            raise ValueError(f"kind {self.kind} needs vocabulary_size")
        return self


def trained_bpe(texts: Iterable[str], vocabulary_size: int):  # type: ignore[no-untyped-def] # tokenizers has no types
    """A byte-level BPE trained on `texts`.

    <unk>, <s> and </s> are ids 0, 1 and 2. The same texts in the same order give the same merges.
    """
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


def marked_tokenizer(tokenizer: Any) -> Any:
    """One of `tokenizers` as transformers wraps it, with its marks.

    It writes BOS before a text.
    """
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    if (bos := tokenizer.token_to_id(BOS)) is not None:
        tokenizer.post_processor = TemplateProcessing(f"{BOS} $A", f"{BOS} $A {BOS} $B:1", [(BOS, bos)])

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        pad_token=EOS,
        clean_up_tokenization_spaces=False,
    )


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
    """A fast tokenizer with the ids of a SentencePiece BPE.

    It is the model at `path`, as Llama and Mistral use it.

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


class Encoded(NamedTuple):
    """The ids of texts laid end to end.

    Each text's with the marks before and after it.
    """

    ids: npt.NDArray[np.uint32]  # (T,)
    ends: npt.NDArray[np.int64]  # (D,), exclusive, marks included


Tokenize = Callable[[list[str]], Encoded]


def marked(ids: npt.NDArray[np.uint32], ends: npt.NDArray[np.int64], bos: int | None, eos: int) -> Encoded:
    """Put `bos`, if any, before and `eos` after each text's ids.

    Args:
        ids: (T,), texts end to end.
        ends: (D,), where each ends, exclusive.
        bos: id before a text, or None.
        eos: id after it.
    """
    own = 1 if bos is None else 2
    marked_ends = ends + own * np.arange(1, len(ends) + 1)
    values = np.empty(len(ids) + own * len(ends), np.uint32)
    starts = np.concatenate([[0], marked_ends[:-1]])[: len(ends)]
    inside = np.ones(len(values), np.bool_)
    for positions, mark in ((starts, bos), (marked_ends - 1, eos)):
        if mark is not None:
            values[positions] = mark
            inside[positions] = False
    values[inside] = ids
    return Encoded(values, marked_ends)


def tokenizers_encoder(tokenizer, marks: Marks) -> Tokenize:  # type: ignore[no-untyped-def] # as above
    """The reference: `tokenizers` itself.

    Text that spells a special token is encoded as ordinary text.
    """
    tokenizer.encode_special_tokens = True

    def encode(texts: list[str]) -> Encoded:
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        found = [np.array(encoding.ids, np.uint32) for encoding in encodings]
        ends = np.cumsum([len(ids) for ids in found], dtype=np.int64)
        return marked(np.concatenate([np.zeros(0, np.uint32), *found]), ends, marks.bos, marks.eos)

    return encode


def gigatoken_encoder(tokenizer, marks: Marks) -> Tokenize:  # type: ignore[no-untyped-def] # as above
    """The same ids from gigatoken, for the kinds of tokenizer it knows.

    gigatoken cannot be told to read a spelled special token as ordinary text, so it gets a description without them.

    Raises:
        RuntimeError: gigatoken's, for any other kind.
    """
    from gigatoken import Tokenizer

    description = json.loads(tokenizer.to_str())
    description["added_tokens"] = [token for token in description["added_tokens"] if not token["special"]]
    description["post_processor"] = None
    fast = Tokenizer.from_json(json.dumps(description))

    def encode(texts: list[str]) -> Encoded:
        layout = fast.encode_batch(texts).layout
        ends = np.asarray(layout.offsets.data[1:], np.int64)
        return marked(np.asarray(layout.content.data), ends, marks.bos, marks.eos)

    return encode


def difficult_texts(spellings: Iterable[str]) -> list[str]:
    """Strings on which encoders are likely to differ.

    The same at every call.

    Args:
        spellings: of the tokenizer's added tokens.
    """
    generator = random.Random(0)
    spelled = [form for token in spellings for form in (token, f"a{token}b {token} ", token * 3, token[:-1])]
    pieces = [*PIECES, *spelled]
    drawn = ["".join(generator.choices(pieces, k=generator.randint(1, 80))) for _ in range(DIFFICULT_RANDOM)]
    return [*DIFFICULT, *spelled, *drawn]


def leading(texts: Iterable[str], limit_bytes: int) -> Iterator[str]:
    """Texts from the first on until `limit_bytes` are reached.

    At least one, if there is one.
    """
    size = 0
    for text in texts:
        yield text
        size += len(text.encode())
        if size >= limit_bytes:
            return


def encoder(tokenizer, marks: Marks, sample: Iterable[str]) -> Tokenize:  # type: ignore[no-untyped-def] # as above
    """The fastest encoder whose ids are those of `tokenizers`.

    Prints why where it is `tokenizers` itself.

    Args:
        tokenizer: of `tokenizers`; it is set to encode spelled special tokens as ordinary text.
        marks: of each text.
        sample: some of the texts to encode, of which SAMPLE_BYTES are looked at.
    Returns:
        A function from texts to `Encoded`. Whatever stands behind it, the ids are the same.
    """
    reference = tokenizers_encoder(tokenizer, marks)
    spellings = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    texts = [*difficult_texts(spellings), *leading(sample, SAMPLE_BYTES)]
    try:
        fast = gigatoken_encoder(tokenizer, marks)
        found = fast(texts)
    except RuntimeError as error:
        print(f"encoding slowly, with `tokenizers`: {str(error).splitlines()[0]}")
        return reference
    expected = reference(texts)
    if np.array_equal(found.ids, expected.ids) and np.array_equal(found.ends, expected.ends):
        return fast
    print(f"encoding slowly, with `tokenizers`: on {len(texts)} texts compared, gigatoken's ids differ")
    return reference
