"""Turn predictions into what people read: metrics, the verdicts on the claims, tables and figures. Takes 5 s."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import polars as pl
from pydantic import Field

from stages.lib.claims import Test, outcomes
from stages.lib.curve import (
    PATHS,
    SCORES,
    Dip,
    Point,
    accuracy_lost,
    bits_added,
    curve_points,
    dip,
    on_path,
    path_of,
)
from stages.lib.figures import curve_figure, intervals_figure, png, training_figure
from stages.lib.files import write_bytes, write_json, write_text
from stages.lib.intervals import Interval
from stages.lib.results import (
    accuracies,
    bits_per_byte,
    chance_levels,
    expert_entropies,
    in_order,
    mean_accuracies,
    untouched,
)
from stages.lib.section import BuildError, Section
from stages.lib.stage import run
from stages.lib.tables import curve_parts, report_text, strategies_in_order, summary

HEADLINES = ("effect_points", "verdict")  # of a claim


class Statistics(Section):
    """Settings of `statistics`."""

    confidence: float = Field(gt=0, lt=1, description="of every interval")
    bootstrap_samples: int = Field(ge=100, description="resamplings of an effect, and sign flips of a test")
    bootstrap_seed: int = Field(ge=0)
    little_points: float = Field(gt=0, description="percentage points; what claim 1 calls a little gain is below it")
    equivalence_points: float = Field(gt=0, description="percentage points; a difference surely within +- this is none")


def rounded(value: float) -> float | None:
    """Six decimals; None for what is not finite, which no metrics file can hold."""
    return round(value, 6) if math.isfinite(value) else None


def scaled(interval: Interval, factor: float) -> Interval:
    """The interval in another unit."""
    return Interval(factor * interval.estimate, factor * interval.low, factor * interval.high)


def expert_metrics(loads: pl.DataFrame) -> dict[str, object]:
    """Entropy of the experts' loads by domain and model, and under `load` their shares by layer; {} where all are dense.

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


def written(value: object) -> object:
    """An interval as JSON, and other values as they are."""
    if isinstance(value, Interval):
        return {key: rounded(bound) for key, bound in asdict(value).items()}
    return value


def curve_metrics(points: Sequence[Point], dips: Mapping[str, Mapping[str, Dip]], strategy: str) -> dict[str, object]:
    """The contents of curve.json: points, and the verdicts on dips by path and score, with their evidence in lists."""
    return {
        "strategy": strategy,
        "points": [
            {"model": point.model, "path": path_of(point.model), "tokens": point.tokens}
            | {name: written(score) for name, score in point.scores.items()}
            for point in points
        ],
        "dip": {
            path: {
                name: {"verdict": own["verdict"], "evidence": [{key: written(value) for key, value in own.items()}]}
                for name, own in found.items()
            }
            for path, found in dips.items()
        },
    }


def curve_table(points: Sequence[Point]) -> pl.DataFrame:
    """A row a point: model, path, tokens, and each score with its bounds."""
    rows: list[dict[str, object]] = []
    for point in points:
        rows.append({"model": point.model, "path": path_of(point.model), "tokens": point.tokens})
        for name in SCORES:
            score = point.scores.get(name)
            for key, bound in asdict(score or Interval(math.nan, math.nan, math.nan)).items():
                rows[-1][name if key == "estimate" else f"{name}_{key}"] = rounded(bound)
    return pl.DataFrame(rows, infer_schema_length=None)


