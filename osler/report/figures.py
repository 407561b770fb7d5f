"""Pictures of the results.

The same numbers give the same bytes on one matplotlib version.

Colors are those of Okabe and Ito, told apart by all common kinds of color vision, with a gray for their yellow, which is
hard to see on white; marker shapes say the same again. Files have a palette of 64 colors: a quarter of the bytes, which
report.html holds a third more of.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter
from PIL import Image

from osler.report.findings import COMPARED, Findings
from osler.report.page import DOTS
from osler.statistics.accuracy import in_order
from osler.statistics.calibration import Bin
from osler.statistics.intervals import Interval
from osler.statistics.token_curve import PATHS, SCORES, on_path

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#888888")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
PALETTE = 64  # colors of a file
CROWDED = 4  # series; above it models are set apart by lines and marks are smaller
COLUMNS = 3  # of small panels
Curve = tuple[Sequence[float], Sequence[float]]


def png(figure: Figure) -> bytes:
    """The picture, without the name and version of the program in it."""
    drawn, written = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DOTS)
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(PALETTE).save(written, format="png", optimize=True)
    return written.getvalue()


def intervals_figure(
    cells: Mapping[tuple[str, str], Interval], series: Sequence[str], axis: str, line: tuple[float, str] | None
) -> Figure:
    """One mark with its interval for each model and series.

    Models stand from left to right.

    Args:
        cells: by series and model, in the unit of the axis.
        series: in the order of the legend.
        axis: what is measured, with its unit.
        line: a level to draw across, with its name.
    """
    models = in_order(model for _, model in cells)
    room = max(1.2, 0.2 * len(series) + 0.1)  # inches a model
    figure = Figure(figsize=(max(6.0, room * len(models) + 1.5), 4.0), layout="constrained")
    axes = figure.subplots()
    for edge in range(1, len(models)) if len(series) > CROWDED else ():
        axes.axvline(edge - 0.5, color="0.9", linewidth=0.8, zorder=0)
    if line is not None:
        axes.axhline(line[0], color="0.45", linestyle="--", linewidth=1, label=line[1], zorder=1)
    for number, name in enumerate(series):
        shift = (number - (len(series) - 1) / 2) * (0.8 if len(series) > CROWDED else 0.6) / max(1, len(series))
        places = [place for place, model in enumerate(models) if (name, model) in cells]
        values = [cells[name, models[place]] for place in places]
        axes.errorbar(
            [place + shift for place in places],
            [value.estimate for value in values],
            yerr=_reaches(values),
            fmt=MARKERS[number % len(MARKERS)],
            color=COLORS[number % len(COLORS)],
            markersize=5 if len(series) > CROWDED else 6,
            capsize=2 if len(series) > CROWDED else 3,
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
    """Scores over tokens of continued pretraining, one panel a score.

    A panel has the label of its axis, then paths, and for each path pairs of tokens and score.
    """
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
    if any(any(paths.values()) for paths in panels.values()):
        grid[0][0].legend(frameon=False)
    return figure


def frontier_figure(
    panels: Mapping[str, Mapping[str, tuple[float, Interval]]],
    series: Sequence[str],
    frontiers: Mapping[str, Sequence[str]],
    axis: str,
) -> Figure:
    """What accuracy costs: a panel a model, a mark a strategy.

    Tokens an item are on a logarithmic axis; the frontier is drawn as steps. Each panel has an accuracy axis of its
    own: strategies of one model are to be told apart, models stand elsewhere.

    Args:
        panels: model -> strategy -> (tokens, what they buy, in the unit of the axis).
        series: strategies, in the order of the legend.
        frontiers: model -> the strategies that the steps join, by rising tokens.
        axis: what is bought, with its unit.
    """
    names = in_order(panels)
    columns = min(COLUMNS, max(1, len(names)))
    rows = max(1, math.ceil(len(names) / columns))
    figure = Figure(figsize=(3.1 * columns + 2.0, 2.6 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    handles: dict[str, Any] = {}
    for axes, name in zip(grid.flat, names, strict=False):
        best = [panels[name][strategy] for strategy in frontiers[name]]
        steps = [tokens for tokens, _ in best], [score.estimate for _, score in best]
        axes.step(*steps, where="post", color="0.6", linewidth=1, zorder=1)
        for number, strategy in enumerate(series):
            if strategy in panels[name]:
                tokens, score = panels[name][strategy]
                handles[strategy] = axes.errorbar(
                    [tokens],
                    [score.estimate],
                    yerr=_reaches([score]),
                    fmt=MARKERS[number % len(MARKERS)],
                    color=COLORS[number % len(COLORS)],
                    markersize=6,
                    capsize=2,
                    zorder=2,
                )
        axes.set_xscale("log")
        axes.set_title(name, fontsize=10)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        _plain(axes)
    figure.supxlabel("tokens read and generated per item", fontsize=10)
    figure.supylabel(axis, fontsize=10)
    known = [strategy for strategy in series if strategy in handles]
    figure.legend([handles[strategy] for strategy in known], known, loc="outside right upper", frameon=False)
    return figure


def reliability_figure(bins: Mapping[str, Sequence[Bin]]) -> Figure:
    """How often a model is right when it is so sure.

    Each model is a line. The diagonal is that of a model that knows what it knows.

    Args:
        bins: of each model. Larger marks rest on more items.
    """
    figure = Figure(figsize=(6.6, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.45", linestyle="--", linewidth=1, label="calibrated")
    for number, name in enumerate(in_order(bins)):
        color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
        places = [own.probability for own in bins[name]], [own.accuracy.estimate for own in bins[name]]
        sizes = [own.items for own in bins[name]]
        axes.plot(*places, color=color, linewidth=1, marker=marker, markersize=4, label=name)
        axes.scatter(*places, s=[250 * size / sum(sizes) for size in sizes], color=color, alpha=0.3, linewidths=0)
    axes.set_xlabel("probability of the chosen option")
    axes.set_ylabel("share right")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    _plain(axes)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.02, 1.0))
    return figure


def scaled(interval: Interval, factor: float) -> Interval:
    """The interval in another unit."""
    return Interval(factor * interval.estimate, factor * interval.low, factor * interval.high)


def figures_of(found: Findings, curves: Mapping[str, Curve]) -> dict[str, Figure]:
    """The figures of the report by name.

    Args:
        found: what they show.
        curves: tokens and training loss by model.
    """
    percents = {arm: scaled(share, 100) for arm, share in found.means.items()}
    chance = (100 * found.mean_chance, "chance")
    names = [f"{found.strategies[0]} accuracy, %", "clinical bits per byte", "general bits per byte"]
    panels = {
        label: {
            path: [
                (point.tokens, scaled(point.scores[score], factor))
                for point in on_path(found.points, path)
                if score in point.scores
            ]
            for path in PATHS
        }
        for score, label, factor in zip(SCORES, names, (100, 1, 1), strict=True)
    }
    tokens = {
        model: {
            strategy: (found.costs[strategy, model].tokens, percents[strategy, model])
            for strategy in found.strategies
            if (strategy, model) in found.costs
        }
        for model in found.models
    }
    drawn = {
        "accuracy": intervals_figure(percents, found.strategies, "accuracy, %", chance),
        "bits_per_byte": intervals_figure(
            found.losses, sorted({domain for domain, _ in found.losses}), "bits per byte", None
        ),
        "curve": curve_figure(panels),
        "frontier": frontier_figure(tokens, found.strategies, found.frontiers, "accuracy, %"),
        "training_loss": training_figure(curves),
    }
    if found.ways:
        read = {cell: scaled(share, 100) for cell, share in found.protocols.items()}
        drawn["protocols"] = intervals_figure(read, found.ways, f"{COMPARED} accuracy, %", chance)
    if found.calibrated:
        protocol = found.calibrated[0]
        drawn["reliability"] = reliability_figure(
            {model: own.bins for (name, model), own in found.calibrations.items() if name == protocol}
        )
    return drawn


def _reaches(values: Sequence[Interval]) -> list[list[float]]:
    """How far intervals reach below and above their estimates.

    Where they have no bounds it is not at all.
    """
    below = [value.estimate - value.low if math.isfinite(value.low) else 0.0 for value in values]
    above = [value.high - value.estimate if math.isfinite(value.high) else 0.0 for value in values]
    return [below, above]


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
