"""Show how far a long step is: a bar on a terminal, a line every half minute in a log file."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

LOG_INTERVAL_SECONDS = 30.0


def progress(
    items: Iterable[T], total: int, what: str, unit: str = "", status: Callable[[], str] | None = None
) -> Iterator[T]:
    """Yield `items` and show how many are done.

    Shown are `what`, how many of `total` are done and, if given, a `status` such as the current loss. Steps of under
    half a minute print nothing to a log file.
    """
    if sys.stderr.isatty():
        with tqdm(items, total=total, desc=what, unit=f" {unit or 'items'}", leave=False) as bar:
            for done, item in enumerate(bar):
                if status and done % 10 == 0:
                    bar.set_postfix_str(status(), refresh=False)
                yield item
        return
    started = last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if done and now - last >= LOG_INTERVAL_SECONDS:
            remaining = (now - started) / done * (total - done)
            detail = f", {status()}" if status else ""
            print(f"{what}: {done}/{total} {unit}{detail}, {remaining:.0f} s left", file=sys.stderr, flush=True)
            last = now
        yield item
