"""Results as blocks of a page, and a summary for a terminal.

There is a function for each section or table.

What a reader needs first stands first: results and claims, then what they cost and how they were read off, then the corpus.
Cells of tables are estimates with their intervals, in percent unless the section says otherwise.
"""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from osler.evaluation.strategies.order import strategies_in_order
from osler.report.cells import MARK, at_chance, bits, counted, grid, p_value, percent
from osler.report.corpus_sections import (
    contamination_blocks,
    corpus_table,
    instruction_blocks,
    learned,
    license_table,
    mixture_table,
    privacy_blocks,
)
from osler.report.findings import COMPARED, Findings
from osler.report.judged_section import judged_blocks
from osler.report.method_sections import (
    calibration_blocks,
    comparison_blocks,
    costs_blocks,
    credit_blocks,
    curve_blocks,
    draws_blocks,
    fewer_seeds,
    protocol_blocks,
)
from osler.report.page import Block, Code, Heading, Items, Paragraph, Picture, Strong, Table, Text
from osler.report.task_section import generation_blocks
from osler.statistics.accuracy import in_order
from osler.statistics.intervals import Interval
from osler.statistics.subjects import sizes


def accuracy_table(cells: Mapping[tuple[str, str], Interval], chance: float) -> Table:
    """Models by strategies in percent.

    A cell whose interval holds the chance level is marked.
    """
    shown = {arm: percent(cell) + (MARK if at_chance(cell, chance) else "") for arm, cell in cells.items()}
    return grid(shown, strategies_in_order([strategy for strategy, _ in cells]))


def chance_sentence(cells: Mapping[tuple[str, str], Interval], chance: float) -> str:
    """The chance level, and which results cannot be told from it."""
    level = f"Guessing gives {100 * chance:.1f} %."
    strategies = strategies_in_order([strategy for strategy, _ in cells])
    guesses = {arm for arm, cell in cells.items() if at_chance(cell, chance)}
    models = in_order(model for _, model in cells)
    always = [
        m for m in models if len(strategies) > 1 and all((s, m) in guesses for s in strategies if (s, m) in cells)
    ]
    marked = [f"all strategies of {', '.join(always)}"] if always else []
    for strategy in strategies:
        if own := [model for model in models if (strategy, model) in guesses and model not in always]:
            marked.append(f"{strategy} of {', '.join(own)}")
    if not marked:
        return f"{level} No interval includes it."
    return f"{level} At chance, marked{MARK}, with intervals that include it: {'; '.join(marked)}."


def accuracy_blocks(found: Findings) -> list[Block]:
    """The factorial of models and strategies.

    The mean over benchmarks comes first, then each benchmark, and the spread over draws.
    """
    sizes = {
        name: max((cell.items, cell.groups) for (own, *_), cell in found.cells.items() if own == name)
        for name in sorted(found.chance)
    }
    counted_in = [name for name in sizes if name not in found.beside]
    several = f"; mean over {len(counted_in)} benchmarks" if len(counted_in) > 1 else ""
    if found.beside:
        several += f"; {', '.join(sorted(found.beside))} in no mean and no claim"
    asked = "; ".join(f"{name}: {items:,} items in {groups:,} groups" for name, (items, groups) in sizes.items())
    fewer = {
        f"{strategy}, {items:,} of {name}"
        for (name, strategy, _), cell in found.cells.items()
        if (items := cell.items) < sizes[name][0]
    }
    asked += f". On fewer items: {'; '.join(sorted(fewer))}" if fewer else ""
    asked += f". Over {counted(found.seeds, 'training seed')}{fewer_seeds(found)}" if found.seeds > 1 else ""
    blocks: list[Block] = [
        Heading(2, "Accuracy"),
        Paragraph(
            (
                "Percent of items answered correctly, read by the protocol ",
                Code(found.protocol),
                f", with {100 * found.confidence:g} % intervals{several}. {asked}.",
            )
        ),
        accuracy_table(found.means, found.mean_chance),
        Paragraph(chance_sentence(found.means, found.mean_chance)),
        Picture("accuracy", "accuracy by model and strategy"),
    ]
    for name in sizes if len(sizes) > 1 else ():
        own = {(strategy, model): cell.share for (of, strategy, model), cell in found.cells.items() if of == name}
        chance = found.chance[name]
        blocks += [Heading(3, name), accuracy_table(own, chance), Paragraph(chance_sentence(own, chance))]
    return [*blocks, *subject_blocks(found), *seeds_blocks(found), *draws_blocks(found.spreads)]


