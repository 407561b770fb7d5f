"""Documents of one row do not see each other, and the loss is what is meant."""

import pytest
import torch

from osler.training.batches import batch_noise, batch_of
from osler.training.packed_loss import PackedLoss
from tests.support.families import tiny
from tests.support.runs import VOCABULARY, rows_of
from tests.support.tiny import tiny_model


def test_a_packed_document_is_read_as_if_it_were_alone() -> None:
    """Hidden states of each segment of three rows packed together agree to 1e-5 with those of the segment by itself."""
    model = PackedLoss(tiny_model(VOCABULARY))
    lengths = [[5, 7, 4], [1, 1, 10], [16]]
    batch = batch_of([(rows_of(lengths), row) for row in range(3)])
    with torch.no_grad():
        packed, _ = model.hidden(batch.tokens_BT, batch.positions_BT, None)
        for row, segments in enumerate(lengths):
            start = 0
            for length in segments:
                alone = batch.tokens_BT[row : row + 1, start : start + length]
                expected, _ = model.hidden(alone, torch.arange(length)[None], None)
                assert torch.allclose(packed[row, start : start + length], expected[0], atol=1e-5)
                start += length


def test_no_token_moves_another_documents_output() -> None:
    """Changing every token of one segment changes no hidden state outside it."""
    model = PackedLoss(tiny_model(VOCABULARY))
    batch = batch_of([(rows_of([[5, 7, 4]]), 0)])
    changed = batch.tokens_BT.clone()
    changed[0, 5:12] = (changed[0, 5:12] + 1) % VOCABULARY
    with torch.no_grad():
        before, _ = model.hidden(batch.tokens_BT, batch.positions_BT, None)
        after, _ = model.hidden(changed, batch.positions_BT, None)
    moved = (before != after).any(-1)[0]
    assert not moved[:5].any()
    assert moved[5:12].all()
    assert not moved[12:].any()


def test_the_loss_is_the_sum_over_labels_of_the_models_own_cross_entropy() -> None:
    """On one document per row it equals transformers' mean loss times the number of labels."""
    model = tiny_model(VOCABULARY)
    batch = batch_of([(rows_of([[16], [16]]), row) for row in (0, 1)])
    with torch.no_grad():
        ours, _ = PackedLoss(model)(batch.tokens_BT, batch.positions_BT, batch.labels_BT, batch.kept_BT, None)
        theirs = model(input_ids=batch.tokens_BT, labels=batch.tokens_BT, use_cache=False).loss
    assert float(ours) == pytest.approx(float(theirs) * 30, rel=1e-5)


def test_noise_is_added_to_scaled_embeddings_as_it_is() -> None:
    """Gemma 3, by hand: sqrt(D) times the table's rows, and then the noise, is what the first layer reads.

    Where transformers' own hook adds it, too. Scaled with the table's rows it would be sqrt(D) times as large.
    """
    model = tiny("gemma3_text", sliding_window=32)
    tokens_BT = torch.randint(3, 97, (1, 9))
    noise_BTD = batch_noise([[9]], 9, 32, 5.0, [4])
    table_VD = model.model.embed_tokens.weight
    with torch.no_grad():
        found, _ = PackedLoss(model).hidden(tokens_BT, torch.arange(9)[None], noise_BTD)
        expected = model.model(inputs_embeds=32**0.5 * table_VD[tokens_BT] + noise_BTD).last_hidden_state
        scaled = model.model(inputs_embeds=32**0.5 * (table_VD[tokens_BT] + noise_BTD)).last_hidden_state
        # as `neftune_post_forward_hook` of transformers is registered
        hook = model.get_input_embeddings().register_forward_hook(lambda _module, _ids, found: found + noise_BTD)
        by_hook = model.model(tokens_BT).last_hidden_state
        hook.remove()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found, by_hook)
    assert float((found - scaled).abs().max()) > 0.1
