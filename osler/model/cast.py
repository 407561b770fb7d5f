"""The weights of a written model in another type: smaller files to hand on, of what was trained in float32."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from osler.build.files import read_json, write_json

Stored = Literal["float32", "bfloat16"]
INDEX, CONFIG = "model.safetensors.index.json", "config.json"


def stored_dtype(model: Path) -> str | None:
    """The type that a model's config.json names.

    It is None where it names none, or there is no such file.
    """
    if not (model / CONFIG).is_file():
        return None
    config = read_json(model / CONFIG)
    found: str | None = config.get("dtype") or config.get("torch_dtype")
    return found


def write_cast(files: Iterable[Path], folder: Path, dtype: Stored) -> None:
    """Write safetensors files into `folder` with their numbers as `dtype`.

    They are rounded to nearest. One file is in memory at a time. The config.json and the index that
    `folder` has already then say so.
    """
    import torch
    from safetensors.torch import load_file, save_file

    total, wanted = 0, getattr(torch, dtype)
    for file in files:
        tensors = load_file(file)
        cast = {name: one.to(wanted) if one.is_floating_point() else one for name, one in tensors.items()}
        total += sum(one.nbytes for one in cast.values())
        save_file(cast, folder / file.name, {"format": "pt"})
    config = {key: value for key, value in read_json(folder / CONFIG).items() if key != "torch_dtype"}
    write_json(folder / CONFIG, config | {"dtype": dtype})
    if (folder / INDEX).is_file():
        index = read_json(folder / INDEX)
        index["metadata"] = index.get("metadata", {}) | {"total_size": total}
        write_json(folder / INDEX, index)
