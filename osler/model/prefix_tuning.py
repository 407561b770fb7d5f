"""Prefix tuning: learned keys and values that each layer's attention sees before a text.

They lie in peft's order of a cache that was read before: past the rotation by position, which they have none of, so that a text
begins at position V. A layer has its own as a parameter of its attention, whose cache it stands for in training:
transformers hands keys and values to a cache as they are when attention uses them, in every family and for every kernel.

peft 0.21 hands them over as such a cache, under which transformers knows no packed rows. In training places are made before each
segment instead (virtual_tokens.py), and `Replaced` puts the prefix there; what else would be at these places nobody sees.

Source:
    Li & Liang 2021, arXiv 2101.00190. Their network that makes the prefix in training (`prefix_projection` of peft) is left
    out: it is not in a written adapter.

Shapes: B rows, T tokens read now, V virtual tokens, W places of a longer row, L layers, H heads of keys and values, d width of a
head, K = 2 H d.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from osler.build.section import BuildError
from osler.model.virtual_tokens import PROMPT, Preceded, check_positions, drawn_tokens

KEYS = "prefix"  # a parameter (V, K) of each layer's attention
PLACES = "virtual_BW"  # an argument of the model: the number of the virtual token at a place, -1 at others
OTHER = 1e-2  # of a state's length, from which on a prefix is not read as tokens are; right families show 1e-6
ASKED = 16  # tokens of the text by which this is looked at


class Replaced:
    """What stands in a cache's place in training.

    It gives keys and values with the prefix at its places.

    Args:
        prefix_VK: of a layer; keys, then values.
        virtual_BW: see PLACES.
    """

    def __init__(self, prefix_VK: Tensor, virtual_BW: Tensor) -> None:
        self.prefix_VK, self.virtual_BW = prefix_VK, virtual_BW

    def update(self, keys_BHWd: Tensor, values_BHWd: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Both as attention shall use them, as a cache's `update` gives them."""
        heads, width = keys_BHWd.shape[1], keys_BHWd.shape[3]
        chosen_BWK = self.prefix_VK.to(keys_BHWd.dtype)[self.virtual_BW.clamp(min=0)]
        chosen_2BHWd = chosen_BWK.unflatten(2, (2, heads, width)).permute(2, 0, 3, 1, 4)
        is_virtual = (self.virtual_BW >= 0)[:, None, :, None]
        return (
            torch.where(is_virtual, chosen_2BHWd[0], keys_BHWd),
            torch.where(is_virtual, chosen_2BHWd[1].to(values_BHWd.dtype), values_BHWd),
        )


def _with_prefix(
    attention: Any, args: tuple[Any, ...], asked: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A hook before a layer's attention."""
    virtual_BW = asked.pop(PLACES, None)
    if virtual_BW is None:
        raise BuildError(
            f"{type(attention).__name__} is not told where a prefix stands; take another base, or prompt_tuning"
        )
    return args, asked | {"past_key_values": Replaced(getattr(attention, KEYS), virtual_BW)}


def has_prefix(model: Any) -> bool:
    """Whether the layers of `model` have a prefix."""
    return any(hasattr(getattr(layer, "self_attn", None), KEYS) for layer in getattr(model.base_model, "layers", ()))


def key_value_heads(config: Any) -> int:
    """H of a model."""
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


def put_prefix(model: Any, settings: Mapping[str, Any], seed: int, key: str, longest: int) -> Any:
    """Keys and values that begin as those of drawn tokens.

    The tokens are drawn from `seed`, and the frozen model itself reads them. Li & Liang find that a prefix begun as activations
    of real words does better on little data than a random one (peft's are drawn from a normal distribution of deviation 1). So
    a fresh prefix is what its tokens would be before every text: untrained it changes logits, and does what the fresh prompt of
    `put_prompt` does. It is computed in float32 on the CPU before an engine is started: the same bytes wherever training has
    the same bytes.

    See `osler.model.adapters.adapt`. It returns peft's config.

    Raises:
        BuildError: the family has other keys than peft knows, or does not read them as those of tokens.
    """
    from peft import PrefixTuningConfig

    config, count = model.config, settings["virtual_tokens"]
    check_positions(model, count, longest, key)
    attentions: list[Any] = [getattr(layer, "self_attn", None) for layer in getattr(model.base_model, "layers", ())]
    where = f"{key}.method: prefix_tuning: {config.model_type}"
    if not attentions or None in attentions:
        raise BuildError(f"{where}: has layers whose attention is not known here; take another base, or prompt_tuning")
    if config.to_dict().get("per_layer_config"):
        raise BuildError(f"{where}: has layers of different sizes; take another base, or prompt_tuning")
    heads = key_value_heads(config)
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    model.requires_grad_(False)
    drawn_V = drawn_tokens(model, count, seed)
    if drawn_V.is_meta:  # another process has the weights, and hands them over
        first = [torch.empty(count, 2 * heads * width, device="meta") for _ in attentions]
    else:
        first = _read(model, drawn_V, (heads, width), where)
        after_V = drawn_V[: max(1, min(count, longest, ASKED))]
        wanted = _states(model, torch.cat([drawn_V, after_V]))[count:]
    for attention, prefix_VK in zip(attentions, first, strict=True):
        attention.register_parameter(KEYS, nn.Parameter(prefix_VK))
        attention.register_forward_pre_hook(_with_prefix, with_kwargs=True)
    if not drawn_V.is_meta:
        apart = _apart(model, after_V, wanted, where)
        if not apart < OTHER:
            raise BuildError(
                f"{where}: reads a prefix otherwise than its tokens (states differ by {apart:.0%}); take another base, or"
                " prompt_tuning"
            )
    return PrefixTuningConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=count,
        token_dim=heads * width,
        num_transformer_submodules=1,
        num_layers=len(attentions),
        num_attention_heads=heads,
        encoder_hidden_size=heads * width,
    )


