"""What judges say, as scores with intervals: points of criteria, preferences of pairs, and how far a judge can be trusted.

Points: a text earns those of the criteria that it meets over all that can be earned; the mean over items is held to 0 and 1, as
HealthBench has it (arXiv 2505.08775). A criterion whose verdict could not be read is left out of both, and counted.
Preferences: a model wins an item if it is better in both orders, or in one and as good in the other; where the orders contradict
each other it is a tie, and where a verdict could not be read it is left out, and counted. Intervals are over groups of items.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from osler.evaluation.judgements import SAME
from osler.statistics.agreement import bootstrap_interval, cohen_kappa, krippendorff_alpha
from osler.statistics.intervals import Interval, Pairs, accuracy_interval, difference_interval, ratio_interval
from osler.statistics.settings import Statistics
from osler.statistics.task_scores import rounded, within_bounds

Rows = Sequence[Mapping[str, Any]]


NOTHING: dict[str, float | None] = dict.fromkeys(("estimate", "low", "high"))


def judged_metrics(judgements: pl.DataFrame, ratings: pl.DataFrame, statistics: Statistics) -> dict[str, Any]:
    """The contents of judged.json; {} without a judge.

    Args:
        judgements: rows of JUDGEMENTS of all judges.
        ratings: of people: key, rater, verdict.
        statistics: the confidence, and the seed and number of resamplings of agreement.
    Returns:
        `scores`: judge -> task -> `points` -> model, and `preference` -> "a over b" -> number. Lists, that DVC leaves out of
        comparisons: `points`, `preferences` and `agreement`, with bounds and counts. Numbers that nothing says are null.
    """
    points = [
        found
        for rows in _cells(judgements, "rubric", ["judge", "task", "model"])
        if (found := _points(rows, statistics))
    ]
    pairs = _cells(judgements, "preference", ["judge", "task", "model", "other"])
    preferences = [_preference(rows, statistics) for rows in pairs]
    scores: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
    for entry in points:
        of_task = scores.setdefault(entry["judge"], {}).setdefault(entry["task"], {})
        of_task.setdefault("points", {})[entry["model"]] = entry["points"]["estimate"]
    for entry in preferences:
        of_task = scores.setdefault(entry["judge"], {}).setdefault(entry["task"], {})
        of_task.setdefault("preference", {})[f"{entry['model']} over {entry['other']}"] = entry["preference"][
            "estimate"
        ]
    if not points and not preferences:
        return {}
    agreement = [_agreement(rows, ratings, statistics) for rows in _cells(judgements, None, ["judge", "task", "kind"])]
    found = {"scores": scores, "points": points, "preferences": preferences}
    return found | {"agreement": [entry for entry in agreement if entry["raters"]]}


def _cells(judgements: pl.DataFrame, kind: str | None, by: list[str]) -> Iterator[list[dict[str, Any]]]:
    """Rows of each combination of `by`, in order."""
    rows = judgements if kind is None else judgements.filter(pl.col("kind") == kind)
    for own in rows.sort(by, maintain_order=True).partition_by(by, maintain_order=True):
        yield own.to_dicts()


def _points(rows: Rows, statistics: Statistics) -> dict[str, Any]:
    """One model under one judge in one task."""
    tags = sorted({tag for row in rows for tag in row["tags"]})
    by_tag = {tag: _earned([row for row in rows if tag in row["tags"]], statistics.confidence) for tag in tags}
    told = [row for row in rows if row["verdict"] is not None]
    whole = _earned(rows, statistics.confidence)
    return {
        **{key: rows[0][key] for key in ("judge", "task", "model")},
        "items": len({row["item_id"] for row in rows}),
        "judgements": len(rows),
        "points": whole or NOTHING,
        "met": rounded(sum(row["verdict"] == "met" for row in told) / len(told)) if told else None,
        "unread": rounded(1 - len(told) / len(rows)),
        "by_tag": {tag: found for tag, found in by_tag.items() if found},
    }


def _earned(rows: Rows, confidence: float) -> dict[str, Any] | None:
    """Mean over items of points earned over points to be earned; None where no item has any to earn."""
    earned: dict[tuple[str, int], float] = defaultdict(float)
    possible: dict[tuple[str, int], float] = defaultdict(float)
    groups: dict[tuple[str, int], str] = {}
    for row in rows:
        if row["verdict"] is not None:
            item = (row["item_id"], row["seed"])
            groups[item] = row["group"]
            earned[item] += row["points"] * (row["verdict"] == "met")
            possible[item] += max(0.0, row["points"])
    items = [item for item in groups if possible[item] > 0]
    if not items:
        return None
    shares = [earned[item] / possible[item] for item in items]
    found = ratio_interval(shares, [1.0] * len(items), confidence, [groups[item] for item in items])
    held = Interval(*(min(1.0, max(0.0, bound)) for bound in (found.estimate, found.low, found.high)))
    is_same = max(shares) - min(shares) < 1e-9
    return _written(within_bounds(held, len({groups[item] for item in items}), confidence) if is_same else held)


def winner(verdicts: Mapping[bool, str | None]) -> str | None:
    """Who wins an item: first or second of the pair, or tie.

    None where a verdict could not be read.

    Args:
        verdicts: of each order; True: the second of the pair was shown first.
    """
    if None in verdicts.values() or set(verdicts) != {False, True}:
        return None
    place = {"first": 0.5, "second": -0.5}
    plain, turned = (place.get(str(verdicts[order]), 0.0) for order in (False, True))
    balance = plain - turned
    return "first" if balance > 0 else "second" if balance < 0 else "tie"


def _preference(rows: Rows, statistics: Statistics) -> dict[str, Any]:
    """One pair under one judge in one task."""
    orders: dict[tuple[str, int], dict[bool, str | None]] = defaultdict(dict)
    groups = {(row["item_id"], row["seed"]): row["group"] for row in rows}
    for row in rows:
        orders[row["item_id"], row["seed"]][row["turned"]] = row["verdict"]
    won = {item: winner(verdicts) for item, verdicts in orders.items()}
    told = [item for item, who in won.items() if who is not None]
    worth = {"first": 1.0, "tie": 0.5, "second": 0.0}
    values = [worth[str(won[item])] for item in told]
    group = [groups[item] for item in told]
    decided = [row for row in rows if row["verdict"] in ("first", "second")]
    unequal = [
        verdicts for verdicts in orders.values() if SAME not in verdicts.values() and None not in verdicts.values()
    ]
    mirrored = {"first": "second", "second": "first", "tie": "tie"}
    return {
        **{key: rows[0][key] for key in ("judge", "task", "model", "other")},
        "items": len(won),
        "wins": sum(won[item] == "first" for item in told),
        "ties": sum(won[item] == "tie" for item in told),
        "losses": sum(won[item] == "second" for item in told),
        "preference": _preferred(values, group, statistics.confidence),
        "unread": rounded(1 - len(told) / len(won)),
        "consistent": rounded(sum(mirrored[str(v[False])] == v[True] for v in unequal) / len(unequal))
        if unequal
        else None,
        "first_shown": _share(
            [float(row["verdict"] == "first") for row in decided],
            [row["group"] for row in decided],
            statistics.confidence,
        ),
    }


def _share(values: Sequence[float], group: Sequence[str], confidence: float) -> dict[str, float | None]:
    """A share of values, 0 or 1, with its interval; nulls where there is none."""
    if not values:
        return NOTHING
    return _written(accuracy_interval([value == 1 for value in values], list(group), confidence))


def _preferred(values: Sequence[float], group: Sequence[str], confidence: float) -> dict[str, float | None]:
    """The share that is preferred, a tie being half.

    It is half of one and the mean of wins less losses, whose interval is that of paired differences (intervals.py): nothing but
    ties is no certainty.
    """
    if not values:
        return NOTHING
    pairs = Pairs([""] * len(values), list(group), np.array([2 * value - 1 for value in values]))
    found = difference_interval(pairs, confidence)
    return _written(Interval(*((1 + bound) / 2 for bound in (found.estimate, found.low, found.high))))


def _agreement(rows: Rows, ratings: pl.DataFrame, statistics: Statistics) -> dict[str, Any]:
    """How a judge agrees with people, and they with each other, on what both have said."""
    said = {row["key"]: row["verdict"] for row in rows if row["verdict"] not in (None, SAME)}
    groups = {row["key"]: row["group"] for row in rows}
    by_rater: dict[str, dict[str, str]] = defaultdict(dict)
    for key, rater, verdict in ratings.select("key", "rater", "verdict").sort("rater", "key").iter_rows():
        if key in said:
            by_rater[rater][key] = verdict
    rated = sorted({key for own in by_rater.values() for key in own})

    def interval(units: Mapping[str, Any], statistic: Any) -> dict[str, float | None]:
        grouped: dict[str, list[Any]] = defaultdict(list)
        for key, unit in units.items():
            grouped[groups[key]].append(unit)
        draws = (statistics.confidence, statistics.bootstrap_samples, statistics.bootstrap_seed)
        return _written(bootstrap_interval(grouped, statistic, *draws))

    people = {key: [own[key] for own in by_rater.values() if key in own] for key in rated}
    return {
        **{key: rows[0][key] for key in ("judge", "task", "kind")},
        "rated": len(rated),
        "raters": [
            {
                "rater": rater,
                "rated": len(own),
                "agreed": rounded(sum(said[key] == verdict for key, verdict in own.items()) / len(own)),
                "kappa": interval({key: (said[key], verdict) for key, verdict in own.items()}, cohen_kappa),
            }
            for rater, own in by_rater.items()
        ],
        "alpha": interval({key: [said[key], *own] for key, own in people.items()}, krippendorff_alpha),
        "alpha_of_people": interval(people, krippendorff_alpha) if len(by_rater) > 1 else NOTHING,
    }


def _written(found: Interval) -> dict[str, float | None]:
    return {key: rounded(bound) for key, bound in asdict(found).items()}
