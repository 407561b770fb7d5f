"""The results as text: the report in Markdown, and a summary for a terminal."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from stages.lib.curve import SCORES, Dip, Point
from stages.lib.intervals import Interval
from stages.lib.results import Accuracy, in_order

STRATEGIES = ("zero_shot", "few_shot", "medprompt")


def strategies_in_order(names: Sequence[str]) -> list[str]:
    """The known strategies from plain to elaborate, others after them."""
    known = [name for name in STRATEGIES if name in names]
    return known + sorted(set(names) - set(known))


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """A Markdown table; the first `text_columns` are flush left, the others right."""
    marks = ["---" if column < text_columns else "---:" for column in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, marks, *rows])


def percent(interval: Interval, digits: int = 1) -> str:
    """`91.2 [88.9, 93.1]`, from fractions."""
    share, low, high = (f"{100 * value:.{digits}f}" for value in (interval.estimate, interval.low, interval.high))
    return f"{share} [{low}, {high}]"


def bits(interval: Interval) -> str:
    """`1.234 [1.200, 1.268]`; without bounds where one document gives none."""
    if math.isinf(interval.high):
        return f"{interval.estimate:.3f}"
    return f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def p_value(p: float) -> str:
    """`0.031`, `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def accuracy_table(cells: Mapping[tuple[str, str], Interval], chance: float) -> str:
    """Models by strategies in percent; a cell whose interval holds the chance level is marked with `~`."""
    strategies = strategies_in_order([strategy for strategy, _ in cells])
    rows = []
    for model in in_order(model for _, model in cells):
        row = [f"`{model}`"]
        for strategy in strategies:
            cell = cells.get((strategy, model))
            row.append("" if cell is None else percent(cell) + (" ~" if at_chance(cell, chance) else ""))
        rows.append(row)
    return markdown_table(["model", *strategies], rows)


def at_chance(interval: Interval, chance: float) -> bool:
    """Whether guessing is among what the interval allows."""
    return interval.low <= chance <= interval.high


def chance_sentence(cells: Mapping[tuple[str, str], Interval], chance: float) -> str:
    """The chance level, and which results cannot be told from it."""
    level = f"Guessing gives {100 * chance:.1f} %."
    marked = []
    for strategy in strategies_in_order([strategy for strategy, _ in cells]):
        models = in_order(model for own, model in cells if own == strategy)
        if guesses := [model for model in models if at_chance(cells[strategy, model], chance)]:
            marked.append(f"{strategy} of {', '.join(guesses)}")
    if not marked:
        return f"{level} No interval includes it."
    return f"{level} At chance, marked `~`, with intervals that include it: {'; '.join(marked)}."


def loss_table(cells: Mapping[tuple[str, str], Interval]) -> str:
    """Models by domains in bits per byte."""
    domains = sorted({domain for domain, _ in cells})
    rows = [
        [f"`{model}`", *(bits(cells[domain, model]) if (domain, model) in cells else "" for domain in domains)]
        for model in in_order(model for _, model in cells)
    ]
    return markdown_table(["model", *domains], rows)


def _effect(outcome: Mapping[str, Any]) -> list[str]:
    if "effect_points" not in outcome:
        return [""] * 5
    interval = f"[{outcome['low_points']:+.1f}, {outcome['high_points']:+.1f}]"
    numbers = [str(outcome[key]) for key in ("items", "seeds")]
    return [f"{outcome['effect_points']:+.1f}", interval, p_value(outcome["p"]), *numbers]


def claims_table(claims: Mapping[str, Mapping[str, Any]]) -> str:
    """One row a claim, and below it one for each of its contrasts where there are several."""
    rows = []
    for outcome in claims.values():
        sentence = outcome["sentence"]
        if "margin_points" in outcome:
            sentence += f" (little: under {outcome['margin_points']:g} points)"
        rows.append([sentence, f"**{outcome['verdict']}**", *_effect(outcome)])
        contrasts = outcome.get("contrasts", {})
        if len(contrasts) > 1:
            rows += [[f"· {name}", "", *_effect(contrasts[name])] for name in contrasts]
    return markdown_table(["claim", "verdict", "points", "interval", "p", "items", "seeds"], rows, text_columns=2)


def mixture_table(plan: Mapping[str, Any]) -> str:
    """What continued pretraining read, from plan.json."""
    sources = plan.get("sources", {})
    total = sum(source["tokens"] for source in sources.values()) or 1
    rows = [
        [name, f"{source['tokens']:,}", f"{100 * source['tokens'] / total:.1f} %", f"{source['epochs']:.2f}"]
        for name, source in sorted(sources.items())
    ]
    return markdown_table(["source", "tokens", "share", "epochs"], rows)


def license_table(plan: Mapping[str, Any]) -> str:
    """The same by license of the documents."""
    tokens = Counter[str]()
    for source in plan.get("sources", {}).values():
        tokens.update(source.get("tokens_per_license", {}))
    total = tokens.total() or 1
    rows = [[name, f"{count:,}", f"{100 * count / total:.1f} %"] for name, count in sorted(tokens.items())]
    return markdown_table(["license", "tokens", "share"], rows)


def contamination_parts(
    cells: Mapping[tuple[str, str, str], Accuracy],
    clean: Mapping[tuple[str, str, str], Accuracy],
    touched: Mapping[str, int],
) -> list[str]:
    """Which benchmarks share runs of words with documents that were kept, and accuracy without those items.

    Args:
        cells: on all items, by benchmark, strategy and model.
        clean: without touched items, for benchmarks that have some.
        touched: how many items of these benchmarks were asked and are touched.
    """
    if not touched:
        return ["No document that was kept shares a run of words with an item that was asked."]
    parts = []
    for name, count in sorted(touched.items()):
        items = max(cell.items for (own, *_), cell in cells.items() if own == name)
        own = {(strategy, model): cell.share for (of, strategy, model), cell in clean.items() if of == name}
        parts += [
            f"{name}: {count:,} of {items:,} items share a run of words with a document that was kept."
            + (" Accuracy on the others, for comparison with the full score:" if own else ""),
        ]
        if not own:
            continue
        parts += [
            markdown_table(
                ["model", *strategies_in_order([strategy for strategy, _ in own])],
                [
                    [f"`{model}`", *(percent(own[s, model]) for s in strategies_in_order([s for s, _ in own]))]
                    for model in in_order(model for _, model in own)
                ],
            ),
        ]
    return parts


def curve_parts(points: Sequence[Point], dips: Mapping[str, Mapping[str, Dip]], strategy: str) -> list[str]:
    """Scores over tokens, where a trunk or a branch was evaluated; `base` and `cpt` alone stand in the other tables.

    Args:
        points: of both paths.
        dips: by path and score.
        strategy: of the accuracy.
    """
    if all(point.model in ("base", "cpt") for point in points):
        return []
    rows = [
        [f"`{point.model}`", f"{point.tokens:,}"]
        + [
            (percent if name == "accuracy" else bits)(point.scores[name]) if name in point.scores else ""
            for name in SCORES
        ]
        for point in points
    ]
    found = []
    for path, scores in dips.items():
        for name, own in scores.items():
            line = f"* {path}, {name.replace('_', ' ')}: {own['verdict']}"
            if isinstance(change := own.get("change"), Interval):
                line += f" (`{own['worst']}`: worse by {bits(change)})"
            found.append(line)
    return [
        "## Tokens seen",
        "The trunk at the peak rate, and models whose rate has fallen (`annealed`).",
        markdown_table(["model", "tokens", f"{strategy}, %", "clinical bits per byte", "general"], rows),
        "![curve](figures/curve.png)",
        "Is there a dip after the base model (the stability gap, arXiv 2406.14833)? In points and in bits per byte, with"
        " intervals for all points together:",
        "\n".join(found),
    ]


def report_text(
    cells: Mapping[tuple[str, str, str], Accuracy],
    clean: Mapping[tuple[str, str, str], Accuracy],
    touched: Mapping[str, int],
    means: Mapping[tuple[str, str], Interval],
    chance: Mapping[str, float],
    losses: Mapping[tuple[str, str], Interval],
    claims: Mapping[str, Mapping[str, Any]],
    plan: Mapping[str, Any],
    confidence: float,
    truncated: int,
    seeds: int,
    curve: Sequence[str],
) -> str:
    """The whole of report.md.

    Args:
        cells: by benchmark, strategy and model.
        clean: the same without the items that the corpus touches, for benchmarks where it touches some.
        touched: how many items of these benchmarks were asked and are touched.
        means: `cells` over benchmarks.
        chance: by benchmark.
        losses: by domain and model.
        claims: see `stages.lib.claims.claim_outcome`.
        plan: the contents of plan.json.
        confidence: of all intervals.
        truncated: predictions whose prompt was cut to fit the model.
        seeds: different training seeds among the predictions.
        curve: see `curve_parts`.
    """
    level = f"{100 * confidence:g} %"
    mean_chance = math.fsum(chance.values()) / len(chance)
    benchmarks = sorted(chance)
    sizes = {
        name: max((cell.items, cell.groups) for (own, *_), cell in cells.items() if own == name) for name in chance
    }
    counted = "; ".join(f"{name}: {sizes[name][0]:,} items in {sizes[name][1]:,} groups" for name in benchmarks)
    parts = [
        "# Report",
        "## Accuracy",
        f"Percent of items answered correctly, with {level} intervals"
        + (f"; mean over {len(benchmarks)} benchmarks. " if len(benchmarks) > 1 else ". ")
        + f"{counted}.",
        accuracy_table(means, mean_chance),
        chance_sentence(means, mean_chance),
        "![accuracy](figures/accuracy.png)",
    ]
    if len(benchmarks) > 1:
        for name in benchmarks:
            own = {(strategy, model): cell.share for (of, strategy, model), cell in cells.items() if of == name}
            parts += [f"### {name}", accuracy_table(own, chance[name]), chance_sentence(own, chance[name])]
    parts += ["## Contamination", *contamination_parts(cells, clean, touched)]
    parts += [
        "## Bits per byte",
        f"Of held-out documents, lower is better, with {level} intervals over documents.",
        loss_table(losses),
        "![bits per byte](figures/bits_per_byte.png)",
        "## Claims",
        f"Effects are differences of accuracy in percentage points on the same items, with {level} intervals; `p` is a "
        "sign-flip test over groups of items.",
        claims_table(claims),
    ]
    if plan.get("sources"):
        parts += ["## Mixture", "What continued pretraining read.", mixture_table(plan), license_table(plan)]
    parts += [
        *curve,
        "## Training",
        "![training loss](figures/training_loss.png)",
        "## How these numbers may be compared",
        "\n".join(
            f"* {line}"
            for line in (
                "Intervals say how far the numbers would move on other items of the same kind; items of one group (one "
                f"fact, one document) count together. They do not cover training: {seeds} "
                + ("seed is behind these numbers, and another seed can move them by more." if seeds == 1 else "seeds.")
                + " A claim tested on fewer than 3 seeds says so.",
                "Models and strategies of one build compare: same items, prompts and scoring. Across builds only where "
                "`evaluate` in params.yaml is the same; the way of scoring alone can move accuracy by tens of points.",
                "An option is scored by the log-probability of its text, not by a letter and not by generating.",
                "Bits per byte compare between models, also with other tokenizers, on the same documents and with the "
                "same `evaluate.window_tokens`.",
                "Whether two results differ is read off the claims (paired), not off whether two intervals overlap.",
                f"{truncated:,} predictions rest on a prompt cut on the left to fit the model."
                if truncated
                else "No prompt was cut to fit a model.",
            )
        ),
    ]
    return "\n\n".join(parts) + "\n"


def summary(
    accuracy: Mapping[str, Mapping[str, float]],
    benchmarks: Mapping[str, Mapping[str, Any]],
    claims: Mapping[str, Mapping[str, Any]],
    report: str,
    figures: str,
) -> str:
    """What a build found, for a terminal.

    Args:
        accuracy: the contents of eval.json.
        benchmarks: of benchmarks.json.
        claims: of claims.json.
        report: where the report is.
        figures: where the figures are.
    """
    models = in_order(model for row in accuracy.values() for model in row)
    chance = math.fsum(entry["chance"] for entry in benchmarks.values()) / len(benchmarks)
    names = ", ".join(sorted(benchmarks))
    width = max([len("accuracy"), *map(len, accuracy)])
    columns = [max(len(model), 5) for model in models]
    lines = [
        f"{'accuracy %':<{width}}  " + "  ".join(f"{model:>{w}}" for model, w in zip(models, columns, strict=True))
    ]
    for strategy in strategies_in_order(list(accuracy)):
        values = [
            f"{100 * accuracy[strategy][model]:{w}.1f}" if model in accuracy[strategy] else " " * w
            for model, w in zip(models, columns, strict=True)
        ]
        lines.append(f"{strategy:<{width}}  " + "  ".join(values))
    lines += [f"({names}; guessing gives {100 * chance:.1f})", ""]
    for _, outcome in sorted(claims.items()):
        effect = ""
        if "effect_points" in outcome:
            low, high = outcome["low_points"], outcome["high_points"]
            effect = f" ({outcome['effect_points']:+.1f} points, {low:+.1f} to {high:+.1f})"
        lines.append(f"{outcome['verdict']}: {outcome['sentence']}{effect}")
    lines += ["", f"Where to look next: {report}, {figures}/"]
    return "\n".join(lines) + "\n"
