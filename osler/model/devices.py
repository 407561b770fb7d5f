"""What accelerators can do at most, from their vendors' data sheets, and the engines of several.

A board with less power or memory does less.
"""

from dataclasses import dataclass
from typing import Literal

EngineName = Literal["python", "ddp", "fsdp", "deepspeed"]
"""What spreads a training over devices: nothing, or one of three."""
Recomputed = bool | Literal["selective"]
"""Whether activations are computed again: all but a layer's input, none, or some (recomputation.py)."""


@dataclass(frozen=True)
class Device:
    """A kind of accelerator: its speed and its memory.

    Speed is dense bfloat16 FLOP/s with float32 accumulation, without sparsity. Memory is in bytes.
    """

    flops_per_second: float
    memory_bytes: float


# B200: half of the figure with sparsity. Longer names before those that are part of them.
DEVICES = {
    "gb200": Device(2500e12, 186e9),
    "b200": Device(2250e12, 180e9),
    "h200": Device(989e12, 141e9),
    "h100pcie": Device(756e12, 80e9),
    "h100nvl": Device(835e12, 94e9),
    "h100": Device(989e12, 80e9),  # SXM
    "a100": Device(312e12, 80e9),
    "mi300x": Device(1307e12, 192e9),
    "l40s": Device(362e12, 48e9),
    "a40": Device(150e12, 48e9),
    "a10": Device(125e12, 24e9),
    "rtx4090": Device(165e12, 24e9),
    "rtx3090": Device(71e12, 24e9),
}


def known_device(name: str) -> Device | None:
    """The device that calls itself `name`.

    A name is "NVIDIA GeForce RTX 4090", for example. It returns None where the device is not known, as for any CPU.
    """
    plain = name.replace(" ", "").casefold()
    return next((device for key, device in DEVICES.items() if key in plain), None)
