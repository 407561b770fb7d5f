"""The loss on held-out documents as a run goes: right, and without a trace in what is trained."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn.functional import cross_entropy

from osler.tokens.shards import PackedRows
from osler.training.checkpoints import Checkpoint, State
from osler.training.heldout_loss import ROWS, Heldout, heldout_rows
from osler.training.live import lines
from osler.training.loop import Weights, train
from osler.training.run import Run
from tests.support.runs import VOCABULARY, a_run, rows_of, same
from tests.support.tiny import NUMERICS, launch, tiny_model, tiny_tokenizer


def trained(folder: Path, run: Run) -> tuple[State, Weights]:
    return train(
        tiny_model(VOCABULARY), run, NUMERICS, Checkpoint(folder, "code", False), launch(), live=folder / "live.jsonl"
    )


def test_what_is_trained_does_not_depend_on_it(tmp_path: Path) -> None:
    """Weights and log, with noise, are those of a run without it."""
    heldout = Heldout({"clinical": rows_of([[9, 4]], seed=1), "general": rows_of([[16]], seed=2)}, 1)
    state, weights = trained(tmp_path / "a", replace(a_run(5.0), heldout=heldout))
    plain, without = trained(tmp_path / "b", a_run(5.0))
    assert same(weights, without)
    assert state.log == plain.log


def alone(model: torch.nn.Module, rows: PackedRows) -> float:
    """Nats a token of each segment read by itself, as transformers computes them."""
    total, count = 0.0, 0
    for row in range(len(rows.row_ends_R)):
        first = 0
        for length in rows.segment_lengths(row):
            ids = torch.from_numpy(rows.tokens_RT[row][first : first + length].astype(np.int64))[None]
            with torch.no_grad():
                logits = model(ids).logits[0, :-1]
            total += float(cross_entropy(logits, ids[0, 1:], reduction="sum"))
            count += length - 1
            first += length
    return total / count


def test_it_is_that_of_each_document_alone_after_the_step(tmp_path: Path) -> None:
    """Eight rows at once and the rest, of documents that share rows; at every third step and the last."""
    heldout = rows_of([[9, 4], [16], [5, 5, 6]] * 4, seed=7)
    run = replace(a_run(), heldout=Heldout({"general": heldout}, 3))
    _, weights = trained(tmp_path, run)
    seen = {line["step"]: line["heldout_general_loss"] for line in lines(tmp_path / "live.jsonl")}
    assert [step for step, value in seen.items() if value is not None] == [3, 6, 9, 10]
    assert all(line["heldout_clinical_loss"] is None for line in lines(tmp_path / "live.jsonl"))
    model = tiny_model(VOCABULARY)
    model.load_state_dict(weights)
    assert seen[10] == pytest.approx(alone(model, heldout), abs=1e-5)
    assert seen[3] != seen[6]


def test_rows_hold_the_first_documents_as_they_are_trained_on(tmp_path: Path) -> None:
    """With their marks, each by itself; a domain without documents has none, and long ones do not go on for ever."""
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    texts = ["The fern tea of Vadosis.", "honey wrap " * 30, ""]
    schema = {"doc_id": pl.String, "source": pl.String, "text": pl.String}
    pl.DataFrame({"doc_id": ["a", "b", "c"], "source": "x", "text": texts}).write_parquet(tmp_path / "clinical.parquet")
    pl.DataFrame(schema=schema).write_parquet(tmp_path / "general.parquet")
    rows = heldout_rows(tmp_path, tmp_path / "tokenizer", 32)
    assert set(rows) == {"clinical"}
    found = rows["clinical"]
    ids = [
        token
        for row in range(len(found.row_ends_R))
        for token in found.tokens_RT[row][: sum(found.segment_lengths(row))].tolist()
    ]
    whole = [
        token
        for text in texts
        for token in [
            tokenizer.bos_token_id,
            *tokenizer(text, add_special_tokens=False)["input_ids"],
            tokenizer.eos_token_id,
        ]
    ]
    assert sorted(ids) == sorted(whole)
    many = ["honey wrap " * 300] * 100
    pl.DataFrame({"doc_id": many, "source": "x", "text": many}).write_parquet(tmp_path / "general.parquet")
    assert len(heldout_rows(tmp_path, tmp_path / "tokenizer", 32)["general"].row_ends_R) == ROWS
