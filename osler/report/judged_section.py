"""The section of the report about what judges say."""

from collections.abc import Mapping, Sequence
from typing import Any

from osler.report.page import Block, Code, Heading, Paragraph, Table, Text

Entries = Sequence[Mapping[str, Any]]
POINTS = "Points of criteria met over all that can be earned, in percent, with intervals over groups of items."
PREFERENCES = (
    "Share of items on which the first model's text is preferred, a tie being half, in percent. Each pair is shown in both orders:"
    " a model wins where it is better in both, or in one and as good in the other. First shown is how often the text that stands"
    " first is preferred, 50 for a judge who does not mind; consistent, how often both orders say the same."
)
AGREEMENT = (
    "Cohen's kappa of the judge with each person, and Krippendorff's alpha of all together and of people alone, on what both said:"
    " 1 is agreement, 0 what chance gives, and none is told where all say one thing."
    " A judge is worth as much as it agrees with people about as well as they do."
)


def judged_blocks(metrics: Mapping[str, Any]) -> list[Block]:
    """A section of the report; none where there is no judge.

    Args:
        metrics: as `judged_metrics` gives them.
    """
    if not metrics:
        return []
    return [
        Heading(2, "Judges"),
        *_points(metrics["points"]),
        *_preferences(metrics["preferences"]),
        *_agree(metrics["agreement"]),
    ]


def _points(entries: Entries) -> list[Block]:
    if not entries:
        return []
    rows: list[list[Text]] = []
    for entry in entries:
        common: list[Text] = [Code(entry["task"]), Code(entry["judge"]), Code(entry["model"])]
        counts = [f"{entry['items']:,}", f"{entry['judgements']:,}", _percent(entry["unread"])]
        rows.append([*common, _shown(entry["points"]), _percent(entry["met"]), *counts])
    header = ["task", "judge", "model", "points", "criteria met", "items", "judgements", "unread"]
    blocks: list[Block] = [Paragraph(POINTS), Table(header, rows, text_columns=3)]
    tagged = [(entry, tag) for entry in entries for tag in entry["by_tag"]]
    if tagged:
        cells: list[list[Text]] = [
            [Code(entry["task"]), tag, Code(entry["judge"]), Code(entry["model"]), _shown(entry["by_tag"][tag])]
            for entry, tag in sorted(tagged, key=lambda pair: (pair[0]["task"], pair[1]))
        ]
        blocks += [
            Paragraph("The same of criteria with each tag."),
            Table(["task", "tag", "judge", "model", "points"], cells, text_columns=4),
        ]
    return blocks


def _preferences(entries: Entries) -> list[Block]:
    rows: list[list[Text]] = [
        [
            Code(entry["task"]),
            Code(entry["judge"]),
            Code(entry["model"]),
            Code(entry["other"]),
            _shown(entry["preference"]),
            f"{entry['wins']}, {entry['ties']}, {entry['losses']}",
            _percent(entry["consistent"]),
            _shown(entry["first_shown"]),
            _percent(entry["unread"]),
        ]
        for entry in entries
    ]
    header = [
        "task",
        "judge",
        "first",
        "second",
        "preferred",
        "wins, ties, losses",
        "consistent",
        "first shown",
        "unread",
    ]
    return [Paragraph(PREFERENCES), Table(header, rows, text_columns=4)] if rows else []


def _agree(entries: Entries) -> list[Block]:
    rows: list[list[Text]] = []
    for entry in entries:
        for one in entry["raters"]:
            together = [_shown(entry["alpha"], 1, 2), _shown(entry["alpha_of_people"], 1, 2)]
            common: list[Text] = [
                Code(entry["task"]),
                Code(entry["judge"]),
                entry["kind"],
                one["rater"],
                f"{one['rated']:,}",
            ]
            rows.append([*common, _percent(one["agreed"]), _shown(one["kappa"], 1, 2), *together])
    header = ["task", "judge", "of", "person", "rated", "agreed", "kappa", "alpha", "alpha of people"]
    return [Paragraph(AGREEMENT), Table(header, rows, text_columns=4)] if rows else []


def _shown(found: Mapping[str, float | None], factor: int = 100, digits: int = 1) -> str:
    """An estimate with its bounds, in percent or as it is; nothing where there is none."""
    values = [found["estimate"], found["low"], found["high"]]
    told = [f"{factor * value:.{digits}f}" for value in values if value is not None]
    return f"{told[0]} [{told[1]}, {told[2]}]" if len(told) == 3 else "".join(told[:1])


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"