def _read(model: Any, tokens_V: Tensor, sizes: tuple[int, int], where: str) -> list[Tensor]:
    """Keys and values (V, K) of tokens at the beginning of a text, of each layer.

    Args:
        sizes: H and d of all layers.
    """
    from transformers import DynamicCache  # here, since it takes a second that who trains no prefix need not wait

    cache = DynamicCache()
    try:
        with torch.no_grad():
            model.base_model(input_ids=tokens_V[None], past_key_values=cache, use_cache=True)
    except ValueError as error:  # of a family with a cache of its own
        raise BuildError(
            f"{where}: {' '.join(str(error).split()).rstrip('.')}; take another base, or prompt_tuning"
        ) from None
    wanted = (1, sizes[0], len(tokens_V), sizes[1])
    layers: list[Any] = [(getattr(layer, "keys", None), getattr(layer, "values", None)) for layer in cache.layers]
    found = [None if part is None else tuple(part.shape) for layer in layers for part in layer]
    if len(layers) != len(model.base_model.layers) or set(found) != {wanted}:
        raise BuildError(
            f"{where}: not all layers keep keys and values of {sizes[0]} heads of {sizes[1]}; take another base, or"
            " prompt_tuning"
        )
    parts = (torch.stack([keys[0], values[0]]) for keys, values in layers)
    return [part_2HVd.permute(2, 0, 1, 3).flatten(1).contiguous() for part_2HVd in parts]


def _states(model: Any, tokens_T: Tensor) -> Tensor:
    """Last states (T, D) of the model as it is."""
    with torch.no_grad():
        states_TD: Tensor = model.base_model(input_ids=tokens_T[None], use_cache=False).last_hidden_state[0]
    return states_TD


def _apart(model: Any, tokens_T: Tensor, wanted_TD: Tensor, where: str) -> float:
    """How far states of tokens behind the fresh prefix are from those that they have behind its tokens.

    It is the median, as a share of a state's length.
    """
    count = len(getattr(model.base_model.layers[0].self_attn, KEYS))
    embeddings_TD = model.get_input_embeddings()(tokens_T)
    before_VD = embeddings_TD.new_zeros(count, embeddings_TD.shape[1])
    places_W = torch.arange(count + len(tokens_T), device=tokens_T.device)
    try:
        with torch.no_grad():
            output = model.base_model(
                inputs_embeds=torch.cat([before_VD, embeddings_TD])[None],
                position_ids=places_W[None],
                use_cache=False,
                **{PLACES: places_W.where(places_W < count, -1)[None]},
            )
    except BuildError as error:
        raise BuildError(f"{where}: {error}") from None
    found_TD = output.last_hidden_state[0, count:]
    return float(((found_TD - wanted_TD).norm(dim=1) / wanted_TD.norm(dim=1)).median())


def written_prefix(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What peft's file holds: (V, L K).

    Args:
        weights: by their names in the model.
    """
    numbers = {name: int(re.findall(r"\.(\d+)\.", f".{name}")[-1]) for name in weights if name.endswith(f".{KEYS}")}
    return {PROMPT: torch.cat([weights[name] for name in sorted(numbers, key=numbers.__getitem__)], 1)}


def read_prefix(tensors: Mapping[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Weights by their names in the model, of what peft's file holds."""
    names = [name for name, _ in model.named_parameters() if name.endswith(f".self_attn.{KEYS}")]
    return dict(zip(names, tensors[PROMPT].chunk(len(names), 1), strict=True))


class Prefixed(Preceded):
    """A frozen model under prefix tuning.

    Args:
        prefix_L2HVd: of each layer its keys and its values.
    """

    def __init__(self, whole: Any, prefix_L2HVd: Tensor) -> None:
        super().__init__(whole, prefix_L2HVd.shape[3])
        self.prefix_L2HVd = prefix_L2HVd

    def model(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        attention_mask: Any = None,
        past_key_values: Any = None,
        **asked: Any,
    ) -> Any:
        """The decoder's output for the tokens.

        A cache that is empty, or one of its own, gets the prefix first. The arguments are those of `Prompted.model`.
        """
        from transformers import DynamicCache

        rows, length = input_ids.shape
        cache = DynamicCache() if past_key_values is None else past_key_values
        if position_ids is None:
            position_ids = torch.arange(length, device=self.device).expand(rows, -1)
        position_ids = position_ids + self.count
        if attention_mask is not None:
            attention_mask = self._wider(attention_mask, position_ids, are_read=False)
        if cache.get_seq_length() == 0:
            for number, (keys_HVd, values_HVd) in enumerate(self.prefix_L2HVd):
                cache.update(keys_HVd.expand(rows, -1, -1, -1), values_HVd.expand(rows, -1, -1, -1), number)
        return self.whole.model(
            input_ids=input_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            past_key_values=cache,
            **asked,
        )


def prefixed(model: Any, tensors: Mapping[str, Tensor]) -> Prefixed:
    """A frozen model with what peft's file of prefix tuning holds."""
    prefix_VLK = tensors[PROMPT].to(model.device, model.dtype).unflatten(1, (len(model.base_model.layers), -1))
    prefix_VL2Hd = prefix_VLK.unflatten(2, (2, key_value_heads(model.config), -1))
    return Prefixed(model, prefix_VL2Hd.permute(1, 2, 3, 0, 4))
