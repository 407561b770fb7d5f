"""bench.noised: loss and distance of noised rows."""

import json
from pathlib import Path

import pytest
import torch

from bench import noised
from osler.tokens.shards import PackedRows
from tests.support.runs import VOCABULARY, rows_of
from tests.support.tiny import tiny_model

LENGTHS = [[9, 4], [16], [3, 5, 4, 2]]


def test_more_noise_is_further_and_none_is_not_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss without noise is the model's own, and the same command gives the same figures."""
    model, rows = tiny_model(VOCABULARY), rows_of(LENGTHS)
    model.save_pretrained(tmp_path / "model")
    monkeypatch.setattr(PackedRows, "open", lambda _: rows)
    arguments = [str(tmp_path / "model"), "--alpha", "0", "5", "30", "--out", str(tmp_path / "out.json")]
    none, some, much = noised.main(arguments)
    summed, labels = 0.0, 0
    for row, lengths in enumerate(LENGTHS):
        for index, length in enumerate(lengths):
            start = sum(lengths[:index])
            tokens = torch.from_numpy(rows.tokens_RT[row][start : start + length].astype("int64"))[None]
            with torch.no_grad():
                summed += float(model(tokens, labels=tokens).loss) * (length - 1)
            labels += length - 1
    assert none.loss == pytest.approx(summed / labels, abs=1e-4)
    assert none.distance == pytest.approx(0, abs=1e-6)
    assert none.conversations == 7
    assert 0.001 < some.distance < much.distance
    first = json.loads((tmp_path / "out.json").read_text())
    noised.main(arguments)
    assert json.loads((tmp_path / "out.json").read_text()) == first
