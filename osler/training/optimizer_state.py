"""AdamW's moments beside a model, as one safetensors file.

With the weights they are all that a run needs to go on from another one.

Whole float32 tensors `exp_avg.<parameter>` and `exp_avg_sq.<parameter>`, so the bytes do not depend on engine and number of
processes, and any of them reads it. Written and read one parameter at a time: of 47B parameters (374 GB) a process never
holds more than the largest one, which the library's writer, that takes all tensors at once, would.
Format: https://github.com/huggingface/safetensors#format.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open

from osler.training.checkpoint_files import data, header
from osler.training.engine import MOMENTS, WEIGHT, Engine

FILE = "optimizer.safetensors"


def write_moments(path: Path, engine: Engine, shapes: Mapping[str, Sequence[int]]) -> None:
    """Write the moments of `engine`'s parameters.

    `shapes` has the parameters' whole shapes. All processes call it together.
    """
    tensors = {f"{moment}.{name}": (torch.float32, shapes[name]) for name in engine.parameters for moment in MOMENTS}
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path if engine.rank == 0 else Path(os.devnull)).open("wb") as stream:
        stream.write(header(tensors))
        for name in engine.parameters:
            whole = engine.gather(name)
            for moment in MOMENTS:
                stream.write(data(whole[moment].to(torch.float32).contiguous()))


def restore_moments(path: Path, engine: Engine, steps: int) -> None:
    """Set the optimizer of `engine` to that of an ended run.

    It ended after `steps` steps. Weights stay. All processes call it together.
    """
    with safe_open(path, framework="pt") as file:
        for name in engine.parameters:
            moments = {moment: file.get_tensor(f"{moment}.{name}") for moment in MOMENTS}
            engine.scatter(name, {WEIGHT: engine.gather(name)[WEIGHT]} | moments, steps)
