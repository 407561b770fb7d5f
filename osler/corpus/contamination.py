"""Benchmark items inside documents.

Word n-grams for long questions, question and answer for short ones.

Two rules, both on normalized words:

* `ngram`: an item has up to two parts, question and context. Of each part with at least n words the share of its
  different n-grams that occur in the document is taken; `covered` is the larger. (Over both together, a document with
  the whole question but not its abstract would be 3 of 200 n-grams.) Options are not counted: lists such as "A and B
  only" recur everywhere.
* `question_and_answer`: a question shorter than n words has no n-gram. It counts when the whole question occurs and the
  words of the correct option occur, as a run, within a window before or after it.

A document is looked at once for each length of question: 42 to 54 MB/s of text on one core with 6,400 items, a third of it
finding the words, after 0.3 s for the items.

Source: the n of 13 is that of Brown et al. 2020, appendix C, arXiv 2005.14165.
"""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osler.corpus.compiled import compiled
from osler.corpus.hash_set import Keys, find, keys
from osler.corpus.word_hashes import BASE, I64, U64, Runs, inside_documents, rolling_hashes, word_runs

OVERLAPS = pl.Schema(
    {
        "doc_id": pl.String,
        "benchmark": pl.String,
        "item_id": pl.String,
        "rule": pl.String,
        "covered": pl.Float64,
    }
)


class ShortQuestion(NamedTuple):
    """A question too short for an n-gram.

    With the hashed words of its correct option.
    """

    item: int
    answer: U64


class ItemIndex(NamedTuple):
    """What `shared_ngrams` looks for; made once from the items.

    grams: n-grams of long parts.
    parts: one row for each different n-gram of each part: gram (position in grams), part, item, total (of that part).
    questions: for each length below n, the hashed short questions of that length.
    short: question hash -> the items that ask it.
    """

    words: int
    grams: Keys
    parts: pl.DataFrame
    questions: dict[int, Keys]
    short: dict[int, list[ShortQuestion]]


@compiled
def _mark(rolled: U64, hashes: U64, length: int, wanted: Keys, marks: NDArray[np.int32]) -> None:
    keys, table, shift = wanted
    for at in range(len(hashes) - length + 1):
        value = rolled[at] * BASE + hashes[at + length - 1]
        rolled[at] = value
        if table[value >> shift]:
            marks[at] = find(keys, value)


def occurrences(rolled: U64, hashes: U64, length: int, wanted: Keys) -> tuple[I64, I64]:
    """Find the wanted hashes among those of runs of `length` values.

    `rolled`, of the runs one shorter, is made into these.

    Returns:
        Positions in `rolled`, ascending; positions in `wanted.hashes`.
    """
    marks = np.full(len(hashes), -1, np.int32)
    _mark(rolled, hashes, length, wanted, marks)
    positions = np.flatnonzero(marks >= 0)
    return positions, marks[positions].astype(np.int64)


def item_index(items: pl.DataFrame, words: int) -> ItemIndex:
    """Prepare the items for `shared_ngrams`.

    Args:
        items: question, context, options, answer.
        words: n of the n-grams.
    """
    questions = word_runs(items["question"])
    contexts = word_runs(items["context"])
    answers = word_runs(items.select(pl.col("options").list.get(pl.col("answer")).alias("option"))["option"])
    tables = []
    for part, runs in enumerate((questions, contexts)):
        inside = inside_documents(runs, words)
        owner = np.searchsorted(runs.ends, inside, "right")
        gram = rolling_hashes(runs.hashes, words)[inside]
        tables.append(pl.DataFrame({"hash": gram, "part": 2 * owner + part, "item": owner}).unique(maintain_order=True))
    parts = pl.concat(tables).with_columns(pl.len().over("part").alias("total"))
    grams = keys(parts["hash"].to_numpy())
    parts = parts.with_columns(pl.Series("gram", np.searchsorted(grams.hashes, parts["hash"].to_numpy()))).drop("hash")

    short: dict[int, list[ShortQuestion]] = defaultdict(list)
    of_length: dict[int, list[int]] = defaultdict(list)
    for item, (start, end) in enumerate(zip(questions.starts.tolist(), questions.ends.tolist(), strict=True)):
        answer = answers.hashes[answers.starts[item] : answers.ends[item]]
        if 0 < end - start < words and len(answer):
            hashed = int(rolling_hashes(questions.hashes[start:end], end - start)[0])
            short[hashed].append(ShortQuestion(item, answer))
            of_length[end - start].append(hashed)
    lengths = {length: keys(np.array(of_length[length], np.uint64)) for length in range(1, words)}
    return ItemIndex(words, grams, parts, lengths, dict(short))


