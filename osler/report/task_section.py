"""The section of the report about generated texts."""

from collections.abc import Mapping, Sequence
from typing import Any

from osler.report.page import Block, Code, Heading, Paragraph, Table, Text


def generation_blocks(metrics: Mapping[str, Any]) -> list[Block]:
    """A section of the report with a table for each task.

    There is none where there is no task.

    Args:
        metrics: as `generation_metrics` gives them.
    """
    detail: Sequence[Mapping[str, Any]] = metrics.get("detail", [])
    blocks: list[Block] = []
    for task in dict.fromkeys(entry["task"] for entry in detail if entry["scores"]):
        own = [entry for entry in detail if entry["task"] == task]
        names = list(dict.fromkeys(name for entry in own for name in entry["scores"]))
        unread = ["unread"] if any(entry["unread"] for entry in own) else []
        rows: list[list[Text]] = [
            [
                Code(entry["model"]),
                *(_shown(entry["scores"].get(name), 1 if name == "length_ratio" else 100) for name in names),
                *(_percent(entry["unread"]) for _ in unread),
            ]
            for entry in own
        ]
        if lead := own[0].get("baseline"):
            rows.append(["first words", *(_shown(lead.get(name), 100) for name in names), *("" for _ in unread)])
        sizes = f"{own[0]['items']:,} items in {own[0]['groups']:,} groups.{_how(own[0].get('asked', {}))}"
        header = ["model", *(name.replace("_", " ") for name in names), *unread]
        blocks += [Heading(3, task), Paragraph(sizes), Table(header, rows)]
        blocks += _seed_blocks(own, names)
        if cut := sum(entry["truncated"] for entry in own):
            blocks.append(Paragraph(f"{cut:,} prompts were cut on the left to fit the model."))
    lead = "Texts" if any("temperature" in entry.get("asked", {}) for entry in detail) else "Greedy texts"
    lead += " against their targets: scores in percent, words written over words of the targets, intervals over groups."
    blocks += _category_blocks(metrics.get("categories", []))
    return [Heading(2, "Generative tasks"), Paragraph(lead), *blocks] if blocks else []


def _category_blocks(categories: Sequence[Mapping[str, Any]]) -> list[Block]:
    """Means over the tasks of each category."""
    if not categories:
        return []
    names = list(dict.fromkeys(name for entry in categories for name in entry["scores"]))
    rows: list[list[Text]] = [
        [
            entry["category"],
            Code(entry["model"]),
            str(entry["tasks"]),
            *(_mean(entry["scores"].get(name), entry["tasks"], 1 if name == "length_ratio" else 100) for name in names),
        ]
        for entry in categories
    ]
    lead = "Means over tasks, each of which counts alike; behind a mean of fewer tasks than the category has stands their number."
    header = ["category", "model", "tasks", *(name.replace("_", " ") for name in names)]
    return [Heading(3, "Categories"), Paragraph(lead), Table(header, rows)]


def _mean(score: Mapping[str, float | None] | None, tasks: int, factor: int) -> str:
    fewer = f" ({score['tasks']})" if score and score["tasks"] != tasks else ""
    return _shown(score, factor) + fewer


def _how(asked: Mapping[str, Any]) -> str:
    """How a task was asked, where not in one turn and greedily."""
    shots, temperature = asked.get("shots"), asked.get("temperature")
    parts = [f"{shots} solved before each" if shots else "", "plain prompts" if asked.get("prompt") == "plain" else ""]
    parts.append(f"drawn at temperature {temperature:g}, top p {asked.get('top_p', 1):g}" if temperature else "")
    told = ", ".join(filter(None, parts))
    return f" {told[:1].upper()}{told[1:]}." if told else ""


def _seed_blocks(own: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[Block]:
    """What the scores are over training seeds, of models that several have trained."""
    several = [entry for entry in own if "over_seeds" in entry]
    if not several:
        return []
    rows: list[list[Text]] = [
        [
            Code(entry["model"]),
            str(max(len(found["seeds"]) for found in entry["over_seeds"].values())),
            *(_shown(entry["over_seeds"].get(name), 1 if name == "length_ratio" else 100) for name in names),
        ]
        for entry in several
    ]
    lead = "The same with intervals over training seeds, each with its own draw of rows where an adapter learned exercises."
    return [Paragraph(lead), Table(["model", "seeds", *(name.replace("_", " ") for name in names)], rows)]


def _shown(score: Mapping[str, float | None] | None, factor: int) -> str:
    if score is None:
        return ""
    bounds = [score["low"], score["high"]]
    inside = (
        "" if None in bounds else f" [{', '.join(f'{factor * bound:.1f}' for bound in bounds if bound is not None)}]"
    )
    return f"{factor * (score['estimate'] or 0):.1f}{inside}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
