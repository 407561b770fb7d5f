"""Stage `sample`: the part of one source's documents that the tokenizer is trained on.

A stage of its own so that `tokenizer.sources` is an explicit list: a new source does not retrain the tokenizer.
"""

from pathlib import Path
from typing import Annotated

import polars as pl
from pydantic import Field

from stages.lib.files import write_parquet
from stages.lib.stage import run


def main(documents: Path, samples: Path, sample_limit_bytes: Annotated[int, Field(ge=1)]) -> None:
    """Write documents from the first on until their text reaches `sample_limit_bytes`; at least one."""
    texts = pl.scan_parquet(documents / "*.parquet").select("text")
    before = pl.col("text").str.len_bytes().cum_sum() - pl.col("text").str.len_bytes()
    write_parquet(samples, texts.filter(before < sample_limit_bytes).collect())


if __name__ == "__main__":
    run(main)
