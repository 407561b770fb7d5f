"""Say what a build would run and what its training would cost, before anything runs.

    python -m stages.plan                                        # the params in force
    python -m stages.plan mixtral-8x7b --root /data              # a profile that is not in force
    python -m stages.plan --device h100 --mfu 0.4 --price 2.5    # with device-hours and cost
    python -m stages.plan mistral-7b --launch nodes=8    # laid out otherwise

Which stages would run and why (params, code, data), as `dvc repro` decides; per training stage tokens, steps, FLOPs and memory
on each device as `launch` lays it out (stages/lib/estimates.py has the formulas and their sources); what of the data is not
there; and models that other package versions trained. Reads and hashes what changed, as `dvc status` does, and writes nothing.
7 s of CPU time on the default.
"""

import argparse
import math
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import yaml

from stages.code import TRAINING, stage_modules
from stages.lib.architecture import Architecture
from stages.lib.devices import DEVICES, Device
from stages.lib.estimates import Memory, Placement, device_memory, parameters, training_flops
from stages.lib.files import read_json
from stages.lib.fingerprint import fingerprint
from stages.lib.launching import Launch, command
from stages.lib.reruns import Rerun, producers, reruns
from stages.lib.section import BuildError
from stages.lib.stage import PARAMS, ROOT, Declaration, artifact_name, changes, declarations, read_params, validated
from stages.profile import check_sections, filled

NO_ROOT = "/no/root/given"
SHOWN_REASONS = 8  # of a stage


@dataclass(frozen=True)
class Training:
    """What one training stage costs."""

    tokens: int
    about: bool  # tokens are an assumption, since what is read has not been made yet
    steps: int
    flops: float
    memory: Memory


def missing_data(stages: Mapping[str, Declaration], root: Path) -> list[tuple[str, str]]:
    """Files that stages read, no stage makes and nobody has put there, as (path, stage)."""
    return [
        (path, name)
        for name, made in producers(stages).items()
        for path, makers in made.items()
        if not makers and not (root / path).exists()
    ]


def instruction_tokens(params: Mapping[str, Any], folder: Path | None, conversation_tokens: int) -> tuple[int, bool]:
    """Tokens of one epoch of fine-tuning, and whether they are an assumption: counted in `folder`, if `instruct` has made it
    and would not run."""
    if folder and (folder / "manifest.json").is_file():
        return int(read_json(folder / "manifest.json")["tokens"]), False
    longest = min(conversation_tokens, params["pack"]["sequence_length_tokens"])
    return params["instruct"]["conversations"] * longest, True


def placement(launch: Mapping[str, Any], others: Sequence[str]) -> Placement:
    """Section `launch` as far as it decides what a device holds; `others` are `key=value` in its place.

    Raises:
        BuildError: no such key, or no such value.
    """
    values = dict(launch)
    for pair in others:
        key, _, value = pair.partition("=")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise BuildError(f"--launch {pair}: not a value in YAML") from None
    where = "--launch" if others else PARAMS
    given = cast(Launch, validated("launch", values, Launch, where))
    try:
        command(given, "stages.cpt", "localhost")
    except BuildError as error:
        raise BuildError(str(error).replace(PARAMS, where, 1)) from None
    return Placement.model_validate(given.model_dump(include=set(Placement.model_fields)))


