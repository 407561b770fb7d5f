"""What a model, a split or a folder has, where a section asks for more."""

import csv
import os
import zlib
from collections.abc import Mapping
from itertools import islice
from os.path import normpath
from pathlib import Path, PurePosixPath
from typing import Any

from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.build.slurm import of_stage
from osler.build.validation import PARAMS, shown_value
from osler.commands.base_sizes import base_sizes
from osler.commands.fetched import READING, brought, way
from osler.evaluation.benchmarks import Benchmark, read_items
from osler.model.adapter_costs import adapter_bytes
from osler.model.cost_estimates import HeldBytes, Placement, state_bytes
from osler.synthetic.settings import BENCHMARK, MADE
from osler.training.adapters import ALL_WEIGHTS
from osler.training.launch import EVALUATIONS

MOST_ITEMS = 10_000  # that are read of a benchmark, to count its solved questions
FITS_ANYWHERE_BYTES = 4e9  # of a GPU that trains; torch is not asked about less, which takes a second to import
HEADS_OF_FLASH_ATTENTION = 8, 256  # a multiple of, at most


def check_paths(params: Mapping[str, Any]) -> None:
    """Paths lie below `root`, or in what the build itself brings.

    What `synthesize` does not make is not there.

    Raises:
        BuildError: names the key.
    """
    made = {PurePosixPath(path) for path in MADE}
    made |= {folder for path in made for folder in path.parents}
    for kind in READING:
        for name, section in params[kind].items():
            key, own = f"{PARAMS}: {kind}.{name}.path: {shown_value(section['path'])}", brought(params, section["path"])
            if own is None and (found := way(str(params["root"]), section["path"], params["download"])):
                raise BuildError(f"{key}: what is downloaded is reached from this `root` by {found}; write that path")
            if own is None and normpath(section["path"]).split("/")[0] == "..":
                raise BuildError(f"{key} leads out of `root`; move `root` up, or the files below it")
            if own and own[0] == "synthesize" and own[2] not in made:
                there = ", ".join(MADE)
                raise BuildError(f"{key}: not among what synthesize.{own[1]} makes, which is {there}")


def check_model(params: Mapping[str, Any], root: Path = ROOT) -> None:
    """Windows must fit the positions, heads the attention.

    Raises:
        BuildError: names the key.
    """
    sizes, window = base_sizes(params, root), params["evaluate"]["window_tokens"]
    if sizes.positions and window > sizes.positions:
        raise BuildError(
            f"{PARAMS}: evaluate.window_tokens: {window}, above architecture.maximum_positions"
            f" {sizes.positions}; a window is read at once"
        )
    if sizes.architecture is None:
        return
    head, (multiple, most) = sizes.architecture.head_size, HEADS_OF_FLASH_ATTENTION
    if params["numerics"]["attention"] == "flash_attention_2" and (head % multiple or head > most):
        raise BuildError(
            f"{PARAMS}: numerics.attention: flash_attention_2 wants heads of a multiple of {multiple} numbers, at most"
            f" {most}, and architecture.hidden_size / heads is {head}; use sdpa"
        )


def check_amendments(params: Mapping[str, Any]) -> None:
    """A decision for one seed is for one that is trained.

    Raises:
        BuildError: names the decision.
    """
    seeds = set(params["seeds"])
    for segments in ("trunk", "anneal"):
        for segment in params[segments].values():
            seeds |= set(segment.get("seeds") or ())
    for number, one in enumerate(params["cpt"].get("amendments") or ()):
        if one.get("seed") is not None and one["seed"] not in seeds:
            there = ", ".join(map(str, sorted(seeds)))
            raise BuildError(
                f"{PARAMS}: cpt.amendments.{number}.seed: {one['seed']}, and no model of it is trained: {there} are"
            )


