"""Scores over tokens of continued pretraining, and the dip in them.

The dip is that of the stability gap. It is found and measured, never asserted.

Two paths start at the base model: the trunk at the peak rate, and models whose rate has fallen (`anneal-*` and `cpt`), which
are what one would use. Points of one path compare. A dip is a point that is surely worse than the base model, on the same
items or documents, with an interval that is wide enough for all points looked at (Bonferroni).
Source: Guo et al. 2024, arXiv 2406.14833: accuracy first falls, then recovers. One training seed is behind each path, so that
its points compare with the base model on that seed; the points' own scores are means over the seeds each has.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from osler.statistics.accuracy import with_seed
from osler.statistics.claims import Arm, Contrast, paired, pairs_of
from osler.statistics.intervals import Interval, difference_interval, ratio_interval

BASE = "base"
PATHS = ("trunk", "annealed")
DOMAINS = ("clinical", "general")
SCORES = ("accuracy", *(f"{domain}_bits_per_byte" for domain in DOMAINS))
FEWEST = 3  # points, of which the last may show a recovery
Worse = Callable[[str, str, float], Interval]
Dip = Mapping[str, str | Interval]


def path_of(model: str) -> str | None:
    """Which path a model is a point of.

    It is `trunk`, `annealed`, or `base`, with which both begin. For fine-tuned models it is None.
    """
    if model in (BASE, "cpt"):
        return BASE if model == BASE else "annealed"
    kind = model.partition("-")[0]
    return {"trunk": "trunk", "anneal": "annealed"}.get(kind)


@dataclass(frozen=True)
class Point:
    """A model with its scores at the tokens it has seen.

    Tokens are those of continued pretraining. Scores are by name, as far as they were measured.
    """

    model: str
    tokens: int
    scores: Mapping[str, Interval]


def curve_points(
    seen: Mapping[str, int | None],
    accuracies: Mapping[tuple[str, str], Interval],
    losses: Mapping[tuple[str, str], Interval],
    strategy: str,
) -> list[Point]:
    """The models of both paths by the tokens they have seen.

    Args:
        seen: model -> tokens; fine-tuned models are left out, and the base model stands at 0 whatever it was made from.
        accuracies: by strategy and model, fractions.
        losses: by domain and model, bits per byte.
        strategy: whose accuracy it is.
    """
    points = []
    for model in sorted(filter(path_of, seen), key=lambda model: (seen[model] or 0, model)):
        found = {"accuracy": accuracies.get((strategy, model))}
        found |= {f"{domain}_bits_per_byte": losses.get((domain, model)) for domain in DOMAINS}
        points.append(Point(model, seen[model] or 0, {name: score for name, score in found.items() if score}))
    return points


def on_path(points: Sequence[Point], path: str) -> list[Point]:
    """The base model and the models of a path.

    The list is empty where the base model is not among them.
    """
    found = [point for point in points if path_of(point.model) in (BASE, path)]
    return found if any(point.model == BASE for point in found) else []


def accuracy_lost(predictions: pl.DataFrame, strategy: str) -> Worse:
    """How many percentage points a model has less than another.

    They come with the interval of a claim's effect.
    """

    def worse(model: str, other: str, confidence: float) -> Interval:
        pairs = pairs_of(paired(predictions, Contrast(Arm(other, strategy), Arm(model, strategy))))
        lost = difference_interval(pairs, confidence)
        return Interval(100 * lost.estimate, 100 * lost.low, 100 * lost.high)

    return worse


def bits_added(heldout: pl.DataFrame, domain: str) -> Worse:
    """How many bits per byte a model needs more than another.

    They are of the same documents, under the seeds of both.
    """
    own = with_seed(heldout).filter(pl.col("domain") == domain)
    keys = ["doc_id", "seed"]

    def worse(model: str, other: str, confidence: float) -> Interval:
        one, two = (own.filter(pl.col("model") == name).select(*keys, "bits", "bytes") for name in (model, other))
        rows = one.join(two.select(*keys, before="bits"), on=keys).sort(keys)
        size, document, seed = (rows[name].to_list() for name in ("bytes", *keys))
        return ratio_interval((rows["bits"] - rows["before"]).to_list(), size, confidence, document, seed)

    return worse


def dip(points: Sequence[str], worse: Worse, confidence: float) -> Dip:
    """Whether a path goes through a dip.

    Args:
        points: models in the order of their tokens; the first is the one to be no worse than.
        worse: how much worse one model is than another, at a confidence.
        confidence: that no point, and then that no later one, is wrongly called worse or better.
    Returns:
        verdict; where there are enough points `worst`, the model furthest below the first (of those surely below, if there
        are any), and `change`; where that one is surely worse and not the last, `recovery`, the later model furthest above
        it, and `regained`.
    """
    if len(points) < FEWEST:
        return {"verdict": f"not tested: {len(points)} points where {FEWEST} are needed"}
    first, *others = points
    changes = {model: worse(model, first, 1 - (1 - confidence) / len(others)) for model in others}
    surely = [model for model in others if changes[model].low > 0]
    worst = max(surely or others, key=lambda model: changes[model].estimate)
    result: dict[str, str | Interval] = {"worst": worst, "change": changes[worst]}
    if not surely:
        return result | {"verdict": "no dip: no point is surely worse than the first"}
    later = others[others.index(worst) + 1 :]
    if not later:
        return result | {"verdict": "worst at the last point: whether it recovers is not known"}
    gains = {model: worse(worst, model, 1 - (1 - confidence) / len(later)) for model in later}
    best = max(later, key=lambda model: gains[model].estimate)
    result |= {"recovery": best, "regained": gains[best]}
    if gains[best].low <= 0:
        return result | {"verdict": "a dip without sure recovery"}
    return result | {"verdict": "a dip and a partial recovery" if changes[best].low > 0 else "a dip and a recovery"}