def training(name: str, params: Mapping[str, Any], instructions: tuple[int, bool], placed: Placement) -> Training:
    """The cost of the training stage `name`; `instructions` are the tokens of an epoch, and whether assumed."""
    stage, _, instance = name.partition("@")
    width = params["pack"]["sequence_length_tokens"]
    if stage == "pretrain":
        recipe, tokens, about = params["pretrain"][instance], params["pretrain"][instance]["tokens"], False
    elif stage == "cpt":
        recipe, tokens, about = params["cpt"], params["mix"]["tokens"], False
    elif stage in ("trunk", "anneal"):
        recipe, tokens, about = params["cpt"], params[stage][instance]["tokens"], False
    else:
        recipe = params["sft"]
        tokens, about = round(instructions[0] * recipe["epochs"]), instructions[1]
    architecture = Architecture.model_validate(params["architecture"])
    vocabulary, batch = params["tokenizer"]["vocabulary_size"], recipe["batch_tokens"]
    return Training(
        tokens,
        about,
        -(-tokens // batch),
        training_flops(architecture, vocabulary, tokens, width),
        device_memory(architecture, vocabulary, params["numerics"]["dtype"], placed, batch // width, width),
    )


def drift(root: Path, stages: Mapping[str, Declaration]) -> dict[str, list[str]]:
    """`torch 2.12.0 -> 2.13.0` -> the models that the first version trained, where another one is installed."""
    found: dict[str, list[str]] = {}
    for out in (out for stage in stages.values() for out in stage.outs if artifact_name(out, True) == "trained_model"):
        if not (root / out / "provenance.json").is_file():
            continue
        recorded = read_json(root / out / "provenance.json").get("packages", {})
        for package, then in recorded.items():
            try:
                now = version(package).split("+")[0]
            except PackageNotFoundError:
                now = "not installed"
            if now != then:
                found.setdefault(f"{package} {then} -> {now}", []).append(out)
    return found


def run_lines(found: Mapping[str, Rerun], stages: int) -> Iterator[str]:
    """Which stages would run: those with reasons of their own, instances with the same ones together, and those that follow."""
    yield f"{len(found)} of {stages} stages would run" + (":" if found else "")
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name, rerun in found.items():
        if rerun.reasons:
            stage, _, instance = name.partition("@")
            groups.setdefault((stage, rerun.reasons), []).append(instance)
    for (stage, reasons), instances in groups.items():
        several = f" ({', '.join(instances)})" if len(instances) > 1 else f"@{instances[0]}" if instances[0] else ""
        more = f"; and {len(reasons) - SHOWN_REASONS} more" if len(reasons) > SHOWN_REASONS else ""
        yield f"  {stage}{several}: {'; '.join(reasons[:SHOWN_REASONS])}{more}"
    if follow := [name for name, rerun in found.items() if not rerun.reasons]:
        yield f"  and, unless what they read comes out as it was: {', '.join(follow)}"


def gigabytes(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value / 1e9:,.0f}" if value >= 1e11 else f"{value / 1e9:.3g}"


def cost_lines(
    costs: Mapping[str, Training], params: Mapping[str, Any], placed: Placement, device: Device | None
) -> Iterator[str]:
    """A table of the training stages."""
    architecture = Architecture.model_validate(params["architecture"])
    counted = parameters(architecture, params["tokenizer"]["vocabulary_size"])
    kind = "Mixtral" if architecture.experts else "Mistral"
    active = f", {counted.active:,} active" if counted.active != counted.total else ""
    engine = placed.engine + (f" with ZeRO {placed.zero_stage}" if placed.zero_stage else "")
    again = ", activation checkpointing" if placed.activation_checkpointing else ""
    rows = f", micro-batches of {placed.micro_batch_rows} rows" if placed.micro_batch_rows else ""
    devices = f"{placed.devices} devices" if placed.devices > 1 else "one device"
    yield f"{kind} of {counted.total:,} parameters{active}; {engine} on {devices}{rows}{again}, {params['numerics']['dtype']}."
    yield "FLOPs are 6 x tokens x (active parameters + layers x hidden size x row length); memory in GB on each device."
    yield "Steps are those of full rows; metrics/packing.json says how full they are once `mix` has run."
    heads = ("tokens", "steps", "FLOPs", "weights", "gradients", "optimizer", "activations", "sum")
    yield f"  {'':<16}" + "".join(f"{head:>13}" for head in heads)
    for name, cost in costs.items():
        memory = cost.memory
        parts = (memory.weights, memory.gradients, memory.optimizer, memory.activations, memory.total)
        sign = "~" if cost.about else ""
        cells = (f"{sign}{cost.tokens:,}", f"{sign}{cost.steps:,}", f"{sign}{cost.flops:.3g}", *map(gigabytes, parts))
        full = " does not fit" if device and memory.total > device.memory_bytes else ""
        yield f"  {name:<16}" + "".join(f"{cell:>13}" for cell in cells) + full
    if any(cost.about for cost in costs.values()):
        yield "  ~ assumed, since the conversations have not been tokenized yet (--conversation-tokens)"


def hours_lines(
    costs: Mapping[str, Training], placed: Placement, device: str, mfu: float, price: float | None, dtype: str
) -> Iterator[str]:
    """Device-hours, days and cost of `costs` together."""
    if dtype != "bfloat16":
        yield f"device-hours are told for numerics.dtype bfloat16 only; it is {dtype}"
        return
    flops = sum(cost.flops for cost in costs.values())
    hours = flops / (DEVICES[device].flops_per_second * mfu) / 3600
    money = f", {hours * price:,.0f} at {price:g} an hour" if price is not None else ""
    yield (
        f"{', '.join(costs) or 'no training'}: {hours:,.0f} device-hours of {device}"
        f" ({DEVICES[device].flops_per_second / 1e12:g} TFLOP/s, MFU {mfu:g}), {hours / placed.devices / 24:,.1f} days on"
        f" {placed.devices}{money}"
    )


def report(
    params: Mapping[str, Any],
    stages: Mapping[str, Declaration],
    found: Mapping[str, Rerun] | None,
    root: Path,
    asked: argparse.Namespace,
) -> Iterator[str]:
    """All that is printed; `found` is None for a profile that is not in force."""
    if found is not None:
        yield from run_lines(found, len(stages))
        yield ""
    missing = missing_data(stages, root)
    if missing:
        yield "not there, and no stage makes it:"
        for path, name in missing:
            yield f"  {path.replace(NO_ROOT, '<root>')}, for {name}"
        yield ""
    placed = placement(params["launch"], asked.launch)
    out = next(out for out in stages["instruct"].outs if artifact_name(out, True) == "instructions")
    made = found is not None and "instruct" not in found
    instructions = instruction_tokens(params, root / out if made else None, asked.conversation_tokens)
    names = [name for name in stages if name.partition("@")[0] in TRAINING]
    costs = {name: training(name, params, instructions, placed) for name in names}
    yield from cost_lines(costs, params, placed, DEVICES.get(asked.device))
    if asked.device:
        counted = {name: cost for name, cost in costs.items() if found is None or name in found}
        yield from hours_lines(counted, placed, asked.device, asked.mfu, asked.price, params["numerics"]["dtype"])
    for change, models in drift(root, stages).items():
        yield f"package {change}, since it trained {', '.join(models)}"


def in_force(root: Path) -> tuple[dict[str, Any], dict[str, Declaration], dict[str, Rerun]]:
    """Params and stages of the project in `root`, and which of them would run."""
    params = read_params(root / PARAMS)
    if not isinstance(params.get("root"), str):
        raise BuildError(f"{PARAMS}: root: must be a folder's path; name the profile instead, or fill it")
    check_sections(params, root)
    stages = declarations(root, params)
    texts = {}
    for name, module in stage_modules(root).items():
        path = f"build/{name}.fp"
        on_disk = (root / path).read_text(encoding="utf-8") if (root / path).is_file() else None
        texts[path] = fingerprint(module, root, with_packages=name not in TRAINING), on_disk
    return params, stages, reruns(stages, changes(root), texts)


def of_profile(name: str, folder: str | None) -> tuple[dict[str, Any], dict[str, Declaration]]:
    """Params and stages of a profile, as if it was in force with `folder` as its root.

    Raises:
        BuildError: there is no such profile, or it is not whole.
    """
    source = ROOT / "profiles" / f"{name}.yaml"
    if not source.is_file():
        names = ", ".join(sorted(path.stem for path in source.parent.glob("*.yaml")))
        raise BuildError(f"profiles/{name}.yaml: no such profile; there are {names}")
    text = source.read_text(encoding="utf-8")
    with TemporaryDirectory() as temporary:
        project = Path(temporary)
        (project / ".dvc").mkdir()
        (project / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n", encoding="utf-8")
        shutil.copy(ROOT / "dvc.yaml", project)
        given = folder or (NO_ROOT if "\nroot: null" in text else None)
        (project / PARAMS).write_text(filled(text, given), encoding="utf-8")
        params = read_params(project / PARAMS)
        check_sections(params, project)
        return params, declarations(project, params)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the plan."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.plan", description="What would run and why, and what training would cost."
    )
    parser.add_argument("profile", nargs="?", help="a file of profiles/, without .yaml; else the params in force")
    parser.add_argument("--root", help="with a profile: absolute folder that its paths are relative to")
    parser.add_argument(
        "--launch", action="append", default=[], metavar="KEY=VALUE", help="another value of `launch`; may be repeated"
    )
    parser.add_argument("--device", choices=sorted(DEVICES), help="for device-hours, and to see what does not fit")
    parser.add_argument(
        "--mfu", type=float, default=0.4, help="share of the device's peak that is reached (%(default)s)"
    )
    parser.add_argument("--price", type=float, help="of an hour of one device, in any currency")
    parser.add_argument(
        "--conversation-tokens", type=int, default=500, help="assumed where none are tokenized yet (%(default)s)"
    )
    asked = parser.parse_args(arguments)
    try:
        if not 0 < asked.mfu <= 1:
            raise BuildError(f"--mfu {asked.mfu:g}: must be above 0 and at most 1")
        if asked.price is not None and not 0 <= asked.price < math.inf:
            raise BuildError(f"--price {asked.price:g}: must be at least 0")
        if asked.conversation_tokens < 1:
            raise BuildError(f"--conversation-tokens {asked.conversation_tokens}: must be at least 1")
        if asked.price is not None and not asked.device:
            raise BuildError("--price: needs --device")
        if asked.root and not asked.profile:
            raise BuildError("--root: needs a profile; the params in force have their own")
        found = None
        if asked.profile:
            params, stages = of_profile(asked.profile, asked.root)
        else:
            params, stages, found = in_force(ROOT)
        print("\n".join(list(report(params, stages, found, ROOT, asked))))
    except BuildError as error:
        sys.exit(f"osler: {error}")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` is no error
    main()
