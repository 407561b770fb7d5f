"""Files of a repository of the Hugging Face Hub at one commit: what the stages that reach the network share.

`make` keeps all other stages offline. A token for a gated repository comes from the environment (HF_TOKEN) or from
`hf auth login`, never from params.
"""

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from osler.build.section import EACH_ONCE, BuildError, Section

ROOT = Path(__file__).resolve().parents[2]
Repository = Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$", description="on the Hub, owner/name")]
CommitId = Annotated[
    str, Field(pattern=r"^[0-9a-f]{40}$", description="commit: a branch would give other bytes tomorrow")
]


TEMPLATE = "chat_template.jinja"  # which transformers renders in a sandbox


def only_safe(files: tuple[str, ...]) -> tuple[str, ...]:
    """`files`, patterns of safetensors and JSON, and a chat template's file.

    Raises:
        ValueError: one is of other files.
    """
    if wrong := [name for name in files if not name.endswith((".safetensors", ".json")) and name != TEMPLATE]:
        raise ValueError(
            f"{', '.join(wrong)}: only .safetensors, .json and {TEMPLATE} are taken; other weights may run code"
        )
    return files


Patterns = Annotated[
    tuple[str, ...],
    EACH_ONCE,
    AfterValidator(only_safe),
    Field(min_length=1, description="which files to take, as patterns: 'model*.safetensors'"),
]


class ModelFiles(Section):
    """What to take of a model's repository, in a params section."""

    repository: Repository
    revision: CommitId
    files: Patterns

    def fetched(self, key: str) -> Path:
        """The folder below scratch/ with the files.

        They are fetched where they are not there yet.

        Args:
            key: the params section, for messages.
        Raises:
            BuildError: they cannot be fetched, or hold no safetensors or no config.json.
        """
        folder = ROOT / "scratch/models" / self.repository.replace("/", "--") / self.revision
        fetch("model", self.repository, self.revision, self.files, folder, key)
        if not any(folder.glob("*.safetensors")) or not (folder / "config.json").is_file():
            raise BuildError(f"params.yaml: {key}.files: no *.safetensors or no config.json among the files taken")
        return folder


def fetch(
    kind: Literal["dataset", "model"], repository: str, revision: str, files: Sequence[str], folder: Path, key: str
) -> None:
    """Fill `folder` with the files that match one of the patterns `files`.

    What is there already is not fetched again. The files are real ones, not links into a cache. What the package notes
    about them is in the folder `.cache` beside them. A large file that has not the sha256 that the Hub gave for it (a disk
    changed it since) is told in a line and fetched again.

    Args:
        key: the params section, for messages.
    Raises:
        BuildError: the commit cannot be fetched, or no file matches.
    """
    quiet = "0" if sys.stderr.isatty() else "1"
    os.environ |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_PROGRESS_BARS": quiet, "HF_HUB_DISABLE_TELEMETRY": "1"}
    from huggingface_hub import snapshot_download  # reads these when it is imported
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    def get() -> None:
        snapshot_download(repository, repo_type=kind, revision=revision, local_dir=folder, allow_patterns=list(files))

    try:
        get()
        if damaged := list(_damaged(folder)):
            for path in damaged:
                print(f"warning: {path}: damaged; fetched again", file=sys.stderr, flush=True)
                path.unlink()
            get()
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())
        raise BuildError(f"params.yaml: {key}: {repository} could not be fetched: {reason}") from None
    if not any(path.is_file() and ".cache" not in path.parts for path in folder.rglob("*")):
        raise BuildError(f"params.yaml: {key}.files: no file of {repository} matches")


def _damaged(folder: Path) -> Iterator[Path]:
    """Files whose sha256, which the package notes as the ETag of those that the Hub keeps as large, is another one."""
    notes = folder / ".cache/huggingface/download"
    for note in sorted(notes.rglob("*.metadata")):
        _, etag, *_ = note.read_text(encoding="utf-8").splitlines()
        path = folder / note.relative_to(notes).with_suffix("")
        if len(etag) == 64 and path.is_file():
            with path.open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != etag:
                    yield path
