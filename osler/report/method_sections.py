"""Sections of the report about methods: protocols, calibration, costs, draws, curves, credit."""

from collections.abc import Mapping, Sequence
from typing import Any

from osler.evaluation.strategies.order import strategies_in_order
from osler.report.cells import bits, grid, on_seeds, p_value, percent, points
from osler.report.findings import COMPARED, Findings
from osler.report.page import Block, Code, Heading, Items, Paragraph, Picture, Strong, Table, Text
from osler.statistics.accuracy import Spread, in_order
from osler.statistics.intervals import Interval
from osler.statistics.shapley import Credit
from osler.statistics.token_curve import SCORES, Dip, Point


def curve_blocks(points: Sequence[Point], dips: Mapping[str, Mapping[str, Dip]], strategy: str) -> list[Block]:
    """Scores over tokens, where a trunk or a branch was evaluated.

    `base` and `cpt` alone stand in the other tables.

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


def credit_blocks(credit: Credit) -> list[Block]:
    """What each technique is worth in points of accuracy.

    This is the mean over all orders of adding them.
    """

    def arm(cell: tuple[str, ...]) -> str:
        return ", ".join(cell)

    rows: list[list[Text]] = [[name, points(step)] for name, step in credit.steps.items()]
    return [
        Heading(2, "Credit"),
        Paragraph(
            f"From {arm(credit.reference)} to {arm(credit.target)}: percentage points that each technique adds, the mean over"
            f" all orders of adding them (Shapley), on the {credit.items:,} items that all cells answered,"
            f" {on_seeds(credit.seeds)}. The rows add up."
            " The strategy is the best one of these items, which makes its own credit and the sum somewhat too high."
        ),
        Table(["technique", "points"], [*rows, [Strong("together"), Strong(points(credit.total))]]),
    ]


def costs_blocks(found: Findings) -> list[Block]:
    """Tokens of an answer by strategy and model.

    Strategies that are worth theirs are marked.
    """
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
    """What the way of reading an answer changes.

    This is on the same items and prompts of one strategy.
    """
    headline, protocols = found.protocol, found.ways
    if not protocols:
        return []
    blocks: list[Block] = [
        Heading(2, "Protocols"),
        Paragraph(
            (
                "The same items under ", Code(COMPARED), ", read off in other ways: accuracy in percent. The headline is ",
                Code(headline), "; docs/evaluation.md says what each one is.",
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
    return [*blocks, *position_blocks(found), *unread_blocks(found), *chain_blocks(found), *cut_blocks(found)]


def position_blocks(found: Findings) -> list[Block]:
    """Whether options are chosen for where they stand."""
    headline, protocols = found.protocol, found.ways
    blocks: list[Block] = []
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
    return blocks


def unread_blocks(found: Findings) -> list[Block]:
    """How many answers no option could be read from."""
    blocks: list[Block] = [Heading(3, "Answers that could not be read")]
    asked = sum(own.answers for own in found.unparsed.values())
    missed = {
        (
            strategy if protocol == found.protocol else f"{strategy}, {protocol}",
            model,
        ): f"{own.unparsed:,} of {own.answers:,}"
        for strategy in found.strategies
        for protocol in found.ways
        for model in found.models
        if (own := found.unparsed.get((strategy, protocol, model))) and own.unparsed
    }
    if not missed:
        return [*blocks, Paragraph(f"None of {asked:,}.")]
    return [*blocks, Paragraph("They count as wrong."), grid(missed, list(dict.fromkeys(name for name, _ in missed)))]


def chain_blocks(found: Findings) -> list[Block]:
    """Chains of thought read both ways, where that was asked for."""
    rows: list[list[Text]] = [
        [
            *(Code(model), strategy, percent(own.by_likelihood), percent(own.by_chain), points(own.difference)),
            f"{own.unread:,} of {own.answers:,}",
        ]
        for strategy in found.strategies
        for model in found.models
        if (own := found.chains.get((strategy, model)))
    ]
    sentence = (
        "Accuracy in percent by what follows a chain, under ", Code(found.protocol), ", and by what the chain itself says, which"
        " the papers of these strategies read; the difference is item by item. A chain that names no option is wrong.",
    )  # fmt: skip
    names = ["model", "strategy", found.protocol, "chain", "points", "chains that name none"]
    return (
        [Heading(3, "Chains read both ways"), Paragraph(sentence), Table(names, rows, text_columns=2)] if rows else []
    )


def cut_blocks(found: Findings) -> list[Block]:
    """Where prompts were longer than the model reads."""
    rows: list[list[Text]] = [
        [Code(model), strategy, protocol, benchmark, f"{own.cut:,} of {own.answers:,}"]
        for (strategy, protocol, model, benchmark), own in found.cut.items()
    ]
    sentence = "Answers after a prompt that lost its left end, solved questions first. These scores say little of the strategy."
    header = ["model", "strategy", "protocol", "benchmark", "cut"]
    return [Heading(3, "Cut prompts"), Paragraph(sentence), Table(header, rows, text_columns=4)] if rows else []


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
    "lm_eval": "as lm-evaluation-harness asks: by the log-probability of its letter, of PubMedQA's word, after a plain prompt",
    "med42": "as Med42-v2 did, as far as that is known: by the log-probability of its letter and text, options listed",
    "meditron": "as Meditron did: by the letter that the model writes after a plain prompt, of PubMedQA's the word yes or no",
}


def comparison_blocks(found: Findings, models: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    """What may be said of two numbers of the report."""
    items = (
        "Intervals say how far the numbers would move on other items of the same kind; items of one group (one fact, one"
        " document) count together."
    )
    if found.seeds == 1:
        seeds = "They do not cover training: 1 seed is behind these numbers, and another seed can move them by more."
    else:
        seeds = (
            f"They cover training seeds too: {found.seeds} models of each name, trained from seeds of their own, answered the"
            f" same items{fewer_seeds(found)}. Where there is one seed, the interval is over items alone, and another seed can"
            " move the number by more. Those of calibration and of generative tasks are over items."
        )
    lines: list[Text] = [
        f"{items} {seeds} A claim tested on fewer than 3 seeds says so.",
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
        f"Predictions after a prompt that was cut on the left to fit the model: {cut:,}; see Cut prompts."
        if (cut := sum(own.cut for own in found.cut.values()))
        else "No prompt was cut to fit a model.",
        *encoder_lines(models),
        *vllm_lines(models),
    ]
    return [Heading(2, "How these numbers may be compared"), Items(lines)]


def encoder_lines(models: Mapping[str, Mapping[str, Any]]) -> list[Text]:
    """Which other models the evaluation asked.

    They are of the Hub or of the build. Each has a line. The scores that rest on one compare under it only.
    """
    used = {name: facts for own in models.values() for name, facts in own.get("encoders", {}).items()}
    tasks = {"embeddings": "The nearest solved questions are those of", "bertscore": "BERTScore is F1 under"}
    lines: list[Text] = []
    for name, lead in tasks.items():
        if facts := used.get(name):
            origin = f"models/{facts['from']}" if "from" in facts else f"{facts['repository']}@{facts['revision'][:12]}"
            layer = f", layer {facts['layer']}" if facts["layer"] else ""
            idf = ", tokens weighed by rarity" if facts.get("idf") else ""
            floor = " bertscore_shuffled is that of texts and targets of no relation." if name == "bertscore" else ""
            lines.append((f"{lead} ", Code(origin), f"{layer}{idf}.{floor}"))
    return lines


def vllm_lines(models: Mapping[str, Mapping[str, Any]]) -> list[Text]:
    """What vLLM computed of which models.

    Its last bits and its draws are others than those of transformers.
    """
    asked: dict[str, list[str]] = {}
    for name, own in sorted(models.items()):
        if vllm := own.get("vllm"):
            what = "wrote and scored" if vllm["scores"] else "wrote"
            asked.setdefault(f"vLLM {vllm['version']} {what} the answers of", []).append(name)
    return [f"{what} {', '.join(names)}." for what, names in sorted(asked.items())]


def fewer_seeds(found: Findings) -> str:
    """Strategies and models that were asked of fewer training seeds.

    That is fewer than others; the text is empty where there are none.
    """
    lacking: dict[tuple[str, int], list[str]] = {}
    for (strategy, model), shares in found.seed_shares.items():
        if len(shares) < found.seeds:
            lacking.setdefault((strategy, len(shares)), []).append(model)
    asked = {strategy: [model for own, model in found.seed_shares if own == strategy] for strategy in found.strategies}
    named = [
        (strategy if len(models) == len(asked[strategy]) else f"{strategy} of {', '.join(in_order(models))}")
        + f" ({seeds})"
        for (strategy, seeds), models in sorted(lacking.items(), key=lambda own: found.strategies.index(own[0][0]))
    ]
    beside = "; compare these with that seed's zero-shot (Seeds, below) and not with a mean over seeds"
    return f", fewer for {', '.join(named)}{beside}" if named else ""
