"""The results as blocks of a page: a function a section or a table, and a summary for a terminal.

What a reader needs first stands first: results and claims, then what they cost and how they were read off, then the corpus.
Cells of tables are estimates with their intervals, in percent unless the section says otherwise.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.lib.curve import SCORES, Dip, Point
from stages.lib.findings import COMPARED, Findings, strategies_in_order
from stages.lib.intervals import Interval
from stages.lib.pages import Block, Code, Heading, Items, Paragraph, Picture, Strong, Table, Text
from stages.lib.results import Spread, in_order
from stages.lib.shapley import Credit
from stages.lib.task_scores import generation_blocks

MARK = " †"  # of a result that guessing may give
CORPUS_WIDE = "all"  # the row of a recall table that is about all classes together


def percent(interval: Interval, digits: int = 1) -> str:
    """`91.2 [88.9, 93.1]`, from fractions."""
    share, low, high = (f"{100 * value:.{digits}f}" for value in (interval.estimate, interval.low, interval.high))
    return f"{share} [{low}, {high}]"


def points(interval: Interval) -> str:
    """`+1.2 [-0.3, +2.7]`, from fractions."""
    gain, low, high = (f"{100 * value:+.1f}" for value in (interval.estimate, interval.low, interval.high))
    return f"{gain} [{low}, {high}]"


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
        ["model", *columns],
        [[Code(model), *(cells.get((column, model), "") for column in columns)] for model in models],
    )


def at_chance(interval: Interval, chance: float) -> bool:
    """Whether guessing is among what the interval allows."""
    return interval.low <= chance <= interval.high


def accuracy_table(cells: Mapping[tuple[str, str], Interval], chance: float) -> Table:
    """Models by strategies in percent; a cell whose interval holds the chance level is marked."""
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
    """The factorial of models and strategies, the mean over benchmarks first, then each, and the spread over draws."""
    sizes = {
        name: max((cell.items, cell.groups) for (own, *_), cell in found.cells.items() if own == name)
        for name in sorted(found.chance)
    }
    several = f"; mean over {len(sizes)} benchmarks" if len(sizes) > 1 else ""
    asked = "; ".join(f"{name}: {items:,} items in {groups:,} groups" for name, (items, groups) in sizes.items())
    fewer = {
        f"{strategy}, {items:,} of {name}"
        for (name, strategy, _), cell in found.cells.items()
        if (items := cell.items) < sizes[name][0]
    }
    asked += f". On fewer items: {'; '.join(sorted(fewer))}" if fewer else ""
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
    return [*blocks, *draws_blocks(found.spreads)]


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


def contamination_blocks(found: Findings, contamination: Mapping[str, Any]) -> list[Block]:
    """What corpus and benchmarks share: dropped before training, left, and accuracy without the items still touched.

    Args:
        found: of the models.
        contamination: the contents of contamination.json.
    """
    dropped, shared = contamination["documents_dropped"], contamination["shared"]
    blocks: list[Block] = [
        Paragraph(
            f"Dropped before training because they hold benchmark items, or are twins of such: {dropped:,} documents."
        )
    ]
    if shared:
        keys = ("documents_shared", "documents_contaminated", "items_contaminated", "items_touched")
        rows = [[row["benchmark"], row["source"], *(f"{row[key]:,}" for key in keys)] for row in shared]
        names = ["documents that share words", "contaminated", "items in those", "items still touched"]
        blocks.append(Table(["benchmark or task", "source", *names], rows, text_columns=2))
    if not found.touched:
        sentence = "No document that was kept shares a run of words with a benchmark item that was asked."
        return [*blocks, Paragraph(sentence)]
    for name, count in sorted(found.touched.items()):
        items = max(cell.items for (own, *_), cell in found.cells.items() if own == name)
        own = {
            (strategy, model): percent(cell.share) for (of, strategy, model), cell in found.clean.items() if of == name
        }
        sentence = f"{name}: {count:,} of {items:,} items share a run of words with a document that was kept."
        blocks.append(
            Paragraph(sentence + (" Accuracy on the others, for comparison with the full score:" if own else ""))
        )
        if own:
            blocks.append(grid(own, strategies_in_order([strategy for strategy, _ in own])))
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
    rows: list[list[Text]] = [
        [
            Code(point.model),
            f"{point.tokens:,}",
            *(
                (percent if name == "accuracy" else bits)(point.scores[name]) if name in point.scores else ""
                for name in SCORES
            ),
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
    """One row a claim, and below it one for each of its contrasts where there are several."""
    rows: list[list[Text]] = []
    for outcome in claims.values():
        sentence = outcome["sentence"]
        if "margin_points" in outcome:
            sentence += f" (little: under {outcome['margin_points']:g} points)"
        rows.append([sentence, Strong(outcome["verdict"]), *_effect(outcome)])
        contrasts = outcome.get("contrasts", {})
        if len(contrasts) > 1:
            rows += [[f"· {name}", "", *_effect(contrasts[name])] for name in contrasts]
    names = ["claim", "verdict", "points", "interval", "p", "Holm", "equivalent", "detectable", "items", "seeds"]
    return Table(names, rows, text_columns=2)


def credit_blocks(credit: Credit) -> list[Block]:
    """What each technique is worth in points of accuracy, the mean over all orders of adding them."""

    def arm(cell: tuple[str, ...]) -> str:
        return ", ".join(cell)

    rows: list[list[Text]] = [[name, points(step)] for name, step in credit.steps.items()]
    return [
        Heading(2, "Credit"),
        Paragraph(
            f"From {arm(credit.reference)} to {arm(credit.target)}: percentage points that each technique adds, the mean over"
            f" all orders of adding them (Shapley), on the {credit.items:,} items that all cells answered. The rows add up."
            " The strategy is the best one of these items, which makes its own credit and the sum somewhat too high."
        ),
        Table(["technique", "points"], [*rows, [Strong("together"), Strong(points(credit.total))]]),
    ]


def costs_blocks(found: Findings) -> list[Block]:
    """Tokens of an answer by strategy and model, and which strategies are worth theirs."""
    shown = {
        (strategy, model): f"{own.read_tokens:,.0f} + {own.generated_tokens:,.0f}"
        + (" ‡" if strategy in found.frontiers[model] else "")
        for (strategy, model), own in found.costs.items()
    }
    return [
        Heading(2, "Tokens per item"),
        Paragraph(
            "Read + generated for one answer, over all prompts that it took, as asked for: a prefix that prompts share is"
            " computed once and counted in each. The strategies marked ‡ are those that none beats with as many tokens"
            " or fewer, by accuracy as measured; whether a step up is real is for the claims to say."
        ),
        grid(shown, found.strategies),
        Picture("frontier", "accuracy over tokens per item, a panel a model, each with its own axis of accuracy"),
    ]


def draws_blocks(spreads: Mapping[tuple[str, str], Spread]) -> list[Block]:
    """How far one set of exemplars lies from another."""
    if not spreads:
        return []
    cells = {
        arm: f"{100 * own.minimum:.1f} to {100 * own.maximum:.1f} (sd {100 * own.deviation:.1f})"
        for arm, own in spreads.items()
    }
    strategies = strategies_in_order([strategy for strategy, _ in spreads])
    draws = "; ".join(
        f"{name}: {max(own.draws for (of, _), own in spreads.items() if of == name)} draws" for name in strategies
    )
    return [
        Heading(3, "Draws of exemplars"),
        Paragraph(
            f"Accuracy of the worst and the best draw in percent, and the standard deviation. {draws}. The table above has"
            " the mean over draws."
        ),
        grid(cells, strategies),
    ]


def protocol_blocks(found: Findings) -> list[Block]:
    """What the way of reading an answer changes, on the same items and prompts of one strategy."""
    headline, protocols = found.protocol, found.ways
    if not protocols:
        return []
    blocks: list[Block] = [
        Heading(2, "Protocols"),
        Paragraph(
            (
                "The same items under ", Code(COMPARED), ", read off in other ways: accuracy in percent. The headline is ",
                Code(headline), "; stages/lib/protocols.py says what each one is.",
            )
        ),
        grid({cell: percent(share) for cell, share in found.protocols.items()}, protocols),
        Picture("protocols", "accuracy by protocol"),
    ]  # fmt: skip
    others = {
        (next(name for name in pair if name != headline), model): f"{100 * own.share.estimate:.1f} ({own.kappa:.2f})"
        for (model, *pair), own in found.agreements.items()
        if headline in pair
    }
    if others:
        blocks += [
            Heading(3, "Agreement"),
            Paragraph(("Percent of items with the same answer as under ", Code(headline), " (Cohen's kappa).")),
            grid(others, [name for name in protocols if name != headline]),
        ]
    if found.biases:
        distances = {
            cell: f"{100 * own.total_variation:.1f} ({p_value(own.p)})"
            for cell, own in found.biases.items()
            if any(own.predicted)
        }
        blocks += [
            Heading(3, "Position bias"),
            Paragraph(
                "How far the shares of options chosen, by their position, lie from the shares that are right: total"
                " variation in percentage points, and p of the test that they are the same."
            ),
            grid(distances, protocols),
        ]
    rows: list[list[Text]] = [
        [Code(model), *(" ".join(f"{100 * share:.0f}" for share in shares) for shares in columns)]
        for model in found.models
        for own in [found.biases.get((headline, model))]
        if own
        for columns in [(own.predicted, own.gold, [share.estimate for share in own.accuracy])]
    ]
    if rows:
        sentence = ", from the first position to the last, in percent; the others stand in metrics/protocols.json."
        blocks += [
            Paragraph(("Under ", Code(headline), sentence)),
            Table(["model", "chosen", "right", "accuracy where right"], rows),
        ]
    blocks.append(Heading(3, "Answers that could not be read"))
    asked = sum(own.answers for own in found.unparsed.values())
    missed = {
        (strategy if protocol == headline else f"{strategy}, {protocol}", model): f"{own.unparsed:,} of {own.answers:,}"
        for strategy in found.strategies
        for protocol in protocols
        for model in found.models
        if (own := found.unparsed.get((strategy, protocol, model))) and own.unparsed
    }
    if not missed:
        return [*blocks, Paragraph(f"None of {asked:,}.")]
    return [*blocks, Paragraph("They count as wrong."), grid(missed, list(dict.fromkeys(name for name, _ in missed)))]


def calibration_blocks(found: Findings) -> list[Block]:
    """Expected calibration error by protocol and model, where answers have probabilities."""
    if not found.calibrated:
        return []
    cells = {cell: percent(own.error) for cell, own in found.calibrations.items()}
    return [
        Heading(2, "Calibration"),
        Paragraph(
            (
                "Expected calibration error of ", Code(COMPARED), " in percentage points,"
                f" with {100 * found.confidence:g} % intervals: how far the probability of the chosen option lies from the"
                " share that is right, on average. 0 is a model that knows what it knows.",
            )
        ),
        grid(cells, found.calibrated),
        Picture("reliability", f"share right over confidence, read by {found.calibrated[0]}"),
    ]  # fmt: skip


READ_AS = {
    "letter": "by the log-probability of its letter",
    "full_answer": "by the log-probability of its whole text, which handicaps long ones",
    "per_token": "by the mean log-probability of its tokens",
    "per_byte": "by the log-probability of its text over its bytes",
    "generation": "by what the model writes, from which the answer is extracted",
}


def glance_blocks(found: Findings) -> list[Block]:
    """The whole in a few lines: the best cell, and each claim's verdict."""
    (strategy, model), best = max(found.means.items(), key=lambda cell: cell[1].estimate)
    verdicts: list[Text] = [(Strong(str(own["verdict"])), f": {own['sentence']}") for own in found.claims.values()]
    counts = f"{counted(len(found.models), 'model')}, {len(found.strategies)} strategies, {counted(found.seeds, 'training seed')}"
    return [
        Paragraph(
            (
                f"{counts}. Highest accuracy as measured: ",
                *(Code(model), " with ", Code(strategy), f", {percent(best)} %. The claims:"),
            )
        ),
        Items(verdicts),
    ]


