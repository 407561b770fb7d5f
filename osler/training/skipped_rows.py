"""The token ledger of a run of which steps were left out."""

from typing import Any

from osler.tokens.mixture import seen
from osler.training.checkpoints import State
from osler.training.run import Run

SKIPPED = "skipped"


def token_ledger(run: Run, state: State) -> list[dict[str, Any]]:
    """What the run has shown the model, without its past.

    Rows of steps that changed nothing have entries of their own, with `skipped`: the sum is still what was read.

    Returns:
        Entries of `osler.tokens.mixture.seen`.
    """
    whole = seen(run, len(run.order_N2), run.rows_before())
    left_out = _counted([entry for start, stop in _blocks(run, state) for entry in seen(run, stop, start)])
    if not left_out:
        return whole
    counts = _counted(whole)
    learned = {key: count - left_out.get(key, 0) for key, count in counts.items()}
    names = ("source", "license", "epoch")
    return [
        dict(zip(names, key, strict=True)) | {"tokens": count} | mark
        for mark, found in (({}, learned), ({SKIPPED: True}, left_out))
        for key, count in sorted(found.items())
        if count
    ]


def _counted(entries: list[dict[str, Any]]) -> dict[tuple[str, str, int], int]:
    counts: dict[tuple[str, str, int], int] = {}
    for entry in entries:
        key = (entry["source"], entry["license"], entry["epoch"])
        counts[key] = counts.get(key, 0) + entry["tokens"]
    return counts


def _blocks(run: Run, state: State) -> list[tuple[int, int]]:
    """Places in the order, from and to, of steps that changed nothing; neighbors as one."""
    bad = {entry["step"] - 1 for entry in state.skipped}
    steps = [step for step in range(run.first_step(), run.steps()) if step in bad or run.is_skipped(step)]
    rows, blocks = run.rows_per_step(), list[tuple[int, int]]()
    for step in steps:
        start, stop = step * rows, min((step + 1) * rows, len(run.order_N2))
        if blocks and blocks[-1][1] == start:
            start = blocks.pop()[0]
        blocks.append((start, stop))
    return blocks
