"""Adapters of a model, with peft: LoRA, QLoRA, DoRA, IA3 and prompt tuning.

Weights of the base get no gradient. peft changes a model's modules in place, so that engines and losses see the model that they
know. What is written is a folder of peft's format.

Prompt tuning is done here and only written in that format: peft 0.21 gives no position ids to the model, so that the
documents of a packed row would see each other. `Parameter` VIRTUAL of the model holds the embeddings, which `inserted` puts
before each segment.

Shapes: B rows, T tokens in a row, S segments of a row, V virtual tokens, W = T + S V, D embedding width.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from osler.build.files import read_json
from osler.build.section import BuildError
from osler.model.quantization import PACKAGE, VERSION, check_bitsandbytes, quantized, rounded

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
VIRTUAL = "virtual_tokens"  # a parameter of the model under prompt tuning
PROMPT = "prompt_embeddings"  # what peft calls it in a file
UNMERGED, QUANTIZED = "prompt_tuning", "qlora"  # methods
PROVENANCE = "provenance.json"


@dataclass(frozen=True)
class Adapter:
    """What was put on a model.

    `peft_model` is peft's around the model, None for prompt tuning; `config` is peft's; `start` names the model's folder.
    """

    config: Any
    settings: dict[str, Any]
    peft_model: Any = None
    start: str = ""


def linear_maps(model: Any) -> list[str]:
    """Names of the linear maps that an adapter may change.

    The head is none, since the loss multiplies with its weight itself, and no router is.
    """
    head = model.get_output_embeddings()
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and name.rpartition(".")[2] not in ("gate", "router")
    ]


def targets(model: Any, asked: Any, key: str) -> list[str]:
    """The last names of the linear maps that are meant, sorted.

    Raises:
        BuildError: `model` has no such map.
    """
    known = linear_maps(model)
    if asked == "all-linear":
        return sorted({name.rpartition(".")[2] for name in known})
    for name in asked:
        if not any(one == name or one.endswith(f".{name}") for one in known):
            there = ", ".join(sorted({one.rpartition(".")[2] for one in known}))
            raise BuildError(f"{key}: {name}: no linear map of the model that an adapter may change; there are {there}")
    return sorted(asked)


def adapt(model: Any, settings: dict[str, Any], seed: int, key: str, longest: int) -> Adapter:
    """Put a fresh adapter on `model`, in place, and freeze all else.

    Args:
        model: a causal language model; it may lie on the device `meta`.
        settings: `method` and what belongs to it (osler/training/adapters.py).
        seed: of what is drawn.
        key: of the section, for errors.
        longest: tokens of the longest conversation.
    Raises:
        BuildError: the model has not what the settings name, or too few positions.
    """
    if getattr(model.config, "router_aux_loss_coef", None):
        model.config.router_aux_loss_coef = 0.0  # routers stay as they are: nothing of theirs is learned
    torch.manual_seed(seed)
    if settings["method"] == UNMERGED:
        return _prompted(model, settings, seed, key, longest)
    from peft import IA3Config, LoraConfig, get_peft_model

    names = targets(model, settings["target_modules"], f"{key}.target_modules")
    config: Any
    if settings["method"] == "ia3":
        config = IA3Config(
            task_type="CAUSAL_LM", target_modules=names, feedforward_modules=sorted(settings["feedforward_modules"])
        )
    else:
        if settings["method"] == QUANTIZED:
            quantized(model, linear_maps(model), f"{key}.method")
            settings = settings | {PACKAGE: VERSION}
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=settings["rank"],
            lora_alpha=settings["alpha"],
            target_modules=names,
            use_dora=settings["method"] == "dora",
        )
    return Adapter(config, settings, get_peft_model(model, config))


def _prompted(model: Any, settings: dict[str, Any], seed: int, key: str, longest: int) -> Adapter:
    """Virtual tokens that begin as embeddings of tokens, drawn from `seed` (Lester et al. 2021, section 3.2)."""
    from peft import PromptTuningConfig

    count, positions = settings["virtual_tokens"], getattr(model.config, "max_position_embeddings", None)
    if positions and count + longest > positions:
        raise BuildError(
            f"{key}.virtual_tokens: {count} before a conversation of {longest} tokens are more than the model's"
            f" {positions} positions; take fewer"
        )
    embedding = model.get_input_embeddings()
    drawn_V = torch.randint(len(embedding.weight), (count,), generator=torch.Generator().manual_seed(seed))
    model.requires_grad_(False)
    # by the layer, and not its table: Gemma's scales, and virtual tokens stand where scaled ones do
    first_VD = embedding(drawn_V.to(embedding.weight.device)).detach().clone()
    model.register_parameter(VIRTUAL, nn.Parameter(first_VD))
    config = PromptTuningConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=count,
        token_dim=embedding.weight.shape[1],
        num_transformer_submodules=1,
        num_layers=model.config.num_hidden_layers,
        num_attention_heads=model.config.num_attention_heads,
    )
    return Adapter(config, settings)


def adapter_files(adapter: Adapter, weights: Mapping[str, Tensor]) -> dict[str, bytes]:
    """The two files of peft's format.

    Args:
        weights: of the trained parameters, by their names in the model.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save

    if adapter.peft_model is None:
        state = {PROMPT: weights[VIRTUAL]}
    else:
        named = {f"base_model.model.{name}": value for name, value in weights.items()}
        state = get_peft_model_state_dict(adapter.peft_model, state_dict=named)
    tensors = {name: state[name].detach().cpu().contiguous() for name in sorted(state)}
    values = adapter.config.to_dict() | {"inference_mode": True, "base_model_name_or_path": adapter.start or None}
    plain = {key: _plain(value) for key, value in values.items()}
    text = json.dumps(plain, indent=2, sort_keys=True) + "\n"
    return {CONFIG: text.encode(), WEIGHTS: save(tensors, {"format": "pt"})}


