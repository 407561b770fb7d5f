"""Pictures of the results. The same numbers give the same bytes on one matplotlib version.

Colors are those of Okabe and Ito, told apart by all common kinds of color vision; marker shapes say the same again.
"""

import io
import math
from collections.abc import Mapping, Sequence

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from stages.lib.intervals import Interval
from stages.lib.results import in_order

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
Curve = tuple[Sequence[float], Sequence[float]]


def png(figure: Figure) -> bytes:
    """The picture, without the name and version of the program in it."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=150, metadata={"Software": None})
    return stream.getvalue()


def intervals_figure(
    cells: Mapping[tuple[str, str], Interval], series: Sequence[str], axis: str, line: tuple[float, str] | None
) -> Figure:
    """One mark with its interval for each model and series, models from left to right.

    Args:
        cells: by series and model, in the unit of the axis.
        series: in the order of the legend.
        axis: what is measured, with its unit.
        line: a level to draw across, with its name.
    """
    models = in_order(model for _, model in cells)
    figure = Figure(figsize=(max(6.0, 1.2 * len(models) + 1.5), 4.0), layout="constrained")
    axes = figure.subplots()
    if line is not None:
        axes.axhline(line[0], color="0.45", linestyle="--", linewidth=1, label=line[1], zorder=1)
    for number, name in enumerate(series):
        shift = (number - (len(series) - 1) / 2) * 0.6 / max(1, len(series))
        places = [place for place, model in enumerate(models) if (name, model) in cells]
        values = [cells[name, models[place]] for place in places]
        axes.errorbar(
            [place + shift for place in places],
            [value.estimate for value in values],
            yerr=_reaches(values),
            fmt=MARKERS[number % len(MARKERS)],
            color=COLORS[number % len(COLORS)],
            markersize=6,
            capsize=3,
            label=name,
            zorder=2,
        )
    axes.set_xticks(range(len(models)), models)
    axes.set_xlim(-0.6, len(models) - 0.4)
    axes.set_ylabel(axis)
    _plain(axes)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def training_figure(curves: Mapping[str, Curve]) -> Figure:
    """Loss over tokens: pretraining on the left, fine-tuning on the right."""
    tuned = [name for name in in_order(curves) if name.endswith(("-sft", "-neftune"))]
    panels = [("pretraining", [name for name in in_order(curves) if name not in tuned]), ("fine-tuning", tuned)]
    panels = [panel for panel in panels if panel[1]] or panels[:1]
    figure = Figure(figsize=(5.0 * len(panels), 4.0), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False)
    for axes, (title, names) in zip(grid[0], panels, strict=True):
        for number, name in enumerate(names):
            tokens, losses = curves[name]
            axes.plot(tokens, losses, color=COLORS[number % len(COLORS)], linewidth=1, label=name)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("tokens")
        axes.set_ylabel("training loss, nats per token")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        _plain(axes)
        if names:
            axes.legend(frameon=False)
    return figure


def curve_figure(panels: Mapping[str, Mapping[str, Sequence[tuple[float, Interval]]]]) -> Figure:
    """Scores over tokens of continued pretraining, one panel a score: label of its axis -> path -> (tokens, score)."""
    panels = {label: paths for label, paths in panels.items() if any(paths.values())} or panels
    figure = Figure(figsize=(4.5 * len(panels), 4.0), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False)
    for axes, (label, paths) in zip(grid[0], panels.items(), strict=True):
        for number, (path, points) in enumerate((path, points) for path, points in paths.items() if points):
            scores = [score for _, score in points]
            axes.errorbar(
                [tokens for tokens, _ in points],
                [score.estimate for score in scores],
                yerr=_reaches(scores),
                fmt=f"{MARKERS[number]}-",
                color=COLORS[number],
                linewidth=1,
                capsize=3,
                label=path,
            )
        axes.set_xlabel("tokens of continued pretraining")
        axes.set_ylabel(label)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        _plain(axes)
    grid[0][0].legend(frameon=False)
    return figure


def _reaches(values: Sequence[Interval]) -> list[list[float]]:
    """How far intervals reach below and above their estimates; where they have no bounds, not at all."""
    below = [value.estimate - value.low if math.isfinite(value.low) else 0.0 for value in values]
    above = [value.high - value.estimate if math.isfinite(value.high) else 0.0 for value in values]
    return [below, above]


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
