"""The loss of packed rows under methods that peft does not train.

The loop (loop.py) takes what the model has: virtual tokens before each segment (osler/model/virtual_tokens.py), a prefix of each
layer (prefix_tuning.py there), or a network before the head (gated_residual.py).
"""

from typing import Any

import torch
from torch import Tensor

from osler.model.gated_residual import NETWORK
from osler.model.prefix_tuning import KEYS, PLACES, has_prefix
from osler.model.virtual_tokens import VIRTUAL, Places, inserted, longer_rows
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
        embeddings_BTD = self.model.get_input_embeddings()(tokens_BT)
        if noise_BTD is not None:
            embeddings_BTD = embeddings_BTD + noise_BTD.to(embeddings_BTD)
        virtual_VD = self.virtual(embeddings_BTD)
        places = longer_rows(positions_BT, len(virtual_VD))
        asked = self.asked(places)
        if segments is not None:
            more_S1 = len(virtual_VD) * torch.arange(len(segments.bounds_S1), device=segments.bounds_S1.device)
            bounds_S1 = segments.bounds_S1 + more_S1.to(segments.bounds_S1)
            asked |= Segments(bounds_S1, segments.longest + len(virtual_VD)).arguments()
        output = self.model.base_model(
            inputs_embeds=inserted(embeddings_BTD, virtual_VD, places),
            position_ids=places.positions_BW,
            use_cache=False,
            **asked,
        )
        index_BTD = places.tokens_BT[:, :, None].expand(-1, -1, embeddings_BTD.shape[2])
        return output.last_hidden_state.gather(1, index_BTD), ()

    def virtual(self, _embeddings_BTD: Tensor) -> Tensor:
        """Embeddings (V, D) of the virtual tokens."""
        virtual_VD: Tensor = getattr(self.model, VIRTUAL)
        return virtual_VD

    def asked(self, _places: Places) -> dict[str, Any]:
        """What the decoder is told besides."""
        return {}


class PrefixedLoss(PromptedLoss):
    """A `PromptedLoss` of prefix tuning.

    Zeros are read where each layer puts its own keys and values.
    """

    def virtual(self, embeddings_BTD: Tensor) -> Tensor:
        """Zeros (V, D)."""
        count = getattr(self.model.base_model.layers[0].self_attn, KEYS).shape[0]
        return embeddings_BTD.new_zeros(count, embeddings_BTD.shape[2])

    def asked(self, places: Places) -> dict[str, Any]:
        """Where the prefix stands."""
        return {PLACES: places.virtual_BW}


class GatedLoss(PackedLoss):
    """A `PackedLoss` of states that a network before the head has changed."""

    def hidden(
        self, tokens_BT: Tensor, positions_BT: Tensor, noise_BTD: Tensor | None, segments: Segments | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `PackedLoss.hidden`."""
        states_BTD, logits = super().hidden(tokens_BT, positions_BT, noise_BTD, segments)
        return getattr(self.model, NETWORK)(states_BTD), logits


def loss_of(model: Any) -> PackedLoss:
    """The loss for what is trained of `model`."""
    if has_prefix(model):
        return PrefixedLoss(model)
    if hasattr(model, NETWORK):
        return GatedLoss(model)
    return PromptedLoss(model) if hasattr(model, VIRTUAL) else PackedLoss(model)
