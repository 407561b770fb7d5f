"""The combinations of an ablation, and their scores over training seeds.

The unit here is a training run: a setting's accuracy is the mean over seeds with Student's t interval over them, and its effect
the mean of the differences from the first setting within each seed, so that what a seed does to both cancels. The items are the
same in all runs; other items are what osler/statistics/paired_builds.py is about. Three seeds give an interval of +- 2.5 standard
deviations, ten +- 0.7; fewer than three give none.
"""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from osler.build.pipeline import MISSING
from osler.build.section import BuildError
from osler.build.validation import suggestion
from osler.statistics.seed_intervals import ENOUGH_SEEDS, seed_interval

SEED = "seeds"  # of params.yaml, a list: each run of an ablation has one of them
Scores = Mapping[str, Mapping[str, float]]  # strategy -> model -> accuracy, as metrics/eval.json has it
Combination = tuple[tuple[str, Any], ...]  # params key and value, in the order in which they were given


@dataclass(frozen=True)
class Mean:
    """A mean over seeds with its t interval.

    `low` and `high` bound the interval and are None for fewer than three seeds.
    """

    seeds: int
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Cell:
    """What one setting, strategy and model scored.

    It has the accuracy over seeds, and the paired difference from the first setting. `effect` is None for the first
    setting and where the two have no seed in common.
    """

    setting: Combination
    strategy: str
    model: str
    accuracy: Mean
    effect: Mean | None


def value_of(text: str) -> Any:
    """A value as `dvc exp run -S` reads it.

    It is null, true or false, an integer, a number, else text.
    """
    plain = {"null": None, "true": True, "false": False}
    if text.lower() in plain:
        return plain[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def sweeps(pairs: Sequence[str], params: Mapping[str, Any]) -> dict[str, list[Any]]:
    """`neftune.alpha=0,5` -> its values, for each key.

    Raises:
        BuildError: no such key, no value, a value twice, or one that is no single value.
    """
    found: dict[str, list[Any]] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        value: Any = params
        for part in key.split("."):
            if not isinstance(value, Mapping) or part not in value:
                known = value if isinstance(value, Mapping) else {}
                raise BuildError(f"{key}: no such key in params.yaml{suggestion(part, map(str, known))}")
            value = value[part]
        if not equals or re.search(r"[\[\]{}()'\"\s]", text) or not all(text.split(",")):
            raise BuildError(f"{pair}: write KEY=VALUE,VALUE,... with plain values")
        if isinstance(value, Mapping | list) and key != SEED:
            raise BuildError(f"{key}: a section or a list; name a key with a single value")
        values = [value_of(part) for part in text.split(",")]
        if key in found or len(set(map(repr, values))) < len(values):
            raise BuildError(f"{pair}: a key or a value twice")
        found[key] = values
    if not found:
        raise BuildError("nothing to vary; for example: neftune.alpha=0,5,10,15 seeds=1,2,3")
    return found


def combinations(swept: Mapping[str, Sequence[Any]]) -> list[Combination]:
    """All of them, the last key fastest."""
    return [tuple(zip(swept, values, strict=True)) for values in itertools.product(*swept.values())]


def experiment_name(combination: Combination) -> str:
    """`alpha-5-seeds-1`; whole keys where their last parts are the same."""
    lasts = [key.rpartition(".")[2] for key, _ in combination]
    keys = lasts if len(set(lasts)) == len(lasts) else [key.replace(".", "-") for key, _ in combination]
    text = "-".join(f"{key}-{written(value)}" for key, (_, value) in zip(keys, combination, strict=True))
    return re.sub(r"[^A-Za-z0-9_.-]|\.\.", "-", text)


def written(value: Any) -> str:
    """A value as `-S` takes it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def override(key: str, value: Any) -> str:
    """A key and its value as `-S` takes them.

    A training seed is a list of one.
    """
    return f"{key}=[{value}]" if key == SEED else f"{key}={written(value)}"


def overridden(params: Mapping[str, Any], combination: Combination) -> dict[str, Any]:
    """The params with the values of a combination.

    The rest is shared, not copied.
    """
    result = dict(params)
    for key, value in combination:
        first, _, rest = key.partition(".")
        value = [value] if key == SEED else value
        result[first] = overridden(result[first], ((rest, value),)) if rest else value
    return result


def setting_of(combination: Combination) -> Combination:
    """A combination without its seed."""
    return tuple((key, value) for key, value in combination if key != SEED)


def mean_over_seeds(values: Sequence[float], confidence: float) -> Mean:
    """The mean with its t interval over seeds, one value each."""
    if len(values) < ENOUGH_SEEDS:
        return Mean(len(values), math.fsum(values) / len(values), None, None)
    interval = seed_interval(values, confidence)
    return Mean(len(values), interval.estimate, interval.low, interval.high)


def bounded(accuracy: Mean) -> Mean:
    """`accuracy` with an interval that ends at 0 and 1."""
    if accuracy.low is None or accuracy.high is None:
        return accuracy
    return replace(accuracy, low=max(0.0, accuracy.low), high=min(1.0, accuracy.high))


def summary(runs: Mapping[Combination, Scores], confidence: float) -> list[Cell]:
    """A cell for each setting, strategy and model with a score.

    Settings are in the order of `runs`.

    Args:
        runs: scores by combination; combinations that failed are not there.
        confidence: for example 0.95.
    """
    scores: dict[Combination, dict[tuple[str, str], dict[Any, float]]] = {}
    for combination, by_strategy in runs.items():
        cells = scores.setdefault(setting_of(combination), {})
        for strategy, by_model in by_strategy.items():
            for model, share in by_model.items():
                cells.setdefault((strategy, model), {})[dict(combination).get(SEED, MISSING)] = share
    if not scores:
        return []
    first = next(iter(scores))
    result = []
    for setting, cells in scores.items():
        for (strategy, model), own in cells.items():
            others = scores[first].get((strategy, model), {})
            shared = [own[seed] - others[seed] for seed in own if seed in others] if setting != first else []
            effect = mean_over_seeds(shared, confidence) if shared else None
            accuracy = bounded(mean_over_seeds(list(own.values()), confidence))
            result.append(Cell(setting, strategy, model, accuracy, effect))
    return result
