"""Models of several builds in one order, on the items that all of them answered.

Whoever stands first was chosen by these same items, and its lead is larger than others would show. The question asked is
therefore which models cannot be the best: comparisons with the best, each p times the number of the others (Bonferroni). The
model that is truly the best would be called behind only if one of its tests against the others went wrong, whichever of them
happens to stand first, and so with a probability of at most 1 - confidence. Intervals of differences are of that confidence
together, too. A model that scores alike under each seed in several builds is one.

Source:
    Hsu 1984, Constrained simultaneous confidence intervals for multiple comparisons with the best, Annals of Statistics 12.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import polars as pl

from osler.statistics.accuracy import accuracies, mean_accuracies
from osler.statistics.intervals import Interval
from osler.statistics.paired_builds import ITEM, MEAN, Row, compared, item_scores, pairs

Name = tuple[str, str]  # build, model


@dataclass(frozen=True)
class Place:
    """One model of one build, or of several where it scores alike.

    Args:
        builds, model: which.
        accuracies: by benchmark; of several also their mean, under MEAN.
        seeds: how many training seeds answered.
        behind: accuracy less that of the first, of all places together; None for the first.
        p: of that difference, times the number of all others; None for the first.
        verdict: `first`; `behind`, so surely not the best; or `may be best`.
    """

    builds: tuple[str, ...]
    model: str
    accuracies: Mapping[str, Interval]
    seeds: int
    behind: Interval | None
    p: float | None
    verdict: str


def common_items(answers: Mapping[Name, pl.DataFrame], changed: pl.DataFrame) -> pl.DataFrame:
    """Benchmark and item_id of what all answered, without `changed` items."""
    shared = reduce(
        lambda one, other: one.join(other, on=ITEM), (rows.select(ITEM).unique() for rows in answers.values())
    )
    return shared.join(changed, on=ITEM, how="anti").sort(ITEM)


def places(answers: Mapping[Name, pl.DataFrame], items: pl.DataFrame, confidence: float) -> list[Place]:
    """All models, best first.

    Args:
        answers: predictions of one strategy and protocol, by build and model.
        items: benchmark and item_id, at least one.
        confidence: of the intervals, and that the best is not called behind.
    """
    asked = {name: rows.join(items, on=ITEM, how="semi") for name, rows in answers.items()}
    shares = {name: _shares(rows, confidence) for name, rows in asked.items()}
    arm = {"model": pl.lit(""), "strategy": pl.lit("")}  # one, so that any two models can be paired
    scores = {name: item_scores(rows.with_columns(**arm)) for name, rows in asked.items()}
    alike = _alike(scores)
    first, *others = sorted(alike, key=lambda name: (-_score(shares[name]).estimate, name))
    seeds = {name: asked[name]["seed"].n_unique() for name in alike}
    found = [Place(alike[first], first[1], shares[first], seeds[first], None, None, "first")]
    for name in others:
        row = _difference(scores[first], scores[name], 1 - (1 - confidence) / len(others))
        p = min(1.0, len(others) * row.p)
        verdict = "behind" if p <= 1 - confidence else "may be best"
        found.append(Place(alike[name], name[1], shares[name], seeds[name], row.whole.difference, p, verdict))
    return found


def _alike(scores: Mapping[Name, pl.DataFrame]) -> dict[Name, tuple[str, ...]]:
    """The first of each model's builds with the same scores, and all of these."""
    found: dict[Name, tuple[str, ...]] = {}
    for build, model in scores:
        own = scores[build, model].select(*ITEM, "seed", "score")
        twin = next((name for name in found if name[1] == model and own.equals(scores[name].select(own.columns))), None)
        if twin:
            found[twin] += (build,)
        else:
            found[build, model] = (build,)
    return found


def _shares(rows: pl.DataFrame, confidence: float) -> dict[str, Interval]:
    own = {benchmark: found.share for (benchmark, _, _), found in accuracies(rows, confidence).items()}
    (mean,) = mean_accuracies(rows, confidence).values()
    return own | ({MEAN: mean} if len(own) > 1 else {})


def _score(shares: Mapping[str, Interval]) -> Interval:
    """What the order is by."""
    return shares.get(MEAN) or next(iter(shares.values()))


def _difference(first: pl.DataFrame, other: pl.DataFrame, confidence: float) -> Row:
    """The second less the first, over all benchmarks."""
    none = first.select(ITEM).clear()
    return compared(pairs(first, other, none), none, confidence)[-1]  # the mean comes last


def benchmarks_of(found: Sequence[Place]) -> list[str]:
    """The columns of a table: benchmarks by name, and their mean last."""
    names = {benchmark for place in found for benchmark in place.accuracies}
    return sorted(names - {MEAN}) + sorted(names & {MEAN})
