"""Waiting for a process that is minutes behind the others, at a slow disk.

A collective of the GPUs that waits longer than its timeout ends the run, as it should when a process is lost. Where one
process writes or reads a file and the others only wait for it, they wait in these, over gloo. A process that ends is noticed
at once by its closed connections.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch

PATIENCE = timedelta(days=7)

_groups: dict[Any, Any] = {}  # the default group -> all its processes, over gloo


def summed_patiently(values: Sequence[float]) -> list[float]:
    """Each value summed over the processes, however long one takes.

    All processes call it together.
    """
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return list(values)
    whole = torch.distributed.group.WORLD
    if whole not in _groups:
        _groups[whole] = torch.distributed.new_group(timeout=PATIENCE, backend="gloo")
    tensor = torch.tensor(values, dtype=torch.float64)
    torch.distributed.all_reduce(tensor, group=_groups[whole])
    return [float(value) for value in tensor]


def leave() -> None:
    """End all communication of this process.

    All processes call it together. Nobody waits for, or is waited for by, another one afterwards.
    """
    if torch.distributed.is_initialized():
        _groups.clear()
        torch.distributed.destroy_process_group()
