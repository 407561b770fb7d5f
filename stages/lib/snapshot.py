"""Files of a repository of the Hugging Face Hub at one commit: what the stages that reach the network share.

`make` keeps all other stages offline. A token for a gated repository comes from the environment (HF_TOKEN) or from
`hf auth login`, never from params.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from stages.lib.section import BuildError

Repository = Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$", description="on the Hub, owner/name")]
Revision = Annotated[
    str, Field(pattern=r"^[0-9a-f]{40}$", description="commit: a branch would give other bytes tomorrow")
]


def fetch(
    kind: Literal["dataset", "model"], repository: str, revision: str, files: Sequence[str], folder: Path, key: str
) -> None:
    """Fill `folder` with the files that match one of the patterns `files`; what is there already is not fetched again.

    They are real ones, not links into a cache, and what the package notes about them is in the folder `.cache` beside them.

    Args:
        key: the params section, for messages.
    Raises:
        BuildError: the commit cannot be fetched, or no file matches.
    """
    quiet = "0" if sys.stderr.isatty() else "1"
    os.environ |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_PROGRESS_BARS": quiet, "HF_HUB_DISABLE_TELEMETRY": "1"}
    from huggingface_hub import snapshot_download  # reads these when it is imported
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        snapshot_download(repository, repo_type=kind, revision=revision, local_dir=folder, allow_patterns=list(files))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())
        raise BuildError(f"params.yaml: {key}: {repository} could not be fetched: {reason}") from None
    if not any(path.is_file() and ".cache" not in path.parts for path in folder.rglob("*")):
        raise BuildError(f"params.yaml: {key}.files: no file of {repository} matches")
