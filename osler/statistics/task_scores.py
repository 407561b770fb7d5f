"""Scores of generative tasks, by model and task, with their intervals.

The intervals are over groups of items.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from osler.evaluation.named_metrics import ASKED, CATEGORY, COLUMNS, LEAD, SEPARATOR
from osler.evaluation.structured_texts import counts, read_values
from osler.statistics.accuracy import in_order
from osler.statistics.intervals import Interval, accuracy_interval, ratio_interval
from osler.statistics.seed_intervals import ENOUGH_SEEDS, seed_interval

HEADLINES = {
    "text": "rouge_l",
    "label": "accuracy",
    "label_set": "macro_f1",
    "structured": "field_f1",
    "entities": "entity_f1",
    "rubric": "rubric",  # what a judge says, which stands in judged.json (osler/statistics/judged_scores.py)
}
"""The score of each metric that stands for a task."""
SAME = 1e-9  # less between bounds is no spread
BERTSCORES = ("bertscore_f1", "bertscore_precision", "bertscore_recall", "bertscore_shuffled")


def clustered(top: pl.Series, bottom: pl.Series, group: pl.Series, confidence: float) -> Interval:
    """Sum of `top` over sum of `bottom`, with whole groups as clusters.

    This is for scores of 0 to 1; see `within_bounds`.

    Args:
        top: a value an item.
        bottom: the same; 1 for a mean; their sum is positive.
        group: the items' groups.
        confidence: for example 0.95.
    """
    sums = pl.DataFrame({"group": group, "top": top, "bottom": bottom}).group_by("group").sum().sort("group")
    found = ratio_interval(sums["top"].to_list(), sums["bottom"].to_list(), confidence)
    return within_bounds(found, len(sums), confidence)


def within_bounds(found: Interval, groups: int, confidence: float) -> Interval:
    """The interval of a score of 0 to 1.

    Scores that are the same everywhere have no spread, which is not certainty. Of 0 or 1 the interval is then that of a share,
    of groups that score at all. Between them, such a share of groups may score 0, or 1.
    """
    if found.estimate in (0, 1):
        return accuracy_interval([found.estimate > 0] * groups, [str(group) for group in range(groups)], confidence)
    if found.high - found.low < SAME:
        alike = accuracy_interval([True] * groups, [str(group) for group in range(groups)], confidence).low
        return Interval(found.estimate, found.estimate * alike, 1 - (1 - found.estimate) * alike)
    return Interval(found.estimate, max(0.0, found.low), min(1.0, found.high))


def jackknife_interval(rows: pl.DataFrame, statistic: Callable[[pl.DataFrame], float], confidence: float) -> Interval:
    """Interval of a score that is no mean of its items.

    The score is of 0 to 1. Its interval comes from what the score is without each group in turn. A score that is 0 or 1
    as a whole: see `within_bounds`.

    Args:
        rows: with a column `group`; one group gives [0, 1].
        statistic: of rows.
        confidence: for example 0.95; Student's t of as many degrees of freedom as there are groups less one.
    Source:
        Efron and Stein 1981, The jackknife estimate of variance, Annals of Statistics 9.
    """
    whole, names = statistic(rows), rows["group"].unique().sort().to_list()
    if len(names) < 2:
        return Interval(whole, 0.0, 1.0)
    without = np.array([statistic(rows.filter(pl.col("group") != name)) for name in names])
    error = math.sqrt((len(names) - 1) * float(without.var()))
    half = float(stats.t.ppf((1 + confidence) / 2, len(names) - 1)) * error
    return within_bounds(Interval(whole, whole - half, whole + half), len(names), confidence)


def scores_of(rows: pl.DataFrame, metric: str, confidence: float) -> dict[str, Interval]:
    """The scores of one model on one task, the headline first.

    All but `length_ratio` are 0 to 1.

    * `rouge_l`, `rouge_2`, `rouge_1`, `token_f1`: means over items; so `bertscore_f1`, `bertscore_precision` and
      `bertscore_recall`, where they were computed. `bertscore_shuffled` is F1 against another item's target: what texts of no
      relation score under this encoder, and what `bertscore_f1` must exceed to mean something.
    * `accuracy`, `macro_f1` (over labels, then over training seeds): a text from which no label can be read is wrong.
    * `macro_f1` of label_set: over the labels that are in some target; `micro_f1` of all together, `item_f1` the mean over items.
    * `entity_f1`: of all items' entities together (micro); `item_entity_f1`: the mean over items (macro).
    * `field_f1`: of the values of all fields of JSON together; `f1_<field>` of each; `parse_rate`: texts that are of the schema.
    * those that the task names (osler/evaluation/named_metrics.py): means over items.
    * `length_ratio`: words of all texts over words of all targets, unit 1; 0 where nothing was written.

    Args:
        rows: of GENERATIONS, at least one; of several training seeds, whose mean a score is then.
        metric: theirs.
        confidence: of the intervals.
    """
    ones, group = pl.Series([1.0] * len(rows)), rows["group"]

    def mean(column: str) -> Interval:
        return clustered(rows[column], ones, group, confidence)

    found: dict[str, Interval]
    if metric == "text":
        found = {name: mean(name) for name in ("rouge_l", "rouge_2", "rouge_1")}
        computed = [name for name in BERTSCORES if not rows[name].null_count()]
        found |= {name: mean(name) for name in computed}
    elif metric == "label":
        right = [score == 1 for score in rows["score"]]
        found = {
            "accuracy": accuracy_interval(right, group.to_list(), confidence),
            "macro_f1": jackknife_interval(rows, _macro_f1_of_seeds, confidence),
        }
    elif metric == "rubric":
        found = {}
    elif metric == "structured":
        found = _structured_scores(rows, confidence)
    elif metric == "label_set":
        top, bottom = 2 * rows["shared"], rows["named"] + rows["wanted"]
        found = {"macro_f1": jackknife_interval(rows, _label_set_f1_of_seeds, confidence), "item_f1": mean("score")}
        if bottom.sum() > 0:
            found["micro_f1"] = clustered(top, bottom, group, confidence)
    else:
        top, bottom = 2 * rows["shared"], rows["named"] + rows["wanted"]
        found = {"item_entity_f1": mean("score")}
        if bottom.sum() > 0:
            found = {"entity_f1": clustered(top, bottom, group, confidence)} | found
    besides = [
        name for named in COLUMNS.values() for name in named if name in rows.columns and not rows[name].null_count()
    ]
    found |= {name: mean(name) for name in besides if name not in found}
    lengths = rows.filter(pl.col("length_ratio").is_not_null())
    overlap = {} if metric == "rubric" and rows["token_f1"].null_count() else {"token_f1": mean("token_f1")}
    return found | overlap | _length(lengths, confidence)


def _macro_f1_of_seeds(rows: pl.DataFrame) -> float:
    each = [macro_f1(own["answer"].to_list(), own["gold"].to_list()) for own in rows.partition_by("seed")]
    return sum(each) / len(each)


def _structured_scores(rows: pl.DataFrame, confidence: float) -> dict[str, Interval]:
    """F1 of all fields' values together, of each field, and the share of texts that could be read."""
    read = accuracy_interval(rows["answer"].is_not_null().to_list(), rows["group"].to_list(), confidence)
    pairs = [(read_values(ours), read_values(theirs)) for ours, theirs in rows.select("answer", "gold").iter_rows()]
    names = sorted({name for pair in pairs for values in pair for name in values})
    found: dict[str, Interval] = {}
    for score, own in {"field_f1": names, **{f"f1_{name}": [name] for name in names}}.items():
        numbers = pl.DataFrame(
            [counts(*pair, own) for pair in pairs], schema=["named", "wanted", "shared"], orient="row"
        )
        top, bottom = 2 * numbers["shared"], numbers["named"] + numbers["wanted"]
        if bottom.sum() > 0:
            found[score] = clustered(top, bottom, rows["group"], confidence)
        if score == "field_f1":
            found["parse_rate"] = read
    return found


