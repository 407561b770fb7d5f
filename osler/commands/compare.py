"""`osler compare`: whether a difference between two builds is real.

It is told by paired tests on the answers to each item.

Revisions are branches, tags, commits, names of DVC experiments, or `workspace`; predictions come from DVC's cache, and nothing is
checked out. The rule is in osler/statistics/paired_builds.py, settings in `statistics` of params.yaml. Seconds.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from osler.build.files import write_json
from osler.build.pipeline import ROOT, read_params
from osler.build.revision import BuildRevision
from osler.build.section import BuildError
from osler.build.validation import PARAMS, validated
from osler.evaluation.strategies.order import strategies_in_order
from osler.statistics.accuracy import in_order
from osler.statistics.intervals import Interval
from osler.statistics.paired_builds import (
    CELL,
    CONTENT,
    ITEM,
    MEAN,
    Row,
    Share,
    changed_items,
    compared,
    item_scores,
    only_in,
    pairs,
    unpaired,
)
from osler.statistics.settings import Statistics

COLUMNS = [*CELL, "item_id", "group", "protocol", "seed", "gold", "correct"]


@dataclass(frozen=True)
class Build:
    """What two revisions are compared by.

    `headlines` are the protocols that accuracies of `answers` are reported in, `beside` benchmarks that count in no mean.
    """

    name: str
    answers: pl.DataFrame
    headlines: tuple[str, ...]
    items: pl.DataFrame
    touched: pl.DataFrame
    beside: frozenset[str] = frozenset()

    @property
    def seeds(self) -> list[int]:
        return sorted(self.answers["seed"].unique().to_list())


def build(root: Path, name: str) -> Build:
    """The build at a revision.

    Raises:
        BuildError: something of it cannot be read.
    """
    revision = BuildRevision(root, name)
    folders = revision.paths("predictions")
    answers = pl.concat([revision.table(f"{folder}/predictions.parquet", COLUMNS) for folder in folders])
    made = [json.loads(revision.content(f"{folder}/model.json")) for folder in folders]
    if any("protocol" not in one for one in made):
        raise BuildError(f"{name}: {folders[0]}/model.json: no protocol; an older Osler wrote it: build it again")
    benchmarks = [path for path in revision.paths("items") if "/tasks/" not in path]  # generative tasks lie below
    items = pl.concat([revision.table(path, [*ITEM, *CONTENT]) for path in benchmarks])
    touched = pl.concat([revision.table(path, ITEM) for path in revision.paths("touched")])
    beside = frozenset(benchmark for one in made for benchmark in one.get("beside", ()))
    return Build(name, answers, tuple(sorted({one["protocol"] for one in made})), items, touched, beside)


def common_protocol(builds: Sequence[Build], asked: str | None) -> str:
    """The protocol to compare in.

    It is the one asked for, else the headline of all.

    Raises:
        BuildError: a build has no answers in it, or their headlines differ.
    """
    there = {side.name: set(side.answers["protocol"].unique()) for side in builds}
    shared = ", ".join(sorted(set.intersection(*there.values()))) or "none"
    if asked is None:
        headlines = {name for side in builds for name in side.headlines}
        if len(headlines) > 1:
            told = "; ".join(f"{side.name}: {', '.join(side.headlines)}" for side in builds)
            raise BuildError(f"accuracies are of different protocols ({told}); name one with --protocol, of {shared}")
        return headlines.pop()
    for name, protocols in there.items():
        if asked not in protocols:
            raise BuildError(f"--protocol {asked}: {name} has no answers in it; all have {shared}")
    return asked


def comparison(first: Build, second: Build, protocol: str, confidence: float) -> dict[str, Any]:
    """All that is found, as it is written to JSON.

    Only `rows` differ: they are Row objects in the order of a report.
    """
    one, other = (item_scores(side.answers.filter(pl.col("protocol") == protocol)) for side in (first, second))
    asked = one.select(ITEM).unique().join(other.select(ITEM).unique(), on=ITEM)
    changed = changed_items(first.items, second.items).join(asked, on=ITEM, how="semi", maintain_order="left")
    touched = pl.concat([first.touched, second.touched]).unique()
    paired = pairs(one, other, changed)
    rows = compared(paired, touched, confidence, first.beside | second.beside)
    models, strategies = in_order(row.model for row in rows), strategies_in_order([row.strategy for row in rows])
    rows.sort(key=lambda row: (models.index(row.model), strategies.index(row.strategy), row.benchmark == MEAN))
    return {
        "first": first.name,
        "second": second.name,
        "protocol": protocol,
        "confidence": confidence,
        "seeds": {"first": first.seeds, "second": second.seeds},
        "rows": rows,
        "only_in_first": [list(cell) for cell in only_in(one, other)],
        "only_in_second": [list(cell) for cell in only_in(other, one)],
        "unpaired_items": [
            {"strategy": strategy, "benchmark": benchmark, "only_in_first": left, "only_in_second": right}
            for strategy, benchmark, left, right in unpaired(one, other)
        ],
        "touched_items": asked.join(touched, on=ITEM, how="semi").height,
        "changed_items": changed["item_id"].to_list(),
    }


def _written(row: Row) -> dict[str, Any]:
    """A row for JSON: accuracies in fractions, differences in percentage points."""

    def share(value: Share) -> dict[str, Any]:
        bounds = {name: round(100 * bound, 4) for name, bound in asdict(value.difference).items()}
        return {
            "items": value.items,
            "first": round(value.first, 6),
            "second": round(value.second, 6),
            "effect_points": bounds["estimate"],
            "low_points": bounds["low"],
            "high_points": bounds["high"],
        }

    named = {key: getattr(row, key) for key in (*CELL, "differing", "verdict")}
    tests = {key: float(f"{getattr(row, key):.4g}") for key in ("p", "holm_p")}
    mcnemar = None if row.mcnemar_p is None else float(f"{row.mcnemar_p:.4g}")
    untouched = share(row.untouched) if row.untouched else None
    seeds = {"seeds": list(row.seeds), "seeds_paired": row.paired}
    return named | share(row.whole) | tests | {"mcnemar_p": mcnemar, "untouched": untouched} | seeds


def _points(interval: Interval) -> tuple[str, str]:
    return f"{100 * interval.estimate:+.1f}", f"[{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"


def _p(value: float | None) -> str:
    return "-" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def columns(rows: Sequence[Sequence[str]], text_columns: int) -> Iterator[str]:
    """Rows of one length as lines.

    The first `text_columns` are flush left, the others right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            f"{cell:<{width}}" if number < text_columns else f"{cell:>{width}}"
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _named(cells: Sequence[Sequence[str]]) -> str:
    """`cpt (few_shot, zero_shot), cpt-sft (zero_shot)`; benchmarks are told where they are several."""
    several = len({benchmark for _, _, benchmark in cells} - {MEAN}) > 1
    models: dict[str, list[str]] = {}
    for model, strategy, benchmark in cells:
        models.setdefault(model, []).append(f"{strategy} on {benchmark}" if several else strategy)
    return ", ".join(f"{model} ({', '.join(names)})" for model, names in models.items())


