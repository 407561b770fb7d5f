"""Stage `pack`: one source's kept documents to rows of one length, best fit, with the bounds of each document."""

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl

from stages.lib import packing
from stages.lib.packing import Pack
from stages.lib.progress import progress
from stages.lib.section import BuildError, Seed
from stages.lib.shards import manifest, verify, write_manifest
from stages.lib.stage import run


def main(keep: Path, tokens: Path, packed: Path, pack: Pack, seed: Seed) -> None:
    """Write rows to the folder `packed`; tokens of kept documents in = tokens in rows out, checked."""
    verify(tokens)
    facts = manifest(tokens)
    parts = sorted(tokens.glob("part-*.bin"))
    streams = [np.memmap(part, dtype=facts["dtype"], mode="r") for part in parts]
    documents = pl.concat(
        pl.read_parquet(part.with_suffix(".parquet")).select(
            "doc_id", "license", pl.lit(number).alias("part"), pl.col("tokens").cast(pl.Int64),
            pl.col("tokens").cast(pl.Int64).cum_sum().alias("end"),
        )
        for number, part in enumerate(parts)
    ).with_row_index("position")  # fmt: skip
    kept = documents.join(pl.read_parquet(keep), on="doc_id", how="semi", maintain_order="left")
    if kept.is_empty():
        raise BuildError(f"{keep}: keeps no document of {tokens.name}; drop the source or loosen `select`")
    positions = kept["position"].to_numpy().astype(np.int64)
    lengths, part = kept["tokens"].to_numpy(), kept["part"].to_list()
    starts = kept["end"].to_numpy() - lengths
    width = pack.sequence_length_tokens
    layout = packing.packed(lengths, width, seed)

    packed.mkdir(parents=True)
    rows = np.lib.format.open_memmap(  # type: ignore[no-untyped-call] # numpy leaves it untyped
        packed / "tokens.npy", mode="w+", dtype=facts["dtype"], shape=(len(layout.row_ends), width)
    )
    segment = 0
    for row, end in enumerate(progress(layout.row_ends, len(layout.row_ends), f"pack {packed.name}", "rows")):
        offset = 0
        for index in range(segment, int(end)):
            document, length = int(layout.document[index]), int(layout.length[index])
            start = int(starts[document] + layout.start[index])
            rows[row, offset : offset + length] = streams[part[document]][start : start + length]
            offset += length
        segment = int(end)
    rows.flush()
    del rows
    np.save(packed / "row_ends.npy", layout.row_ends)
    np.save(packed / "lengths.npy", layout.length.astype(np.int32))
    np.save(packed / "documents.npy", positions[layout.document])

    if int(layout.length.sum()) != int(lengths.sum()):
        raise BuildError(f"{packed}: {int(layout.length.sum())} tokens packed of {int(lengths.sum())}")
    per_license = Counter[str]()
    for name, length in zip(kept["license"], lengths.tolist(), strict=True):
        per_license[name] += length
    slots = len(layout.row_ends) * width
    write_manifest(
        packed,
        {
            "documents": len(kept),
            "documents_split": int((lengths > width).sum()),
            "padding_tokens": slots - int(lengths.sum()),
            "rows": len(layout.row_ends),
            "sequence_length_tokens": width,
            "tokens": int(lengths.sum()),
            "tokens_per_license": dict(per_license),
        },
    )
    print(
        f"{packed.name}: {len(kept):,} documents in {len(layout.row_ends):,} rows, {int(lengths.sum()) / slots:.2%} full"
    )


if __name__ == "__main__":
    run(main)
