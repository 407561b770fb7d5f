"""The claims that a build tests, and the rule of a verdict.

A claim is a sentence, the contrasts that bear on it, and a rule. An effect is a difference of accuracy in percentage
points, paired by item and by training seed, a mean over benchmarks; an item answered in several draws counts once, with the
mean of its draws. Its interval is over items in groups and over seeds (osler/statistics/intervals.py), and every test below has the
standard error and the degrees of freedom of that interval.

Rules read the interval only:

* `gain`: supported when the whole interval is above 0, contradicted when it is below 0. Neither, and surely within
  +-`equivalence_points` (two one-sided tests at 1 - confidence): equivalent, so no gain worth the name and no loss.
* `gain_of_each`: supported when each contrast is a gain (no correction: all must be). Contradicted when one of them
  is a loss at confidence 1 - (1 - confidence) / contrasts (Bonferroni, since one is enough).
* `little`: supported when the whole interval is below the margin `little_points`, contradicted when it is above it. A
  loss is little gain too: the claim is about what continued pretraining adds by itself.

Anything else is undecided; `minimum_detectable_points` then says what would have been found. Of one seed the interval knows
items alone, and another seed can turn the verdict, which ends in `on 1 seed`; with two the seeds are in it, as far as two
say anything, and it ends in `on 2 seeds`.

The numbers beside an effect:

* `p`: two-sided t test. `holm_p`: the same, corrected for all contrasts of all claims tested (Holm).
* `mcnemar_p`: exact test over items, which ignores groups; only where both arms answered in one draw and on one seed.
* `tost_p`: two one-sided t tests of equivalence within `equivalence_points`; `no_loss_p`: the one of them against a loss.
* `minimum_detectable_points`: true effect found with 80 % power by a test at 1 - confidence on so many groups and seeds.

Source:
    Christophe et al. 2024, arXiv 2409.14988 (abstract). Claim 3 is contested: Jain et al. 2023 (arXiv 2310.05914)
    report no gain of NEFTune on closed-ended benchmarks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from osler.statistics.accuracy import in_order, item_means
from osler.statistics.intervals import Interval, Pairs, difference_interval, difference_p, seeds_of
from osler.statistics.paired_tests import holm, mcnemar_p, minimum_detectable_effect, noninferiority_p, tost_p
from osler.statistics.seed_intervals import ENOUGH_SEEDS

Rule = Literal["gain", "gain_of_each", "little"]
Value = str | int | float | dict[str, "Value"]
PROMPTED = "medprompt"  # the strategy of the last claim
POWER = 0.8  # of `minimum_detectable_points`, as is customary
CURVE_ONLY = ("trunk-", "anneal-", "adapter-")  # models that are of no claim


@dataclass(frozen=True)
class Arm:
    """One model under one strategy."""

    model: str
    strategy: str


@dataclass(frozen=True)
class Contrast:
    """`better` minus `worse`, as the claim has it."""

    better: Arm
    worse: Arm

    @property
    def name(self) -> str:
        one, other = self.better, self.worse
        if one.model == other.model:
            return f"{one.model}: {one.strategy} - {other.strategy}"
        return f"{one.model} - {other.model}"


@dataclass(frozen=True)
class Claim:
    """A sentence that a build can support or contradict.

    Its contrasts are what it is about; the effect is their mean.
    """

    key: str
    sentence: str
    contrasts: tuple[Contrast, ...]
    rule: Rule


@dataclass(frozen=True)
class Test:
    """How tests are computed.

    It has the confidence of intervals, margins in points, and samples and seed of what is resampled (calibration). A
    gain below `little_points` is little; a difference within +-`equivalence_points` is none.
    """

    __test__ = False  # not a class of tests, whatever pytest thinks of its name

    confidence: float
    samples: int
    seed: int
    little_points: float
    equivalence_points: float


def _models(better: str, worse: str, strategy: str = "zero_shot") -> Contrast:
    return Contrast(Arm(better, strategy), Arm(worse, strategy))


def claims(models: Sequence[str]) -> tuple[Claim, ...]:
    """The four claims, as data.

    The last one has a contrast for each of `models` but those of a curve.

    Args:
        models: those that answered under the strategy of the last claim.
    """
    return (
        Claim(
            "cpt_alone_gives_little",
            "Continued pretraining alone gives little on multiple-choice accuracy.",
            (_models("cpt", "base"),),
            "little",
        ),
        Claim(
            "cpt_strengthens_sft",
            "Instruct fine-tuning after continued pretraining beats instruct fine-tuning without it.",
            (_models("cpt-sft", "base-sft"),),
            "gain",
        ),
        Claim(
            "neftune_beats_sft",
            "NEFTune beats plain instruct fine-tuning on closed-ended benchmarks.",
            (_models("base-neftune", "base-sft"), _models("cpt-neftune", "cpt-sft")),
            "gain",
        ),
        Claim(
            "medprompt_beats_zero_shot",
            "A Medprompt-like strategy beats zero-shot on each model.",
            tuple(
                Contrast(Arm(model, PROMPTED), Arm(model, "zero_shot"))
                for model in models
                if not model.startswith(CURVE_ONLY)
            ),
            "gain_of_each",
        ),
    )


def paired(predictions: pl.DataFrame, contrast: Contrast) -> pl.DataFrame:
    """Items that both arms answered, under the same seed.

    Columns are benchmark, group, item_id, seed, better, worse and draws. Pairs follow item_id, so that a strategy
    limited to some items is compared on those alone. `better` and `worse` are means over draws, fractions; `draws` is
    the larger number of them.
    """

    def arm(which: Arm, name: str) -> pl.DataFrame:
        rows = predictions.filter((pl.col("model") == which.model) & (pl.col("strategy") == which.strategy))
        return item_means(rows).select(*keys, pl.col("correct").alias(name), pl.col("draws").alias(f"{name}_draws"))

    keys = ["benchmark", "group", "item_id", "seed"]
    both = arm(contrast.better, "better").join(arm(contrast.worse, "worse"), on=keys).sort(keys)
    return both.select(*keys, "better", "worse", draws=pl.max_horizontal("better_draws", "worse_draws"))


def pairs_of(rows: pl.DataFrame) -> Pairs:
    """`paired` rows as differences in [-1, 1]."""
    benchmark, group, seed = (rows[name].to_list() for name in ("benchmark", "group", "seed"))
    return Pairs(benchmark, group, (rows["better"] - rows["worse"]).to_numpy(), seed)


def on_shared_seeds(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Rows of several contrasts under the seeds that all of them have.

    All rows where there is no such seed.
    """
    shared = set.intersection(*(set(rows["seed"]) for rows in frames))
    everything = pl.concat(frames)
    return everything.filter(pl.col("seed").is_in(list(shared))) if shared else everything


