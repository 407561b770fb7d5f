"""A vocabulary of more than 65,536 tokens: ids of 32 bits from shards through rows to a batch."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from osler.build.shard_store import Store
from osler.tokens.packing import Pack
from osler.tokens.shards import PackedRows, token_dtype
from osler.training.batches import batch_of
from stages import pack
from stages import tokenize as tokenize_stage

WORDS = {"small": 1 << 16, "large": (1 << 16) + 400}  # tokens; the last id of the first is 65,535


def write_tokenizer(folder: Path, tokens: int) -> None:
    """A word a token, named after its id: `w70` is 70; the first is the end mark, and none stands before a text."""
    vocabulary = {"<end>": 0} | {f"w{number}": number for number in range(1, tokens)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="w1"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing("$A", None, [])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)


def packed(folder: Path, documents: list[list[int]], tokens: int) -> tuple[PackedRows, dict[str, Any]]:
    """The rows of 8 tokens of these documents by the stages themselves, and the shards' manifest."""
    write_tokenizer(folder / "tokenizer", tokens)
    (folder / "documents").mkdir()
    names = [f"n/{number}" for number in range(len(documents))]
    texts = [" ".join(f"w{token}" for token in document) for document in documents]
    rows = {"doc_id": names, "text": texts, "license": ["CC0-1.0"] * len(names)}
    pl.DataFrame(rows).write_parquet(folder / "documents/part-00000.parquet")
    store = Store(folder / "store", 1)
    tokenize_stage.main(folder / "documents", folder / "tokenizer", folder / "tokens", store)
    pl.DataFrame({"doc_id": names}).write_parquet(folder / "keep.parquet")
    (folder / "screens").mkdir()
    screens = {"doc_id": names, "language": ["en"] * len(names), "text_hash": [1] * len(names)}
    pl.DataFrame(screens).write_parquet(folder / "screens/part-00000.parquet")
    settings = Pack.model_validate({"sequence_length_tokens": 8, "seed": 1, "subset": None})
    pack.main(folder / "keep.parquet", folder / "screens", folder / "tokens", folder / "packed", settings)
    return PackedRows.open(folder / "packed"), json.loads((folder / "tokens/manifest.json").read_text())


@pytest.mark.parametrize(("kind", "dtype"), [("small", "<u2"), ("large", "<u4")])
def test_the_last_ids_come_through_to_a_batch(kind: str, dtype: str, tmp_path: Path) -> None:
    """As they were written, each with the end mark; in 16 bits the large ones would be others, from 0 up."""
    last = WORDS[kind] - 1
    documents = [[last, 5, last - 1], [7, last, 9, 10, 11, last - 300, 13], [3, 4]]
    rows, facts = packed(tmp_path, documents, WORDS[kind])
    assert facts["dtype"] == dtype
    assert rows.tokens_RT[0].dtype.str == dtype
    found = []
    for row in range(len(rows.row_ends_R)):
        batch = batch_of([(rows, row)])
        bounds = np.cumsum([0, *rows.segment_lengths(row)])
        found += [batch.tokens_BT[0, first:end].tolist() for first, end in pairwise(bounds)]
    assert sorted(found) == sorted([*document, 0] for document in documents)


def test_16_bits_hold_65536_tokens_and_no_more() -> None:
    assert [token_dtype(size).str for size in (1 << 16, (1 << 16) + 1)] == ["<u2", "<u4"]
