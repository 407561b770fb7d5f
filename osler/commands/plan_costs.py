"""What training would cost, for `osler plan`: tokens, steps, FLOPs, memory on each device, device-hours.

As section `launch` lays it out; osler/model/cost_estimates.py has the formulas and their sources.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from osler.build.files import read_json
from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.build.validation import PARAMS, suggestion, validated
from osler.commands.base_sizes import base_sizes
from osler.model.adapter_costs import adapter_flops, adapter_memory
from osler.model.cost_estimates import Memory, Placement, device_memory, parameters, planned_flops
from osler.model.devices import DEVICES, Device
from osler.model.seeds import SEEDS
from osler.training.adapters import ALL_WEIGHTS
from osler.training.in_turn import planned_tokens
from osler.training.launch import Launch, check_stages


@dataclass(frozen=True)
class TrainingCost:
    """What one training stage costs.

    It is the cost of one seed; `seeds` is how many the stage trains.
    """

    tokens: int
    about: bool  # tokens are an assumption, since what is read has not been made yet
    steps: int
    flops: float
    memory: Memory
    seeds: int = 1


def instruction_tokens(params: Mapping[str, Any], folder: Path | None, conversation_tokens: int) -> tuple[int, bool]:
    """Tokens of one epoch of fine-tuning, and whether they are assumed.

    They are counted in `folder`, if `instruct` has made it and would not run. Else they are an assumption.
    """
    if folder and (folder / "manifest.json").is_file():
        return int(read_json(folder / "manifest.json")["tokens"]), False
    longest = min(conversation_tokens, params["pack"]["sequence_length_tokens"])
    return params["instruct"]["conversations"] * longest, True


def exercise_tokens(
    params: Mapping[str, Any], name: str, folder: Path | None, conversation_tokens: int
) -> tuple[int, bool] | None:
    """Tokens of one epoch of an exercise, and whether they are assumed.

    They are the mean of the draws in `folder`, if `exercises` has made it and would not run. Else they are an assumption, of
    `few` rows; None where all rows are learned, which nobody has counted yet.
    """
    draws = sorted((folder / SEEDS).glob("*/manifest.json")) if folder else []
    if draws:
        return round(sum(int(read_json(draw)["tokens"]) for draw in draws) / len(draws)), False
    longest, few = (
        min(conversation_tokens, params["pack"]["sequence_length_tokens"]),
        params["exercise"][name].get("few"),
    )
    return (few * longest, True) if few else None


def placement(launch: Mapping[str, Any], others: Sequence[str], stage: str = "") -> Placement:
    """Section `launch` as far as it decides what a device holds.

    `others` are `key=value` in place of what the section says; `stage` may have keys of its own in `launch.stages`.

    Raises:
        BuildError: no such key, or no such value; or engine and processes of a training stage do not fit together.
    """
    from dvc.utils.serialize import ParseError, parse_yaml

    values = dict(launch)
    for pair in others:
        key, _, value = pair.partition("=")
        if key not in Launch.model_fields:  # before the section's own keys lie beside it
            raise BuildError(f"--launch: launch.{key}: unknown key{suggestion(key, Launch.model_fields)}")
        try:
            values[key] = parse_yaml(value, "--launch")  # by the same rules as params.yaml
        except ParseError:
            raise BuildError(f"--launch {pair}: not a value in YAML") from None
    where = "--launch" if others else PARAMS
    given = cast(Launch, validated("launch", values, Launch, where))
    try:
        check_stages(given)
    except BuildError as error:
        raise BuildError(str(error).replace(PARAMS, where, 1)) from None
    asked = given.of(stage) if stage else given
    return Placement.model_validate(asked.model_dump(include=set(Placement.model_fields)))


def training(
    name: str, params: Mapping[str, Any], learned: tuple[int, bool], placed: Placement, root: Path = ROOT
) -> TrainingCost:
    """The cost of the training stage `name`.

    `learned` are the tokens of an epoch of what is tuned on, conversations or an exercise, and whether they are assumed. The
    base's sizes are known (`base_sizes`).
    """
    stage, _, instance = name.partition("@")
    width = params["pack"]["sequence_length_tokens"]
    if stage == "pretrain":
        recipe, tokens, about = params["pretrain"][instance], params["pretrain"][instance]["tokens"], False
    elif stage == "cpt":
        recipe, tokens, about = params["cpt"], params["mix"]["tokens"], False
    elif stage in ("trunk", "anneal"):
        recipe, tokens, about = params["cpt"], params[stage][instance]["tokens"], False
    elif stage == "continual":
        recipe, tokens, about = params["continual"][instance], planned_tokens(params["continual"][instance]), True
    else:
        recipe = params["adapter"][instance] if stage == "adapter" else params["sft"]
        epoch, about = learned
        tokens = round(epoch * recipe["epochs"])
    noised = params["neftune"] if stage == "neftune" else {}
    # consistency is a forward pass more, and a backward pass counts as two
    passes = 4 / 3 if noised.get("alpha") and noised.get("consistency") else 1
    counted, batch = base_sizes(params, root).counted, recipe["batch_tokens"]
    assert counted  # else `cost_lines` is not asked
    dtype = params["numerics"]["dtype"]
    if stage in ("adapter", "continual") and recipe["method"] != ALL_WEIGHTS:
        flops = adapter_flops(*counted, recipe, tokens, width)
        memory = adapter_memory(*counted, recipe, dtype, placed, batch // width, width)
    else:
        flops = planned_flops(*counted, tokens, width) * passes
        memory = device_memory(*counted, dtype, placed, batch // width, width)
    return TrainingCost(tokens, about, -(-tokens // batch), flops, memory, trained_seeds(name, params))


def trained_seeds(name: str, params: Mapping[str, Any]) -> int:
    """How many models the training stage `name` makes.

    Of trunks and branches it is one, unless their section lists more.
    """
    stage, _, instance = name.partition("@")
    if stage in ("trunk", "anneal"):
        return len(params[stage][instance].get("seeds") or [None])
    if stage in ("adapter", "continual"):
        return len(params[stage][instance].get("seeds") or params["seeds"])
    return len(params["seeds"])


def gigabytes(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value / 1e9:,.0f}" if value >= 1e11 else f"{value / 1e9:.3g}"


def cost_lines(
    costs: Mapping[str, TrainingCost],
    params: Mapping[str, Any],
    placed: Placement,
    device: Device | None,
    root: Path = ROOT,
) -> Iterator[str]:
    """A table of the training stages."""
    sizes = base_sizes(params, root)
    assert sizes.counted
    architecture, counted = sizes.counted[0], parameters(*sizes.counted)
    kind = sizes.kind.capitalize() if sizes.kind else "Mixtral" if architecture.experts else "Mistral"
    active = f", {counted.active:,} active" if counted.active != counted.total else ""
    engine = placed.engine + (f" with ZeRO {placed.zero_stage}" if placed.zero_stage else "")
    engine += f" of {placed.shard_processes}" if placed.shard_processes else ""
    again = ", activation checkpointing" if placed.activation_checkpointing else ""
    again += " (selective)" if placed.activation_checkpointing == "selective" else ""
    rows = f", micro-batches of {placed.micro_batch_rows} rows" if placed.micro_batch_rows else ""
    devices = f"{placed.devices} devices" if placed.devices > 1 else "one device"
    yield f"{kind} of {counted.total:,} parameters{active}; {engine} on {devices}{rows}{again}, {params['numerics']['dtype']}."
    yield "FLOPs are 6 x tokens x (active parameters + layers x hidden size x row length); memory in GB on each device."
    if any(name.startswith(("adapter@", "continual@")) for name in costs):
        yield "Of adapters they are 4 a frozen parameter; gradients and optimizer state are those of their own few weights."
    yield "Steps are those of full rows; metrics/packing.json says how full they are once `mix` has run."
    heads = ("tokens", "steps", "FLOPs", "weights", "gradients", "optimizer", "whole", "activations", "sum")
    yield f"  {'':<16}" + "".join(f"{head:>13}" for head in heads)
    for name, cost in costs.items():
        memory = cost.memory
        parts = (memory.weights, memory.gradients, memory.optimizer, memory.whole, memory.activations, memory.total)
        sign = "~" if cost.about else ""
        cells = (f"{sign}{cost.tokens:,}", f"{sign}{cost.steps:,}", f"{sign}{cost.flops:.3g}", *map(gigabytes, parts))
        full = " does not fit" if device and memory.total > device.memory_bytes else ""
        yield f"  {name:<16}" + "".join(f"{cell:>13}" for cell in cells) + full
    yield from host_lines(costs, placed, counted.total)
    if several := [name for name, cost in costs.items() if cost.seeds > 1]:
        yield f"  each of one seed; {', '.join(f'{name} trains {costs[name].seeds}' for name in several)}"
    if any(cost.about for cost in costs.values()):
        yield "  ~ assumed, since the conversations have not been tokenized yet (--conversation-tokens)"


def own_lines(placed: Placement, own: Mapping[str, Placement]) -> Iterator[str]:
    """Which stages `launch.stages` places otherwise."""
    for name, found in own.items():
        if found != placed:
            changed = {key: value for key, value in found.model_dump().items() if value != getattr(placed, key)}
            shown = ", ".join(f"{key} {'null' if value is None else value}" for key, value in changed.items())
            yield f"  {name}: {shown}, on {found.devices} devices"


def host_lines(costs: Mapping[str, TrainingCost], placed: Placement, total: int) -> Iterator[str]:
    """What of engines that divide lies in the machines' memory."""
    if placed.engine not in ("fsdp", "deepspeed"):
        return
    yield "  whole: layers at work, their gradients and buffers, which are not divided"
    if placed.offload and costs:
        host = max(cost.memory.host for cost in costs.values()) * placed.processes
        yield f"  launch.offload {placed.offload}: {gigabytes(host)} GB in the memory of each machine, besides"
    yield f"  the first machine's memory holds the whole model in float32, {gigabytes(4 * total)} GB, as it starts and ends"


