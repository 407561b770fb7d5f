"""Stage `pack`: one source's kept documents to rows.

Rows of one length, best fit, with the bounds and license of each document.

With `pack.subset` the best documents of the source by a signal of `screen` share no row with the others, and their rows
come first, so that `mix` can have them read alone.
"""

from pathlib import Path

import numpy as np
import polars as pl

from osler.build.section import BuildError
from osler.build.stage import run
from osler.tokens import packing
from osler.tokens.packing import Pack, Subset
from osler.tokens.shards import manifest, verify, write_bounds, write_manifest, write_rows


def signal_of(documents: pl.DataFrame, screens: Path, subset: Subset) -> pl.Series:
    """The signal that `subset` names, for each of `documents` (doc_id).

    Raises:
        BuildError: `screen` has no such number.
    """
    found = pl.scan_parquet(screens / "*.parquet")
    numbers = [
        name
        for name, dtype in found.collect_schema().items()
        if dtype.is_numeric() and name != "text_hash" and not name.startswith("band_")
    ]
    if subset.signal not in numbers:
        raise BuildError(f"params.yaml: pack.subset.signal: {subset.signal}: not one of {', '.join(sorted(numbers))}")
    signals = found.select("doc_id", pl.col(subset.signal).cast(pl.Float64)).collect()
    return documents.select("doc_id").join(signals, on="doc_id", how="left", maintain_order="left")[subset.signal]


def main(keep: Path, screens: Path, tokens: Path, packed: Path, pack: Pack) -> None:
    """Write rows to the folder `packed`.

    Tokens of kept documents in = tokens in rows out, checked.
    """
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
    lengths, part = kept["tokens"].to_numpy(), kept["part"].to_list()
    firsts = (kept["end"] - kept["tokens"]).to_list()
    width = pack.sequence_length_tokens
    first = np.zeros(len(kept), np.bool_)
    if pack.subset:
        first = packing.best(signal_of(kept, screens, pack.subset).to_numpy(), lengths, pack.subset)
    layout = packing.packed_apart(lengths, first, width, pack.seed)
    counts = packing.fill(layout, lengths, width)
    if counts["truncated_tokens"] or counts["documents_cut"]:
        raise BuildError(f"{packed}: {counts}: a document was lost or cut in packing")

    packed.mkdir(parents=True)
    write_rows(
        packed, "tokens", layout, width, np.dtype(facts["dtype"]),
        lambda document, start, length: streams[part[document]][firsts[document] + start :][:length],
    )  # fmt: skip
    licenses = kept["license"].unique().sort()
    write_bounds(
        packed, layout, kept["position"].to_numpy().astype(np.int64), licenses.search_sorted(kept["license"]).to_numpy()
    )
    subset_tokens = int(lengths[first].sum())
    ends = layout.length.cumsum()[layout.row_ends - 1]
    write_manifest(
        packed,
        counts
        | {
            "origins": [{"source": packed.name, "license": name} for name in licenses],
            "sequence_length_tokens": width,
            "subset": {
                "documents": int(first.sum()),
                "rows": int((ends <= subset_tokens).sum()),
                "tokens": subset_tokens,
            },
        },
    )
    print(
        f"{packed.name}: {counts['documents']:,} documents in {counts['rows']:,} rows,"
        f" {packing.shares(counts)['fill_fraction']:.2%} full"
    )


if __name__ == "__main__":
    run(main)
