"""Tokenizers: repeatable, true to Mistral, and the same when fast."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as run_settings
from hypothesis import strategies as st

from osler.build.files import folder_hash
from osler.build.section import BuildError
from osler.build.shard_store import Store
from osler.ingest.fields import Template
from osler.ingest.records import raw_records
from osler.tokens import tokenizers
from osler.tokens.marks import Marks, marks_in, marks_of
from osler.tokens.tokenizers import (
    PIECES,
    Encoded,
    Tokenize,
    TokenizerSettings,
    difficult_texts,
    encoder,
    gigatoken_encoder,
    leading,
    marked,
    marked_tokenizer,
    package_file,
    sentencepiece_tokenizer,
    tokenizers_encoder,
    trained_bpe,
)
from stages import tokenize as tokenize_stage
from stages import tokenizer as tokenizer_stage
from tests.ingest.test_records import section
from tests.support.project import SHARED

MARKS = Marks(1, 2)
HARD = [
    "The patient's BP was 120/80 mmHg;\n\n  no   change.",
    "µg/mL – 37.5 °C, β-blocker, naïve, 𝛼",
    " leading and trailing ",
    "<s> not a mark </s>",
    "",
    "tabs\tand\r\nlines",
]


def split(encoded: Encoded) -> list[list[int]]:
    """The ids of each text."""
    return [ids.tolist() for ids in np.split(encoded.ids, encoded.ends[:-1])]


def bpe() -> Any:
    """A byte-level BPE as the default build trains it."""
    return trained_bpe(
        [*PIECES, *("The patient's blood pressure was 120/80 mmHg after treatment. " * 3).split(".")], 600
    )


def mistral() -> Any:
    """The vocabulary of profiles/real-small.yaml."""
    return sentencepiece_tokenizer(package_file("mistral_common", "data/tokenizer.model.v1"))


@cache
def encoders(tokenizer: Callable[[], Any]) -> tuple[Tokenize, Tokenize]:
    """The reference, and what must equal it."""
    return tokenizers_encoder(tokenizer(), MARKS), gigatoken_encoder(tokenizer(), MARKS)


BOTH = pytest.mark.parametrize("tokenizer", [bpe, mistral])


def test_mistrals_tokenizer_gives_the_ids_of_sentencepiece_itself() -> None:
    """Ids equal those of the SentencePiece library.

    On text with odd spaces, unusual characters and spelled marks.
    """
    from sentencepiece import SentencePieceProcessor

    path = package_file("mistral_common", "data/tokenizer.model.v1")
    ours = sentencepiece_tokenizer(path)
    theirs = SentencePieceProcessor(model_file=str(path))
    assert ours.get_vocab_size() == theirs.vocab_size() == 32000
    for text, ids in zip(HARD, split(tokenizers_encoder(ours, MARKS)(HARD)), strict=True):
        assert ids == [1, *theirs.encode(text), 2], text


@BOTH
def test_gigatoken_gives_the_ids_of_tokenizers_on_difficult_strings(tokenizer: Callable[[], Any]) -> None:
    """Text by text, special tokens spelled in a text included."""
    slow, fast = encoders(tokenizer)
    texts = [*HARD, *difficult_texts(["<s>", "</s>", "<unk>"])]
    for text, expected, found in zip(texts, split(slow(texts)), split(fast(texts)), strict=True):
        assert found == expected, repr(text)


PIECEWISE = st.lists(st.sampled_from([*PIECES, "<s>", "</s>", "<unk>", "<0x41>"]), max_size=60).map("".join)


@BOTH
@run_settings(deadline=None)  # the first example loads the tokenizer
@given(texts=st.lists(st.text() | PIECEWISE, max_size=5))
def test_gigatoken_gives_the_ids_of_tokenizers_on_any_string(tokenizer: Callable[[], Any], texts: list[str]) -> None:
    """Any characters, and any order of the pieces that encoders split at.

    Also of no text at all.
    """
    slow, fast = encoders(tokenizer)
    expected, found = slow(texts), fast(texts)
    assert found.ids.tolist() == expected.ids.tolist()
    assert found.ends.tolist() == expected.ends.tolist()


@BOTH
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real documents, in OSLER_SHARED_DATA")
@pytest.mark.parametrize(
    ("path", "file_format", "field", "every"),
    [
        ("corpus/pmc_oa_rct", "jsonl", "text", 20),
        ("corpus/drug_labels", "parquet", "text", 10),
        ("corpus/mtsamples", "jsonl", "transcription", 20),
        ("instruct/genmedgpt_5k", "jsonl", "output", 20),
        ("replay/pepys_diary", "jsonl", "text", 10),
    ],
)
def test_gigatoken_gives_the_ids_of_tokenizers_on_real_documents(
    tokenizer: Callable[[], Any], path: str, file_format: str, field: str, every: int
) -> None:
    """On articles, drug labels, notes, chats and a diary.

    With line breaks of PDFs and wrongly decoded characters.
    """
    source = section(collection="general", path=path, format=file_format, text=f"{{{field}}}")
    records = [record for _, record in raw_records(SHARED / path, source)][::every]
    rendered = [Template(f"{{{field}}}").rendered(record) for record in records if isinstance(record, dict)]
    texts = [text for text in rendered if isinstance(text, str)]
    assert len(texts) > 10
    slow, fast = encoders(tokenizer)
    for text, expected, found in zip(texts, split(slow(texts)), split(fast(texts)), strict=True):
        assert found == expected, text[:80]


def test_marks_stand_around_every_text_also_an_empty_one() -> None:
    """Texts of 2, 0 and 1 ids become 4, 2 and 3."""
    found = marked(np.array([7, 8, 9], np.uint32), np.array([2, 2, 3]), 1, 5)
    assert found.ids.tolist() == [1, 7, 8, 5, 1, 5, 1, 9, 5]
    assert found.ends.tolist() == [4, 6, 9]
    assert marked(np.array([7, 8, 9], np.uint32), np.array([2, 2, 3]), None, 5).ids.tolist() == [7, 8, 5, 5, 9, 5]
    assert [len(part) for part in marked(np.zeros(0, np.uint32), np.zeros(0, np.int64), 1, 5)] == [0, 0]


def test_a_token_added_to_the_vocabulary_is_one_token_whoever_encodes() -> None:
    """Only special tokens are read as ordinary text.

    A word that somebody added as a token of its own is not.
    """
    tokenizer = bpe()
    tokenizer.add_tokens(["HbA1c"])
    texts = ["the HbA1c is", "HbA1c</s>HbA1cHbA1c"]
    expected = tokenizers_encoder(tokenizer, MARKS)(texts).ids.tolist()
    assert expected.count(tokenizer.token_to_id("HbA1c")) == 4
    assert gigatoken_encoder(tokenizer, MARKS)(texts).ids.tolist() == expected


def test_a_tokenizer_that_gigatoken_does_not_know_is_encoded_by_tokenizers(capsys: pytest.CaptureFixture[str]) -> None:
    """With a line that says so; the ids are the tokenizer's own."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2, "fern": 3}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    found = encoder(tokenizer, MARKS, ["fern tea"])(["fern tea", "fern"])
    assert split(found) == [[1, 3, 0, 2], [1, 3, 2]]
    assert "WordLevel" in capsys.readouterr().out


