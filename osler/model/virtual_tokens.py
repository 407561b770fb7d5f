"""Virtual tokens before every text: where they stand, and a frozen model that reads them.

peft 0.21 gives no position ids to the model under prompt tuning, so that the documents of a packed row would see each other.
`longer_rows` makes places before each segment, which embeddings of prompt tuning (here) or keys and values of prefix tuning
(prefix_tuning.py) fill.

Shapes: B rows, T tokens in a row, S segments of a row, V virtual tokens, W = T + S V, D embedding width.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from osler.build.section import BuildError
from osler.model.attention_windows import ALL_LAYERS, attention_windows

VIRTUAL = "virtual_tokens"  # a parameter of the model under prompt tuning
PROMPT = "prompt_embeddings"  # what peft calls it in a file, and the prefix of prefix tuning too


def check_positions(model: Any, count: int, longest: int, key: str) -> None:
    """Check that virtual tokens and a conversation have positions of the model.

    Raises:
        BuildError: there are too few.
    """
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions and count + longest > positions:
        raise BuildError(
            f"{key}.virtual_tokens: {count} before a conversation of {longest} tokens are more than the model's"
            f" {positions} positions; take fewer"
        )


def drawn_tokens(model: Any, count: int, seed: int) -> Tensor:
    """The tokens (V,) that virtual ones begin as.

    They are drawn from `seed`, of the whole vocabulary.
    """
    table = model.get_input_embeddings().weight
    drawn_V = torch.randint(len(table), (count,), generator=torch.Generator().manual_seed(seed))
    return drawn_V.to(table.device)


def put_prompt(model: Any, settings: Mapping[str, Any], seed: int, key: str, longest: int) -> Any:
    """Virtual tokens that begin as embeddings of tokens.

    Lester et al. 2021, section 3.2. See `osler.model.adapters.adapt`. It returns peft's config.
    """
    from peft import PromptTuningConfig

    count = settings["virtual_tokens"]
    check_positions(model, count, longest, key)
    embedding = model.get_input_embeddings()
    model.requires_grad_(False)
    # by the layer, and not its table: Gemma's scales, and virtual tokens stand where scaled ones do
    first_VD = embedding(drawn_tokens(model, count, seed)).detach().clone()
    model.register_parameter(VIRTUAL, nn.Parameter(first_VD))
    return PromptTuningConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=count,
        token_dim=embedding.weight.shape[1],
        num_transformer_submodules=1,
        num_layers=model.config.num_hidden_layers,
        num_attention_heads=model.config.num_attention_heads,
    )


def written_prompt(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What peft's file holds, of weights by their names in the model."""
    return {PROMPT: weights[VIRTUAL]}


def read_prompt(tensors: Mapping[str, Tensor], _model: Any) -> dict[str, Tensor]:
    """Weights by their names in the model, of what peft's file holds."""
    return {VIRTUAL: tensors[PROMPT]}


class Places(NamedTuple):
    """Where tokens and virtual tokens stand in longer rows."""

    tokens_BT: Tensor  # int64, place of each token
    virtual_BW: Tensor  # int64, number of the virtual token at a place, -1 at others
    positions_BW: Tensor  # int64; what is left of shorter rows is a segment of its own


def longer_rows(positions_BT: Tensor, virtual: int) -> Places:
    """The places of packed rows with `virtual` tokens before each segment.

    Args:
        positions_BT: int64; 0 where a segment begins, padding's too.
    """
    rows, length = positions_BT.shape
    begins_BT = positions_BT == 0
    segment_BT = begins_BT.long().cumsum(1)
    width = length + virtual * int(segment_BT[:, -1].max())
    tokens_BT = torch.arange(length, device=positions_BT.device) + virtual * segment_BT
    ends_B1 = (length + virtual * segment_BT[:, -1])[:, None]
    places_W = torch.arange(width, device=positions_BT.device)
    rest_BW = (places_W - ends_B1).clamp(min=0)
    positions_BW = torch.where(places_W < ends_B1, 0, rest_BW)
    positions_BW = positions_BW.scatter(1, tokens_BT, positions_BT + virtual)
    numbers_BW = torch.full((rows, width), -1, device=positions_BT.device)
    row_N, place_N = begins_BT.nonzero(as_tuple=True)
    starts_N = tokens_BT[row_N, place_N]
    for number in range(virtual):
        numbers_BW[row_N, starts_N - virtual + number] = number
        positions_BW[row_N, starts_N - virtual + number] = number
    return Places(tokens_BT, numbers_BW, positions_BW)