def check_memory(params: Mapping[str, Any], root: Path = ROOT) -> None:
    """What training must hold must fit where it is held.

    That is known of this machine alone, if it is the only one and has a GPU. Counted are weights, gradients and optimizer,
    which are exact; what comes on top is told by `osler plan --device`.

    Raises:
        BuildError: they do not fit.
    """
    for stage in ("", *(params["launch"].get("stages") or {})):
        if stage not in EVALUATIONS:
            where = f"launch.stages.{stage}" if stage else "launch"
            _check_memory(params, root, of_stage(params["launch"], stage), where)


def _check_memory(params: Mapping[str, Any], root: Path, launch: Mapping[str, Any], where: str) -> None:
    """The same of one stage.

    Raises:
        BuildError: they do not fit.
    """
    placed = Placement.model_validate({key: value for key, value in launch.items() if key in Placement.model_fields})
    if not (counted := base_sizes(params, root).counted):
        return
    dtype = params["numerics"]["dtype"]
    states = [state_bytes(*counted, dtype, placed)]
    if where == "launch.stages.adapter":
        states = [
            state_bytes(*counted, dtype, placed)
            if section["method"] == ALL_WEIGHTS
            else adapter_bytes(*counted, section, dtype, placed)
            for section in params["adapter"].values()
        ]
    state = max(
        states, key=lambda one: one.weights + one.gradients + one.optimizer + one.host, default=HeldBytes(0, 0, 0)
    )
    device, host = state.weights + state.gradients + state.optimizer, state.host * placed.processes
    if placed.nodes > 1 or device + host < FITS_ANYWHERE_BYTES:
        return
    import torch

    if not torch.cuda.is_available():
        return
    there = torch.cuda.get_device_properties(0).total_memory
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for bytes_, most, place in ((device, there, "on each GPU"), (host, memory, "in this machine's memory")):
        if bytes_ > most:
            raise BuildError(
                f"{PARAMS}: {where}: weights, gradients and optimizer take {bytes_ / 1e9:,.0f} GB {place}, which has"
                f" {most / 1e9:,.0f}; divide them among more processes (fsdp), or see launch.offload and `osler plan`"
            )


def solved_items(params: Mapping[str, Any], root: Path, name: str, enough: int) -> int | None:
    """The items of a benchmark's split dev, up to `enough`.

    None where they cannot be counted yet: it is fetched by the build, or has more than MOST_ITEMS others.

    Raises:
        BuildError: the benchmark cannot be read.
    """
    section = params["benchmark"][name]
    own = brought(params, section["path"])
    if own and own[0] == "synthesize" and own[2] == PurePosixPath(BENCHMARK):
        return int(params["synthesize"][own[1]]["dev_items"])
    path = root / params["root"] / section["path"]
    if not path.exists():
        return None
    found = read = 0
    try:
        for item in islice(read_items(path, Benchmark.model_validate(section)), MOST_ITEMS):
            read += 1
            found += item.split == "dev"
            if found == enough:
                return found
    except (BuildError, OSError, EOFError, ValueError, csv.Error, zlib.error) as error:
        raise BuildError(f"{PARAMS}: benchmark.{name}.path: {str(error) or 'damaged'}; correct the file") from None
    return found if read < MOST_ITEMS else None


def check_shots(params: Mapping[str, Any], root: Path) -> None:
    """Each benchmark must have as many solved questions as are shown.

    One that has none shows those of all (osler/evaluation/exemplars.py).

    Raises:
        BuildError: names the strategy and the benchmark.
    """
    shots = {name: section["shots"] for name, section in params["strategies"].items() if section and "shots" in section}
    if not shots:
        return
    strategy = max(shots, key=lambda name: shots[name])
    counted = {name: solved_items(params, root, name, shots[strategy]) for name in params["benchmark"]}
    everything = sum(count or 0 for count in counted.values())
    for benchmark, own in counted.items():
        if own is None or (own == 0 and None in counted.values()):
            continue
        if (there := own or everything) < shots[strategy]:
            raise BuildError(
                f"{PARAMS}: strategies.{strategy}.shots: {shots[strategy]}, and the benchmark {benchmark} has {there} solved"
                " questions, those of the split dev; show fewer, add some, or set the strategy to null"
            )
