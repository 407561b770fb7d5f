"""The loss of packed rows with virtual tokens before each segment.

The loop (loop.py) takes it where the model has virtual tokens (osler/model/adapters.py).
"""

from typing import Any

import torch
from torch import Tensor

from osler.model.adapters import VIRTUAL, inserted, longer_rows
from osler.training.batches import Segments
from osler.training.packed_loss import PackedLoss


class PromptedLoss(PackedLoss):
    """A `PackedLoss` of prompt tuning.

    Rows grow on their way to the decoder and are cut again behind it, so that labels and places stay as they are. The first
    token of a segment is no label here either. Noise is on a text's own tokens only, by its own length.
    """

    def hidden(
        self, tokens_BT: Tensor, positions_BT: Tensor, noise_BTD: Tensor | None, segments: Segments | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Last hidden states (B, T, D) of the tokens.

        There are none of virtual tokens, and no router's logits.
        """
        virtual_VD = getattr(self.model, VIRTUAL)
        embeddings_BTD = self.model.get_input_embeddings()(tokens_BT)
        if noise_BTD is not None:
            embeddings_BTD = embeddings_BTD + noise_BTD.to(embeddings_BTD)
        places = longer_rows(positions_BT, len(virtual_VD))
        asked: dict[str, Any] = {}
        if segments is not None:
            more_S1 = len(virtual_VD) * torch.arange(len(segments.bounds_S1), device=segments.bounds_S1.device)
            bounds_S1 = segments.bounds_S1 + more_S1.to(segments.bounds_S1)
            asked = Segments(bounds_S1, segments.longest + len(virtual_VD)).arguments()
        output = self.model.base_model(
            inputs_embeds=inserted(embeddings_BTD, virtual_VD, places),
            position_ids=places.positions_BW,
            use_cache=False,
            **asked,
        )
        index_BTD = places.tokens_BT[:, :, None].expand(-1, -1, embeddings_BTD.shape[2])
        return output.last_hidden_state.gather(1, index_BTD), ()


def loss_of(model: Any) -> PackedLoss:
    """The loss for what is trained of `model`."""
    return PromptedLoss(model) if hasattr(model, VIRTUAL) else PackedLoss(model)
