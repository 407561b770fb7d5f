"""Held-out bits count every token once and every byte once."""

import math

import pytest
import torch

from osler.build.section import BuildError
from osler.inference.document_bits import document_bits, windows
from osler.inference.torch_backend import TorchBackend
from tests.support.tiny import TEXTS, tiny_model, tiny_tokenizer


def test_windows_by_eye() -> None:
    """Seven tokens in windows of four positions: each starts with BOS, none overlaps, none is empty."""
    assert windows([11, 12, 13, 14, 15, 16, 17], 1, 4) == [[1, 11, 12, 13], [1, 14, 15, 16], [1, 17]]
    assert windows([11, 12, 13], 1, 4) == [[1, 11, 12, 13]]
    assert windows([], 1, 4) == []


@pytest.mark.parametrize("batch_tokens", [1, 60, 10_000])
def test_bits_are_the_plain_sum_over_windows(batch_tokens: int) -> None:
    """The model's own loss on each window, summed over tokens and put into bits, whatever the batches."""
    tokenizer, texts = tiny_tokenizer(), [*TEXTS, "", "µg"]
    model = tiny_model(len(tokenizer))
    found = document_bits(TorchBackend(model, batch_tokens), tokenizer, [str(number) for number in range(5)], texts, 16)
    for text, row in zip(texts, found.iter_rows(named=True), strict=True):
        nats = 0.0
        for window in windows(tokenizer(text, add_special_tokens=False)["input_ids"], 1, 16):
            ids = torch.tensor([window])
            with torch.no_grad():
                nats += float(model(input_ids=ids, labels=ids, use_cache=False).loss) * (len(window) - 1)
        assert row["bits"] == pytest.approx(nats / math.log(2), rel=1e-5)
        assert row["bytes"] == len(text.encode())
    assert found["doc_id"].to_list() == ["0", "1", "2", "3", "4"]
    assert found.row(3)[1:] == (0.0, 0, 0)
    assert found.row(4)[2] == 3


def test_a_uniform_model_needs_log2_of_the_vocabulary_per_token() -> None:
    """With all weights of the output at zero every token costs the same."""
    tokenizer = tiny_tokenizer()
    model = tiny_model(len(tokenizer))
    torch.nn.init.zeros_(model.lm_head.weight)
    found = document_bits(TorchBackend(model, 100), tokenizer, ["a"], [TEXTS[0]], 8)
    assert found["bits"][0] == pytest.approx(found["tokens"][0] * math.log2(len(tokenizer)), rel=1e-6)


def test_a_window_longer_than_the_model_reads_is_an_error() -> None:
    """The number would come from positions the model was never trained on."""
    tokenizer = tiny_tokenizer()
    with pytest.raises(BuildError, match=r"window_tokens: 200 .* 128"):
        document_bits(TorchBackend(tiny_model(len(tokenizer)), 100), tokenizer, ["a"], ["b"], 200)
