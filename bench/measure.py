"""What one step costs in a process of its own on one core. Standard library only, since peers' interpreters run it too."""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
ONE_THREAD = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "RAYON")},
    "POLARS_MAX_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "TQDM_DISABLE": "1",
}


def pinned(core: int) -> None:
    """Keep this process, and the threads it starts from now on, on one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def peak_megabytes() -> float:
    """The most memory this process has held so far, in 10^6 bytes; from Linux, which does not count the parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found, "no VmHWM in /proc/self/status"
    return int(found[1]) * 1024 / 1e6


def measured(step: Callable[[], object], report: Path) -> None:
    """Run `step` and write its CPU seconds (all threads), wall seconds and peak memory to the file `report`.

    What was imported before is in the memory, as it is in a real run, but not in the seconds.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    costs = {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(costs | {"peak_megabytes": peak_megabytes()}), encoding="utf-8")


def costs(command: Sequence[str], report: Path, log: Path) -> dict[str, Any]:
    """Run `command`, which calls `measured`, with one thread; what it wrote to `report`.

    Raises:
        RuntimeError: it failed; with the end of what it printed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        done = subprocess.run(
            command, cwd=REPOSITORY, env=os.environ | ONE_THREAD, stdout=stream, stderr=subprocess.STDOUT
        )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{log.read_text(encoding='utf-8')[-2000:]}")
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return found
