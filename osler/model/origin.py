"""Where a base model that is not made here comes from: sections `download_model.<name>`.

A repository of the Hub at one commit, or a file of an installed package. Both become a folder in scratch/models that is filled
once and read by two stages: `tokenizer` takes its tokenizer, `download_model` its weights.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from osler.build import hub
from osler.build.files import read_json
from osler.build.hub import ModelFiles, fetch
from osler.build.section import BuildError
from osler.build.validation import PARAMS

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "config.json",  # of the model: ids of its marks, and whether it wants code of its own
    "generation_config.json",
)
BASE = "base"


class DownloadModel(ModelFiles):
    """A section `download_model.<name>`: a repository of the Hub at one commit."""

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return self.repository

    def model_files(self, key: str) -> Path:
        """The folder with weights and config.

        Raises:
            BuildError: see `ModelFiles.fetched`; or the repository asks for code of its own.
        """
        folder = self.fetched(key)
        refuse_remote_code(folder, key, self.repository)
        return folder

    def tokenizer_files(self, key: str) -> Path:
        """The folder with the tokenizer; weights are not fetched for it.

        Raises:
            BuildError: they cannot be fetched, there is no tokenizer.json, or the repository asks for code of its own.
        """
        folder = hub.ROOT / "scratch/models" / self.repository.replace("/", "--") / self.revision
        fetch("model", self.repository, self.revision, TOKENIZER_FILES, folder, key)
        refuse_remote_code(folder, key, self.repository)
        if not (folder / "tokenizer.json").is_file():
            raise BuildError(
                f"{PARAMS}: {key}.repository: {self.repository} has no tokenizer.json; set tokenizer.kind to package, or"
                " take a repository with one"
            )
        return folder

    def facts(self) -> dict[str, str]:
        """Of the record of a model."""
        return {"repository": self.repository, "revision": self.revision}


def refuse_remote_code(folder: Path, key: str, title: str) -> None:
    """Refuse a model whose configs name code of its own.

    Raises:
        BuildError: names the file.
    """
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).is_file() and read_json(folder / name).get("auto_map"):
            raise BuildError(
                f"{PARAMS}: {key}: {title} asks for code of its own ({name}: auto_map), which is never run; take a model"
                " that transformers knows"
            )


def base_origin(sections: Mapping[str, Any]) -> Any:
    """The section `download_model.base`.

    Raises:
        BuildError: there is none.
    """
    if BASE not in sections:
        raise BuildError(
            f"{PARAMS}: tokenizer.kind: base takes the tokenizer of download_model.base, and there is none; set that"
            " section, or the kind to bpe"
        )
    return sections[BASE]
