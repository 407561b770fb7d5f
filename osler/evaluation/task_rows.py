"""Rows of classification tasks: which are learned, which are tested, and which are left out.

For tasks that are learned in sequence; exercises.py has those of one task. Rows in = rows learned + rows tested + rows dropped,
with reasons:
other_label: the target is none of those asked for; duplicate: the same words as a row before, under the same label;
two_labels: the same words under two labels, all of them; unseen_label: tested, and no learned row has its label;
withdrawn, asked_group, asked, contaminated, near_copy: learned, and it must not be (learned_rows.py), since it is listed, or has
what is tested, of any of the tasks, or asked by a benchmark or another task; too_long: no row of tokens holds it; not_drawn: more
than were asked for.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from osler.build.section import BuildError
from osler.corpus.overlaps import task_items
from osler.corpus.word_hashes import run_hashes, word_runs
from osler.evaluation.learned_rows import Guard, Refused, refused
from osler.training.in_turn import InTurn

ROWS = pl.Schema(
    {
        "item_id": pl.String,
        "task": pl.String,
        "group": pl.String,
        "split": pl.String,  # train or test
        "text": pl.String,  # as it is read: cut
        "label": pl.String,  # in words
    }
)


@dataclass(frozen=True)
class Divided:
    """Rows of all tasks as ROWS, and what was left out."""

    rows: pl.DataFrame
    dropped: Mapping[str, Refused] = field(default_factory=dict)


def labelled(items: pl.DataFrame, words: Mapping[str, str] | None, dropped: Refused) -> pl.DataFrame:
    """Rows with their label in words.

    Args:
        items: item_id, task, group, split, text, target.
        words: of each target that is asked for; None: all are, as they stand.
        dropped: gets those of other targets.
    """
    if words is None:
        return items.with_columns(label=pl.col("target").str.strip_chars())
    asked = pl.col("target").is_in(list(words))
    for item_id, target in items.filter(~asked).select("item_id", "target").iter_rows():
        dropped[item_id] = "other_label", target
    return items.filter(asked).with_columns(label=pl.col("target").replace_strict(dict(words), return_dtype=pl.String))


def without_copies(rows: pl.DataFrame, dropped: Refused) -> pl.DataFrame:
    """Rows of which no two have the same words, in order.

    Case, accents and punctuation are no difference.
    """
    hashed = rows.with_columns(words=pl.Series(run_hashes(word_runs(rows["text"]))))
    labels: dict[int, set[str]] = defaultdict(set)
    for words, label in hashed.select("words", "label").iter_rows():
        labels[words].add(label)
    first: dict[int, str] = {}
    kept = []
    for item_id, words in hashed.select("item_id", "words").iter_rows():
        if len(labels[words]) > 1:
            dropped[item_id] = "two_labels", " and ".join(sorted(labels[words]))
        elif words in first:
            dropped[item_id] = "duplicate", first[words]
        else:
            first[words] = item_id
            kept.append(item_id)
    return rows.filter(pl.col("item_id").is_in(kept))


def generator(seed: int, *names: str) -> np.random.Generator:
    """Draws that depend on the seed and the names alone.

    A task more changes none of another's.
    """
    digest = hashlib.blake2b("\0".join(names).encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "little")])


def with_splits(rows: pl.DataFrame, train_fraction: float, seed: int) -> pl.DataFrame:
    """Rows of one task whose split is train or test.

    Where some are of the split dev, these are learned. Else whole groups are drawn.
    """
    if (rows["split"] == "dev").any():
        return rows.with_columns(split=pl.col("split").replace({"dev": "train"}))
    groups = sorted(set(rows["group"]))
    order = generator(seed, "split", rows["task"][0]).permutation(len(groups)) if groups else np.zeros(0, np.int64)
    train = [groups[place] for place in order[: round(train_fraction * len(groups))]]
    return rows.with_columns(
        split=pl.when(pl.col("group").is_in(train)).then(pl.lit("train")).otherwise(pl.lit("test"))
    )


def limited(rows: pl.DataFrame, split: str, most: int, seed: int, dropped: Refused) -> pl.DataFrame:
    """Rows of which at most `most` are of a split, drawn."""
    own = rows.filter(pl.col("split") == split)["item_id"].to_list()
    order = generator(seed, split, *rows["task"].head(1)).permutation(len(own))
    out = [own[place] for place in order[most:]]
    dropped |= {item_id: ("not_drawn", f"{most} of {len(own)} {split} rows were") for item_id in out}
    return rows.filter(~pl.col("item_id").is_in(out))


def without_leaks(rows: pl.DataFrame, guard: Guard) -> tuple[pl.DataFrame, Refused]:
    """Rows of all tasks without learned ones that show what is tested.

    Args:
        guard: its items are those besides the tested rows.
    """
    told = rows.with_columns(source=pl.col("text"), target=pl.col("label"))
    tested, learned = (told.filter(pl.col("split") == split) for split in ("test", "train"))
    whole = guard._replace(items=pl.concat([guard.items, task_items(tested).select(guard.items.columns)]))
    dropped: Refused = {}
    for task in rows["task"].unique(maintain_order=True):
        dropped |= refused(learned.filter(pl.col("task") == task), whole, task)
    return rows.filter(~pl.col("item_id").is_in(list(dropped))), dropped


def check_labels(labels: Mapping[str, Sequence[str]]) -> None:
    """Labels of all tasks must be told apart by what is written.

    Raises:
        BuildError: two are the same, or one begins with another: it would never be less likely than that.
    """
    owners = [(label, task) for task, own in labels.items() for label in own]
    for place, (label, task) in enumerate(owners):
        for other, its in owners[:place]:
            if label.startswith(other) or other.startswith(label):
                raise BuildError(
                    f"params.yaml: continual: the label {label!r} of {task} begins as {other!r} of {its} does; give one of"
                    " them other words under `labels`"
                )


def check_counts(rows: pl.DataFrame, tasks: Sequence[str]) -> None:
    """Every task has labels to learn and rows to test.

    These are two labels of two learned rows, and a tested row.

    Raises:
        BuildError: names the task and what is missing.
    """
    for task in tasks:
        own = rows.filter(pl.col("task") == task)
        counts = Counter(own.filter(pl.col("split") == "train")["label"])
        if len(counts) < 2 or min(counts.values()) < 2:
            few = min(counts, key=lambda label: counts[label], default="no label")
            raise BuildError(
                f"data/items/tasks/{task}.parquet: {len(counts)} labels to learn, {few!r} with {counts[few]} rows; two of at"
                " least two rows are needed: raise continual's train_rows, or name fewer labels"
            )
        if lost := sorted(set(own["label"]) - set(counts)):
            raise BuildError(
                f"data/items/tasks/{task}.parquet: no row of {lost[0]!r} fits pack.sequence_length_tokens; lower"
                " continual's source_limit_tokens"
            )
        if not len(own.filter(pl.col("split") == "test")):
            raise BuildError(
                f"data/items/tasks/{task}.parquet: no row is left to test on; lower continual's train_fraction"
            )


def shortened(tokenizer: Any, texts: Sequence[str], limit: int) -> list[tuple[str, int]]:
    """Each text up to its `limit`-th token, and its tokens before."""
    plain = {"add_special_tokens": False, "return_offsets_mapping": True, "verbose": False}
    read = tokenizer(list(texts), **plain) if texts else {"input_ids": [], "offset_mapping": []}
    return [
        (text if len(ids) <= limit else text[: offsets[limit - 1][1]].rstrip(), len(ids))
        for text, ids, offsets in zip(texts, read["input_ids"], read["offset_mapping"], strict=True)
    ]


def own_rows(items: pl.DataFrame, task: str, section: InTurn, dropped: Refused) -> pl.DataFrame:
    """The rows of one task as ROWS.

    Args:
        items: item_id, task, group, split, text, target.
        dropped: gets what is left out.
    """
    rows = without_copies(labelled(items, section.labels.get(task), dropped), dropped)
    rows = with_splits(rows, section.train_fraction, section.rows_seed)
    rows = limited(rows, "test", section.test_rows, section.rows_seed, dropped)
    return rows.select(list(ROWS))


def divided(items: Mapping[str, pl.DataFrame], section: InTurn, guard: Guard) -> Divided:
    """The rows of all tasks, and what was left out.

    Args:
        items: of each task; see `own_rows`.
        guard: see `without_leaks`.
    Raises:
        BuildError: labels cannot be told apart, or a task has too few rows; see `check_labels` and `check_counts`.
    """
    dropped: dict[str, Refused] = {task: {} for task in section.tasks}
    whole = pl.concat([own_rows(items[task], task, section, dropped[task]) for task in section.tasks])
    rows, shown = without_leaks(whole, guard)
    kept = []
    for task in section.tasks:
        dropped[task] |= {item_id: why for item_id, why in shown.items() if item_id in set(items[task]["item_id"])}
        own = limited(
            rows.filter(pl.col("task") == task), "train", section.train_rows, section.rows_seed, dropped[task]
        )
        known = own.filter(pl.col("split") == "train")["label"].unique().to_list()
        unseen = own.filter(~pl.col("label").is_in(known))
        dropped[task] |= {
            item_id: ("unseen_label", label) for item_id, label in unseen.select("item_id", "label").iter_rows()
        }
        kept.append(own.filter(pl.col("label").is_in(known)))
    rows = pl.concat(kept)
    check_counts(rows, section.tasks)
    check_labels(labels_of(rows, section.tasks))
    return Divided(rows, dropped)


def labels_of(rows: pl.DataFrame, tasks: Sequence[str]) -> dict[str, list[str]]:
    """The labels of each task, sorted: those of its learned rows."""
    learned = rows.filter(pl.col("split") == "train")
    return {task: sorted(set(learned.filter(pl.col("task") == task)["label"])) for task in tasks}
