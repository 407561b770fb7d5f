"""Encoders: embeddings of a tiny BERT, and of texts longer than it reads, against its states one text at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from osler.build.files import write_json
from osler.build.section import BuildError
from osler.inference.encoder_files import pooling
from osler.inference.text_encoder import TextEncoder
from tests.support.tiny import NUMERICS, TEXTS, tiny_encoder

LONG = " ".join(TEXTS * 3)  # more than the 30 tokens that the tiny one reads


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As the stage leaves it."""
    tiny_encoder(tmp_path / "encoder")
    return described(tmp_path / "encoder")


def described(folder: Path, pooling: str = "mean", layer: int | None = None) -> Path:
    write_json(folder / "encoder.json", {"pooling": pooling, "layer": layer})
    return folder


def states(folder: Path, text: str, layer: int = -1) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Of one text alone, short enough to be read whole, by transformers; and which tokens are special."""
    from transformers import AutoModel, AutoTokenizer

    encoded = AutoTokenizer.from_pretrained(folder)([text], return_tensors="pt", return_special_tokens_mask=True)
    special = encoded.pop("special_tokens_mask")[0].bool().numpy()
    with torch.inference_mode():
        output = AutoModel.from_pretrained(folder).eval()(**encoded, output_hidden_states=True)
    return output.hidden_states[layer][0].numpy(), special


@pytest.mark.parametrize("batch_tokens", [1, 1000])
def test_an_embedding_is_the_mean_or_the_first_of_the_states(folder: Path, batch_tokens: int) -> None:
    """Whatever else is read in the batch."""
    texts = ["fern tea", "the honey wrap of zaritol once", "tea"]
    alone = [states(folder, text)[0] for text in texts]
    found = TextEncoder(folder, batch_tokens, NUMERICS).embeddings(texts)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [one.mean(axis=0) for one in alone], atol=1e-5)
    first = TextEncoder(described(folder, "cls"), batch_tokens, NUMERICS).embeddings(texts)
    np.testing.assert_allclose(first, [one[0] for one in alone], atol=1e-5)


def test_a_long_text_is_read_to_its_end(folder: Path) -> None:
    """What stands behind the first window moves the embedding and the score."""
    encoder = TextEncoder(folder, 64, NUMERICS)
    one, other, same = encoder.embeddings([LONG, LONG + " acorn", LONG])
    assert np.abs(one - other).max() > 1e-4
    np.testing.assert_allclose(one, same, atol=1e-6)
    assert encoder.bert_scores([LONG, LONG], [LONG, LONG + " sneezing sneezing"])[1].f1 < 1 - 1e-4


def test_nothing_to_read(folder: Path) -> None:
    """No text, no embedding and no score."""
    encoder = TextEncoder(folder, 64, NUMERICS)
    assert len(encoder.embeddings([])) == 0
    assert encoder.bert_scores([], []) == []


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, "mean"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode": "cls"}, "cls"),
    ],
)
def test_how_a_model_says_it_pools(tmp_path: Path, config: dict[str, object] | None, expected: str) -> None:
    """In the two forms that sentence-transformers has written, or not at all."""
    if config:
        write_json(tmp_path / "1_Pooling/config.json", config)
    assert pooling(tmp_path, "encoder.embeddings") == expected


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"pooling_mode_lasttoken": True}, "pooling_mode_lasttoken"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, "max_tokens, pooling_mode_mean_tokens"),
        ({"pooling_mode": "lasttoken"}, "lasttoken"),
        ({"word_embedding_dimension": 8}, "nothing"),
    ],
)
def test_another_pooling_is_refused(tmp_path: Path, config: dict[str, object], named: str) -> None:
    """By its name."""
    write_json(tmp_path / "1_Pooling/config.json", config)
    with pytest.raises(BuildError, match=f"encoder.embeddings: pools by .*{named}; take a model by mean or cls"):
        pooling(tmp_path, "encoder.embeddings")
