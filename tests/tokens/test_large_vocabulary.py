"""Ids beyond 65,535: 32 bits from shards through rows to a batch, however many tokens the vocabulary has."""

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from osler.build.shard_store import Store
from osler.model.architecture import Architecture
from osler.model.folder import fresh_model
from osler.model.vocabulary import id_limit
from osler.tokens.instructions import fitted, write_instructions
from osler.tokens.packing import Pack
from osler.tokens.shards import PackedRows, token_dtype
from osler.training.batches import batch_of
from stages import pack, task_rows
from stages import tokenize as tokenize_stage

HOLES = [*range(100), *range(69_000, 70_000)]  # 1,100 tokens
IDS = {"small": [*range(1 << 16)], "large": [*range((1 << 16) + 400)], "holes": HOLES}
TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' %} <end>{% endif %} {% endfor %}"


def made(ids: Iterable[int]) -> Any:
    """A word a token, named after its id: `w70` is 70; the first is the end mark, and none stands before a text."""
    vocabulary = {"<end>" if number == 0 else f"w{number}": number for number in ids}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="w1"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing("$A", None, [])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", chat_template=TEMPLATE)


def packed(folder: Path, documents: list[list[int]], ids: Iterable[int]) -> tuple[PackedRows, dict[str, Any]]:
    """The rows of 8 tokens of these documents by the stages themselves, and the shards' manifest."""
    made(ids).save_pretrained(folder / "tokenizer")
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


@pytest.mark.parametrize(("kind", "dtype"), [("small", "<u2"), ("large", "<u4"), ("holes", "<u4")])
def test_the_last_ids_come_through_to_a_batch(kind: str, dtype: str, tmp_path: Path) -> None:
    """As they were written, each with the end mark; in 16 bits the large ones would be others, from 0 up."""
    last = IDS[kind][-1]
    documents = [[last, 5, last - 1], [7, last, 9, 10, 11, last - 300, 13], [3, 4]]
    rows, facts = packed(tmp_path, documents, IDS[kind])
    assert facts["dtype"] == dtype
    assert rows.tokens_RT[0].dtype.str == dtype
    found = []
    for row in range(len(rows.row_ends_R)):
        batch = batch_of([(rows, row)])
        bounds = np.cumsum([0, *rows.segment_lengths(row)])
        found += [batch.tokens_BT[0, first:end].tolist() for first, end in pairwise(bounds)]
    assert sorted(found) == sorted([*document, 0] for document in documents)


@pytest.mark.parametrize(("last", "dtype"), [((1 << 16) - 1, "<u2"), (1 << 16, "<u4")])
def test_16_bits_hold_ids_up_to_65535(last: int, dtype: str) -> None:
    """Of both libraries' tokenizers, however few tokens there are; an added token counts."""
    tokenizer = made([0, 1, last])
    assert (token_dtype(tokenizer).str, token_dtype(tokenizer.backend_tokenizer).str) == (dtype, dtype)
    assert id_limit(tokenizer) == last + 1
    full = made(range(1 << 16))
    full.add_tokens(["<more>"])
    assert (token_dtype(full).str, id_limit(full)) == ("<u4", (1 << 16) + 1)


def test_conversations_behind_a_hole_keep_their_ids(tmp_path: Path) -> None:
    """As instructions, exercises and rows of a task."""
    tokenizer = made(HOLES)
    turns = [{"role": "user", "content": "w69001 w5"}, {"role": "assistant", "content": "w69999 w7"}]
    schema = {"source": ["a"], "doc_id": ["a/0"], "license": ["MIT"], "turns": [turns]}
    found, _ = fitted(tokenizer, pl.DataFrame(schema), 8, "drop", "instruct")
    task = pl.DataFrame({"item_id": ["a/0"], "task": ["a"], "text": ["w69001 w5"], "label": ["w69999 w7"]})
    for name, conversations in {"instruct": found, "task": task_rows.conversations(tokenizer, task, 8, {})}.items():
        write_instructions(tmp_path / name, conversations, 8, token_dtype(tokenizer), 1)
        rows = PackedRows.open(tmp_path / name)
        assert rows.tokens_RT[0][:5].tolist() == [69001, 5, 69999, 7, 0]


def test_a_model_made_here_has_an_embedding_for_every_id(tmp_path: Path) -> None:
    """As many as tokens would end behind the hole."""
    made(HOLES).save_pretrained(tmp_path)
    sizes = {
        "hidden_size": 8, "layers": 1, "heads": 1, "key_value_heads": 1, "intermediate_size": 8, "initializer_range": 0.1,
        "tie_embeddings": True, "maximum_positions": 16, "experts": None,
    }  # fmt: skip
    model = fresh_model(Architecture.model_validate(sizes), tmp_path, 1)
    assert model.get_input_embeddings().weight.shape == (70_000, 8)
    assert model(input_ids=torch.tensor([[69_999]])).logits.shape == (1, 1, 70_000)
