"""Runs as they train, from the lines of their live files (osler/training/live.py): on a terminal, and as a page.

A step whose gradient stands out is marked in both, and so is one that was skipped: each stands in the line that was written
after it, so a mark may be a few steps late.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from osler.training.live import HELDOUT_FIELDS

BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH, HEIGHT, LEFT, RIGHT = 720, 110, 64, 84  # of a curve, in pixels, and of the room for its numbers
STYLE = """
body{font:14px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h2{font-size:1rem;margin:2rem 0 0}p{margin:0;color:#666}svg{width:100%;height:auto;display:block}
text{font:11px system-ui,sans-serif;fill:#666}polyline{fill:none;stroke:#0072B2;stroke-width:1.5}
line{stroke:#ddd}circle{fill:#D55E00}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#111}p,text{color:#999;fill:#999}line{stroke:#333}
polyline{stroke:#56B4E9}}
"""
Line = Mapping[str, Any]
HELDOUT = tuple((f"held-out {domain}", field) for domain, field in HELDOUT_FIELDS.items())


def sparkline(values: Sequence[float | None], width: int) -> str:
    """Values as blocks of eight heights, from the least to the largest.

    Several values share a block where they are more than `width`: it shows the largest, so that a peak of one step is seen.
    A block without a value is a blank.
    """
    size = max(1, -(-len(values) // width))
    groups = [values[start : start + size] for start in range(0, len(values), size)]
    tops = [max((value for value in group if value is not None), default=None) for group in groups]
    there = [top for top in tops if top is not None]
    if not there:
        return ""
    least, reach = min(there), (max(there) - min(there)) or 1.0
    return "".join(" " if top is None else BLOCKS[min(7, int(8 * (top - least) / reach))] for top in tops)


def facts(line: Line) -> str:
    """A line in words."""
    words = [f"step {line['step']:,}" + (f" of {line['steps']:,}" if line["steps"] else "")]
    words += ["ended"] if line["step"] == line["steps"] else []
    words += [f"{line['tokens']:,} tokens"]
    words += [f"loss {line['loss']:.3f}"] if line["loss"] is not None else []
    words += [f"{line['tokens_per_second']:,.0f} tokens/s", f"rate {line['learning_rate']:.2g}"]
    words += [f"MFU {line['mfu']:.1%}"] if line["mfu"] is not None else []
    return ", ".join([*words, f"{line['peak_memory_bytes'] / 1e9:.1f} GB"])


def marks(lines: Sequence[Line]) -> str:
    """Where gradients stood out and steps were skipped; empty where nothing was."""
    told = []
    for key, what in (("spikes", "the norm stood out"), ("skipped", "not finite and skipped")):
        at = [f"{line['step']:,}" for line in lines if line[key]]
        if at:
            told.append(
                f"{what} by step {', '.join(at[-5:])}{f' and {len(at) - 5} times before' if len(at) > 5 else ''}"
            )
    return "; ".join(told)


def terminal_lines(run: str, lines: Sequence[Line], width: int) -> list[str]:
    """A run in three or four lines of a terminal.

    The terminal has `width` columns.
    """
    told = [f"{run}: {facts(lines[-1])}"]
    for name, key in (("loss", "loss"), ("norm", "gradient_norm"), *HELDOUT):
        values = [line[key] for line in lines]
        there = [value for value in values if value is not None]
        if there:
            told.append(f"  {name} {sparkline(values, max(10, width - 32))} {min(there):.3g} to {max(there):.3g}")
    return [*told, f"  ! {marked}"] if (marked := marks(lines)) else told


def curve(lines: Sequence[Line], key: str, name: str, is_logarithmic: bool) -> str:
    """One quantity over steps as SVG.

    A dot stands where the gradient stood out or a step was skipped.
    """
    points = [(line["step"], line[key], line["spikes"] or line["skipped"]) for line in lines if line[key] is not None]
    if not points:
        return ""

    def height(value: float) -> float:
        return math.log10(max(value, 1e-12)) if is_logarithmic else value

    heights = [height(value) for _, value, _ in points]
    low, reach = min(heights), (max(heights) - min(heights)) or 1.0
    first, steps = points[0][0], max(1, points[-1][0] - points[0][0])
    places = [
        (LEFT + (WIDTH - LEFT - RIGHT) * (step - first) / steps, HEIGHT - 20 - (HEIGHT - 44) * (top - low) / reach)
        for (step, _, _), top in zip(points, heights, strict=True)
    ]
    values = [value for _, value, _ in points]
    labels = [
        (0, 12, name),
        (LEFT - 6, HEIGHT - 20, f"{min(values):.3g}"),
        (LEFT - 6, 28, f"{max(values):.3g}"),
        (LEFT, HEIGHT - 4, f"{first:,}"),
        (WIDTH - RIGHT, HEIGHT - 4, f"step {points[-1][0]:,}"),
        (places[-1][0] + 6, places[-1][1] + 4, f"{values[-1]:.4g}"),
    ]
    ends = {1: "end", 2: "end", 3: "start", 4: "end"}
    drawn = "".join(
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{ends.get(number, "start")}">{escape(text)}</text>'
        for number, (x, y, text) in enumerate(labels)
    )
    line = f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - 16}" y2="{HEIGHT - 16}"/>'
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5"><title>by step {step:,}: {value:.4g}</title></circle>'
        for (x, y), (step, value, is_marked) in zip(places, points, strict=True)
        if is_marked
    )
    title = f"{name} over steps"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{line}<polyline points="{way}"/>'
        f"{dots}{drawn}</svg>"
    )


def live_page(runs: Mapping[str, Sequence[Line]]) -> str:
    """A page of all runs.

    It asks for itself again every ten seconds.
    """
    blocks = [
        f"<h2>{escape(run)}</h2><p>{escape(facts(lines[-1]))}</p>"
        + curve(lines, "loss", "loss, nats per token", False)
        + "".join(curve(lines, key, f"loss, {name}, nats per token", False) for name, key in HELDOUT)
        + curve(lines, "gradient_norm", "norm of the gradient (logarithmic)", True)
        + (f"<p>{escape(marked)}</p>" if (marked := marks(lines)) else "")
        for run, lines in runs.items()
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="10">'
        f"<title>Training</title><style>{STYLE}</style><h1>Training</h1>{''.join(blocks)}</html>\n"
    )
