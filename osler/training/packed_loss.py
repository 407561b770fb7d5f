"""The loss of packed rows, whose documents do not see each other.

The loop (loop.py) hands it to an engine, which wraps it, and calls it with a batch (batches.py).
"""

from typing import Any

import torch
from torch import Tensor, nn

from osler.build.section import BuildError
from osler.model.heads import refuse_other_logits
from osler.model.router import router_coefficient, router_loss
from osler.training.batches import IGNORED, Segments
from osler.training.consistency import Responses, response_means, summed_distance
from osler.training.cross_entropy import linear_cross_entropy


class PackedLoss(nn.Module):
    """A causal language model that returns the loss of packed rows.

    Its forward pass is the summed loss. It is what DDP and its kin wrap.

    Raises:
        BuildError: see `refuse_other_logits`.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.router_coefficient = router_coefficient(model.config)
        refuse_other_logits(model, with_bias=False)

    def hidden(
        self, tokens_BT: Tensor, positions_BT: Tensor, noise_BTD: Tensor | None, segments: Segments | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Last hidden states (B, T, D), and each router's logits (BT, E).

        Noise is added to what the embedding layer gives, as algorithm 1 of NEFTune has it, and its authors' code and transformers'
        hook. Where that layer scales (Gemma, by sqrt(D)), the noise is not scaled with it.

        The segments of a row do not see each other: by `segments`, which FlashAttention needs for its one row, or by a mask
        that transformers makes from the positions.
        """
        embeddings_BTD = self.model.get_input_embeddings()(tokens_BT)
        if noise_BTD is not None:
            embeddings_BTD = embeddings_BTD + noise_BTD.to(embeddings_BTD)
        asked: dict[str, Any] = {"output_router_logits": True} if self.router_coefficient else {}
        if segments is not None:
            asked |= segments.arguments()
        output = self.model.base_model(
            inputs_embeds=embeddings_BTD, position_ids=positions_BT, use_cache=False, **asked
        )
        return output.last_hidden_state, getattr(output, "router_logits", None) or ()

    def forward(
        self,
        tokens_BT: Tensor,
        positions_BT: Tensor,
        labels_BT: Tensor,
        kept_BT: Tensor,
        noise_BTD: Tensor | None,
        places_L: Tensor | None = None,
        segments: Segments | None = None,
        responses: Responses | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Two sums (2,), which several processes and parts add up.

        The arguments are a batch's (`Batch.tensors`, `Batch.flat`); without `places_L` the labels' places are looked for here,
        which on a GPU waits for it. The first sum is nats over the labels that are not IGNORED. The second is the
        auxiliary loss of the routers times the tokens that are no padding (0 for a dense model).

        With `responses` that have clean means there is a third sum (3,): the cosine distances of conversations from these.
        With `responses` that have none this is the clean pass, and the means (C, D) are given beside the sums, which are
        zeros where they are not asked for.

        Over all tokens of a step the second is the mean of each part's own auxiliary loss, weighted by its tokens: every
        part spreads its tokens evenly, which is a little stricter than spreading those of the whole batch.

        Raises:
            BuildError: the auxiliary loss has a coefficient, and the model gives no router logits to learn from.
        """
        if places_L is None:
            places_L = (labels_BT != IGNORED).flatten().nonzero()[:, 0]
        hidden_BTD, logits = self.hidden(tokens_BT, positions_BT, noise_BTD, segments)
        hidden_LD = hidden_BTD.flatten(0, 1)[places_L]
        if responses is None:
            return self._sums(hidden_LD, labels_BT.flatten()[places_L], kept_BT, logits)
        means_CD = response_means(hidden_LD, responses.labels_C)
        if responses.clean_CD is None and not responses.is_scored:
            return means_CD.new_zeros(2), means_CD
        sums = self._sums(hidden_LD, labels_BT.flatten()[places_L], kept_BT, logits)
        if responses.clean_CD is None:
            return sums, means_CD
        return torch.cat([sums, summed_distance(means_CD, responses.clean_CD)[None]])

    def _sums(self, hidden_LD: Tensor, labels_L: Tensor, kept_BT: Tensor, logits: tuple[Tensor, ...]) -> Tensor:
        """The loss of the labels, and that of the routers."""
        loss = linear_cross_entropy(hidden_LD, self.model.get_output_embeddings().weight, labels_L)
        if not self.router_coefficient:
            return torch.stack([loss, loss.new_zeros(())])
        if not logits or (torch.is_grad_enabled() and not all(layer_NE.requires_grad for layer_NE in logits)):
            raise BuildError(
                f"{type(self.model).__name__}: router_aux_loss_coef is {self.router_coefficient:g}, but no router loss is"
                " produced: it would silently be off; set it to 0 in the base model's config.json, or fix the model"
            )
        kept_N = kept_BT.flatten()
        spread = router_loss(logits, self.model.config.num_experts_per_tok, kept_N)
        return torch.stack([loss, spread * kept_N.sum()])
