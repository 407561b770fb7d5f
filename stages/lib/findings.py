"""All that the predictions and held-out bits of a build amount to, computed once for the report, metrics and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from stages.lib.agreement import (
    Agreement,
    PositionBias,
    Unparsed,
    agreements,
    position_biases,
    protocol_accuracies,
    unparsed_counts,
)
from stages.lib.calibration import Calibration, calibrations
from stages.lib.claims import Test, outcomes
from stages.lib.costs import Cost, costs, pareto_frontier
from stages.lib.curve import PATHS, Dip, Point, accuracy_lost, bits_added, curve_points, dip, on_path
from stages.lib.intervals import Interval
from stages.lib.results import (
    Accuracy,
    Spread,
    accuracies,
    bits_per_byte,
    chance_levels,
    draw_spreads,
    headline,
    in_order,
    mean_accuracies,
    untouched,
)
from stages.lib.shapley import Credit, shapley_credit

STRATEGIES = (
    *("zero_shot", "few_shot", "knn_few_shot", "cot", "self_consistency", "choice_shuffle", "medprompt"),
    "expand_guess_refine",
)  # from plain to elaborate
COMPARED = "zero_shot"  # the strategy that answers in several protocols


def strategies_in_order(names: Sequence[str]) -> list[str]:
    """The known strategies from plain to elaborate, others after them."""
    found = set(names)
    return [name for name in STRATEGIES if name in found] + sorted(found - set(STRATEGIES))


@dataclass(frozen=True)
class Findings:
    """What was found. Accuracies are fractions, of the headline protocol unless they say otherwise.

    Args:
        protocol: the headline.
        confidence: of all intervals.
        models: as they are built.
        strategies: from plain to elaborate.
        seeds: different training seeds among the predictions.
        truncated: predictions, of any protocol, whose prompt was cut to fit the model.
        cells: accuracy by benchmark, strategy and model.
        means: over benchmarks, by strategy and model.
        clean: `cells` without the items that the corpus touches, for benchmarks where it touches some.
        touched: how many items of these benchmarks were asked and are touched.
        chance: by benchmark.
        spreads: over draws of exemplars, by strategy and model.
        claims: by key; see `stages.lib.claims.claim_outcome`.
        credit: None without the full factorial.
        costs: by strategy and model.
        frontiers: model -> strategies that none beats with as many tokens or fewer.
        protocols: accuracy of `COMPARED` by protocol and model; likewise the next three.
        agreements: by model and two protocols.
        biases: by protocol and model.
        calibrations: by protocol and model.
        unparsed: by strategy, protocol and model.
        losses: bits per byte by domain and model.
        points: of the curve over tokens.
        dips: by path and score.
    """

    protocol: str
    confidence: float
    models: Sequence[str]
    strategies: Sequence[str]
    seeds: int
    truncated: int
    cells: Mapping[tuple[str, str, str], Accuracy]
    means: Mapping[tuple[str, str], Interval]
    clean: Mapping[tuple[str, str, str], Accuracy]
    touched: Mapping[str, int]
    chance: Mapping[str, float]
    spreads: Mapping[tuple[str, str], Spread]
    claims: Mapping[str, Mapping[str, Any]]
    credit: Credit | None
    costs: Mapping[tuple[str, str], Cost]
    frontiers: Mapping[str, Sequence[str]]
    protocols: Mapping[tuple[str, str], Interval]
    agreements: Mapping[tuple[str, str, str], Agreement]
    biases: Mapping[tuple[str, str], PositionBias]
    calibrations: Mapping[tuple[str, str], Calibration]
    unparsed: Mapping[tuple[str, str, str], Unparsed]
    losses: Mapping[tuple[str, str], Interval]
    points: Sequence[Point]
    dips: Mapping[str, Mapping[str, Dip]]

    @property
    def mean_chance(self) -> float:
        """Over benchmarks."""
        return sum(self.chance.values()) / len(self.chance)

    @property
    def ways(self) -> list[str]:
        """The protocols compared, the headline first."""
        return sorted({name for name, _ in self.protocols}, key=lambda name: (name != self.protocol, name))

    @property
    def calibrated(self) -> list[str]:
        """Those of them whose answers have probabilities."""
        return [name for name in self.ways if any(own == name for own, _ in self.calibrations)]


def findings(
    predictions: pl.DataFrame,
    heldout: pl.DataFrame,
    touched: pl.DataFrame,
    seen: Mapping[str, int | None],
    protocol: str,
    test: Test,
) -> Findings:
    """Compute them.

    Args:
        predictions: of all models, in all protocols.
        heldout: bits and bytes of documents by domain and model.
        touched: benchmark and item_id of items that the corpus touches.
        seen: model -> tokens of continued pretraining.
        protocol: the headline.
        test: how intervals and tests are computed.
    """
    confidence = test.confidence
    answers = headline(predictions, protocol)
    cells = accuracies(answers, confidence)
    means = mean_accuracies(cells)
    losses = bits_per_byte(heldout, confidence)
    spent = costs(answers)
    strategies = strategies_in_order([strategy for strategy, _ in means])
    models = in_order(model for _, model in means)
    asked = answers.select("benchmark", "item_id").unique().join(touched, on=["benchmark", "item_id"], how="semi")

    points = curve_points(seen, means, losses, strategies[0])
    measures = {
        "accuracy": accuracy_lost(answers, strategies[0], test),
        "general_bits_per_byte": bits_added(heldout, "general"),
    }
    dips: dict[str, dict[str, Dip]] = {path: {} for path in PATHS}
    for name, worse in measures.items():
        measured = [point for point in points if name in point.scores]
        for path, found in dips.items():
            found[name] = dip([point.model for point in on_path(measured, path)], worse, confidence)

    return Findings(
        protocol=protocol,
        confidence=confidence,
        models=models,
        strategies=strategies,
        seeds=answers["seed"].n_unique(),
        truncated=int(predictions["truncated"].sum()),
        cells=cells,
        means=means,
        clean=accuracies(untouched(answers, touched), confidence),
        touched=dict(asked.group_by("benchmark").len().rows()),
        chance=chance_levels(answers),
        spreads=draw_spreads(answers),
        claims=dict(outcomes(answers, test)),
        credit=shapley_credit(answers, test),
        costs=spent,
        frontiers={
            model: pareto_frontier(
                {
                    name: (spent[name, model].tokens, means[name, model].estimate)
                    for name in strategies
                    if (name, model) in means
                }
            )
            for model in models
        },
        protocols=protocol_accuracies(predictions, confidence, COMPARED),
        agreements=agreements(predictions, confidence, COMPARED),
        biases=position_biases(predictions, confidence, COMPARED),
        calibrations=calibrations(predictions, confidence, test.samples, test.seed, COMPARED),
        unparsed=unparsed_counts(predictions),
        losses=losses,
        points=points,
        dips=dips,
    )
