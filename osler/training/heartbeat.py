"""Whether the other machines of a training still live.

A process that is killed closes its connections, and the others' collectives fail at once. One whose machine lost its power, or
hangs, closes nothing: they would wait for torch's timeout, which is long, as a slow file system must not trip it. So a thread
of one process on each machine counts in torchrun's store, every few seconds, and ends its process where another one's count
stands still; its torchrun then ends the machine's others.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from osler.build.section import StoppedError

EVERY_SECONDS, PATIENCE_SECONDS = 5.0, 60.0
DONE = "done"


@contextmanager
def heartbeat(
    environment: Mapping[str, str], every: float = EVERY_SECONDS, patience: float = PATIENCE_SECONDS
) -> Iterator[None]:
    """Within, this process ends when another machine is silent for `patience` seconds."""
    nodes = int(environment.get("GROUP_WORLD_SIZE", "1"))
    if nodes == 1 or environment.get("LOCAL_RANK") != "0":
        yield
        return
    watch = Watch(environment, nodes, every, patience)
    for task in (watch.look, watch.look_at_store):
        threading.Thread(target=task, daemon=True).start()
    try:
        yield
    except StoppedError:
        watch.leave()
        raise  # at any other one this process ends, and its count with it
    watch.leave()


class Watch:
    """What one machine knows of the others."""

    def __init__(self, environment: Mapping[str, str], nodes: int, every: float, patience: float) -> None:
        self.mine, self.nodes = int(environment["GROUP_RANK"]), nodes
        attempt = environment.get("TORCHELASTIC_RESTART_COUNT", "0")
        self.names = [f"osler/beat/{attempt}/{node}" for node in range(nodes)]
        self.address = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
        self.every, self.patience = every, patience
        self.done, self.ended = threading.Event(), threading.Event()
        self.last = time.monotonic()
        self.seen: dict[int, tuple[str, float]] = {}  # count of a machine, and when it was first seen

    def leave(self) -> None:
        """Tell the others that this machine is done."""
        self.done.set()
        self.ended.wait(self.patience)

    def look(self) -> None:
        """Count, and look at the others' counts, until this process is done."""
        from torch.distributed import DistError, TCPStore

        count = 0
        try:
            store = TCPStore(*self.address, is_master=False, timeout=timedelta(seconds=self.patience))
            while not self.done.is_set():
                count += 1
                store.set(self.names[self.mine], str(count))
                others = [node for node in range(self.nodes) if node != self.mine]
                there = [node for node in others if node in self.seen or store.check([self.names[node]])]
                values = store.multi_get([self.names[node] for node in there]) if there else []
                self.compare(
                    {node: value.decode() for node, value in zip(there, values, strict=True)}, time.monotonic()
                )
                self.done.wait(self.every)
            store.set(self.names[self.mine], DONE)
        except DistError as error:
            if not self.done.is_set():
                _end(f"the first machine's store does not answer ({' '.join(str(error).split())[:200]})")
        self.ended.set()

    def compare(self, counts: Mapping[int, str], now: float) -> None:
        """End this process if a count stands still since too long."""
        if now - self.last > self.patience / 2:  # it was this one that slept, as when a whole job is suspended
            self.seen.clear()
        self.last = now
        for node, count in counts.items():
            before, since = self.seen.setdefault(node, (count, now))
            if count != before:
                self.seen[node] = count, now
            elif count != DONE and now - since > self.patience:
                _end(f"machine {node} of {self.nodes} is silent since {self.patience:.0f} s")

    def look_at_store(self) -> None:
        """End this process if the store keeps `look` waiting.

        The machine that it lies on may be gone.
        """
        before = time.monotonic()
        while not self.done.wait(self.every):
            now = time.monotonic()
            if now - before < 2 * self.every + 1 and now - self.last > self.patience:
                _end(f"the first machine's store is silent since {self.patience:.0f} s", with_agent=True)
            before = now


def _end(reason: str, with_agent: bool = False) -> None:
    """End this process, and `with_agent` its torchrun.

    That would wait minutes for a store that does not answer.
    """
    print(f"osler: {reason}; this one ends, too: run again to go on", file=sys.stderr, flush=True)
    if with_agent:
        os.kill(os.getppid(), signal.SIGKILL)  # its other workers end with it (launch.die_with_parent)
    os._exit(1)  # the main thread waits for those that do not answer