def _plain(value: Any) -> Any:
    """As JSON has it: sets come in another order from run to run."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    return getattr(value, "value", value)


def write_adapter(
    adapter: Adapter,
    weights: Mapping[str, Tensor],
    tokenizer: Path,
    folder: Path,
    files: Mapping[str, bytes],
) -> None:
    """Write peft's folder, with tokenizer files and other `files`.

    Args:
        weights: see `adapter_files`.
        tokenizer: folder that the tokenizer files are copied from.
        folder: is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {**adapter_files(adapter, weights), **files}.items():
        (folder / name).write_bytes(content)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)


def is_adapter(folder: Path) -> bool:
    """Whether a folder of models/ holds an adapter and no whole model."""
    return (folder / CONFIG).is_file()


def is_mergeable(folder: Path) -> bool:
    """Whether an adapter can be merged into its model's weights."""
    return bool(json.loads((folder / CONFIG).read_text(encoding="utf-8"))["peft_type"] != "PROMPT_TUNING")


def stands_on_4_bits(folder: Path) -> bool:
    """Whether an adapter was trained beside weights in 4 bits.

    Its provenance has it; peft's config has no word of it.
    """
    made = folder / PROVENANCE
    settings = read_json(made).get("settings", {}) if made.is_file() else {}
    return bool(settings.get("adapter", {}).get("method") == QUANTIZED)


def merged(model: Any, folder: Path) -> Any:
    """`model` with the adapter of a folder.

    It is in the weights; virtual tokens, which cannot be, make a `Prompted`. Of an adapter of QLoRA the weights are rounded
    first to what it was trained beside.

    Args:
        model: in float32 for QLoRA, as it was when it was quantized.
    """
    if stands_on_4_bits(folder):
        check_bitsandbytes(folder.name)
        rounded(model, linear_maps(model))
    if not is_mergeable(folder):
        from safetensors.torch import load_file

        virtual_VD = load_file(folder / WEIGHTS)[PROMPT].to(model.device, model.dtype)
        return Prompted(model, virtual_VD)
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(folder)).merge_and_unload()


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


class Prompted:
    """A frozen model that reads virtual tokens before every text.

    It has what evaluation asks of a model: `model`, `lm_head`, `config` and `device`. Positions of virtual tokens are taken from
    those that texts may have.
    """

    def __init__(self, whole: Any, virtual_VD: Tensor) -> None:
        self.whole, self.virtual_VD = whole, virtual_VD
        self.lm_head, self.device = whole.lm_head, whole.device
        self.config = type(whole.config).from_dict(whole.config.to_dict())
        self.config.max_position_embeddings = whole.config.max_position_embeddings - len(virtual_VD)

    def model(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        **asked: Any,
    ) -> Any:
        """The decoder's output for the tokens alone.

        A cache that is empty gets the virtual tokens first.

        Args:
            input_ids: int64 (B, T).
            position_ids: (B, T), without virtual tokens.
            attention_mask: bool (B, 1, T, S) of tokens read so far, or None.
            past_key_values: a DynamicCache, which may hold virtual tokens and those read before.
        """
        count, (rows, length) = len(self.virtual_VD), input_ids.shape
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

    def _wider(self, mask: Tensor, positions_BT: Tensor, fresh: bool) -> Tensor:
        """The mask with columns of the virtual tokens, which all tokens see, and where they are read with their rows."""
        count, window = len(self.virtual_VD), getattr(self.config, "sliding_window", None)
        places_V = torch.arange(count, device=self.device)
        seen = torch.ones(*mask.shape[:3], count, dtype=torch.bool, device=self.device)
        if window is not None:
            seen &= (positions_BT[:, None, :, None] - places_V) < window
        wide = torch.cat([seen, mask], 3)
        if not fresh:
            return wide
        above = torch.zeros(mask.shape[0], 1, count, wide.shape[3], dtype=torch.bool, device=self.device)
        apart = places_V[:, None] - places_V
        above[..., :count] = (apart >= 0) & (apart < (window or count))
        return torch.cat([above, wide], 2)
