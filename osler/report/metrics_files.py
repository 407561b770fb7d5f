"""What was found, as files for `dvc metrics` and `dvc plots`.

Outside lists, which DVC leaves out of its tables, there is one scalar a headline; all detail stands in lists, so that
`dvc metrics diff` and `dvc exp show` stay readable. Numbers have six decimals; what is not finite is null.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import polars as pl

from osler.report.findings import Findings
from osler.statistics.accuracy import expert_entropies, in_order
from osler.statistics.intervals import Interval
from osler.statistics.task_scores import rounded
from osler.statistics.token_curve import SCORES, path_of

HEADLINES = ("effect_points", "verdict")  # of a claim
EMPTY = {
    "bits_per_byte": ["domain", "model", "arm", "bits_per_byte", "low", "high"],
    "calibration": ["protocol", "model", "items", "probability", "accuracy", "low", "high"],
    "curve": ["model", "path", "tokens", *(f"{name}{bound}" for name in SCORES for bound in ("", "_low", "_high"))],
    "protocols": ["protocol", "model", "arm", "accuracy", "low", "high"],
}  # columns of tables that may have no row


def bounds(interval: Interval) -> dict[str, object]:
    """An interval as JSON: estimate, low, high."""
    return {key: rounded(value) for key, value in asdict(interval).items()}


def named(name: str, interval: Interval) -> dict[str, object]:
    """An interval as columns: the estimate under its name, low, high."""
    return {name: rounded(interval.estimate), "low": rounded(interval.low), "high": rounded(interval.high)}


def written(value: object) -> object:
    """An interval as JSON, and other values as they are."""
    return bounds(value) if isinstance(value, Interval) else value


def expert_metrics(loads: pl.DataFrame) -> dict[str, object]:
    """Entropy of the experts' loads by domain and model.

    Under `load` are their shares by layer. The result is {} where all models are dense.

    Args:
        loads: domain, model, layer, expert, tokens.
    """
    entropies: dict[str, dict[str, float | None]] = {}
    for (domain, model), entropy in expert_entropies(loads).items():
        entropies.setdefault(domain, {})[model] = rounded(entropy)
    ordered = loads.sort("domain", "model", "layer", "expert")
    detail = [
        {"domain": domain, "model": model, "layer": layer, "shares": [round(n / max(1, sum(own)), 6) for n in own]}
        for (domain, model, layer), rows in ordered.partition_by(
            "domain", "model", "layer", as_dict=True, maintain_order=True
        ).items()
        for own in [rows["tokens"].to_list()]
    ]
    return {"entropy": entropies, "load": detail} if detail else {}


def benchmark_metrics(found: Findings) -> dict[str, dict[str, Any]]:
    """Chance level and accuracies of each benchmark.

    Accuracies are by strategy, then by model, with bounds, items and training seeds. `beside` stands where a benchmark counts in
    no mean.
    """
    detail: dict[str, dict[str, Any]] = {name: {"chance": rounded(level)} for name, level in found.chance.items()}
    for name in found.beside:
        detail[name]["beside"] = True
    for name, cells in found.subjects.items():
        detail[name]["subjects"] = [
            {"subject": subject, "model": model, "items": own.items} | named("accuracy", own.share)
            for (subject, model), own in cells.items()
        ]
    for (benchmark, strategy, model), cell in found.cells.items():
        own: dict[str, Any] = named("accuracy", cell.share) | {"items": cell.items, "seeds": cell.seeds}
        if without := found.clean.get((benchmark, strategy, model)):
            own["untouched"] = {"accuracy": rounded(without.share.estimate), "items": without.items}
        detail[benchmark].setdefault(strategy, {})[model] = own
    return detail


def headline_metrics(found: Findings) -> dict[str, dict[str, float]]:
    """Strategy -> model -> accuracy: the contents of eval.json."""
    table: dict[str, dict[str, float]] = {}
    for (strategy, model), share in found.means.items():
        table.setdefault(strategy, {})[model] = round(share.estimate, 6)
    return table


def loss_metrics(found: Findings) -> dict[str, dict[str, float | None]]:
    """Domain -> model -> bits per byte."""
    table: dict[str, dict[str, float | None]] = {}
    for (domain, model), ratio in found.losses.items():
        table.setdefault(domain, {})[model] = rounded(ratio.estimate)
    return table


def claim_metrics(found: Findings) -> dict[str, dict[str, object]]:
    """Claim -> effect and verdict, and the rest as evidence.

    Where there are adapters, under `adapters` the same of each by strategy.
    """
    table: dict[str, dict[str, object]] = {name: with_evidence(own) for name, own in found.claims.items()}
    adapters: dict[str, object] = {
        name: {strategy: with_evidence(own) for strategy, own in effects.items()}
        for name, effects in found.adapters.items()
    }
    return table | ({"adapters": adapters} if adapters else {})


def with_evidence(outcome: Mapping[str, Any]) -> dict[str, object]:
    """The headlines of an outcome, and all of it in a list."""
    return {key: outcome[key] for key in HEADLINES if key in outcome} | {"evidence": [dict(outcome)]}


def protocol_metrics(found: Findings) -> dict[str, object]:
    """What the way of reading an answer changes, all in lists.

    This is under the strategy `COMPARED`.
    """
    return {
        "accuracy": [
            {"protocol": protocol, "model": model, "headline": protocol == found.protocol} | named("accuracy", share)
            for (protocol, model), share in found.protocols.items()
        ],
        "agreement": [
            {"model": model, "protocols": pair, "kappa": rounded(own.kappa), "items": own.items}
            | named("share", own.share)
            for (model, *pair), own in found.agreements.items()
        ],
        "calibration": [
            {"protocol": protocol, "model": model} | named("error", own.error)
            for (protocol, model), own in found.calibrations.items()
        ],
        "position": [
            {
                "protocol": protocol,
                "model": model,
                "accuracy": [bounds(share) for share in own.accuracy],
                "predicted": [rounded(share) for share in own.predicted],
                "gold": [rounded(share) for share in own.gold],
                "total_variation": rounded(own.total_variation),
                "p": rounded(own.p),
            }
            for (protocol, model), own in found.biases.items()
        ],
        "chains": [
            {"strategy": strategy, "model": model, "unread": own.unread, "answers": own.answers}
            | {name: bounds(getattr(own, name)) for name in ("by_likelihood", "by_chain", "difference")}
            for (strategy, model), own in found.chains.items()
        ],
        "cut": [
            {"strategy": strategy, "protocol": protocol, "model": model, "benchmark": benchmark, **asdict(own)}
            for (strategy, protocol, model, benchmark), own in found.cut.items()
        ],
        "unparsed": [
            {"strategy": strategy, "protocol": protocol, "model": model, **asdict(own)}
            for (strategy, protocol, model), own in found.unparsed.items()
        ],
    }


def credit_metrics(found: Findings) -> dict[str, object]:
    """Shapley credit of each technique, in a list.

    The list is empty without the full factorial.
    """
    if found.credit is None:
        return {"credit": []}
    whole = {
        "reference": list(found.credit.reference),
        "target": list(found.credit.target),
        "items": found.credit.items,
        "seeds": found.credit.seeds,
    }
    steps = [{"technique": name} | bounds(step) for name, step in found.credit.steps.items()]
    return {"credit": [whole | {"steps": steps, "total": bounds(found.credit.total)}]}


def cost_rows(found: Findings) -> list[dict[str, object]]:
    """A row for each strategy and model: what an answer costs.

    It has tokens of an answer, what they buy, and whether nothing cheaper is better.
    """
    return [
        {"strategy": strategy, "model": model, "arm": f"{strategy} {model}"}
        | {"read_tokens": rounded(own.read_tokens), "generated_tokens": rounded(own.generated_tokens)}
        | {"tokens": rounded(own.tokens), "frontier": strategy in found.frontiers[model]}
        | named("accuracy", found.means[strategy, model])
        for strategy in found.strategies
        for model in found.models
        if (own := found.costs.get((strategy, model)))
    ]


def curve_metrics(found: Findings) -> dict[str, object]:
    """Points over tokens, and the verdicts on dips.

    Verdicts are by path and score, with their evidence in lists.
    """
    return {
        "strategy": found.strategies[0],
        "points": [
            {"model": point.model, "path": path_of(point.model), "tokens": point.tokens}
            | {name: written(score) for name, score in point.scores.items()}
            for point in found.points
        ],
        "dip": {
            path: {
                name: {"verdict": own["verdict"], "evidence": [{key: written(value) for key, value in own.items()}]}
                for name, own in scores.items()
            }
            for path, scores in found.dips.items()
        },
    }


def curve_rows(found: Findings) -> list[dict[str, object]]:
    """A row for each point of the curve.

    It has model, path, tokens, and each score with its bounds.
    """
    rows: list[dict[str, object]] = []
    for point in found.points:
        rows.append({"model": point.model, "path": path_of(point.model), "tokens": point.tokens})
        for name in SCORES:
            score = point.scores.get(name, Interval(math.nan, math.nan, math.nan))
            for key, bound in bounds(score).items():
                rows[-1][name if key == "estimate" else f"{name}_{key}"] = bound
    return rows


def plot_tables(found: Findings) -> dict[str, pl.DataFrame]:
    """The tables for `dvc plots` by name."""
    arms = [
        (strategy, model) for strategy in found.strategies for model in found.models if (strategy, model) in found.means
    ]
    domains = sorted({domain for domain, _ in found.losses})
    rows: dict[str, list[dict[str, object]]] = {
        "accuracy": [
            {"strategy": strategy, "model": model, "arm": f"{strategy} {model}", "chance": rounded(found.mean_chance)}
            | named("accuracy", found.means[strategy, model])
            for strategy, model in arms
        ],
        "bits_per_byte": [
            {"domain": domain, "model": model, "arm": f"{domain} {model}"} | named("bits_per_byte", ratio)
            for domain in domains
            for model in in_order(model for _, model in found.losses)
            if (ratio := found.losses.get((domain, model)))
        ],
        "calibration": [
            {"protocol": protocol, "model": model, "items": own.items, "probability": rounded(own.probability)}
            | named("accuracy", own.accuracy)
            for protocol in found.calibrated
            for model in found.models
            if (protocol, model) in found.calibrations
            for own in found.calibrations[protocol, model].bins
        ],
        "curve": curve_rows(found),
        "frontier": cost_rows(found),
        "protocols": [
            {"protocol": protocol, "model": model, "arm": f"{protocol} {model}"} | named("accuracy", share)
            for protocol in found.ways
            for model in found.models
            if (share := found.protocols.get((protocol, model)))
        ],
    }
    return {
        name: pl.DataFrame(own, None if own else EMPTY[name], infer_schema_length=None) for name, own in rows.items()
    }


def metrics(found: Findings) -> Mapping[str, object]:
    """The contents of the metrics files by name.

    They reach as far as predictions and held-out bits give them.
    """
    benchmarks = benchmark_metrics(found)
    return {
        "benchmarks": {"benchmarks": [{"benchmark": name, **benchmarks[name]} for name in sorted(benchmarks)]},
        "claims": claim_metrics(found),
        "costs": {"costs": cost_rows(found)},
        "credit": credit_metrics(found),
        "curve": curve_metrics(found),
        "eval": headline_metrics(found),
        "loss": loss_metrics(found),
        "protocols": protocol_metrics(found),
    }
