"""Stage `tasks@name`: the rows of one generative task in one schema, rows in = rows out. Under a second for 1,000."""

from pathlib import Path

from stages.lib.files import write_parquet
from stages.lib.stage import run
from stages.lib.tasks import Task, task_rows, tasks_frame


def main(raw: Path, task: Task, name: str, items: Path) -> None:
    """Write `items` and print how many there are of each split."""
    frame = tasks_frame(task_rows(raw, task), task, name)
    write_parquet(items, frame)
    counts = dict(frame["split"].value_counts().iter_rows())
    print(f"{name}: {counts.get('test', 0)} test items, {counts.get('dev', 0)} dev items")


if __name__ == "__main__":
    run(main)
