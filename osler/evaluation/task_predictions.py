"""Generations: what a model wrote for generative tasks, and its scores.

There is a row for each item of a task.

`text` is what the model said: thoughts are cut off before any score.
Texts come from evaluate's store, and BERTScore; other scores are computed each time: microseconds a row, but for ROUGE.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from osler.build.fingerprint import fingerprint
from osler.evaluation.named_metrics import ASKED, CATEGORY, COLUMNS, LEAD, SEPARATOR, lead_scores, named_scores
from osler.evaluation.rubrics import CRITERIA, TURNS
from osler.evaluation.structured_texts import Schema, counts, fields_of, written_values
from osler.evaluation.task_texts import WRITTEN, written
from osler.evaluation.tasks import DEV, OTHERS, Task
from osler.evaluation.text_metrics import (
    entities_of,
    label_of,
    labels_of,
    length_ratio,
    normalized,
    rouge_scores,
    shared_f1,
    token_f1,
    without_opening,
)
from osler.evaluation.thoughts import said
from osler.inference.interface import Model, seeded_rank

if TYPE_CHECKING:
    from osler.inference.text_encoder import TextEncoder

ROOT = Path(__file__).resolve().parents[2]
GENERATIONS = pl.Schema(
    {
        "item_id": pl.String(),
        "task": pl.String(),
        "group": pl.String(),
        "metric": pl.String(),
        "model": pl.String(),
        "seed": pl.Int64(),
        "target": pl.String(),
        **WRITTEN,
        "score": pl.Float64(),  # the metric's own, 0 to 1: ROUGE-L, right or wrong, F1 of the entities
        "token_f1": pl.Float64(),
        "length_ratio": pl.Float64(),
        "rouge_1": pl.Float64(),  # metric text, as the next three
        "rouge_2": pl.Float64(),
        "rouge_l": pl.Float64(),
        "bertscore_f1": pl.Float64(),  # null where the build has no encoder for it, as the next three
        "bertscore_precision": pl.Float64(),
        "bertscore_recall": pl.Float64(),
        "bertscore_shuffled": pl.Float64(),  # F1 against the next item's target; null also where there is one item
        "answer": pl.String(),  # normalized, null when none could be read: a label, all of label_set, or values of JSON
        "gold": pl.String(),  # the same of the target
        "named": pl.Int64(),  # metric entities, label_set, structured: how many the text has, as the next two
        "wanted": pl.Int64(),
        "shared": pl.Int64(),
    }
)
Kept = Callable[..., tuple[pl.DataFrame, bool]]
"""kept(compute, **parts of the key): a frame from the store, or computed; and whether it was."""


def asked(rows: pl.DataFrame, task: Task, seed: int) -> pl.DataFrame:
    """The test rows that are asked, by item_id.

    These are all, or as many as `limit_items`, those of lowest seeded rank.
    """
    tested = rows.filter(pl.col("split") == "test")
    ranked = sorted(tested["item_id"], key=lambda item_id: (seeded_rank(seed, "limit", item_id), item_id))
    return tested.filter(pl.col("item_id").is_in(ranked[: task.limit_items])).sort("item_id")


def scored(rows: pl.DataFrame, task: Task) -> pl.DataFrame:
    """The scores of `rows` (text, target) as columns of GENERATIONS.

    Columns of metrics other than the task's are left out, and those of its `metrics` are added. Of several targets (OTHERS) that
    counts under which `score` is highest, the first of equal ones: all scores are held against it.
    """
    if OTHERS not in rows.columns:
        return _scored(rows, task)
    targets = pl.concat_list("target", OTHERS)
    each = rows.with_row_index("place").with_columns(target=targets).drop(OTHERS).explode("target")
    best = _scored(each, task).sort("place", "score", descending=[False, True], maintain_order=True)
    return best.unique("place", keep="first", maintain_order=True).drop("place")


def _scored(rows: pl.DataFrame, task: Task) -> pl.DataFrame:
    texts, targets = ([without_opening(text, task.opening) for text in rows[name]] for name in ("text", "target"))
    pairs = list(zip(texts, targets, strict=True))
    columns: dict[str, list[Any]] = {
        "token_f1": [token_f1(*pair) for pair in pairs],
        "length_ratio": [length_ratio(*pair) for pair in pairs],
    }
    if task.metric == "text":
        rouge = rouge_scores(texts, targets)
        columns |= {name: [getattr(each, name) for each in rouge] for name in ("rouge_1", "rouge_2", "rouge_l")}
        columns["score"] = columns["rouge_l"]
    elif task.metric == "label":
        columns["answer"] = [label_of(text, task.labels) for text in texts]
        columns["gold"] = [normalized(target) for target in targets]
        columns["score"] = [
            float(answer == gold) for answer, gold in zip(columns["answer"], columns["gold"], strict=True)
        ]
    elif task.json_fields is not None:
        columns |= _structured(pairs, task.json_fields)
    elif task.metric == "rubric":
        columns |= {"score": [None] * len(pairs)} | (
            {} if task.target is not None else {"token_f1": [None] * len(pairs)}
        )
    else:
        sets = [tuple(_named(text, task) for text in pair) for pair in pairs]
        columns["named"] = [len(ours) for ours, _ in sets]
        columns["wanted"] = [len(theirs) for _, theirs in sets]
        columns["shared"] = [len(ours & theirs) for ours, theirs in sets]
        columns["score"] = [shared_f1(*both) for both in sets]
        if task.metric == "label_set":
            columns["answer"], columns["gold"] = (
                [SEPARATOR.join(sorted(one)) for one in each] for each in zip(*sets, strict=True)
            )
    own = {
        name: values for name, values in named_scores(task.metrics or (), texts, targets).items() if name not in columns
    }
    own |= lead_scores(rows["source"].to_list(), targets) if task.baseline else {}
    return rows.with_columns(
        pl.Series(name, values, dtype=GENERATIONS.get(name, pl.Float64())) for name, values in (columns | own).items()
    )


def _structured(pairs: Sequence[tuple[str, str]], schema: Schema) -> dict[str, list[Any]]:
    """Columns of texts that are JSON."""
    found = [tuple(fields_of(text, schema) for text in pair) for pair in pairs]
    numbers = [counts(ours or {}, theirs or {}, list(schema)) for ours, theirs in found]
    named, wanted, shared = (list(column) for column in zip(*numbers, strict=True)) if numbers else ([], [], [])
    answer, gold = (
        [None if own is None else written_values(own) for own in column]
        for column in ([each[side] for each in found] for side in (0, 1))
    )
    score = [
        0.0 if text is None else 2 * both / (ours + theirs) if ours + theirs else 1.0
        for text, (ours, theirs, both) in zip(answer, numbers, strict=True)
    ]
    return {"answer": answer, "gold": gold, "named": named, "wanted": wanted, "shared": shared, "score": score}


def _named(text: str, task: Task) -> frozenset[str]:
    """The entities or the labels of a text."""
    if task.separator is not None:
        return entities_of(text, task.separator, task.none)
    return labels_of(text, task.labels or ())


def bertscored(encoder: "Callable[[], TextEncoder]", texts: Sequence[str], targets: Sequence[str]) -> pl.DataFrame:
    """The columns `bertscore_*` of GENERATIONS."""
    found = encoder().bert_scores(texts, targets)
    names = ("f1", "precision", "recall", "shuffled")
    columns = {f"bertscore_{name}": [getattr(one, name) for one in found] for name in names}
    return pl.DataFrame(columns, schema={name: GENERATIONS[name] for name in columns})


def task_predictions(
    folder: Path,
    tasks: Mapping[str, Task],
    name: str,
    seed: int,
    kept: Kept,
    model: Callable[[], Model],
    bertscore: "tuple[str, Callable[[], TextEncoder]] | None" = None,
) -> tuple[pl.DataFrame, list[tuple[int, bool]]]:
    """All tasks' items with the texts of `name` and their scores.

    Args:
        folder: with a file of each task's rows (TASKS).
        tasks: the sections by name.
        name: of the model.
        seed: of which items are asked where there is a limit.
        kept: the store.
        model: loads it.
        bertscore: the hash of the encoder that BERTScore asks, and what loads it; None where there is none.
    Returns:
        Rows of GENERATIONS by task and item, with a column more for each score that a task names; for each task the
        number of rows and whether they had to be computed.
    """
    code = fingerprint(ROOT / "osler/evaluation/task_texts.py", ROOT, with_packages=False)
    frames, done = [pl.DataFrame(schema=GENERATIONS)], []
    for listed, task in sorted(tasks.items()):
        item_seed = 0 if task.seeds == "all" else seed  # the same items under every seed that is asked
        everything = pl.read_parquet(folder / f"{listed}.parquet")
        rows, pool = asked(everything, task, item_seed), everything.filter(split=DEV)
        parts: dict[str, Any] = {"what": "task", "code": code, "limit_tokens": task.limit_tokens}
        parts["prompts"] = rows.select("instruction", "source").rows()
        parts |= {TURNS: rows[TURNS].to_list()} if TURNS in rows.columns else {}
        if task.writing:
            shown, solved = (each.drop(CRITERIA, strict=False).rows() for each in (rows, pool))
            parts |= {"writing": task.writing, "seed": seed, "rows": shown, "pool": solved}
        texts, computed = kept(
            lambda rows=rows, task=task, pool=pool: written(model(), rows, task.limit_tokens, task, pool, seed), **parts
        )
        done.append((rows.height, computed))
        here = {"metric": pl.lit(task.metric), "model": pl.lit(name), "seed": pl.lit(seed, pl.Int64)}
        here |= {key: pl.lit(getattr(task, key), ASKED[key]) for key in ASKED if key in task.writing}
        here |= {CATEGORY: pl.lit(task.category)} if task.category else {}
        spoken = texts.with_columns(pl.Series("text", [said(text) for text in texts["text"]], dtype=pl.String))
        whole = scored(pl.concat([rows, spoken], how="horizontal"), task).with_columns(**here)
        if bertscore and task.metric == "text":
            (read_by, encoder), pairs = bertscore, (whole["text"].to_list(), whole["target"].to_list())
            found, _ = kept(partial(bertscored, encoder, *pairs), what="bertscore", encoder=read_by, pairs=pairs)
            whole = whole.hstack(found)
        besides = [column for named in COLUMNS.values() for column in named if column not in GENERATIONS]
        columns = [column for column in (*GENERATIONS, *besides, *LEAD, *ASKED, CATEGORY) if column in whole.columns]
        frames.append(whole.select(columns))
    return pl.concat(frames, how="diagonal"), done
