"""A million documents into rows of 8192 tokens: this build's packing beside TRL's, on one core.

    python -m bench.packing --peer-python PEERS/bin/python --out results/bench/packing.json

Lengths are drawn from a log-normal with median 493 and sigma 1.1, from 1 to 200,000 tokens (seed 0): 0.9 billion tokens,
half a percent of the documents longer than a row. `rows known` is the time until every token's row is known, the arithmetic
that `pack` does before it moves tokens; of TRL, whose function does both at once, it is what is spent in that function outside
of the calls of pyarrow that move lists. `tokens moved` is all of it with one byte a token, ours into a file, TRL's into memory.
TRL packs batches of 1,000 documents as it comes; the other arms are given all at once, and so pack as well as the algorithm
can. Its default, `bfd`, drops what is beyond a row.

A document is cut if it fits a row and lies in more than one. Seconds are CPU seconds of all threads on one core, imports and
the making of the data left out; the fastest of --repeats runs of the first arm, one run of the others.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from bench.measure import costs, measured, pinned

WIDTH = 8192
OURS = ("ours, rows known", "ours, tokens moved")
TRL: dict[str, dict[str, Any]] = {
    "trl bfd_split, rows known": {"strategy": "bfd_split", "batch": None, "moved": False},
    "trl bfd_split, tokens moved": {"strategy": "bfd_split", "batch": None, "moved": True},
    "trl bfd_split in batches of 1,000, tokens moved": {"strategy": "bfd_split", "batch": 1000, "moved": True},
    "trl bfd, rows known": {"strategy": "bfd", "batch": None, "moved": False},
}


@dataclass(frozen=True)
class Arm:
    """One way to pack, what it took and what it made."""

    name: str
    cpu_seconds: float
    peak_megabytes: float
    rows: int
    padding_percent: float
    documents_cut: int
    tokens_dropped: int


def document_lengths(count: int) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """The lengths in tokens of `count` documents; the same at every call."""
    drawn = np.random.default_rng(0).lognormal(6.2, 1.1, count)
    return np.clip(drawn, 1, 200_000).astype(np.int64)


def outcome(
    lengths: "np.ndarray[Any, np.dtype[np.int64]]", pieces: int, rows: int, tokens: int, width: int
) -> dict[str, float]:
    """What a packing is worth, counted alike for all arms.

    Args:
        lengths: of the documents.
        pieces: that they lie in.
        rows: of `width` tokens.
        tokens: in them.
    Returns:
        rows, padding_percent, documents_cut (pieces beyond those that the lengths ask for; a packing that drops what
        is beyond a row needs one a document), tokens_dropped.
    """
    dropped = int(lengths.sum()) - tokens
    needed = len(lengths) if dropped else int((-(-lengths // width)).sum())
    padding = 100 * (1 - tokens / (rows * width))
    return {"rows": rows, "padding_percent": padding, "documents_cut": pieces - needed, "tokens_dropped": dropped}


def own_step(folder: Path, count: int, moved: bool) -> None:
    """Our packing, in a process of its own."""
    from osler.tokens.packing import packed
    from osler.tokens.shards import write_rows

    lengths = document_lengths(count)
    values = np.ones(int(lengths.sum()) if moved else 0, np.uint8)
    starts = (np.cumsum(lengths) - lengths).tolist()
    layouts = []

    def step() -> None:
        layouts.append(packed(lengths, WIDTH, 1))
        if moved:
            write_rows(
                folder, "tokens", layouts[-1], WIDTH, np.dtype(np.uint8),
                lambda document, start, length: values[starts[document] + start :][:length],
            )  # fmt: skip

    measured(step, folder / "costs.json")
    layout = layouts[-1]
    found = outcome(lengths, len(layout.length), len(layout.row_ends), int(layout.length.sum()), WIDTH)
    (folder / "outcome.json").write_text(json.dumps(found), encoding="utf-8")


def peer_step(folder: Path, count: int, strategy: str, batch: int | None, moved: bool) -> None:
    """TRL's packing; runs in an interpreter that has it."""
    import pyarrow
    from datasets import Dataset
    from trl import data_utils

    lengths = document_lengths(count)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    total = int(lengths.sum())
    values = pyarrow.array(np.ones(total, np.int8)) if moved else pyarrow.nulls(total)
    dataset = Dataset(pyarrow.table({"input_ids": pyarrow.ListArray.from_arrays(offsets, values)}))
    options = {"batch_size": batch or count, "keep_in_memory": True}
    made: list[Any] = []
    arithmetic = 0.0

    def counted(function: Callable[..., Any], sign: int) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal arithmetic
            started = time.process_time()
            found = function(*arguments, **named)
            arithmetic += sign * (time.process_time() - started)
            return found

        return call

    compute = data_utils.pc
    movers = {name: counted(getattr(compute, name), -1) for name in ("filter", "list_slice", "take")}
    data_utils.pc = SimpleNamespace(**vars(compute) | movers)
    data_utils._pack_bfd = counted(data_utils._pack_bfd, 1)
    measured(lambda: made.append(data_utils.pack_dataset(dataset, WIDTH, strategy, options)), folder / "costs.json")
    if not moved:
        taken = json.loads((folder / "costs.json").read_text(encoding="utf-8")) | {"cpu_seconds": arithmetic}
        (folder / "costs.json").write_text(json.dumps(taken), encoding="utf-8")
    segments = made[0].data["seq_lengths"].combine_chunks().flatten()
    found = outcome(lengths, len(segments), len(made[0]), int(np.asarray(segments).sum()), WIDTH)
    (folder / "outcome.json").write_text(json.dumps(found), encoding="utf-8")