def _same(rows: Sequence[Row]) -> str:
    """Where no score differs.

    A model is named alone where that is so under each strategy, else with the strategies.
    """
    whole = {row.model for row in rows} - {row.model for row in rows if row.differing}
    rest = [row for row in rows if not row.differing and row.model not in whole and row.benchmark != MEAN]
    named = _named([(row.model, row.strategy, row.benchmark) for row in rest])
    return ", ".join([*in_order(whole), *([named] if named else [])])


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What is printed of a `comparison`."""
    first, second, percent = found["first"], found["second"], f"{100 * found['confidence']:g} %"
    yield f"{second} - {first}, protocol {found['protocol']}, on the items that both answered"
    yield ""
    differing = [row for row in found["rows"] if row.differing]
    if differing:
        tests = ["p", "Holm p", "McNemar p"]
        head = ["model", "strategy", "benchmark", "items", "seeds", first, second, "points", percent, *tests]
        body = [
            [
                *(row.model, row.strategy, row.benchmark, f"{row.whole.items:,}", _seeds(row)),
                *(f"{100 * row.whole.first:.1f}", f"{100 * row.whole.second:.1f}", *_points(row.whole.difference)),
                *map(_p, (row.p, row.holm_p, row.mcnemar_p)),
            ]
            for row in differing
        ]
        verdicts = ["verdict", *(row.verdict for row in differing)]
        table = columns([head, *body], 3)
        yield from (f"{line}  {verdict}".rstrip() for line, verdict in zip(table, verdicts, strict=True))
        yield ""
    if rest := [row for row in differing if row.untouched]:
        yield "On the items of these that no kept document of either touches:"
        head = ["model", "strategy", "benchmark", "items", first, second, "points", percent]
        body = []
        for row in rest:
            assert row.untouched
            values = (f"{100 * row.untouched.first:.1f}", f"{100 * row.untouched.second:.1f}")
            named = (row.model, row.strategy, row.benchmark, f"{row.untouched.items:,}")
            body.append([*named, *values, *_points(row.untouched.difference)])
        yield from columns([head, *body], 3)
        yield ""
    elif not found["touched_items"]:
        yield "No kept document of either shares a run of words with an item that was asked."
    if same := _same(found["rows"]):
        yield f"Same scores on every item: {same}."
    if not found["rows"]:
        yield "Nothing was answered in both."
    for side in ("first", "second"):
        if missing := found[f"only_in_{side}"]:
            yield f"Only in {found[side]}: {_named(missing)}."
    for entry in found["unpaired_items"]:
        counts = f"{entry['only_in_first']} in {first}, {entry['only_in_second']} in {second}"
        yield f"Items without a partner, left out: {entry['strategy']} on {entry['benchmark']}: {counts}."
    if changed := found["changed_items"]:
        shown = ", ".join(changed[:3]) + (", ..." if len(changed) > 3 else "")
        count = f"{len(changed)} item{'s' if len(changed) > 1 else ''}"
        yield f"Changed between the two, left out: {count} with another question, context, options or answer ({shown})."
    if differing:
        yield f"real: Holm p at most {1 - found['confidence']:.2g} over the rows above, and an interval without 0."
    yield from seed_lines(found)


def _seeds(row: Row) -> str:
    """`3`, or `3 and 1` where they are not the same ones."""
    return str(row.seeds[0]) if row.paired else f"{row.seeds[0]} and {row.seeds[1]}"


def seed_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What the intervals of a `comparison` are over.

    It is said for each kind of row that is there.
    """
    rows: Sequence[Row] = found["rows"]
    seeds = [", ".join(map(str, found["seeds"][side])) for side in ("first", "second")]
    named = f"seed {seeds[0]} in {found['first']}, {seeds[1]} in {found['second']}"
    if several := sorted({row.seeds[0] for row in rows if row.paired and row.seeds[0] > 1}):
        counts = " or ".join(map(str, several))
        wide = " Two seeds say little, so these intervals are wide." if 2 in several else ""
        yield f"Intervals and p of rows with {counts} seeds are over items, in groups, and training seeds, paired by both.{wide}"
    if not all(row.paired for row in rows):
        yield (
            f"No training seed in common ({named}): where a row has two numbers of seeds, these are independent samples that are"
            " taken to vary alike; intervals and p are over items and seeds."
        )
    if any(row.seeds == (1, 1) for row in rows):
        alone = found["seeds"]["first"] == found["seeds"]["second"] and len(found["seeds"]["first"]) == 1
        advice = "give `seeds` three" if alone else "`seeds: all` in a strategy's section asks all of them"
        yield (
            f"Intervals on 1 seed are about other items, in groups. Another training seed moves scores too, which they do not"
            f" cover ({named}): {advice}."
        )


def say(first: str, second: str, protocol: str | None, written: Path | None) -> None:
    """Print the comparison of two revisions.

    It is also written to the JSON file `written`, if one is given.

    Raises:
        BuildError: a revision has no predictions here, no protocol is common, or the file cannot be written.
    """
    section = read_params(ROOT / PARAMS).get("statistics", {})
    statistics: Statistics = validated("statistics", section, Statistics)
    one, other = build(ROOT, first), build(ROOT, second)
    found = comparison(one, other, common_protocol((one, other), protocol), statistics.confidence)
    if written:
        try:
            write_json(written, found | {"rows": [_written(row) for row in found["rows"]]})
            print(f"osler: written: {written}", file=sys.stderr)
        except OSError as error:
            raise BuildError(f"--json {written}: {error.strerror}") from None
    print("\n".join(lines(found)))