def verdict(
    rule: Rule, whole: Interval, each: Sequence[Interval], wide: Sequence[Interval], margin: float, equivalent: bool
) -> str:
    """Supported, contradicted, equivalent or undecided, as the module says.

    All numbers are in the unit of `margin`.

    Args:
        rule: which of the three.
        whole: the mean of the contrasts.
        each: every contrast at the confidence asked for.
        wide: every contrast at the Bonferroni confidence.
        margin: what `little` is; not used by the others.
        equivalent: whether the mean of the contrasts is surely none; only `gain` asks.
    """
    if rule == "gain_of_each":
        supported, contradicted = all(one.low > 0 for one in each), any(one.high < 0 for one in wide)
    elif rule == "gain":
        supported, contradicted = whole.low > 0, whole.high < 0
    else:
        supported, contradicted = whole.high < margin, whole.low > margin
    if supported or contradicted:
        return "supported" if supported else "contradicted"
    return "equivalent" if rule == "gain" and equivalent else "undecided"


def _points(interval: Interval) -> dict[str, Value]:
    return {
        "effect_points": round(100 * interval.estimate, 4),
        "low_points": round(100 * interval.low, 4),
        "high_points": round(100 * interval.high, 4),
    }


def _effect(rows: pl.DataFrame, interval: Interval, test: Test) -> dict[str, Value]:
    """An effect with its tests.

    What cannot be computed is left out: of one group only, of several draws.
    """
    pairs = pairs_of(rows)
    margin = test.equivalence_points / 100
    found = _points(interval) | {
        "p": round(difference_p(pairs), 6),
        "tost_p": round(tost_p(pairs, margin), 6),
        "no_loss_p": round(noninferiority_p(pairs, margin), 6),
        "items": rows.select("benchmark", "item_id").n_unique(),
        "groups": rows.select("benchmark", "group").n_unique(),
        "seeds": seeds_of(pairs),
    }
    detectable = 100 * minimum_detectable_effect(pairs, test.confidence, POWER)
    if math.isfinite(detectable):
        found["minimum_detectable_points"] = round(detectable, 4)
    return found


