"""Models that read texts for the evaluation: of the Hub at one commit, or of the build.

Each is a folder of models/encoders.

`embeddings` finds the solved questions nearest to one that is asked, in place of the evaluated model's own hidden states;
`bertscore` compares what is written in generative tasks with its target. Where a section is null there is no folder.
Each gets an `encoder.json`: what it is, how its embeddings are pooled, and which layer BERTScore reads. Weights are taken as
safetensors only, and no code of a repository is run.
"""

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from osler.build.files import file_hash, link, read_json, write_json
from osler.build.hub import CommitId, ModelFiles, Patterns, Repository
from osler.build.section import BuildError, Section

POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
OWN: tuple[str, ...] = (
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*.json",
    "special_tokens_map.json",
)


class Scorer(Section):
    """Section `encoder.bertscore`: a model of the Hub, or the build's own base."""

    repository: Repository | None = Field(default=None, description="on the Hub, owner/name")
    revision: CommitId | None = Field(
        default=None, description="of the repository, a commit: a branch would give other bytes tomorrow"
    )
    files: Patterns | None = Field(
        default=None, description="of the repository, which to take, as patterns: 'model*.safetensors'"
    )
    origin: Literal["base"] | None = Field(
        default=None, alias="from", description="in place of `repository`: base, the build's own, of the first seed"
    )
    layer: int | None = Field(default=None, ge=1, description="whose hidden states are compared; null is the last")
    idf: bool | None = Field(
        default=None, description="tokens weigh by their rarity in a task's targets; null: all weigh the same"
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        hub = [self.repository, self.revision, self.files]
        if not (all(hub) if self.origin is None else not any(hub)):
            raise ValueError("needs repository, revision and files (of the Hub), or from: base; nothing else")
        return self


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


def matching(folder: Path, patterns: Sequence[str], below: bool = True) -> list[str]:
    """Files of `folder` that one of the patterns names.

    What is hidden is left out.

    Args:
        below: those of its folders too. A base has other seeds there.
    """
    there = folder.rglob("*") if below else folder.iterdir()
    found = sorted(path.relative_to(folder) for path in there if path.is_file())
    names = [path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)]
    return [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]


def link_all(source: Path, names: Sequence[str], folder: Path) -> None:
    """Files of `source` in `folder`, too."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        link(source / name, folder / name)


def taken(wanted: ModelFiles | Scorer, key: str, folder: Path, base: Path) -> None:
    """Fill `folder` with the files of a model.

    Args:
        key: the params section, for messages.
        base: the folder of the build's base model.
    Raises:
        BuildError: they cannot be fetched, or have no safetensors, config.json or tokenizer.json, or too few layers.
    """
    scorer = wanted if isinstance(wanted, Scorer) else None
    if scorer and scorer.origin:
        source, place = base, f"models/{scorer.origin}"
        facts: dict[str, object] = {"from": scorer.origin}
        kept = matching(base, OWN, below=False)
    else:
        repository, revision = str(wanted.repository), str(wanted.revision)
        files = ModelFiles(repository=repository, revision=revision, files=wanted.files or ())
        source, place = files.fetched(key), repository
        facts = {"repository": repository, "revision": revision}
        kept = matching(source, files.files)
    if not (source / "tokenizer.json").is_file():
        raise BuildError(f"params.yaml: {key}.files: no tokenizer.json among the files taken")
    layer = scorer.layer if scorer else None
    layers = read_json(source / "config.json").get("num_hidden_layers")
    if layer and (not layers or layer > layers):
        raise BuildError(f"params.yaml: {key}.layer: {layer}, and {place} has {layers}")
    link_all(source, kept, folder)
    facts |= {"layer": layer, "pooling": None if scorer else pooling(folder, key)}
    facts |= {"idf": True} if scorer and scorer.idf else {}
    write_json(folder / "encoder.json", facts | {"files": {name: file_hash(source / name) for name in kept}})
    revision = str(facts.get("revision", ""))[:12]
    print(f"{key}: {len(kept)} files of {place}" + (f" at {revision}" if revision else ""))


def write_encoders(encoder: Encoders, encoders: Path, base: Path) -> None:
    """Fill the folder `encoders`.

    `encoders.json` in it lists what there is, and makes a folder even where there is nothing.

    Args:
        base: the folder of the build's base model, read where a section asks for it.
    Raises:
        BuildError: see `taken`.
    """
    wanted = {name: section for name in Encoders.model_fields if (section := getattr(encoder, name))}
    for name, section in wanted.items():
        taken(section, f"encoder.{name}", encoders / name, base)
    write_json(encoders / "encoders.json", sorted(wanted))
