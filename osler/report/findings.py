"""All that was found in the predictions and held-out bits.

It is computed once, for the report, the metrics and the figures.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from osler.evaluation.strategies.order import strategies_in_order
from osler.statistics.accuracy import (
    Accuracy,
    Spread,
    accuracies,
    bits_per_byte,
    chance_levels,
    draw_spreads,
    headline,
    in_order,
    mean_accuracies,
    seed_accuracies,
    untouched,
)
from osler.statistics.adapter_effects import adapter_effects
from osler.statistics.calibration import Calibration, calibrations
from osler.statistics.chain_readings import ChainReading, chain_readings
from osler.statistics.claims import Test, outcomes
from osler.statistics.intervals import Interval
from osler.statistics.prompt_costs import Cost, costs, pareto_frontier
from osler.statistics.protocol_agreement import (
    Agreement,
    Cut,
    PositionBias,
    Unparsed,
    agreements,
    cut_counts,
    position_biases,
    protocol_accuracies,
    unparsed_counts,
)
from osler.statistics.shapley import Credit, shapley_credit
from osler.statistics.subjects import subject_accuracies
from osler.statistics.token_curve import PATHS, Dip, Point, accuracy_lost, bits_added, curve_points, dip, on_path

COMPARED = "zero_shot"  # the strategy that answers in several protocols


@dataclass(frozen=True)
class Findings:
    """What the predictions and held-out bits of a build amount to.

    Accuracies are fractions, of the headline protocol unless they say otherwise.

    Args:
        protocol: the headline.
        confidence: of all intervals.
        models: as they are built.
        strategies: from plain to elaborate.
        seeds: different training seeds among the predictions.
        seed_shares: accuracy of each seed, by strategy and model, a mean over benchmarks.
        cut: predictions whose prompt was cut to fit the model, by strategy, protocol, model and benchmark, where there are any.
        cells: accuracy by benchmark, strategy and model.
        means: over benchmarks, by strategy and model.
        subjects: by benchmark, then by subject and model, of `COMPARED`, where items tell theirs.
        clean: `cells` without the items that the corpus touches, for benchmarks where it touches some.
        touched: how many items of these benchmarks were asked and are touched.
        chance: by benchmark.
        beside: benchmarks that ask the items of another one again: in `cells`, `clean` and `chance`, and in nothing else.
        spreads: over draws of exemplars, by strategy and model.
        claims: by key; see `osler.statistics.claims.claim_outcome`.
        adapters: differences from their bases, by adapter and strategy; see `osler.statistics.adapter_effects`.
        credit: None without the full factorial.
        costs: by strategy and model.
        frontiers: model -> strategies that none beats with as many tokens or fewer.
        protocols: accuracy of `COMPARED` by protocol and model; likewise the next three.
        agreements: by model and two protocols.
        biases: by protocol and model.
        calibrations: by protocol and model.
        unparsed: by strategy, protocol and model.
        chains: read both ways, by strategy and model, where that was asked for.
        losses: bits per byte by domain and model.
        points: of the curve over tokens.
        dips: by path and score.
    """

    protocol: str
    confidence: float
    models: Sequence[str]
    strategies: Sequence[str]
    seeds: int
    seed_shares: Mapping[tuple[str, str], Mapping[int, float]]
    cut: Mapping[tuple[str, str, str, str], Cut]
    cells: Mapping[tuple[str, str, str], Accuracy]
    means: Mapping[tuple[str, str], Interval]
    subjects: Mapping[str, Mapping[tuple[str, str], Accuracy]]
    clean: Mapping[tuple[str, str, str], Accuracy]
    touched: Mapping[str, int]
    chance: Mapping[str, float]
    beside: Collection[str]
    spreads: Mapping[tuple[str, str], Spread]
    claims: Mapping[str, Mapping[str, Any]]
    adapters: Mapping[str, Mapping[str, Mapping[str, Any]]]
    credit: Credit | None
    costs: Mapping[tuple[str, str], Cost]
    frontiers: Mapping[str, Sequence[str]]
    protocols: Mapping[tuple[str, str], Interval]
    agreements: Mapping[tuple[str, str, str], Agreement]
    biases: Mapping[tuple[str, str], PositionBias]
    calibrations: Mapping[tuple[str, str], Calibration]
    unparsed: Mapping[tuple[str, str, str], Unparsed]
    chains: Mapping[tuple[str, str], ChainReading]
    losses: Mapping[tuple[str, str], Interval]
    points: Sequence[Point]
    dips: Mapping[str, Mapping[str, Dip]]

    @property
    def mean_chance(self) -> float:
        """Over benchmarks, without those beside."""
        counted = [chance for name, chance in self.chance.items() if name not in self.beside]
        return sum(counted) / len(counted)

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
    below: Mapping[str, str],
    protocol: str,
    test: Test,
    beside: Collection[str] = (),
) -> Findings:
    """Compute them.

    Args:
        predictions: of all models, in all protocols.
        heldout: bits and bytes of documents by domain and model.
        touched: benchmark and item_id of items that the corpus touches.
        seen: model -> tokens of continued pretraining.
        below: adapter -> the model that it stands on.
        protocol, beside: see Findings.
        test: how intervals and tests are computed.
    """
    confidence = test.confidence
    every = headline(predictions, protocol)
    counted = predictions.filter(~pl.col("benchmark").is_in(list(beside)))
    answers = headline(counted, protocol)
    means = mean_accuracies(answers, confidence)
    losses, spent = bits_per_byte(heldout, confidence), costs(answers)
    strategies, models = strategies_in_order([name for name, _ in means]), in_order(model for _, model in means)
    points = curve_points(seen, means, losses, strategies[0])
    return Findings(
        protocol=protocol,
        confidence=confidence,
        models=models,
        strategies=strategies,
        seeds=answers["seed"].n_unique(),
        seed_shares=seed_accuracies(answers),
        cut=cut_counts(predictions),
        cells=accuracies(every, confidence),
        means=means,
        subjects=subject_accuracies(every, COMPARED, confidence),
        clean=accuracies(untouched(every, touched), confidence),
        touched=touched_counts(every, touched),
        chance=chance_levels(every),
        beside=beside,
        spreads=draw_spreads(answers),
        claims=dict(outcomes(answers, test)),
        adapters=adapter_effects(answers, below, test),
        credit=shapley_credit(answers, test),
        costs=spent,
        frontiers={model: frontier(model, strategies, spent, means) for model in models},
        protocols=protocol_accuracies(counted, confidence, COMPARED),
        agreements=agreements(counted, confidence, COMPARED),
        biases=position_biases(counted, confidence, COMPARED),
        calibrations=calibrations(counted, confidence, test.samples, test.seed, COMPARED),
        unparsed=unparsed_counts(counted),
        chains=chain_readings(counted, protocol, confidence),
        losses=losses,
        points=points,
        dips=dips_of(answers, heldout, points, strategies[0], confidence),
    )


def touched_counts(answers: pl.DataFrame, touched: pl.DataFrame) -> dict[str, int]:
    """Items of each benchmark that were asked and are touched."""
    asked = answers.select("benchmark", "item_id").unique().join(touched, on=["benchmark", "item_id"], how="semi")
    return dict(asked.group_by("benchmark").len().rows())


def frontier(
    model: str,
    strategies: Sequence[str],
    spent: Mapping[tuple[str, str], Cost],
    means: Mapping[tuple[str, str], Interval],
) -> list[str]:
    """The strategies of a model that are worth their tokens.

    No other strategy beats them in accuracy at no more tokens.
    """
    return pareto_frontier(
        {
            name: (spent[name, model].tokens, means[name, model].estimate)
            for name in strategies
            if (name, model) in means
        }
    )


def dips_of(
    answers: pl.DataFrame, heldout: pl.DataFrame, points: Sequence[Point], strategy: str, confidence: float
) -> dict[str, dict[str, Dip]]:
    """How far each measure gets worse before it gets better.

    This is for each path of continued pretraining.
    """
    measures = {
        "accuracy": accuracy_lost(answers, strategy),
        "general_bits_per_byte": bits_added(heldout, "general"),
    }
    dips: dict[str, dict[str, Dip]] = {path: {} for path in PATHS}
    for name, worse in measures.items():
        measured = [point for point in points if name in point.scores]
        for path, found in dips.items():
            found[name] = dip([point.model for point in on_path(measured, path)], worse, confidence)
    return dips
