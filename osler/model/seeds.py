"""Where the models of several training seeds lie.

The first seed's lies in the standard folder, the others' below it.

`models/cpt` is a model of the first seed that all readers of models know how to read; `models/cpt/seeds/2` is one of the same form.
A model that no seed made (a downloaded base) is the same for all.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from osler.build.files import digest_of, read_json
from osler.build.section import EACH_ONCE, BuildError, Seed

SEEDS = "seeds"


Seeds = Annotated[
    tuple[Seed, ...],
    Field(min_length=1, description="of training: weights, order of rows, noise; of prompting: exemplars, samples"),
    EACH_ONCE,
]


def made_folder(model: Path, seed: int, seeds: tuple[int, ...]) -> Path:
    """Where the model of `seed` is written.

    It is a model of a stage that trains `seeds`.
    """
    return model if seed == seeds[0] else model / SEEDS / str(seed)


def seed_of(model: Path) -> int | None:
    """The seed that trained the model in a folder.

    It is None where none did.
    """
    try:
        seed = read_json(model / "provenance.json")["settings"]["seed"]
    except (OSError, json.JSONDecodeError, KeyError):
        return None
    return int(seed)


def folder_of(model: Path, seed: int) -> Path:
    """Where the model of `seed` is read.

    Raises:
        BuildError: the model was trained, and not with that seed.
    """
    own = model / SEEDS / str(seed)
    if own.is_dir():
        return own
    if (first := seed_of(model)) not in (None, seed):
        raise BuildError(f"models/{model.name}: trained with seed {first} and not with {seed}; list it in its `seeds`")
    return model


def own_files(model: Path) -> Iterator[Path]:
    """The files of the model in a folder, in order.

    Those of other seeds below it are left out.
    """
    for path in sorted(model.rglob("*")):
        if path.is_file() and path.relative_to(model).parts[0] != SEEDS:
            yield path


def model_hash(model: Path) -> str:
    """The hash of the model in a folder, hexadecimal.

    It is blake2b-128 over the names and bytes of `own_files`: another seed's model does not change it.
    """
    return digest_of(model, own_files(model))