def arm(name: str, python: str, documents: int, core: int, repeats: int) -> Arm:
    """Run an arm `repeats` times, each in a process of its own, and keep the fastest."""
    runs = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
            folder = Path(temporary)
            command = [python, "-m", "bench.packing", "--arm", name, "--documents", str(documents), "--core", str(core)]
            taken = costs([*command, "--folder", temporary], folder / "costs.json", folder / "log")
            made = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
        runs.append(Arm(name, taken["cpu_seconds"], taken["peak_megabytes"], **made))
    return min(runs, key=lambda run: run.cpu_seconds)


def table(arms: list[Arm]) -> str:
    """All arms in markdown."""
    lines = [
        "| arm | CPU s | peak MB | rows | padding, % | documents cut | tokens dropped |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for found in arms:
        lines.append(
            f"| {found.name} | {found.cpu_seconds:.2f} | {found.peak_megabytes:,.0f} | {found.rows:,} |"
            f" {found.padding_percent:.4f} | {found.documents_cut:,} | {found.tokens_dropped:,} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> list[Arm]:
    """Run every arm, print the table and write the results; or, with --folder, be one arm's process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--peer-python", help="interpreter that has trl; none: our side only")
    parser.add_argument("--repeats", type=int, default=5, help="of the first arm, which takes a fraction of a second")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="core that everything runs on")
    parser.add_argument("--out", type=Path, help="results, JSON")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.folder:
        pinned(given.core)
        if given.arm in TRL:
            peer_step(given.folder, given.documents, **TRL[given.arm])
        else:
            own_step(given.folder, given.documents, given.arm == OURS[1])
        return []
    arms = []
    for name in (*OURS, *(TRL if given.peer_python else ())):
        python, repeats = given.peer_python if name in TRL else sys.executable, given.repeats if name == OURS[0] else 1
        arms.append(arm(name, python, given.documents, given.core, repeats))
        print(f"{name}: {arms[-1].cpu_seconds:.2f} s", file=sys.stderr)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps([asdict(found) for found in arms], indent=2) + "\n", encoding="utf-8")
    print(table(arms))
    return arms


if __name__ == "__main__":
    main()
