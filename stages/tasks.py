"""Stage `tasks@name`: one generative task in one schema.

Rows in = rows out + rows of the split train + notes that lack the part to be written or repeat another, which are counted.
Under a second for 1,000.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from osler.build.files import write_parquet
from osler.build.stage import run
from osler.evaluation.private_items import hidden
from osler.evaluation.tasks import TRAIN, Task, task_rows, tasks_frame
from osler.ingest.source import Source


def main(raw: Path, source: Mapping[str, Source], task: Task, name: str, items: Path) -> None:
    """Write `items` and print how many there are of each split.

    Ids and groups are hidden where one of the sources screens the same file.
    """
    without = Counter[str]()
    frame = tasks_frame(task_rows(raw, task, without), task, name, hidden(raw, task.path, source))
    write_parquet(items, frame.filter(pl.col("split") != TRAIN))
    counts = dict(frame["split"].value_counts().iter_rows())
    left = f", {counts[TRAIN]} rows of the split train" if TRAIN in counts else ""
    left += "".join(f", {count} rows {why}" for why, count in sorted(without.items()))
    print(f"{name}: {counts.get('test', 0)} test items, {counts.get('dev', 0)} dev items{left}")


if __name__ == "__main__":
    run(main)
