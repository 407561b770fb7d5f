"""The results as blocks of a page: a function a section or a table, and a summary for a terminal.

What a reader needs first stands first: results and claims, then what they cost and how they were read off, then the corpus.
Cells of tables are estimates with their intervals, in percent unless the section says otherwise.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stages.lib.curve import SCORES, Dip, Point
from stages.lib.intervals import Interval
from stages.lib.pages import Block, Code, Heading, Items, Paragraph, Picture, Strong, Table, Text
from stages.lib.results import Accuracy, in_order

STRATEGIES = (
    *("zero_shot", "few_shot", "knn_few_shot", "cot", "self_consistency", "choice_shuffle", "medprompt"),
    "expand_guess_refine",
)
CORPUS_WIDE = "all"  # the row of a recall table that is about all classes together


def strategies_in_order(names: Iterable[str]) -> list[str]:
    """The known strategies from plain to elaborate, others after them."""
    found = set(names)
    return [name for name in STRATEGIES if name in found] + sorted(found - set(STRATEGIES))


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


def counted(number: int, what: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def grid(cells: Mapping[tuple[str, str], str], columns: Sequence[str]) -> Table:
    """Models by `columns`, from cells by column and model; a missing one is empty."""
    models = in_order(model for _, model in cells)
    return Table(
        ["model", *columns], [[Code(model), *(cells.get((column, model), "") for column in columns)] for model in models]
    )


def at_chance(interval: Interval, chance: float) -> bool:
    """Whether guessing is among what the interval allows."""
    return interval.low <= chance <= interval.high


def accuracy_table(cells: Mapping[tuple[str, str], Interval], chance: float) -> Table:
    """Models by strategies in percent; a cell whose interval holds the chance level is marked with `~`."""
    shown = {arm: percent(cell) + (" ~" if at_chance(cell, chance) else "") for arm, cell in cells.items()}
    return grid(shown, strategies_in_order(strategy for strategy, _ in cells))


def chance_sentence(cells: Mapping[tuple[str, str], Interval], chance: float) -> Text:
    """The chance level, and which results cannot be told from it."""
    level = f"Guessing gives {100 * chance:.1f} %."
    marked = []
    for strategy in strategies_in_order(strategy for strategy, _ in cells):
        models = in_order(model for own, model in cells if own == strategy)
        if guesses := [model for model in models if at_chance(cells[strategy, model], chance)]:
            marked.append(f"{strategy} of {'all models' if guesses == models != models[:1] else ', '.join(guesses)}")
    if not marked:
        return f"{level} No interval includes it."
    return (f"{level} At chance, marked ", Code("~"), f", with intervals that include it: {'; '.join(marked)}.")


def accuracy_blocks(
    cells: Mapping[tuple[str, str, str], Accuracy],
    means: Mapping[tuple[str, str], Interval],
    chance: Mapping[str, float],
    protocol: str,
    confidence: float,
) -> list[Block]:
    """The factorial of models and strategies, the mean over benchmarks first, then each.

    Args:
        cells: by benchmark, strategy and model.
        means: `cells` over benchmarks.
        chance: by benchmark.
        protocol: the headline.
        confidence: of the intervals.
    """
    mean_chance = math.fsum(chance.values()) / len(chance)
    sizes = {
        name: max((cell.items, cell.groups) for (own, *_), cell in cells.items() if own == name)
        for name in sorted(chance)
    }
    several = f"; mean over {len(chance)} benchmarks" if len(chance) > 1 else ""
    asked = "; ".join(f"{name}: {items:,} items in {groups:,} groups" for name, (items, groups) in sizes.items())
    blocks: list[Block] = [
        Heading(2, "Accuracy"),
        Paragraph(
            (
                "Percent of items answered correctly, as read by the protocol ",
                Code(protocol),
                f", with {100 * confidence:g} % intervals{several}. {asked}.",
            )
        ),
        accuracy_table(means, mean_chance),
        Paragraph(chance_sentence(means, mean_chance)),
        Picture("accuracy", "accuracy"),
    ]
    for name in sorted(chance) if len(chance) > 1 else ():
        own = {(strategy, model): cell.share for (of, strategy, model), cell in cells.items() if of == name}
        blocks += [Heading(3, name), accuracy_table(own, chance[name]), Paragraph(chance_sentence(own, chance[name]))]
    return blocks


def loss_table(cells: Mapping[tuple[str, str], Interval]) -> Table:
    """Models by domains in bits per byte."""
    return grid({cell: bits(ratio) for cell, ratio in cells.items()}, sorted({domain for domain, _ in cells}))


def mixture_table(plan: Mapping[str, Any]) -> Table:
    """What continued pretraining read, from plan.json."""
    sources = plan["sources"]
    total = sum(source["tokens"] for source in sources.values()) or 1
    rows = [
        [name, f"{source['tokens']:,}", f"{100 * source['tokens'] / total:.1f} %", f"{source['epochs']:.2f}"]
        for name, source in sorted(sources.items())
    ]
    return Table(["source", "tokens", "share", "epochs"], rows)


def license_table(ledgers: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    """Tokens by license and source, epochs together, and the models that were trained on them.

    Args:
        ledgers: model -> the token ledger of its provenance, whose `run` is the model that read the tokens.
    """
    read: dict[tuple[str, str], dict[str, int]] = {}
    for run in in_order(row["run"] for ledger in ledgers.values() for row in ledger):
        own = next(ledger for ledger in ledgers.values() if any(row["run"] == run for row in ledger))
        tokens = Counter[tuple[str, str]]()
        for row in own:
            tokens[row["license"], row["source"]] += row["tokens"] if row["run"] == run else 0
        for key in +tokens:
            read.setdefault(key, {})[run] = tokens[key]
    rows = [
        [license, source, ", ".join(run for run in runs if runs[run] == tokens), f"{tokens:,}"]
        for (license, source), runs in sorted(read.items())
        for tokens in dict.fromkeys(runs.values())
    ]
    return Table(["license", "source", "read by", "tokens"], rows, text_columns=3)


def corpus_table(corpus: Mapping[str, Any]) -> Table:
    """Documents of each source: kept, and dropped for which reasons, from corpus.json."""
    rows = [
        [
            own["source"],
            ", ".join(f"{count:,} {reason}" for reason, count in own["dropped"].items()),
            f"{own['documents']:,}",
            f"{own['kept']:,}",
        ]
        for own in corpus["sources"]
    ]
    return Table(["source", "dropped", "documents", "kept"], rows, text_columns=2)


def privacy_blocks(phi: Mapping[str, Any]) -> list[Block]:
    """What the screening for identifiers of patients did, and its recall on planted ones, from phi.json."""
    if not phi["sources"]:
        return [Paragraph(("No source is declared to be about patients (", Code("phi"), "): none was screened."))]
    rows: list[list[Text]] = []
    for own in phi["sources"]:
        classes = sorted(own["classes"], key=lambda row: (row["kind"] != CORPUS_WIDE, row["kind"]))
        for row in classes:
            first = row["kind"] == CORPUS_WIDE
            recall = percent(Interval(row["recall"], row["low"], row["high"]))
            rows.append(
                [
                    own["source"] if first else "",
                    own["action"] if first else "",
                    Strong("all classes") if first else row["kind"],
                    f"{row['planted']:,}",
                    f"{row['found']:,}",
                    Strong(recall) if first else recall,
                ]
            )
    return [
        Paragraph(
            f"{phi['identifiers_found']:,} identifiers of patients were found and dealt with. Recall in percent, on identifiers"
            " planted in the sources' own documents, with exact 95 % intervals; those that rules and word lists miss stay in"
            " the text."
        ),
        Table(["source", "action", "class", "planted", "found", "recall"], rows, text_columns=3),
    ]


def contamination_blocks(
    cells: Mapping[tuple[str, str, str], Accuracy],
    clean: Mapping[tuple[str, str, str], Accuracy],
    touched: Mapping[str, int],
    contamination: Mapping[str, Any],
) -> list[Block]:
    """What corpus and benchmarks share: dropped before training, left, and accuracy without the items still touched.

    Args:
        cells: on all items, by benchmark, strategy and model.
        clean: without touched items, for benchmarks that have some.
        touched: how many items of these benchmarks were asked and are touched.
        contamination: the contents of contamination.json.
    """
    dropped, shared = contamination["documents_dropped"], contamination["shared"]
    blocks: list[Block] = [
        Paragraph(f"Dropped before training because they hold benchmark items, or are twins of such: {dropped:,} documents.")
    ]
    if shared:
        keys = ("documents_shared", "documents_contaminated", "items_contaminated", "items_touched")
        rows = [[row["benchmark"], row["source"], *(f"{row[key]:,}" for key in keys)] for row in shared]
        names = ["documents that share words", "contaminated", "items in those", "items still touched"]
        blocks.append(Table(["benchmark", "source", *names], rows, text_columns=2))
    if not touched:
        return [*blocks, Paragraph("No document that was kept shares a run of words with an item that was asked.")]
    for name, count in sorted(touched.items()):
        items = max(cell.items for (own, *_), cell in cells.items() if own == name)
        own = {(strategy, model): percent(cell.share) for (of, strategy, model), cell in clean.items() if of == name}
        sentence = f"{name}: {count:,} of {items:,} items share a run of words with a document that was kept."
        blocks.append(Paragraph(sentence + (" Accuracy on the others, for comparison with the full score:" if own else "")))
        if own:
            blocks.append(grid(own, strategies_in_order(strategy for strategy, _ in own)))
    return blocks


def curve_blocks(points: Sequence[Point], dips: Mapping[str, Mapping[str, Dip]], strategy: str) -> list[Block]:
    """Scores over tokens, where a trunk or a branch was evaluated; `base` and `cpt` alone stand in the other tables.

    Args:
        points: of both paths.
        dips: by path and score.
        strategy: of the accuracy.
    """
    if all(point.model in ("base", "cpt") for point in points):
        return []
    rows = [
        [Code(point.model), f"{point.tokens:,}"]
        + [
            (percent if name == "accuracy" else bits)(point.scores[name]) if name in point.scores else ""
            for name in SCORES
        ]
        for point in points
    ]
    found: list[Text] = []
    for path, scores in dips.items():
        for name, own in scores.items():
            line: Text = f"{path}, {name.replace('_', ' ')}: {own['verdict']}"
            if isinstance(change := own.get("change"), Interval):
                line = (f"{line} (", Code(str(own["worst"])), f": worse by {bits(change)})")
            found.append(line)
    return [
        Heading(2, "Tokens seen"),
        Paragraph(("The trunk at the peak rate, and models whose rate has fallen (", Code("annealed"), ").")),
        Table(["model", "tokens", f"{strategy}, %", "clinical bits per byte", "general"], rows),
        Picture("curve", "accuracy and bits per byte over tokens of continued pretraining"),
        Paragraph(
            "Is there a dip after the base model (the stability gap, arXiv 2406.14833)? In points and in bits per byte, with"
            " intervals for all points together:"
        ),
        Items(found),
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