def hours_lines(
    costs: Mapping[str, TrainingCost],
    placed: Placement,
    device: str,
    mfu: float,
    price: float | None,
    dtype: str,
    own: Mapping[str, Placement] | None = None,
) -> Iterator[str]:
    """Device-hours, days and cost of `costs` together.

    Stages run one after the other; `own` are placed otherwise.
    """
    if dtype != "bfloat16":
        yield f"device-hours are told for numerics.dtype bfloat16 only; it is {dtype}"
        return
    each = {
        name: cost.flops * cost.seeds / (DEVICES[device].flops_per_second * mfu) / 3600 for name, cost in costs.items()
    }
    hours = sum(each.values())
    counts = {name: (own or {}).get(name, placed).devices for name in each}
    days = sum(one / counts[name] for name, one in each.items()) / 24
    devices = " to ".join(map(str, sorted({min(counts.values()), max(counts.values())}))) if counts else placed.devices
    money = f", {hours * price:,.0f} at {price:g} an hour" if price is not None else ""
    yield (
        f"{', '.join(costs) or 'no training'}: {hours:,.0f} device-hours of {device}"
        f" ({DEVICES[device].flops_per_second / 1e12:g} TFLOP/s, MFU {mfu:g}), {days:,.1f} days on"
        f" {devices}{money}"
    )