def _label_set_f1_of_seeds(rows: pl.DataFrame) -> float:
    each = [label_set_f1(own["answer"].to_list(), own["gold"].to_list()) for own in rows.partition_by("seed")]
    return sum(each) / len(each)


def spread(rows: pl.DataFrame, metric: str, confidence: float) -> dict[str, dict[str, Any]]:
    """Each score under each training seed, and the interval of its mean.

    See seed_intervals.py. It is {} where there is one seed.

    Args:
        rows: of GENERATIONS, of one model and task.
        metric: theirs.
        confidence: of the intervals; bounds are null for fewer seeds than three.
    """
    by_seed = {int(seed): own for (seed,), own in rows.partition_by("seed", as_dict=True).items()}
    if len(by_seed) < 2:
        return {}
    each = {seed: scores_of(own, metric, confidence) for seed, own in sorted(by_seed.items())}
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(name for scores in each.values() for name in scores):
        values = {str(seed): scores[name].estimate for seed, scores in each.items() if name in scores}
        numbers = list(values.values())
        enough = len(numbers) >= ENOUGH_SEEDS
        bounds = asdict(seed_interval(numbers, confidence)) if enough else {"estimate": float(np.mean(numbers))}
        found[name] = {
            **{key: rounded(bounds.get(key, math.nan)) for key in ("estimate", "low", "high")},
            "seeds": {seed: rounded(value) for seed, value in values.items()},
        }
    return found


