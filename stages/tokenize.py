"""Stage `tokenize`: one source's documents to token shards.

A shard a part, of documents kept or not: a new keep-list costs no tokenizing.
"""

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from osler.build.files import folder_hash, link, write_parquet
from osler.build.section import BuildError
from osler.build.shard_store import Store
from osler.build.stage import run
from osler.corpus.documents import document_files
from osler.tokens.marks import marks_in
from osler.tokens.shards import token_dtype, write_manifest
from osler.tokens.tokenizers import encoder

BATCH_DOCUMENTS = 1000
SAMPLE_DOCUMENTS = 200  # spread over the part, to compare encoders on


def tokenized_part(part: Path, folder: Path, tokenizer: Path) -> None:
    """Write the token shard of one part.

    Every document of it, in order.
    """
    from tokenizers import Tokenizer

    described = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    dtype = token_dtype(described)
    frame = pl.read_parquet(part, columns=["doc_id", "text", "license"])
    encode = encoder(described, marks_in(tokenizer), frame["text"].gather_every(max(1, len(frame) // SAMPLE_DOCUMENTS)))
    lengths: list[int] = []
    tokens = folder / "tokens.bin"
    with tokens.open("wb") as stream:
        for batch in frame["text"].to_frame().iter_slices(BATCH_DOCUMENTS):
            ids, ends = encode(batch["text"].to_list())
            stream.write(ids.astype(dtype).tobytes())
            lengths += np.diff(ends, prepend=0).tolist()
    if tokens.stat().st_size != sum(lengths) * dtype.itemsize or len(lengths) != len(frame):
        raise BuildError(
            f"{part}: {len(lengths)} documents written of {len(frame)}, or a size that does not match them"
        )
    counted = frame.select("doc_id", "license", pl.Series("tokens", lengths, pl.UInt32))
    write_parquet(folder / "counts.parquet", counted)


def main(documents: Path, tokenizer: Path, tokens: Path, store: Store) -> None:
    """Write the token shards to the folder `tokens`."""
    from tokenizers import Tokenizer

    dtype = token_dtype(Tokenizer.from_file(str(tokenizer / "tokenizer.json"))).str
    parts = document_files(documents)
    work = partial(tokenized_part, tokenizer=tokenizer)
    done = store.mapped(__file__, parts, work, tokenizer=folder_hash(tokenizer))
    for part, entry in zip(parts, done, strict=True):
        link(entry / "tokens.bin", tokens / f"{part.stem}.bin")
        link(entry / "counts.parquet", tokens / part.name)
    counted = pl.read_parquet(tokens / "part-*.parquet", columns=["license", "tokens"])
    per_license = Counter[str]()
    for name, length in counted.iter_rows():
        per_license[name] += length
    total = per_license.total()
    write_manifest(
        tokens,
        {"documents": len(counted), "dtype": dtype, "tokens": total, "tokens_per_license": dict(per_license)},
    )
    print(f"{tokens.name}: {len(counted):,} documents, {total:,} tokens")


if __name__ == "__main__":
    run(main)
