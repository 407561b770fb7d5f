"""Where a base model that is not made here comes from: sections `download_model.<name>`.

A repository of the Hub at one commit, or a file of an installed package. Both become a folder in scratch/models that is filled
once and read by two stages: `tokenizer` takes its tokenizer, `download_model` its weights.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from osler.build import hub
from osler.build.files import read_json
from osler.build.hub import CommitId, ModelFiles, Patterns, Repository, fetch
from osler.build.packages import installed
from osler.build.section import BuildError, Section
from osler.build.validation import PARAMS
from osler.model.gguf_package import package_path, write_gguf_model, write_gguf_tokenizer

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "config.json",  # of the model: ids of its marks, and whether it wants code of its own
    "generation_config.json",
)
BASE = "base"


class DownloadModel(Section):
    """A section `download_model.<name>`.

    It names a repository of the Hub at one commit, or a file of an installed package.
    """

    repository: Repository | None = Field(default=None, description="on the Hub, owner/name")
    revision: CommitId | None = Field(
        default=None, description="of the repository, a commit: a branch would give other bytes tomorrow"
    )
    files: Patterns | None = Field(
        default=None, description="of the repository, which to take, as patterns: 'model*.safetensors'"
    )
    package: str | None = Field(
        default=None, pattern=r"^\w+$", description="in place of `repository`: an installed one that carries the model"
    )
    version: str | None = Field(default=None, description="of the package")
    file: str | None = Field(default=None, pattern=r"^[\w.-]+\.gguf$", description="the model in the package, GGUF")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        hub = [self.repository, self.revision, self.files]
        package = [self.package, self.version, self.file]
        if not ((all(hub) and not any(package)) or (all(package) and not any(hub))):
            raise ValueError(
                "needs repository, revision and files (of the Hub), or package, version and file; nothing else"
            )
        return self

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return self.repository or f"{self.package} {self.version}"

    @property
    def place(self) -> str:
        """Where it comes from, in a line."""
        return f"{self.repository} at {self.revision[:12]}" if self.revision else self.title

    def facts(self) -> dict[str, str]:
        """What the model's provenance has of it."""
        found: dict[str, str] = self.model_dump(exclude_none=True, exclude={"files"})
        return found

    def model_files(self, key: str) -> Path:
        """The folder with weights and config.

        Raises:
            BuildError: see `ModelFiles.fetched` and `package_path`; or the repository asks for code of its own.
        """
        if self.package:
            folder = self._converted()
            path = package_path(self.package, str(self.version), str(self.file), key)
            if not (folder / "model/config.json").is_file():
                write_gguf_model(path, self.tokenizer_files(key), folder / "model")
            return folder / "model"
        files = ModelFiles(repository=str(self.repository), revision=str(self.revision), files=self.files or ())
        fetched = files.fetched(key)
        refuse_remote_code(fetched, key, self.title)
        return fetched

    def tokenizer_files(self, key: str) -> Path:
        """The folder with the tokenizer; weights are not fetched for it.

        Raises:
            BuildError: they cannot be fetched, there is no tokenizer.json, or the repository asks for code of its own.
        """
        if self.package:
            folder = self._converted() / "tokenizer"
            path = package_path(self.package, str(self.version), str(self.file), key)
            if not folder.is_dir():
                write_gguf_tokenizer(path, folder, key)
            return folder
        repository, revision = str(self.repository), str(self.revision)
        folder = hub.ROOT / "scratch/models" / repository.replace("/", "--") / revision
        fetch("model", repository, revision, TOKENIZER_FILES, folder, key)
        refuse_remote_code(folder, key, repository)
        if not (folder / "tokenizer.json").is_file():
            raise BuildError(
                f"{PARAMS}: {key}.repository: {repository} has no tokenizer.json; set tokenizer.kind to package, or"
                " take a repository with one"
            )
        return folder

    def _converted(self) -> Path:
        """What was made of the package's file by the installed versions of its readers."""
        readers = "-".join(f"{name}-{installed(name)}" for name in ("gguf", "transformers"))
        return hub.ROOT / "scratch/models" / f"{self.package}--{self.version}" / f"{self.file}-{readers}"


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
