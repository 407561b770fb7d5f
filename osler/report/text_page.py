"""What models wrote for a generative task, side by side: a page, and lines for a terminal."""

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from osler.report.cells import points
from osler.report.page import Block, Code, Heading, Items, Paragraph, Table, Text
from osler.report.task_section import generation_blocks
from osler.statistics.accuracy import in_order
from osler.statistics.intervals import Interval, Pairs, difference_interval, ratio_interval
from osler.statistics.task_scores import generation_metrics

SCORES = {
    "text": "ROUGE-L",
    "label": "right",
    "label_set": "F1",
    "entities": "F1",
    "structured": "F1",
    "rubric": "points",
}


def gains(generations: pl.DataFrame, confidence: float, column: str = "score") -> dict[str, Interval]:
    """How much better each model scores than the first one.

    It is compared item by item, and seed by seed where the task asks several. Right and wrong labels get two groups besides
    (intervals.py), scores in between do not: differences of BERTScore are so small that these two would be all of the interval.

    Args:
        generations: rows of GENERATIONS of one task, of models that answered the same items.
        confidence: of the intervals, which are over groups of items, and over seeds where there are several.
        column: the score, 0 to 1.
    Returns:
        Mean differences of the items' scores, of all models but the first.
    """
    first, *others = in_order(generations["model"])
    scores = {model: generations.filter(pl.col("model") == model).sort("item_id", "seed") for model in (first, *others)}
    before = scores[first]
    seeds = before["seed"].to_list() if before["seed"].n_unique() > 1 else None
    found: dict[str, Interval] = {}
    for model in others:
        difference, group = (scores[model][column] - before[column]).to_numpy(), before["group"].to_list()
        if before["metric"][0] == "label":
            pairs = Pairs(benchmark=before["task"].to_list(), group=group, difference=difference, seed=seeds)
            found[model] = difference_interval(pairs, confidence)
        else:
            plain = ratio_interval(difference.tolist(), [1.0] * len(group), confidence, group, seeds)
            found[model] = Interval(plain.estimate, max(-1.0, plain.low), min(1.0, plain.high))
    return found


def page_blocks(generations: pl.DataFrame, sources: pl.DataFrame, confidence: float) -> list[Block]:
    """The page of one task.

    Scores and differences stand first, then every item with its texts.

    Args:
        generations: see `gains`.
        sources: item_id and source of each item.
        confidence: of the intervals.
    """
    task, metric = generations["task"][0], SCORES[generations["metric"][0]]
    models = in_order(generations["model"])
    blocks: list[Block] = [
        Heading(1, f"Texts of {task}"),
        *generation_blocks(generation_metrics(generations, confidence)),
    ]
    columns = {metric: "score"} | ({} if generations["bertscore_f1"].null_count() else {"BERTScore": "bertscore_f1"})
    scored = {name: column for name, column in columns.items() if not generations[column].null_count()}
    found = {name: gains(generations, confidence, column) for name, column in scored.items()}
    if found.get(metric):
        rows: list[list[Text]] = [
            [Code(model), *(points(own[model]) for own in found.values())] for model in found[metric]
        ]
        over = (
            "over groups of items and training seeds" if generations["seed"].n_unique() > 1 else "over groups of items"
        )
        sentence = ("Points above ", Code(models[0]), f", item by item, with intervals {over}.")
        blocks += [Heading(2, f"Beside {models[0]}"), Paragraph(sentence), Table(["model", *found], rows)]
    blocks.append(Heading(2, "Items"))
    for item_id, source, texts in _items(generations, sources, models):
        rows = [["target", texts[0]["target"], ""]]
        rows += [[Code(own["model"]), own["text"], _percent(own["score"])] for own in texts]
        lines = [line for line in source.splitlines() if line.strip()]
        blocks += [Heading(3, item_id), Items(lines), Table(["", "text", metric], rows, text_columns=2)]
    return blocks


def terminal_lines(generations: pl.DataFrame, sources: pl.DataFrame, item_ids: Sequence[str]) -> Iterator[str]:
    """Some items with their source, target and texts, as lines."""
    metric, models = SCORES[generations["metric"][0]], in_order(generations["model"])
    chosen = generations.filter(pl.col("item_id").is_in(list(item_ids)))
    for item_id, source, texts in _items(chosen, sources, models):
        yield f"--- {item_id}"
        yield source
        yield f"=== target\n{texts[0]['target']}"
        for own in texts:
            score = f", {metric} {_percent(own['score'])}" if own["score"] is not None else ""
            yield f"=== {own['model']}{score}\n{own['text']}"


def _percent(score: float | None) -> str:
    """A score, of 0 to 1; nothing where a judge gives it, in metrics/judged.json."""
    return "" if score is None else f"{100 * score:.1f}"


def _items(
    generations: pl.DataFrame, sources: pl.DataFrame, models: Sequence[str]
) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """Each item with its source and its rows, in the order of `models`."""
    read = dict(sources.select("item_id", "source").iter_rows())
    for (item_id,), rows in generations.sort("item_id").partition_by("item_id", as_dict=True).items():
        own = {row["model"]: row for row in rows.iter_rows(named=True)}
        yield str(item_id), read[str(item_id)], [own[model] for model in models]
