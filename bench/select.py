"""What `select` costs per document, and what that makes for 50 million: time and peak memory at growing sizes.

    python -m bench.select --documents 250000 500000 1000000

Each size runs the stage in a process of its own, on documents, screens and overlaps made for it: short texts, a tenth of them
exact copies, and one document in twenty that shares a band with another, so that it must be read and compared. Real screens of
real text would take hours to make; the stage sees no difference. The last line fits a straight line through the sizes.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from bench.measure import REPOSITORY, costs, measured
from osler.build.validation import validated
from osler.corpus import screening, selection
from osler.corpus.contamination import OVERLAPS
from osler.corpus.quality import Quality, signals
from stages import select

PART_DOCUMENTS = 250_000
TARGET = 50_000_000


def write_inputs(folder: Path, count: int, settings: screening.Screen) -> None:
    """Documents, screens and overlaps of one source of `count` documents."""
    generator = np.random.default_rng(0)
    plain = signals(pl.Series(["The patient was seen in the clinic and has been well since the last visit."]))
    for number, start in enumerate(range(0, count, PART_DOCUMENTS)):
        rows = np.arange(start, min(count, start + PART_DOCUMENTS))
        ids = pl.Series("doc_id", rows).cast(pl.String).str.zfill(9)
        documents = pl.DataFrame({"doc_id": "notes/" + ids, "origin": "notes.jsonl#" + ids, "license": "CC0-1.0"})
        text = pl.lit("Note ") + ids + " of a patient who was seen in the clinic on " + ids + " and felt well."
        part = documents.with_columns(text.alias("text"))
        hashes = generator.integers(0, 1 << 63, len(rows), np.uint64)
        hashes[1::10] = hashes[::10][: len(hashes[1::10])]
        bands = {
            screening.band_column(band): generator.integers(0, 1 << 63, len(rows), np.uint64)
            for band in range(settings.bands)
        }
        first = bands[screening.band_column(0)]
        first[2::20] = first[3::20][: len(first[2::20])]
        sizes = {
            "doc_id": part["doc_id"],
            "bytes": part["text"].str.len_bytes(),
            "words": np.full(len(rows), 16, np.uint32),
        }
        columns = pl.DataFrame(sizes | {"text_hash": hashes} | bands)
        screens = pl.concat(
            [columns, pl.concat([plain] * len(rows)) if len(rows) < 2 else plain[[0] * len(rows)]], how="horizontal"
        )
        for kind, frame in (
            ("documents/clinical", part),
            ("screens", screens),
            ("overlaps", pl.DataFrame(schema=OVERLAPS)),
        ):
            path = folder / kind / "notes" / f"part-{number:05d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            frame.write_parquet(path)
    for kind, facts in (("audits", {"action": None, "classes": []}), ("counts", {"identifiers": {}})):
        (folder / kind).mkdir()
        (folder / kind / "notes.json").write_text(json.dumps(facts))


def run_select(folder: Path) -> None:
    """The stage on what `write_inputs` wrote."""
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    chosen = params["select"] | {"priority": ["notes"]}
    values: dict[str, Any] = {kind: folder / kind for kind in ("audits", "counts", "documents", "overlaps", "screens")}
    values |= {name: folder / "out" / name for name in ("heldout", "keep")}
    values |= {name: folder / "out" / f"{name}.json" for name in ("corpus", "contamination", "phi")}
    values |= {name: folder / "out" / f"{name}.parquet" for name in ("ledger", "touched")}
    values |= {
        "licenses": validated("licenses", params["licenses"], selection.Licenses),
        "quality": validated("quality", params["quality"], Quality),
        "screen": validated("screen", params["screen"], screening.Screen),
        "select": validated("select", chosen, selection.Select),
    }
    measured(lambda: select.main(**values), folder / "costs.json")


def main() -> None:
    """Print a line for each size, and the extrapolation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, nargs="+", default=[250_000, 500_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.folder:
        run_select(given.folder)
        return
    settings = validated("screen", yaml.safe_load((REPOSITORY / "params.yaml").read_text())["screen"], screening.Screen)
    spent = []
    for count in given.documents:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_inputs(folder, count, settings)
            command = [sys.executable, "-m", "bench.select", "--folder", name]
            found = costs(command, folder / "costs.json", folder / "log")
        spent.append((found["cpu_seconds"], found["peak_megabytes"]))
        print(f"{count:,} documents: {spent[-1][0]:.1f} CPU s, {spent[-1][1]:,.0f} MB")
    if len(spent) > 1:
        seconds, megabytes = (
            np.polyval(np.polyfit(given.documents, column, 1), TARGET) for column in zip(*spent, strict=True)
        )
        print(f"{TARGET:,} documents, by a straight line: {seconds / 60:.0f} CPU min, {megabytes / 1000:.1f} GB")


if __name__ == "__main__":
    main()