def inserted(embeddings_BTD: Tensor, virtual_VD: Tensor, places: Places) -> Tensor:
    """Embeddings (B, W, D) with the virtual tokens at their places.

    They are zeros where a row has ended.
    """
    rows, width = places.virtual_BW.shape
    zeros_BWD = embeddings_BTD.new_zeros(rows, width, embeddings_BTD.shape[2])
    index_BTD = places.tokens_BT[:, :, None].expand(-1, -1, embeddings_BTD.shape[2])
    whole_BWD = zeros_BWD.scatter(1, index_BTD, embeddings_BTD)
    chosen_BWD = virtual_VD.to(embeddings_BTD)[places.virtual_BW.clamp(min=0)]
    return torch.where((places.virtual_BW >= 0)[:, :, None], chosen_BWD, whole_BWD)


class Preceded:
    """A frozen model that reads `count` virtual tokens before every text.

    It has what evaluation asks of a model: `model` (of those that inherit), `lm_head`, `config` and `device`. Positions of
    virtual tokens are taken from those that texts may have.
    """

    def __init__(self, whole: Any, count: int) -> None:
        self.whole, self.count = whole, count
        self.lm_head, self.device = whole.lm_head, whole.device
        self.config = type(whole.config).from_dict(whole.config.to_dict())
        self.config.max_position_embeddings = whole.config.max_position_embeddings - count

    def model(self, *given: Any, **asked: Any) -> Any:
        """The decoder's output for the tokens alone."""
        raise NotImplementedError

    def _wider(self, mask: Any, positions_BT: Tensor, are_read: bool) -> Any:
        """A mask, or one for each kind of layer, with columns of the virtual tokens.

        All tokens see them, as far as a window reaches. With rows of the virtual tokens where they `are_read` now.
        """
        windows = attention_windows(self.config)
        if isinstance(mask, Mapping):
            return {kind: self._wide(one, windows[kind], positions_BT, are_read) for kind, one in mask.items()}
        return self._wide(mask, windows.get(ALL_LAYERS), positions_BT, are_read)

    def _wide(self, mask: Tensor, window: int | None, positions_BT: Tensor, are_read: bool) -> Tensor:
        count = self.count
        places_V = torch.arange(count, device=self.device)
        seen = torch.ones(*mask.shape[:3], count, dtype=torch.bool, device=self.device)
        if window is not None:
            seen &= (positions_BT[:, None, :, None] - places_V) < window
        wide = torch.cat([seen, mask], 3)
        if not are_read:
            return wide
        above = torch.zeros(mask.shape[0], 1, count, wide.shape[3], dtype=torch.bool, device=self.device)
        apart = places_V[:, None] - places_V
        above[..., :count] = (apart >= 0) & (apart < (window or count))
        return torch.cat([above, wide], 2)


class Prompted(Preceded):
    """A frozen model under prompt tuning."""

    def __init__(self, whole: Any, virtual_VD: Tensor) -> None:
        super().__init__(whole, len(virtual_VD))
        self.virtual_VD = virtual_VD

    def model(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        attention_mask: Any = None,
        past_key_values: Any = None,
        **asked: Any,
    ) -> Any:
        """The decoder's output for the tokens alone.

        A cache that is empty gets the virtual tokens first.

        Args:
            input_ids: int64 (B, T).
            position_ids: (B, T), without virtual tokens.
            attention_mask: bool (B, 1, T, S) of tokens read so far, or one for each kind of layer, or None.
            past_key_values: a DynamicCache, which may hold virtual tokens and those read before.
        """
        count, (rows, length) = self.count, input_ids.shape
        embeddings_BTD = self.whole.get_input_embeddings()(input_ids)
        if position_ids is None:
            position_ids = torch.arange(length, device=self.device).expand(rows, -1)
        position_ids = position_ids + count
        fresh = past_key_values is None or past_key_values.get_seq_length() == 0
        if attention_mask is not None:
            attention_mask = self._wider(attention_mask, position_ids, fresh)
        if fresh:
            embeddings_BTD = torch.cat([self.virtual_VD.expand(rows, -1, -1), embeddings_BTD], 1)
            before = torch.arange(count, device=self.device).expand(rows, -1)
            position_ids = torch.cat([before, position_ids], 1)
        output = self.whole.model(
            inputs_embeds=embeddings_BTD,
            position_ids=position_ids,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            **asked,
        )
        skip = count if fresh else 0
        routers = getattr(output, "router_logits", None) or ()
        kept = tuple(layer.unflatten(0, (rows, -1))[:, skip:].flatten(0, 1) for layer in routers)
        return SimpleNamespace(last_hidden_state=output.last_hidden_state[:, skip:], router_logits=kept)


def prompted(model: Any, tensors: Mapping[str, Tensor]) -> Prompted:
    """A frozen model with what peft's file of prompt tuning holds."""
    return Prompted(model, tensors[PROMPT].to(model.device, model.dtype))