def comparison_blocks(found: Findings, models: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    """What may be said of two numbers of the report."""
    seeds = "1 seed is behind these numbers, and another seed can move them by more."
    lines: list[Text] = [
        "Intervals say how far the numbers would move on other items of the same kind; items of one group (one fact, one"
        f" document) count together. They do not cover training: {seeds if found.seeds == 1 else f'{found.seeds} seeds.'}"
        " A claim tested on fewer than 3 seeds says so.",
        (
            "Models and strategies of one build compare: same items, prompts and protocol. Across builds only where ",
            *(Code("evaluate"), " and "),
            *(
                Code("strategies"),
                " in params.yaml are the same; the protocol alone can move accuracy by tens of points.",
            ),
        ),
        f"An option is scored {READ_AS.get(found.protocol, f'as {found.protocol} does')}.",
        "Whether two results differ is read off the claims (paired), not off whether two intervals overlap. Many pairs of a"
        " large table differ by chance; Holm's p allows for that among the claims, and nothing does in the other tables.",
        "An effect smaller than what is detectable with these items can be real and not be seen.",
        (
            "Bits per byte compare between models, also with other tokenizers, on the same documents and with the same ",
            *(Code("evaluate.window_tokens"), "."),
        ),
        f"{found.truncated:,} predictions rest on a prompt cut on the left to fit the model."
        if found.truncated
        else "No prompt was cut to fit a model.",
        *encoder_lines(models),
        *vllm_lines(models),
    ]
    return [Heading(2, "How these numbers may be compared"), Items(lines)]


def encoder_lines(models: Mapping[str, Mapping[str, Any]]) -> list[Text]:
    """Which models of the Hub the evaluation asked besides, a line each; the scores that rest on one compare under it only."""
    used = {name: facts for own in models.values() for name, facts in own.get("encoders", {}).items()}
    tasks = {"embeddings": "The nearest solved questions are those of", "bertscore": "BERTScore is F1 under"}
    return [
        (
            f"{lead} ",
            Code(f"{used[name]['repository']}@{used[name]['revision'][:12]}"),
            f", layer {used[name]['layer']}." if used[name]["layer"] else ".",
        )
        for name, lead in tasks.items()
        if name in used
    ]


def vllm_lines(models: Mapping[str, Mapping[str, Any]]) -> list[Text]:
    """What vLLM computed of which models; its last bits and its draws are others than those of transformers."""
    asked: dict[str, list[str]] = {}
    for name, own in sorted(models.items()):
        if vllm := own.get("vllm"):
            what = "wrote and scored" if vllm["scores"] else "wrote"
            asked.setdefault(f"vLLM {vllm['version']} {what} the answers of", []).append(name)
    return [f"{what} {', '.join(names)}." for what, names in sorted(asked.items())]


@dataclass(frozen=True)
class Records:
    """What was written about data and models, and what models wrote.

    Args:
        plan, corpus, contamination, phi: the contents of plan.json and of the metrics files of these names.
        models: the contents of model.json by model.
        generation: scores of generative tasks, `stages.lib.task_scores.generation_metrics`.
    """

    plan: Mapping[str, Any]
    corpus: Mapping[str, Any]
    contamination: Mapping[str, Any]
    phi: Mapping[str, Any]
    models: Mapping[str, Mapping[str, Any]]
    generation: Mapping[str, Any]

    @property
    def ledgers(self) -> dict[str, list[Mapping[str, Any]]]:
        """The token ledger of each model; empty where its provenance has none, as of a downloaded one."""
        return {name: own["provenance"].get("token_ledger", []) for name, own in self.models.items()}


def report_blocks(found: Findings, records: Records) -> list[Block]:
    """The whole report, what matters first."""
    level = f"{100 * found.confidence:g} %"
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
            f"Effects are differences of accuracy in percentage points on the same items, with {level} intervals."
        ),
        Items(
            [
                "p: sign-flip test over groups of items; Holm: the same, allowing for all contrasts of all claims.",
                "equivalent: p of two one-sided tests that the difference lies within"
                f" +-{max((own.get('equivalence_points', 0) for own in found.claims.values()), default=0):g} points.",
                "detectable: the effect, in points, that these items would show 4 times in 5.",
                "A gain is supported when its whole interval is above 0, on each when that of each contrast is; little,"
                " when it is below the margin. Contradicted is the opposite, all else undecided (stages/lib/claims.py).",
            ]
        ),
        claims_table(found.claims),
        *(credit_blocks(found.credit) if found.credit else []),
        *costs_blocks(found),
        *protocol_blocks(found),
        *calibration_blocks(found),
        *generation_blocks(records.generation),
        Heading(2, "Bits per byte"),
        Paragraph(f"Of held-out documents, lower is better, with {level} intervals over documents."),
        loss_table(found.losses),
        Picture("bits_per_byte", "bits per byte by model and domain"),
        *curve_blocks(found.points, found.dips, found.strategies[0]),
        Heading(2, "Training"),
        Picture("training_loss", "training loss over tokens"),
        *(mixture if records.plan.get("sources") else []),
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