def _length(rows: pl.DataFrame, confidence: float) -> dict[str, Interval]:
    if rows.is_empty():
        return {}
    words = rows["target"].map_elements(lambda text: len(text.split()), pl.Int64)
    parts = pl.DataFrame({"group": rows["group"], "top": rows["length_ratio"] * words, "bottom": words})
    sums = parts.group_by("group").sum().sort("group")
    return {"length_ratio": ratio_interval(sums["top"].to_list(), sums["bottom"].to_list(), confidence)}


def generation_metrics(generations: pl.DataFrame, confidence: float) -> dict[str, Any]:
    """The contents of generation.json.

    There is a headline for each task and model, and under `detail` are all scores. Without a row it is {}.

    Args:
        generations: rows of GENERATIONS of all models.
        confidence: of the intervals.
    Returns:
        `scores`: task -> name of its headline score -> model -> number. `detail`, a list that DVC leaves out of
        comparisons: task, model, metric, items, groups, scores with bounds (null where there is none: one group), where there
        are several training seeds `over_seeds` (`spread`),
        `category`, `baseline` (scores of first words) and `asked` (`shots`, `prompt`, `temperature`, `top_p`) where a task says so,
        `unread` (share of texts from which no label could be read; null for other metrics), tokens read and generated an
        item, prompts truncated. `categories`, where tasks have one: see `category_means`.
    """
    scores: dict[str, dict[str, dict[str, float | None]]] = {}
    detail: list[dict[str, Any]] = []
    for (task,), of_task in sorted(generations.partition_by("task", as_dict=True).items()):
        by_model = {str(model): rows for (model,), rows in of_task.partition_by("model", as_dict=True).items()}
        for model in in_order(by_model):
            rows = by_model[model]
            metric = str(rows["metric"][0])
            found = scores_of(rows, metric, confidence)
            written = {
                name: {key: rounded(bound) for key, bound in asdict(interval).items()}
                for name, interval in found.items()
            }
            headline = HEADLINES[metric]
            if headline in written:
                scores.setdefault(str(task), {}).setdefault(headline, {})[model] = written[headline]["estimate"]
            detail.append(
                {
                    "task": task,
                    "model": model,
                    "metric": metric,
                    "items": rows["item_id"].n_unique(),
                    "groups": rows["group"].n_unique(),
                    "scores": written,
                    "unread": rounded(rows["answer"].null_count() / len(rows)) if metric == "label" else None,
                    "source_tokens": rounded(float(np.mean(rows["source_tokens"].to_numpy()))),
                    "generated_tokens": rounded(float(np.mean(rows["generated_tokens"].to_numpy()))),
                    "truncated": int(rows["truncated"].sum()),
                    **({"category": rows[CATEGORY][0]} if has_category(rows) else {}),
                    **({"baseline": lead} if (lead := _lead(rows, confidence)) else {}),
                    **({"asked": how} if (how := _asked(rows)) else {}),
                    **({"over_seeds": several} if (several := spread(rows, metric, confidence)) else {}),
                }
            )
    of_categories = category_means([entry for entry in detail if "category" in entry])
    means = {"categories": of_categories} if of_categories else {}
    return {"scores": scores, "detail": detail, **means} if detail else {}


