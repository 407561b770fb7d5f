"""`osler compare A B C`: the models of several builds as one table, the best first.

All under one strategy and protocol, on the items that all of them answered and that are the same in all builds.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from osler.build.files import write_json, write_text
from osler.build.pipeline import ROOT, read_params
from osler.build.section import BuildError
from osler.build.validation import PARAMS, validated
from osler.commands.compare import Build, build, columns, common_protocol
from osler.report.cells import counted, p_value, percent, points
from osler.report.page import Table
from osler.report.table_files import FORMATS, table_text
from osler.statistics.leaderboard import Name, Place, benchmarks_of, common_items, places
from osler.statistics.paired_builds import ITEM, changed_items
from osler.statistics.settings import Statistics


def answers_by_model(
    builds: Sequence[Build], strategy: str, protocol: str
) -> tuple[dict[Name, pl.DataFrame], list[str]]:
    """Answers by build and model, and which models were not asked so.

    Raises:
        BuildError: none was.
    """
    found: dict[Name, pl.DataFrame] = {}
    silent: dict[str, list[str]] = {}
    for one in builds:
        for (model,), rows in sorted(one.answers.partition_by("model", as_dict=True).items()):
            own = rows.filter(pl.col("strategy") == strategy, pl.col("protocol") == protocol)
            if own.is_empty():
                silent.setdefault(str(model), []).append(one.name)
            else:
                found[one.name, str(model)] = own
    if not found:
        every = (
            pl.concat([one.answers.select("strategy", "protocol") for one in builds])
            .unique()
            .sort("strategy", "protocol")
        )
        if in_others := every.filter(strategy=strategy)["protocol"].to_list():
            raise BuildError(f"--protocol {protocol}: {strategy} has no answers in it, but in {', '.join(in_others)}")
        there = every["strategy"].unique(maintain_order=True).to_list()
        raise BuildError(f"--strategy {strategy}: no model was asked so; there are {', '.join(there)}")
    names = [one.name for one in builds]
    return found, [model if own == names else f"{model} of {', '.join(own)}" for model, own in silent.items()]


def table(found: Sequence[Place]) -> Table:
    """Places as a table in percent and points."""
    names = benchmarks_of(found)
    rows = [
        [
            *(", ".join(place.builds), place.model, str(place.seeds)),
            *(percent(place.accuracies[name]) for name in names),
            points(place.behind) if place.behind else "",
            "" if place.p is None else p_value(place.p),
            place.verdict,
        ]
        for place in found
    ]
    return Table(["build", "model", "seeds", *names, "less the first", "p", "verdict"], rows, text_columns=2)


def written(found: Sequence[Place], about: dict[str, Any]) -> dict[str, Any]:
    """Places for JSON; accuracies and differences are fractions."""
    return about | {"places": [asdict(place) for place in found]}


def lines(found: Sequence[Place], about: dict[str, Any]) -> Iterator[str]:
    """What is printed."""
    yield f"{about['strategy']}, protocol {about['protocol']}, on {about['items']:,} items that all of them answered"
    yield ""
    own = table(found)
    yield from columns([own.header, *[[str(cell) for cell in row] for row in own.rows]], own.text_columns)
    yield ""
    yield (
        f"Intervals of {100 * about['confidence']:g} % are over items and, where there are several, seeds; those of differences"
        " hold all together. Behind: surely not the best of these. p is multiplied by the number of the others, since the first"
        " was chosen by these same items."
    )
    if about["left_out"]:
        yield f"Left out, since not all answered them or builds differ in them: {counted(about['left_out'], 'item')}."
    if about["silent"]:
        yield f"Not asked so: {', '.join(about['silent'])}."


def say(revisions: Sequence[str], strategy: str, protocol: str | None, json: Path | None, to: Path | None) -> None:
    """Print the leaderboard, and write it to the files that are named.

    Raises:
        BuildError: as `common_protocol` and `answers_by_model`, no item is common, or a file cannot be written.
    """
    if repeated := {name for name in revisions if revisions.count(name) > 1}:
        raise BuildError(f"{min(repeated)}: is named twice; name each build once")
    if to and to.suffix not in FORMATS:
        raise BuildError(f"--table {to}: ends in none of {', '.join(FORMATS)}")
    statistics: Statistics = validated("statistics", read_params(ROOT / PARAMS).get("statistics", {}), Statistics)
    builds = [build(ROOT, name) for name in revisions]
    used = common_protocol(builds, protocol)
    answers, silent = answers_by_model(builds, strategy, used)
    changed = pl.concat([changed_items(builds[0].items, one.items) for one in builds[1:]]).unique()
    beside = frozenset().union(*(one.beside for one in builds))
    in_mean = ~pl.col("benchmark").is_in(list(beside))
    items = common_items(answers, changed).filter(in_mean)
    if items.is_empty():
        raise BuildError(f"no item was answered by all {len(answers)} models; leave out a build")
    left_out = (
        pl.concat([rows.select(ITEM) for rows in answers.values()]).unique().filter(in_mean).height - items.height
    )
    found = places(answers, items, statistics.confidence)
    about = {
        **{"strategy": strategy, "protocol": used, "confidence": statistics.confidence},
        **{"items": items.height, "left_out": left_out, "silent": silent},
    }
    try:
        if json:
            write_json(json, written(found, about))
        if to:
            write_text(to, table_text(table(found), f"{strategy}, {used}, {items.height} items", to.suffix))
        for path in filter(None, (json, to)):
            print(f"osler: written: {path}", file=sys.stderr)
    except OSError as error:
        raise BuildError(f"{error.filename}: cannot be written: {error.strerror}") from None
    print("\n".join(lines(found, about)))