def contains(words: U64, run: U64) -> bool:
    """Whether `run` occurs in `words` as consecutive values."""
    starts = np.arange(len(words) - len(run) + 1)
    for offset, value in enumerate(run):
        starts = starts[words[starts + offset] == value]
    return len(starts) > 0


def _ngram_hits(runs: Runs, positions: I64, gram: I64, index: ItemIndex) -> pl.DataFrame:
    """document, item, covered."""
    document = np.searchsorted(runs.ends, positions, "right")
    inside = positions + index.words <= runs.ends[document]
    hits = pl.DataFrame({"document": document[inside], "gram": gram[inside]}).unique()
    return (
        hits.join(index.parts, on="gram")
        .group_by("document", "item", "part")
        .agg((pl.len() / pl.col("total").first()).alias("covered"))
        .group_by("document", "item")
        .agg(pl.col("covered").max())
    )


def _short_hits(
    runs: Runs, positions: I64, key: I64, length: int, index: ItemIndex, answer_window_words: int
) -> set[tuple[int, int]]:
    """(document, item) for the questions of one length."""
    wanted = index.questions[length]
    document = np.searchsorted(runs.ends, positions, "right")
    starts, ends = runs.starts[document], runs.ends[document]
    hits: set[tuple[int, int]] = set()
    for at, which, inside, start, end in zip(
        positions.tolist(), key.tolist(), document.tolist(), starts.tolist(), ends.tolist(), strict=True
    ):
        if at + length > end:
            continue
        before = runs.hashes[max(start, at - answer_window_words) : at]
        after = runs.hashes[at + length : min(end, at + length + answer_window_words)]
        for question in index.short[int(wanted.hashes[which])]:
            hit = (inside, question.item)
            if hit not in hits and (contains(after, question.answer) or contains(before, question.answer)):
                hits.add(hit)
    return hits


def shared_ngrams(
    documents: pl.DataFrame, items: pl.DataFrame, index: ItemIndex, answer_window_words: int
) -> pl.DataFrame:
    """What documents share with benchmark items.

    Args:
        documents: doc_id, text.
        items: benchmark, item_id, in the order the index was made from.
        index: result of `item_index`.
        answer_window_words: how many words from a short question its answer may be.
    Returns:
        Rows of OVERLAPS: one for each document, item and rule with a hit; in order of document, item, rule.
    """
    runs = word_runs(documents["text"])
    short: list[tuple[int, int]] = []
    rolled = np.zeros(len(runs.hashes), np.uint64)
    for length in range(1, index.words):
        positions, key = occurrences(rolled, runs.hashes, length, index.questions[length])
        short += _short_hits(runs, positions, key, length, index, answer_window_words)
    long_hits = _ngram_hits(runs, *occurrences(rolled, runs.hashes, index.words, index.grams), index)
    short_hits = pl.DataFrame(short, schema={"document": pl.Int64, "item": pl.Int64}, orient="row")
    hits = pl.concat(
        [
            long_hits.with_columns(rule=pl.lit("ngram")),
            short_hits.with_columns(covered=pl.lit(1.0), rule=pl.lit("question_and_answer")),
        ]
    ).sort("document", "item", "rule")
    document, item = hits["document"], hits["item"]
    columns = {"doc_id": documents["doc_id"].gather(document)}
    columns |= {name: items[name].gather(item) for name in ("benchmark", "item_id")}
    return pl.DataFrame(columns | {"rule": hits["rule"], "covered": hits["covered"]}, schema=OVERLAPS)