def subject_blocks(found: Findings) -> list[Block]:
    """Accuracy by subject of each benchmark whose items tell theirs."""
    blocks: list[Block] = []
    for benchmark, cells in found.subjects.items():
        models = in_order(model for _, model in cells)
        rows: list[list[Text]] = [
            [
                name,
                f"{items:,}",
                *(percent(cells[name, model].share) if (name, model) in cells else "" for model in models),
            ]
            for name, items in sizes(cells).items()
        ]
        sentence: Text = (
            "Accuracy in percent by subject, under ",
            Code(COMPARED),
            ". Subjects of few items say little.",
        )
        blocks += [
            Heading(3, f"Subjects of {benchmark}"),
            Paragraph(sentence),
            Table(["subject", "items", *models], rows),
        ]
    return blocks


def seeds_blocks(found: Findings) -> list[Block]:
    """The accuracy of each training seed, and how far they lie apart.

    There is a row where a model was asked under several seeds.
    """
    several = {arm: shares for arm, shares in found.seed_shares.items() if len(shares) > 1}
    if not several:
        return []
    numbers = sorted({seed for shares in several.values() for seed in shares})
    rows: list[list[Text]] = [
        [
            Code(model),
            strategy,
            *(f"{100 * shares[seed]:.1f}" if seed in shares else "" for seed in numbers),
            f"{100 * statistics.stdev(shares.values()):.1f}",
        ]
        for strategy in found.strategies
        for model in found.models
        if (shares := several.get((strategy, model)))
    ]
    sentence = "Accuracy of each training seed in percent, and the standard deviation. The table above has the mean over seeds."
    names = ["model", "strategy", *(f"seed {seed}" for seed in numbers), "sd"]
    return [Heading(3, "Seeds"), Paragraph(sentence), Table(names, rows, text_columns=2)]


def loss_table(cells: Mapping[tuple[str, str], Interval]) -> Table:
    """Models by domains in bits per byte."""
    return grid({cell: bits(ratio) for cell, ratio in cells.items()}, sorted({domain for domain, _ in cells}))


EFFECT = ("points", "interval", "p", "Holm", "equivalent", "detectable", "items", "seeds")


def _effect(outcome: Mapping[str, Any]) -> list[str]:
    if "effect_points" not in outcome:
        return [""] * 8
    interval = f"[{outcome['low_points']:+.1f}, {outcome['high_points']:+.1f}]"
    tests = [p_value(outcome[key]) if key in outcome else "" for key in ("p", "holm_p", "tost_p")]
    detectable = outcome.get("minimum_detectable_points")
    numbers = [str(outcome[key]) for key in ("items", "seeds")]
    return [
        f"{outcome['effect_points']:+.1f}",
        interval,
        *tests,
        "" if detectable is None else f"{detectable:.1f}",
        *numbers,
    ]


