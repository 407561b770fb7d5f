"""Stage `download@name`: a dataset of the Hub at one commit.

It becomes the folder data/raw/<name>.

A source then reads it with `path: ../<name>` and `format: hub` (or the format of its files). Nothing of the package's cache
stays beside the files, so that the same commit gives the same bytes everywhere.
"""

import shutil
from pathlib import Path
from typing import Annotated

from pydantic import Field

from osler.build.hub import CommitId, Repository, fetch
from osler.build.section import EACH_ONCE, Section
from osler.build.stage import run


class Download(Section):
    """A section `download.<name>`."""

    repository: Repository
    revision: CommitId
    files: Annotated[tuple[str, ...], EACH_ONCE] = Field(
        min_length=1, description="which files to take, as patterns: '*.parquet'"
    )


def main(download: Download, name: str, raw: Path) -> None:
    """Fill the folder `raw`."""
    fetch("dataset", download.repository, download.revision, download.files, raw, f"download.{name}")
    shutil.rmtree(raw / ".cache", ignore_errors=True)
    files = [path for path in raw.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(f"{name}: {len(files)} files, {size:,} bytes of {download.repository} at {download.revision[:12]}")


if __name__ == "__main__":
    run(main)
