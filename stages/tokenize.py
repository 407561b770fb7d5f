"""Stage `tokenize`: one source's documents to a token shard, kept or not, so that a new keep-list costs no tokenizing."""

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl

from stages.lib.files import write_parquet
from stages.lib.progress import progress
from stages.lib.section import BuildError
from stages.lib.shards import token_dtype, write_manifest
from stages.lib.stage import run
from stages.lib.tokenization import encoder

BATCH_DOCUMENTS = 1000
SAMPLE_DOCUMENTS = 500  # spread over the source, to compare encoders on


def main(documents: Path, tokenizer: Path, tokens: Path) -> None:
    """Write the token shard `tokens`; every document of `documents` is in it, in order."""
    from tokenizers import Tokenizer

    described = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    dtype = token_dtype(described.get_vocab_size())
    frame = pl.read_parquet(documents / "*.parquet", columns=["doc_id", "text", "license"])
    encode = encoder(described, frame["text"].gather_every(max(1, len(frame) // SAMPLE_DOCUMENTS)))
    tokens.mkdir()
    lengths: list[int] = []
    batches = frame["text"].to_frame().iter_slices(BATCH_DOCUMENTS)
    with (tokens / "tokens.bin").open("wb") as stream:
        for batch in progress(batches, -(-len(frame) // BATCH_DOCUMENTS), f"tokenize {tokens.name}", "batches"):
            ids, batch_ends = encode(batch["text"].to_list())
            stream.write(ids.astype(dtype).tobytes())
            lengths += np.diff(batch_ends, prepend=0).tolist()
    ends = np.cumsum(lengths, dtype=np.uint64)
    np.save(tokens / "ends.npy", ends)
    write_parquet(tokens / "documents.parquet", frame.select("doc_id", "license"))
    if (tokens / "tokens.bin").stat().st_size != int(ends[-1]) * dtype.itemsize or len(ends) != len(frame):
        raise BuildError(f"{tokens}: {len(ends)} documents written of {len(frame)}, or a size that does not match them")
    per_license = Counter[str]()
    for name, length in zip(frame["license"], lengths, strict=True):
        per_license[name] += length
    write_manifest(
        tokens,
        {"documents": len(frame), "dtype": dtype.str, "tokens": int(ends[-1]), "tokens_per_license": dict(per_license)},
    )
    print(f"{tokens.name}: {len(frame):,} documents, {int(ends[-1]):,} tokens")


if __name__ == "__main__":
    run(main)
