"""Stage `download@name`: a dataset of the Hugging Face Hub at one commit, as the folder data/raw/<name>.

A source then reads it with `path: ../<name>` and `format: hub` (or the format of its files). The only stage that reaches the
network: `make` keeps all others offline. A token for a gated dataset comes from the environment (HF_TOKEN) or from
`hf auth login`, never from params. The files are real ones, not links into a cache, and nothing of the cache stays beside
them, so that the same commit gives the same bytes everywhere.
"""

import os
import shutil
import sys
from pathlib import Path

from pydantic import Field

from stages.lib.section import BuildError, Section
from stages.lib.stage import run


class Download(Section):
    """A section `download.<name>`."""

    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="dataset on the Hub, owner/name")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$", description="commit: a branch would give other bytes tomorrow")
    files: tuple[str, ...] = Field(min_length=1, description="which files to take, as patterns: '*.parquet'")


def main(download: Download, name: str, raw: Path) -> None:
    """Fill the folder `raw`."""
    quiet = "0" if sys.stderr.isatty() else "1"
    os.environ |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_PROGRESS_BARS": quiet, "HF_HUB_DISABLE_TELEMETRY": "1"}
    from huggingface_hub import snapshot_download  # reads these when it is imported
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        snapshot_download(
            download.repository,
            repo_type="dataset",
            revision=download.revision,
            local_dir=raw,
            allow_patterns=list(download.files),
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())
        raise BuildError(
            f"params.yaml: download.{name}: {download.repository} could not be fetched: {reason}"
        ) from None
    shutil.rmtree(raw / ".cache", ignore_errors=True)
    files = [path for path in raw.rglob("*") if path.is_file()]
    if not files:
        raise BuildError(f"params.yaml: download.{name}.files: no file of {download.repository} matches")
    size = sum(path.stat().st_size for path in files)
    print(f"{name}: {len(files)} files, {size:,} bytes of {download.repository} at {download.revision[:12]}")


if __name__ == "__main__":
    run(main)
