"""Models of the Hub that read texts for the evaluation.

Each is taken at one commit, as a folder of models/encoders.

`embeddings` finds the solved questions nearest to one that is asked, in place of the evaluated model's own hidden states;
`bertscore` compares what is written in generative tasks with its target. Where a section is null there is no folder.
Each gets an `encoder.json`: what it is, how its embeddings are pooled, and which layer BERTScore reads. Weights are taken as
safetensors only, and no code of the repository is run.
"""

from fnmatch import fnmatch
from pathlib import Path

from pydantic import Field

from osler.build.files import file_hash, link, read_json, write_json
from osler.build.hub import ModelFiles
from osler.build.section import BuildError, Section

POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


class Scorer(ModelFiles):
    """Section `encoder.bertscore`."""

    layer: int | None = Field(default=None, ge=1, description="whose hidden states are compared; null is the last")


class Encoders(Section):
    """Section `encoder`."""

    embeddings: ModelFiles | None = Field(
        default=None, description="finds the nearest solved questions; null: the evaluated model's own hidden states do"
    )
    bertscore: Scorer | None = Field(
        default=None, description="computes BERTScore of tasks with metric text; null: without"
    )


def pooling(folder: Path, key: str) -> str:
    """How a sentence-embedding model says that it pools.

    That is `mean`, also where it says nothing, or `cls`, its first token.

    Raises:
        BuildError: in another way.
    """
    path = folder / "1_Pooling/config.json"
    if not path.is_file():
        return "mean"
    config = read_json(path)
    modes = [name for name, value in sorted(config.items()) if name.startswith("pooling_mode_") and value is True]
    named = config.get("pooling_mode") or (POOLINGS.get(modes[0]) if len(modes) == 1 else None)
    if named not in POOLINGS.values():
        raise BuildError(
            f"params.yaml: {key}: pools by {named or ', '.join(modes) or 'nothing'}; take a model by mean or cls"
        )
    return str(named)


def taken(wanted: ModelFiles, key: str, folder: Path) -> None:
    """Fill `folder` with the files of a model.

    Raises:
        BuildError: they cannot be fetched, or have no safetensors, config.json or tokenizer.json, or too few layers.
    """
    fetched = wanted.fetched(key)
    if not (fetched / "tokenizer.json").is_file():
        raise BuildError(f"params.yaml: {key}.files: no tokenizer.json among the files taken")
    layer = wanted.layer if isinstance(wanted, Scorer) else None
    layers = read_json(fetched / "config.json").get("num_hidden_layers")
    if layer and (not layers or layer > layers):
        raise BuildError(f"params.yaml: {key}.layer: {layer}, and {wanted.repository} has {layers}")
    found = sorted(path.relative_to(fetched) for path in fetched.rglob("*") if path.is_file())
    names = [path.as_posix() for path in found if ".cache" not in path.parts]
    kept = [name for name in names if any(fnmatch(name, pattern) for pattern in wanted.files)]
    for name in kept:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        link(fetched / name, folder / name)
    facts = {
        "repository": wanted.repository,
        "revision": wanted.revision,
        "layer": layer,
        "pooling": None if isinstance(wanted, Scorer) else pooling(folder, key),
    }
    write_json(folder / "encoder.json", facts | {"files": {name: file_hash(fetched / name) for name in kept}})
    print(f"{key}: {len(kept)} files of {wanted.repository} at {wanted.revision[:12]}")


def write_encoders(encoder: Encoders, encoders: Path) -> None:
    """Fill the folder `encoders`.

    `encoders.json` in it lists what there is, and makes a folder even where there is nothing.

    Raises:
        BuildError: see `taken`.
    """
    wanted = {name: section for name in Encoders.model_fields if (section := getattr(encoder, name))}
    for name, section in wanted.items():
        taken(section, f"encoder.{name}", encoders / name)
    write_json(encoders / "encoders.json", sorted(wanted))