def claim_outcome(claim: Claim, predictions: pl.DataFrame, test: Test) -> dict[str, Any]:
    """The outcome of one claim.

    Args:
        claim: what is claimed.
        predictions: rows of `results/predictions` in one protocol, any models and strategies.
        test: how to test.
    Returns:
        sentence, rule, verdict, and, unless an arm is missing (the verdict then says which): effect_points,
        low_points, high_points, p, tost_p, no_loss_p, minimum_detectable_points, items, groups, seeds, and the same for
        each of `contrasts` by name, with mcnemar_p where it applies.
    """
    result: dict[str, Any] = {"sentence": claim.sentence, "rule": claim.rule}
    frames = [paired(predictions, contrast) for contrast in claim.contrasts]
    missing = [contrast.name for contrast, rows in zip(claim.contrasts, frames, strict=True) if not rows.height]
    if missing or not frames:
        return result | {"verdict": f"not tested: no predictions for {', '.join(missing) or 'any model'}"}

    contrasts: dict[str, dict[str, Value]] = {}
    each, wide = [], []
    for contrast, rows in zip(claim.contrasts, frames, strict=True):
        each.append(difference_interval(pairs_of(rows), test.confidence))
        wide.append(difference_interval(pairs_of(rows), 1 - (1 - test.confidence) / len(frames)))
        contrasts[contrast.name] = _effect(rows, each[-1], test)
        if rows["draws"].max() == rows["seed"].n_unique() == 1:
            exact = mcnemar_p((rows["better"] == 1).to_list(), (rows["worse"] == 1).to_list())
            contrasts[contrast.name]["mcnemar_p"] = float(f"{exact:.4g}")
    everything = on_shared_seeds(frames)
    whole = difference_interval(pairs_of(everything), test.confidence)
    seeds = min(seeds_of(pairs_of(rows)) for rows in frames)
    equivalent = tost_p(pairs_of(everything), test.equivalence_points / 100) < 1 - test.confidence
    decided = verdict(claim.rule, whole, each, wide, test.little_points / 100, equivalent)
    warning = "" if seeds >= ENOUGH_SEEDS else f" on {seeds} seed{'s' if seeds > 1 else ''}"
    result |= _effect(everything, whole, test) | {
        "seeds": seeds,
        "equivalence_points": test.equivalence_points,
        "verdict": decided + warning,
        "contrasts": contrasts,
    }
    if claim.rule == "little":
        result["margin_points"] = test.little_points
    return result


def outcomes(predictions: pl.DataFrame, test: Test) -> Mapping[str, dict[str, Any]]:
    """The outcomes of all claims by key.

    `holm_p` stands beside the p of each contrast tested, and of a claim that has one contrast.

    Args:
        predictions: rows of `results/predictions` in one protocol (`osler.statistics.accuracy.headline`).
        test: how to test.
    """
    prompted = predictions.filter(pl.col("strategy") == PROMPTED)
    found = {
        claim.key: claim_outcome(claim, predictions, test) for claim in claims(in_order(prompted["model"].to_list()))
    }
    tested = [contrast for outcome in found.values() for contrast in outcome.get("contrasts", {}).values()]
    for contrast, adjusted in zip(tested, holm([contrast["p"] for contrast in tested]), strict=True):
        contrast["holm_p"] = round(adjusted, 6)
    for outcome in found.values():
        if len(own := list(outcome.get("contrasts", {}).values())) == 1:
            outcome["holm_p"] = own[0]["holm_p"]
    return found