def claims_table(claims: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row a claim, and one for each of several contrasts.

    The rows of contrasts stand below that of their claim.
    """
    rows: list[list[Text]] = []
    for outcome in claims.values():
        sentence = outcome["sentence"]
        if "margin_points" in outcome:
            sentence += f" (little: under {outcome['margin_points']:g} points)"
        rows.append([sentence, Strong(outcome["verdict"]), *_effect(outcome)])
        contrasts = outcome.get("contrasts", {})
        if len(contrasts) > 1:
            rows += [[f"· {name}", "", *_effect(contrasts[name])] for name in contrasts]
    return Table(["claim", "verdict", *EFFECT], rows, text_columns=2)


def adapter_blocks(adapters: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Block]:
    """What each adapter adds to the model that it stands on.

    There is a row for each strategy, and no section where there is no adapter.
    """
    rows: list[list[Text]] = [
        [Code(name), Code(own["base"]), strategy, Strong(own["verdict"]), *_effect(own)]
        for name, effects in adapters.items()
        for strategy, own in effects.items()
    ]
    names = ["adapter", "over", "strategy", "verdict", *EFFECT]
    lead = "Accuracy over that of the model below, paired as for claims; Holm allows for the rows of this table."
    return [Heading(3, "Adapters"), Paragraph(lead), Table(names, rows, text_columns=4)] if rows else []


def equivalence_lines(found: Findings) -> list[Text]:
    """What `equivalent` means, if a claim was tested."""
    margins = [own["equivalence_points"] for own in found.claims.values() if "equivalence_points" in own]
    sentence = "equivalent: p of two one-sided tests that the difference lies within"
    return [f"{sentence} +-{max(margins):g} points."] if margins else []


def glance_blocks(found: Findings) -> list[Block]:
    """The whole in a few lines.

    They are the best cell, and each claim's verdict.
    """
    (strategy, model), best = max(found.means.items(), key=lambda cell: cell[1].estimate)
    verdicts: list[Text] = [(Strong(str(own["verdict"])), f": {own['sentence']}") for own in found.claims.values()]
    ways = "1 strategy" if len(found.strategies) == 1 else f"{len(found.strategies)} strategies"
    counts = f"{counted(len(found.models), 'model')}, {ways}, {counted(found.seeds, 'training seed')}"
    return [
        Paragraph(
            (
                f"{counts}. Highest accuracy as measured: ",
                *(Code(model), " with ", Code(strategy), f", {percent(best)} %. The claims:"),
            )
        ),
        Items(verdicts),
    ]


@dataclass(frozen=True)
class Records:
    """What was written about data and models, and what models wrote.

    Args:
        plan, corpus, contamination, phi, conversations: the contents of plan.json and of the metrics files of these names.
        models: the contents of model.json by model.
        generation: scores of generative tasks, `osler.statistics.task_scores.generation_metrics`.
        judged: what judges say, `osler.statistics.judged_scores.judged_metrics`.
    """

    plan: Mapping[str, Any]
    corpus: Mapping[str, Any]
    contamination: Mapping[str, Any]
    phi: Mapping[str, Any]
    conversations: Mapping[str, Any]
    models: Mapping[str, Mapping[str, Any]]
    generation: Mapping[str, Any]
    judged: Mapping[str, Any]

    @property
    def ledgers(self) -> dict[str, list[Mapping[str, Any]]]:
        """The token ledger of each model, of what it learned from.

        It is empty where the model's provenance has none, as of a downloaded one.
        """
        return {name: learned(own["provenance"].get("token_ledger", [])) for name, own in self.models.items()}


def report_blocks(found: Findings, records: Records) -> list[Block]:
    """The whole report, what matters first."""
    level = f"{100 * found.confidence:g} %"
    and_seeds = " and training seeds, where there are several" if found.seeds > 1 else ""
    mixture: list[Block] = [
        *(Heading(2, "Mixture"), Paragraph("What continued pretraining read.")),
        mixture_table(records.plan),
    ]
    return [
        Heading(1, "Report"),
        *glance_blocks(found),
        *accuracy_blocks(found),
        Heading(2, "Claims"),
        Paragraph(
            f"Effects are differences of accuracy in percentage points on the same items and seeds, with {level} intervals over"
            " both, or over items alone where there is one seed."
        ),
        Items(
            [
                "p: t test over what the interval is over; Holm: the same, allowing for all contrasts of all claims.",
                *equivalence_lines(found),
                "detectable: the effect, in points, that these items and seeds would show 4 times in 5.",
                "A gain is supported when its whole interval is above 0, on each when that of each contrast is; little,"
                " when it is below the margin. Contradicted is the opposite, all else undecided (docs/comparing.md).",
            ]
        ),
        claims_table(found.claims),
        *adapter_blocks(found.adapters),
        *(credit_blocks(found.credit) if found.credit else []),
        *costs_blocks(found),
        *protocol_blocks(found),
        *calibration_blocks(found),
        *generation_blocks(records.generation),
        *judged_blocks(records.judged),
        Heading(2, "Bits per byte"),
        Paragraph(f"Of held-out documents, lower is better, with {level} intervals over documents{and_seeds}."),
        loss_table(found.losses),
        Picture("bits_per_byte", "bits per byte by model and domain"),
        *curve_blocks(found.points, found.dips, found.strategies[0]),
        Heading(2, "Training"),
        Picture("training_loss", "training loss over tokens"),
        *(mixture if records.plan.get("sources") else []),
        *instruction_blocks(records.conversations),
        Heading(2, "Corpus"),
        Paragraph("Documents after parsing; the reasons are those of the ledgers in data/ledger."),
        corpus_table(records.corpus),
        Heading(2, "Licenses"),
        Paragraph("Tokens that models were trained on, all epochs together, by the license of the document."),
        license_table(records.ledgers),
        Heading(2, "Contamination"),
        *contamination_blocks(found, records.contamination),
        Heading(2, "Privacy"),
        *privacy_blocks(records.phi),
        *comparison_blocks(found, records.models),
    ]


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
    meant = {name: entry["chance"] for name, entry in benchmarks.items() if not entry.get("beside")}
    chance = math.fsum(meant.values()) / len(meant)
    names = ", ".join(sorted(meant))
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