def _lead(rows: pl.DataFrame, confidence: float) -> dict[str, dict[str, float | None]]:
    """ROUGE of the first words of the sources, where the task has that baseline."""
    there = [name for name in LEAD if name in rows.columns and not rows[name].null_count()]
    ones = pl.Series([1.0] * len(rows))
    found = {name.removeprefix("lead_"): clustered(rows[name], ones, rows["group"], confidence) for name in there}
    return {name: {key: rounded(bound) for key, bound in asdict(one).items()} for name, one in found.items()}


def has_category(rows: pl.DataFrame) -> bool:
    """Whether the rows' task has a category."""
    return CATEGORY in rows.columns and not rows[CATEGORY].null_count()


def _asked(rows: pl.DataFrame) -> dict[str, Any]:
    """How the items were asked, if not in one turn and greedily."""
    there = [name for name in ASKED if name in rows.columns and not rows[name].null_count()]
    return {name: rows[name][0] for name in there}


def rounded(value: float) -> float | None:
    """A number with six decimals.

    It is None for what is not finite, which no metrics file can hold.
    """
    return round(value, 6) if math.isfinite(value) else None


def macro_f1(answers: Sequence[str | None], targets: Sequence[str]) -> float:
    """Mean F1 over the labels that are some item's target.

    An answer None is wrong. A label that is nobody's target has no F1 of its own; giving it costs the label that was
    right.
    """
    named, wanted = Counter(answers), Counter(targets)
    right = Counter(target for answer, target in zip(answers, targets, strict=True) if answer == target)
    return sum(2 * right[label] / (named[label] + wanted[label]) for label in wanted) / len(wanted)


def label_set_f1(answers: Sequence[str], targets: Sequence[str]) -> float:
    """Mean F1 over the labels that are in some target.

    It is 0 where no target has any. Each label is a question of yes or no to every item. Labels that only answers have count for
    none: scikit-learn's macro F1 over a fixed list counts them, and those that nobody names, as 0.

    Args:
        answers: of each item, its labels with SEPARATOR between them.
        targets: the same of what is right.
    """
    pairs = [
        [frozenset(filter(None, own.split(SEPARATOR))) for own in pair] for pair in zip(answers, targets, strict=True)
    ]
    named, wanted = (Counter(label for pair in pairs for label in pair[side]) for side in (0, 1))
    right = Counter(label for ours, theirs in pairs for label in ours & theirs)
    return sum(2 * right[label] / (named[label] + wanted[label]) for label in wanted) / max(1, len(wanted))


def category_means(detail: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over the tasks of each category, by model and score.

    Tasks count alike, whatever their sizes. They share no items, so that bounds are those of independent estimates.

    Args:
        detail: of generation.json, of tasks that have a category.
    Returns:
        category, model, tasks, `scores` with bounds and how many tasks have each; bounds are null where one of them is.
    Source:
        Zou and Donner 2008, Construction of confidence limits about effect measures, Statistics in Medicine 27 (MOVER).
    """
    found = []
    for category, model in dict.fromkeys((entry["category"], entry["model"]) for entry in detail):
        own = [entry for entry in detail if (entry["category"], entry["model"]) == (category, model)]
        scores = {}
        for name in dict.fromkeys(name for entry in own for name in entry["scores"]):
            known = [entry["scores"][name] for entry in own if name in entry["scores"]]
            mean = sum(one["estimate"] for one in known) / len(known)
            bounds = (
                {"low": None, "high": None}
                if any(None in one.values() for one in known)
                else {
                    side: rounded(
                        mean + sign * math.sqrt(sum((one[side] - one["estimate"]) ** 2 for one in known)) / len(known)
                    )
                    for side, sign in (("low", -1), ("high", 1))
                }
            )
            scores[name] = {"estimate": rounded(mean), **bounds, "tasks": len(known)}
        found.append({"category": category, "model": model, "tasks": len(own), "scores": scores})
    return found
