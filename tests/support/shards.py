"""A shard's work for tests of other processes and machines: imports little, since every worker imports it."""

import os
import signal
import time
from pathlib import Path

from osler.build.section import BuildError


def worked(path: Path, folder: Path, marks: Path, until: Path | None = None) -> None:
    """Do what the input's text says, after a mark that has the node's name, and one that says `text` waits for `until`."""
    node = "here"
    if "RAY_RAYLET_PID" in os.environ:
        import ray

        node = ray.get_runtime_context().get_node_id()
    text = path.read_text()
    (marks / f"{path.name}.{os.getpid()}.{node}").touch()
    if text == "bad":
        raise BuildError(f"{path}: bad; mend it")
    if text == "wrong":
        raise ZeroDivisionError("nothing to divide by")
    if text == "full":
        raise OSError(28, "No space left on device", str(folder / "out.txt"))
    if text == "lost" or (text == "lost once" and len(list(marks.glob(f"{path.name}.*"))) == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    while until and text.startswith("text") and not until.exists():
        time.sleep(0.05)
    (folder / "out.txt").write_text(f"{text} {os.environ.get('MKL_CBWR')} {os.environ.get('POLARS_MAX_THREADS')}")