@pytest.mark.parametrize("sign", ["fern", "▁ ▁▁"])
def test_one_other_id_is_enough_to_use_tokenizers(
    sign: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a document of the sample, or in a difficult string."""

    def wrong(tokenizer: Any, marks: Marks) -> Tokenize:
        right = gigatoken_encoder(tokenizer, marks)

        def encode(texts: list[str]) -> Encoded:
            ids, ends = right(texts)
            for end in (end for text, end in zip(texts, ends.tolist(), strict=True) if text.startswith(sign)):
                ids[end - 2] += 1
            return Encoded(ids, ends)

        return encode

    monkeypatch.setattr(tokenizers, "gigatoken_encoder", wrong)
    texts = ["moss tea", "fern tea"]
    found = encoder(bpe(), MARKS, texts)(texts)
    assert found.ids.tolist() == tokenizers_encoder(bpe(), MARKS)(texts).ids.tolist()
    assert "differ" in capsys.readouterr().out
    assert encoder(bpe(), MARKS, [])(["a"]).ends.tolist() == [3]
    assert ("differ" in capsys.readouterr().out) == (sign != "fern")


def test_a_sample_stops_where_it_is_large_enough_and_has_at_least_one_text() -> None:
    """Counted in bytes: two Greek letters are four."""
    assert list(leading(["αβ", "c", "d"], 5)) == ["αβ", "c"]
    assert list(leading(["αβ", "c", "d"], 1)) == ["αβ"]
    assert list(leading([], 1)) == []


def test_a_tokenizer_without_an_end_mark_is_refused(tmp_path: Path) -> None:
    """Documents would run into each other."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe())
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(BuildError, match="no eos_token, which ends documents"):
        marks_in(tmp_path)
    with pytest.raises(BuildError, match="no eos_token, which ends documents"):
        marks_of(tokenizer)


def test_shards_are_the_same_bytes_whoever_encodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ids, ends, documents and manifest."""
    marked_tokenizer(bpe()).save_pretrained(tmp_path)
    texts = difficult_texts(["</s>"])
    documents = {"doc_id": [str(n) for n in range(len(texts))], "text": texts, "license": ["CC0-1.0"] * len(texts)}
    (tmp_path / "documents").mkdir()

    def no_ids(*_: Any) -> Tokenize:
        return lambda _: Encoded(np.zeros(0, np.uint32), np.zeros(0, np.int64))

    pl.DataFrame(documents).write_parquet(tmp_path / "documents" / "part-00000.parquet")
    tokenize_stage.main(tmp_path / "documents", tmp_path, tmp_path / "fast", Store(tmp_path / "store/fast", 1))
    monkeypatch.setattr(tokenizers, "gigatoken_encoder", no_ids)
    tokenize_stage.main(tmp_path / "documents", tmp_path, tmp_path / "slow", Store(tmp_path / "store/slow", 1))
    assert capsys.readouterr().out.count("encoding slowly") == 1
    assert folder_hash(tmp_path / "fast") == folder_hash(tmp_path / "slow")


def test_training_twice_gives_the_same_tokenizer() -> None:
    """Byte for byte, marks first."""
    texts = [f"Gubitol {n} treats moon itch" for n in range(50)]
    first, again = (trained_bpe(texts, 400).to_str() for _ in range(2))
    assert first == again
    assert [trained_bpe(texts, 400).id_to_token(index) for index in range(3)] == ["<unk>", "<s>", "</s>"]


def test_a_byte_level_tokenizer_loses_nothing() -> None:
    """Decoding gives the text back, whatever it is, between the two marks."""
    tokenizer = trained_bpe(["a few words"], 300)
    for text, ids in zip(HARD, split(encoder(tokenizer, MARKS, [])(HARD)), strict=True):
        assert (ids[0], ids[-1]) == (1, 2)
        assert tokenizer.decode(ids[1:-1], skip_special_tokens=False) == text


def settings(**changes: object) -> TokenizerSettings:
    values: dict[str, object] = {
        "kind": "bpe", "sources": {"a": "clinical"}, "sample_limit_bytes": 10, "vocabulary_size": 300,
        "package": None, "file": None,
    }  # fmt: skip
    return TokenizerSettings.model_validate(values | changes)


def test_the_stage_writes_a_folder_that_transformers_loads(tmp_path: Path) -> None:
    """With marks and the trained vocabulary, and without a chat template.

    <s> comes before a text once, unless it is asked not to.
    """
    from transformers import AutoTokenizer

    (tmp_path / "clinical/a").mkdir(parents=True)
    pl.DataFrame({"text": ["some words " * 20]}).write_parquet(tmp_path / "clinical/a/part-00000.parquet")
    tokenizer_stage.main(tmp_path, tmp_path / "out", settings(), {})
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert (loaded.bos_token_id, loaded.eos_token_id) == (1, 2)
    assert loaded.chat_template is None
    plain = loaded("some words", add_special_tokens=False)["input_ids"]
    assert loaded.encode("some words") == [1, *plain]
    assert 1 not in plain
    assert loaded("some words", "words")["input_ids"].count(1) == 2


def test_settings_that_contradict_each_other_are_refused() -> None:
    """bpe without sources, and a package without a file.

    An installed package without that file.
    """
    with pytest.raises(ValueError, match="sources to train on"):
        settings(sources={})
    for unread in ("package", "file"):
        with pytest.raises(ValueError, match="neither package nor file"):
            settings(**{unread: "nonesuch"})
    with pytest.raises(ValueError, match="needs package and file"):
        settings(kind="package", sources={})
    with pytest.raises(BuildError, match="tokenizer.file"):
        package_file("mistral_common", "data/nothing.model")
