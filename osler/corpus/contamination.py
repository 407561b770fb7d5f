"""Items of benchmarks and tasks inside documents.

Three rules, all on normalized words. An item has a question and, perhaps, a context; of a task's item these are the source
and the target.

* `ngram`: of each of the two with at least n words the share of its different n-grams that occur in the document is taken;
  `covered` is the larger. (Over both together, a document with the whole question but not its abstract would be 3 of 200
  n-grams.) Options are not counted: lists such as "A and B only" recur everywhere.
* `question_and_answer`: a question shorter than n words has no n-gram. It counts when the whole question occurs and the
  words of the correct option occur, as a run, within a window before or after it.
* `target_and_source`: nor has a context, or target, shorter than n words. It counts when it occurs whole within the window
  before or after a run of n words or more of its question, or source.

An edited copy keeps few n-grams. So with each hit stands the longest run of words in common, and the share of shorter
shingles (osler/corpus/shared_runs.py); `select` decides from which on that is a near copy.

A document is looked at once for each length of question: 42 to 54 MB/s of text on one core with 6,400 items, a third of it
finding the words, after 0.3 s for the items.

Source: the n of 13 is that of Brown et al. 2020, appendix C, arXiv 2005.14165.
"""

from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osler.corpus.compiled import compiled
from osler.corpus.hash_set import Keys, find, keys
from osler.corpus.near_duplicates import shingle_sets
from osler.corpus.shared_runs import Parts, shared_parts, stands_between
from osler.corpus.word_hashes import BASE, I64, U64, Runs, inside_documents, rolling_hashes, shingles, word_runs

OVERLAPS = pl.Schema(
    {
        "doc_id": pl.String,
        "benchmark": pl.String,
        "item_id": pl.String,
        "rule": pl.String,
        "covered": pl.Float64,
        "shingles": pl.Float64,
        "run_words": pl.UInt32,
    }
)
"""`shingles`: share of different shingles near each other; `run_words`: the longest run."""


HIT = ("document", "item", "covered", "shingles", "run_words")


class ShortQuestion(NamedTuple):
    """A question too short for an n-gram.

    With the hashed words of its correct option.
    """

    item: int
    answer: U64


class ItemIndex(NamedTuple):
    """What `shared_ngrams` looks for; made once from the items.

    grams: n-grams of long parts.
    parts: of all items; their n-grams are positions in grams.
    questions: for each length below n, the hashed short questions of that length.
    short: question hash -> the items that ask it.
    """

    words: int
    grams: Keys
    parts: Parts
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


def _parts(texts: pl.Series, words: int, shingle_words: int) -> tuple[Keys, Parts]:
    """The n-grams of questions and contexts, and where they stand."""
    runs = word_runs(texts)
    inside = inside_documents(runs, words)
    table = pl.DataFrame(
        {
            "hash": rolling_hashes(runs.hashes, words)[inside],
            "part": np.searchsorted(runs.ends, inside, "right"),
            "offset": inside,
        }
    )
    table = table.unique(["hash", "part"], keep="first", maintain_order=True).sort("hash", "part")
    grams = keys(table["hash"].to_numpy())
    first = np.searchsorted(table["hash"].to_numpy(), grams.hashes)
    part = table["part"].to_numpy()
    shingle_words = min(shingle_words, words)
    return grams, Parts(
        runs,
        shingle_sets(shingles(runs, shingle_words)),
        shingle_words,
        np.append(first, len(table)),
        part,
        table["offset"].to_numpy(),
        np.bincount(part, minlength=len(runs.ends)),
    )


def item_index(items: pl.DataFrame, words: int, shingle_words: int) -> ItemIndex:
    """Prepare the items for `shared_ngrams`.

    Args:
        items: question, context, options, answer.
        words: n of the n-grams.
        shingle_words: words in a shingle; no more than n are taken.
    """
    questions = word_runs(items["question"])
    answers = word_runs(items.select(pl.col("options").list.get(pl.col("answer")).alias("option"))["option"])
    grams, parts = _parts(pl.concat([items["question"], items["context"]]), words, shingle_words)

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


def _long_hits(runs: Runs, positions: I64, gram: I64, index: ItemIndex, window: int) -> pl.DataFrame:
    """document, item, rule, covered, shingles, run_words."""
    shared = shared_parts(runs, positions, gram, index.words, index.parts, window)
    covered = shared.ngrams / index.parts.totals[shared.part]
    alike = shared.shingles / index.parts.shingles.lengths[shared.part]
    item = shared.part % (len(index.parts.totals) // 2)
    hits = (
        pl.DataFrame(dict(zip(HIT, (shared.document, item, covered, alike, shared.run), strict=True)))
        .with_columns(answered=shared.answered)
        .group_by("document", "item")
        .agg(pl.col("covered", "shingles", "run_words").max(), pl.col("answered").any())
    )
    answered = hits.filter("answered").with_columns(rule=pl.lit("target_and_source"), covered=pl.lit(1.0))
    return pl.concat([hits.with_columns(rule=pl.lit("ngram")), answered]).drop("answered")


def _short_hits(
    runs: Runs, positions: I64, key: I64, length: int, index: ItemIndex, answer_window_words: int
) -> set[tuple[int, int]]:
    """(document, item) for the questions of one length.

    An answer longer than the window has room for itself.
    """
    wanted = index.questions[length]
    document = np.searchsorted(runs.ends, positions, "right")
    starts, ends = runs.starts[document], runs.ends[document]
    hits: set[tuple[int, int]] = set()
    for at, which, inside, start, end in zip(
        positions.tolist(), key.tolist(), document.tolist(), starts.tolist(), ends.tolist(), strict=True
    ):
        if at + length > end:
            continue
        for question in index.short[int(wanted.hashes[which])]:
            hit, reach = (inside, question.item), max(answer_window_words, len(question.answer))
            ranges = ((at + length, min(end, at + length + reach)), (max(start, at - reach), at))
            if hit not in hits and any(stands_between(runs.hashes, *range, question.answer) for range in ranges):
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
    short: list[tuple[Any, ...]] = []
    rolled = np.zeros(len(runs.hashes), np.uint64)
    for length in range(1, index.words):
        positions, key = occurrences(rolled, runs.hashes, length, index.questions[length])
        asked = _short_hits(runs, positions, key, length, index, answer_window_words)
        short += [(document, item, 1.0, 1.0, length) for document, item in asked]
    positions, gram = occurrences(rolled, runs.hashes, index.words, index.grams)
    schema = dict(zip(HIT, (pl.Int64, pl.Int64, pl.Float64, pl.Float64, pl.Int64), strict=True))
    short_hits = pl.DataFrame(short, schema=schema, orient="row").with_columns(rule=pl.lit("question_and_answer"))
    long_hits = _long_hits(runs, positions, gram, index, answer_window_words)
    hits = pl.concat([long_hits, short_hits], how="diagonal").sort("document", "item", "rule")
    document, item = hits["document"], hits["item"]
    columns = {"doc_id": documents["doc_id"].gather(document)}
    columns |= {name: items[name].gather(item) for name in ("benchmark", "item_id")}
    columns |= {name: hits[name] for name in ("rule", "covered", "shingles")}
    return pl.DataFrame(columns | {"run_words": hits["run_words"].cast(pl.UInt32)}, schema=OVERLAPS)
