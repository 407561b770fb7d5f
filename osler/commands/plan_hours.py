"""How long a planned training takes, and where its stages are placed, as `osler plan` says it."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from osler.model.cost_estimates import Placement
from osler.model.devices import DEVICES

if TYPE_CHECKING:
    from osler.commands.plan import TrainingCost


def own_lines(placed: Placement, own: Mapping[str, Placement]) -> Iterator[str]:
    """Which stages `launch.stages` places otherwise."""
    for name, found in own.items():
        if found != placed:
            changed = {key: value for key, value in found.model_dump().items() if value != getattr(placed, key)}
            shown = ", ".join(f"{key} {'null' if value is None else value}" for key, value in changed.items())
            yield f"  {name}: {shown}, on {found.devices} devices"


def hours_lines(
    costs: "Mapping[str, TrainingCost]",
    placed: Placement,
    device: str,
    mfu: float,
    price: float | None,
    dtype: str,
    own: Mapping[str, Placement] | None = None,
) -> Iterator[str]:
    """Device-hours, days and cost of `costs` together.

    Stages run one after the other; `own` are placed otherwise.
    """
    if dtype != "bfloat16":
        yield f"device-hours are told for numerics.dtype bfloat16 only; it is {dtype}"
        return
    each = {
        name: cost.flops * cost.seeds / (DEVICES[device].flops_per_second * mfu) / 3600 for name, cost in costs.items()
    }
    hours = sum(each.values())
    counts = {name: (own or {}).get(name, placed).devices for name in each}
    days = sum(one / counts[name] for name, one in each.items()) / 24
    devices = " to ".join(map(str, sorted({min(counts.values()), max(counts.values())}))) if counts else placed.devices
    money = f", {hours * price:,.0f} at {price:g} an hour" if price is not None else ""
    yield (
        f"{', '.join(costs) or 'no training'}: {hours:,.0f} device-hours of {device}"
        f" ({DEVICES[device].flops_per_second / 1e12:g} TFLOP/s, MFU {mfu:g}), {days:,.1f} days on"
        f" {devices}{money}"
    )
