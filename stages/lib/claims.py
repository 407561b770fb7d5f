"""The claims of the paper that a build tests, as data, and the rule that turns predictions into a verdict.

A claim is a sentence, the contrasts that bear on it, and a rule. An effect is a difference of accuracy in percentage
points, paired by item, a mean over benchmarks. Its interval is a bootstrap over groups of items; its `p` a sign-flip
test over groups, and `mcnemar_p` (single contrasts) the exact test over items, which ignores groups. The rules read
the interval only:

* `gain`: supported when the whole interval is above 0, contradicted when it is below 0.
* `gain_of_each`: supported when each contrast is a gain (no correction: all must be). Contradicted when one of them
  is a loss at confidence 1 - (1 - confidence) / contrasts (Bonferroni, since one is enough).
* `little`: supported when the whole interval is below the margin `little_points`, contradicted when it is above it. A
  loss is little gain too: the claim is about what continued pretraining adds by itself.

Anything else is undecided. The interval knows items, not training runs: below 3 seeds the verdict says so, since
another seed can turn it.

Source:
    Christophe et al. 2024, arXiv 2409.14988 (abstract). Claim 3 is contested: Jain et al. 2023 (arXiv 2310.05914)
    report no gain of NEFTune on closed-ended benchmarks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from stages.lib.intervals import (
    Interval,
    Pairs,
    bootstrap_interval,
    mcnemar_p,
    sign_flip_p,
)
from stages.lib.results import in_order

Rule = Literal["gain", "gain_of_each", "little"]
Value = str | int | float | dict[str, "Value"]
ENOUGH_SEEDS = 3
CURVE_ONLY = ("trunk-", "anneal-")  # models that are points of a curve and of no claim


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
    """A sentence that a build can support or contradict, and the contrasts it is about; the effect is their mean."""

    key: str
    sentence: str
    contrasts: tuple[Contrast, ...]
    rule: Rule


@dataclass(frozen=True)
class Test:
    """How tests are computed: interval confidence, bootstrap draws and their seed, and what `little` is, in points."""

    __test__ = False  # not a class of tests, whatever pytest thinks of its name

    confidence: float
    samples: int
    seed: int
    little_points: float


def _models(better: str, worse: str, strategy: str = "zero_shot") -> Contrast:
    return Contrast(Arm(better, strategy), Arm(worse, strategy))


def claims(models: Sequence[str]) -> tuple[Claim, ...]:
    """The four claims; the last one has a contrast for each of `models` but those of a curve."""
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
                Contrast(Arm(model, "medprompt"), Arm(model, "zero_shot"))
                for model in models
                if not model.startswith(CURVE_ONLY)
            ),
            "gain_of_each",
        ),
    )


def paired(predictions: pl.DataFrame, contrast: Contrast) -> pl.DataFrame:
    """Items that both arms answered, under the same seed: benchmark, group, item_id, seed, better, worse (bool).

    Pairs follow item_id, so that a strategy limited to some items is compared on those alone.
    """

    def arm(which: Arm, name: str) -> pl.DataFrame:
        rows = predictions.filter((pl.col("model") == which.model) & (pl.col("strategy") == which.strategy))
        return rows.select("benchmark", "group", "item_id", "seed", pl.col("correct").alias(name))

    keys = ["benchmark", "group", "item_id", "seed"]
    return arm(contrast.better, "better").join(arm(contrast.worse, "worse"), on=keys).sort(keys)


def pairs_of(rows: pl.DataFrame) -> Pairs:
    """`paired` rows as differences of 0, 1 and -1."""
    difference = (rows["better"].cast(pl.Float64) - rows["worse"].cast(pl.Float64)).to_numpy()
    return Pairs(rows["benchmark"].to_list(), rows["group"].to_list(), difference)


def verdict(rule: Rule, whole: Interval, each: Sequence[Interval], wide: Sequence[Interval], margin: float) -> str:
    """Supported, contradicted or undecided, as the module says. All in the unit of `margin`.

    Args:
        rule: which of the three.
        whole: the mean of the contrasts.
        each: every contrast at the confidence asked for.
        wide: every contrast at the Bonferroni confidence.
        margin: what `little` is; not used by the others.
    """
    if rule == "gain_of_each":
        supported, contradicted = all(one.low > 0 for one in each), any(one.high < 0 for one in wide)
    elif rule == "gain":
        supported, contradicted = whole.low > 0, whole.high < 0
    else:
        supported, contradicted = whole.high < margin, whole.low > margin
    return "supported" if supported else "contradicted" if contradicted else "undecided"


def _points(interval: Interval) -> dict[str, Value]:
    return {
        "effect_points": round(100 * interval.estimate, 4),
        "low_points": round(100 * interval.low, 4),
        "high_points": round(100 * interval.high, 4),
    }


def claim_outcome(claim: Claim, predictions: pl.DataFrame, test: Test) -> dict[str, Value]:
    """The outcome of one claim.

    Args:
        claim: what is claimed.
        predictions: rows of `results/predictions`, any models and strategies.
        test: how to test.
    Returns:
        sentence, rule, verdict, and, unless an arm is missing (the verdict then says which): effect_points,
        low_points, high_points, p, items, seeds, and the same for each of `contrasts` by name.
    """
    result: dict[str, Value] = {"sentence": claim.sentence, "rule": claim.rule}
    frames = [paired(predictions, contrast) for contrast in claim.contrasts]
    missing = [contrast.name for contrast, rows in zip(claim.contrasts, frames, strict=True) if not rows.height]
    if missing or not frames:
        return result | {"verdict": f"not tested: no predictions for {', '.join(missing) or 'any model'}"}

    def interval(pairs: Pairs, confidence: float) -> Interval:
        return bootstrap_interval(pairs, confidence, test.samples, test.seed)

    contrasts: dict[str, Value] = {}
    each, wide = [], []
    for contrast, rows in zip(claim.contrasts, frames, strict=True):
        pairs = pairs_of(rows)
        each.append(interval(pairs, test.confidence))
        wide.append(interval(pairs, 1 - (1 - test.confidence) / len(frames)))
        contrasts[contrast.name] = _points(each[-1]) | {
            "p": round(sign_flip_p(pairs, test.samples, test.seed), 6),
            "mcnemar_p": float(f"{mcnemar_p(rows['better'].to_list(), rows['worse'].to_list()):.4g}"),
            "items": rows["item_id"].n_unique(),
            "seeds": rows["seed"].n_unique(),
        }
    everything = pl.concat(frames)
    pairs = pairs_of(everything)
    whole = interval(pairs, test.confidence)
    seeds = min(rows["seed"].n_unique() for rows in frames)
    decided = verdict(claim.rule, whole, each, wide, test.little_points / 100)
    warning = "" if seeds >= ENOUGH_SEEDS else f" on {seeds} seed{'s' if seeds > 1 else ''}"
    result |= _points(whole) | {
        "p": round(sign_flip_p(pairs, test.samples, test.seed), 6),
        "items": everything["item_id"].n_unique(),
        "seeds": seeds,
        "verdict": decided + warning,
        "contrasts": contrasts,
    }
    if claim.rule == "little":
        result["margin_points"] = test.little_points
    return result


def outcomes(predictions: pl.DataFrame, test: Test) -> Mapping[str, dict[str, Value]]:
    """All claims by key."""
    models = in_order(predictions["model"].to_list())
    return {claim.key: claim_outcome(claim, predictions, test) for claim in claims(models)}