def main(
    plan: Path,
    predictions: Path,
    touched: Path,
    training: Path,
    benchmarks: Path,
    claims: Path,
    curve: Path,
    eval: Path,
    experts: Path,
    loss: Path,
    report: Path,
    figures: Path,
    plots: tuple[Path, Path, Path],
    statistics: Statistics,
) -> None:
    """Write the metrics of all models in `predictions`, one folder each, and print a summary."""
    folders = sorted(path for path in predictions.iterdir() if (path / "predictions.parquet").is_file())
    if not folders:
        raise BuildError(f"{predictions}: no model has predictions; run `dvc repro evaluate`")
    answers = pl.concat([pl.read_parquet(folder / "predictions.parquet") for folder in folders])
    heldout = pl.concat([pl.read_parquet(folder / "heldout.parquet") for folder in folders])
    mixture = json.loads((plan / "plan.json").read_text(encoding="utf-8"))

    confidence = statistics.confidence
    cells = accuracies(answers, confidence)
    shared = pl.read_parquet(touched)
    clean = accuracies(untouched(answers, shared), confidence)
    asked = answers.select("benchmark", "item_id").unique().join(shared, on=["benchmark", "item_id"], how="semi")
    means = mean_accuracies(cells)
    chance = chance_levels(answers)
    losses = bits_per_byte(heldout, confidence)
    test = Test(
        confidence,
        statistics.bootstrap_samples,
        statistics.bootstrap_seed,
        statistics.little_points,
        statistics.equivalence_points,
    )
    verdicts = dict(outcomes(answers, test))

    detail: dict[str, dict[str, object]] = {name: {"chance": rounded(level)} for name, level in chance.items()}
    for (benchmark, strategy, model), cell in cells.items():
        share = cell.share
        by_model = detail[benchmark].setdefault(strategy, {})
        assert isinstance(by_model, dict)
        by_model[model] = {
            "accuracy": rounded(share.estimate),
            "low": rounded(share.low),
            "high": rounded(share.high),
            "items": cell.items,
        }
        if without := clean.get((benchmark, strategy, model)):
            by_model[model]["untouched"] = {"accuracy": rounded(without.share.estimate), "items": without.items}
    headline: dict[str, dict[str, float]] = {}
    for (strategy, model), interval in means.items():
        headline.setdefault(strategy, {})[model] = round(interval.estimate, 6)
    by_domain: dict[str, dict[str, float | None]] = {}
    for (domain, model), interval in losses.items():
        by_domain.setdefault(domain, {})[model] = rounded(interval.estimate)
    # Detail stands in lists, which DVC leaves out: `dvc metrics diff` and `dvc exp show` keep a column for each headline
    write_json(benchmarks, {"benchmarks": [{"benchmark": name, **detail[name]} for name in sorted(detail)]})
    write_json(eval, headline)
    write_json(loss, by_domain)
    write_json(experts, expert_metrics(pl.concat([pl.read_parquet(folder / "experts.parquet") for folder in folders])))
    summaries = {name: {key: own[key] for key in HEADLINES if key in own} for name, own in verdicts.items()}
    write_json(claims, {name: summaries[name] | {"evidence": [verdicts[name]]} for name in summaries})

    strategies = strategies_in_order([strategy for strategy, _ in means])
    made = {folder.name: json.loads((folder / "model.json").read_text(encoding="utf-8")) for folder in folders}
    points = curve_points({name: own["continued_tokens"] for name, own in made.items()}, means, losses, strategies[0])
    measures = {
        "accuracy": accuracy_lost(answers, strategies[0], test),
        "general_bits_per_byte": bits_added(heldout, "general"),
    }
    dips: dict[str, dict[str, Dip]] = {path: {} for path in PATHS}
    for name, worse in measures.items():
        measured = [point for point in points if name in point.scores]
        for path, found in dips.items():
            found[name] = dip([point.model for point in on_path(measured, path)], worse, confidence)
    write_json(curve, curve_metrics(points, dips, strategies[0]))

    level = math.fsum(chance.values()) / len(chance)
    truncated, seeds = int(answers["truncated"].sum()), answers["seed"].n_unique()
    write_text(
        report,
        report_text(
            cells,
            clean,
            dict(asked.group_by("benchmark").len().rows()),
            means,
            chance,
            losses,
            verdicts,
            mixture,
            confidence,
            truncated,
            seeds,
            curve_parts(points, dips, strategies[0]),
        ),
    )

    shares = {arm: scaled(share, 100) for arm, share in means.items()}
    curves = {
        path.stem: (frame["tokens"].to_list(), frame["loss"].to_list())
        for path in sorted(training.glob("*.csv"))
        for frame in [pl.read_csv(path)]
    }
    domains = sorted({domain for domain, _ in losses})
    accuracy_figure = intervals_figure(shares, strategies, "accuracy, %", (100 * level, "chance"))
    write_bytes(figures / "accuracy.png", png(accuracy_figure))
    write_bytes(figures / "bits_per_byte.png", png(intervals_figure(losses, domains, "bits per byte", None)))
    write_bytes(figures / "training_loss.png", png(training_figure(curves)))

    panels = {
        label: {
            path: [
                (point.tokens, scaled(point.scores[score], factor))
                for point in on_path(points, path)
                if score in point.scores
            ]
            for path in PATHS
        }
        for score, label, factor in zip(
            SCORES,
            (f"{strategies[0]} accuracy, %", "clinical bits per byte", "general bits per byte"),
            (100, 1, 1),
            strict=True,
        )
    }
    write_bytes(figures / "curve.png", png(curve_figure(panels)))

    accuracy_plot, bits_plot, curve_plot = plots
    arms = [(strategy, model) for strategy in strategies for model in in_order(model for _, model in means)]
    rows = [
        (strategy, model, *map(rounded, (mean.low, mean.high, level, mean.estimate)), f"{strategy} {model}")
        for strategy, model in arms
        if (mean := means.get((strategy, model)))
    ]
    columns = ["strategy", "model", "low", "high", "chance", "accuracy", "arm"]
    write_text(accuracy_plot, pl.DataFrame(rows, schema=columns, orient="row").write_csv())
    rows = [
        (domain, model, *map(rounded, (ratio.low, ratio.high, ratio.estimate)), f"{domain} {model}")
        for domain in domains
        for model in in_order(model for _, model in losses)
        if (ratio := losses.get((domain, model)))
    ]
    columns = ["domain", "model", "low", "high", "bits_per_byte", "arm"]
    write_text(bits_plot, pl.DataFrame(rows, schema=columns, orient="row").write_csv())
    write_text(curve_plot, curve_table(points).write_csv())

    shown = [f"{path.parent.name}/{path.name}" for path in (report, figures)]
    print(summary(headline, detail, verdicts, *shown), end="")


if __name__ == "__main__":
    run(main)
