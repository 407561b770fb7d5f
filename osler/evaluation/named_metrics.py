"""Scores that a task names besides its own, each by one published definition.

Numbers of two definitions do not compare: on 50 texts of MedS-Bench ROUGE-L is 29.4 by `rouge_score` and 38.2 by
`rouge_package`. Pure functions; all are 0 to 1, and 0 for a text without words.
Words of `bleu_1` and `meteor_stem` are those of nltk's Treebank rules, without sentences, which nltk's `word_tokenize`
finds first, by data that it downloads. Chinese and Japanese, which have no spaces, are not cut into words.
"""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import polars as pl

from osler.evaluation.text_metrics import rouge_scores

Named = Literal["bleu_1", "rouge_score", "rouge_package", "meteor_stem", "contains", "first_letter"]
COLUMNS: dict[str, tuple[str, ...]] = {
    "bleu_1": ("bleu_1",),
    "rouge_score": ("rouge_l", "rouge_2", "rouge_1"),
    "rouge_package": ("rouge_package_l", "rouge_package_2", "rouge_package_1"),
    "meteor_stem": ("meteor_stem",),
    "contains": ("contains",),
    "first_letter": ("first_letter",),
}
"""The scores that each name stands for."""
ASKED = {"shots": pl.Int64(), "prompt": pl.String(), "temperature": pl.Float64(), "top_p": pl.Float64()}
"""How items were asked: columns of tasks that say so."""
CATEGORY = "category"
"""A column of tasks that have one."""
SEPARATOR = "; "
"""Between the labels of metric label_set: a normalized one has no such sign before a blank."""
LEAD = ("lead_rouge_l", "lead_rouge_2", "lead_rouge_1")
"""Columns of tasks with the baseline of that name."""
TINY = 1e-8  # the package's, in the denominator of F


def treebank_words(text: str) -> list[str]:
    """Words and signs by nltk's Treebank rules, case kept."""
    from nltk.tokenize import NLTKWordTokenizer

    return list(NLTKWordTokenizer().tokenize(text))


def bleu_1(words: Sequence[str], target: Sequence[str]) -> float:
    """Clipped precision of the words, times the brevity penalty.

    A word counts at most as often as the target has it.

    Source:
        Papineni et al. 2002, with one reference and unigrams alone: nltk's `sentence_bleu`, weights (1, 0, 0, 0).
    """
    if not words:
        return 0.0
    shared = (Counter(words) & Counter(target)).total()
    brevity = 1.0 if len(words) > len(target) else math.exp(1 - len(target) / len(words))
    return brevity * shared / len(words)


def _sentences(text: str) -> list[list[str]]:
    """Pieces between full stops, also those of decimals, as words.

    A piece of white space has one word, which is empty.
    """
    return [" ".join(piece.split()).split(" ") for piece in text.split(".") if piece]


def _common_words(target: Sequence[str], words: Sequence[str]) -> set[str]:
    """The different words of one longest common sequence, that which the package takes among several."""
    lengths = [[0] * (len(words) + 1) for _ in range(len(target) + 1)]
    for row, wanted in enumerate(target, start=1):
        above, here = lengths[row - 1], lengths[row]
        for column, word in enumerate(words, start=1):
            here[column] = above[column - 1] + 1 if wanted == word else max(above[column], here[column - 1])
    row, column, found = len(target), len(words), set[str]()
    while row and column:
        if target[row - 1] == words[column - 1]:
            found.add(target[row - 1])
            row, column = row - 1, column - 1
        elif lengths[row - 1][column] > lengths[row][column - 1]:
            row -= 1
        else:
            column -= 1
    return found


def rouge_package(text: str, target: str) -> tuple[float, float, float]:
    """ROUGE-L, ROUGE-2 and ROUGE-1 (F) as the package `rouge` 1.0.1 has them.

    Unlike those of `rouge_score`: every word and every pair counts once however often it stands there, case and signs are kept, and
    ROUGE-L is of the union over pairs of sentences. The package fails on a text without a sentence, and on long ones by recursion.

    Source:
        github.com/pltrdy/rouge at 1.0.1, `exclusive=True`; written anew.
    """
    ours, theirs = _sentences(text), _sentences(target)
    if not ours or not theirs:
        return 0.0, 0.0, 0.0
    common = {word for wanted in theirs for words in ours for word in _common_words(wanted, words)}
    flat = [[word for words in each for word in words] for each in (ours, theirs)]
    one, other = (set(words) for words in flat)
    pairs = [set(pairwise(words)) for words in flat]
    return (
        _f(len(common), len(one), len(other)),
        _f(len(pairs[0] & pairs[1]), len(pairs[0]), len(pairs[1])),
        _f(len(one & other), len(one), len(other)),
    )


def _f(shared: int, ours: int, theirs: int) -> float:
    precision, recall = (shared / each if each else 0.0 for each in (ours, theirs))
    return 2 * precision * recall / (precision + recall + TINY)


def meteor_stem(words: Sequence[str], target: Sequence[str]) -> float:
    """METEOR by equal words and equal Porter stems.

    Synonyms are not looked up, since WordNet is data that nltk downloads: lower than METEOR, and not to be compared with it.

    Source:
        Lavie and Agarwal 2007, as in nltk's `meteor_score`: alpha 0.9, beta 3, gamma 0.5.
    """
    from nltk.translate.meteor_score import single_meteor_score

    class NoSynonyms:
        @staticmethod
        def synsets(word: str) -> list[object]:  # noqa: ARG004 - nltk asks so
            return []

    return float(single_meteor_score(target, words, wordnet=NoSynonyms())) if words and target else 0.0


def contains(text: str, target: str) -> float:
    """Whether the text contains the target, as MedS-Bench's code has it.

    Case does not count, nor do full stops of the target. "no gout" contains gout, and so does "gouty": metric `label` is
    stricter.
    """
    wanted = target.replace(".", "").strip().lower()
    return float(bool(wanted) and wanted in text.lower())


def first_letter(text: str, target: str) -> float:
    """Whether both begin with the same letter of a to d.

    So MedS-Bench reads multiple choice. "Answer: B" begins with a and "cannot say" with c.
    """
    ours, theirs = (each.strip().lower()[:1] for each in (text, target))
    return float(ours == theirs and ours in tuple("abcd"))


def lead_scores(sources: Sequence[str], targets: Sequence[str]) -> dict[str, list[float]]:
    """The columns LEAD: ROUGE of the first words of each source.

    These are as many as the target has.
    """
    leads = [" ".join(source.split()[: len(target.split())]) for source, target in zip(sources, targets, strict=True)]
    rouge = rouge_scores(leads, targets)
    return {column: [getattr(each, column.removeprefix("lead_")) for each in rouge] for column in LEAD}


def named_scores(names: Sequence[Named], texts: Sequence[str], targets: Sequence[str]) -> dict[str, list[float]]:
    """The columns of `names`: a value for each text and its target."""
    pairs = list(zip(texts, targets, strict=True))
    words = [
        (treebank_words(text), treebank_words(target)) for text, target in pairs if {"bleu_1", "meteor_stem"} & {*names}
    ]
    found: dict[str, list[float]] = {}
    for name in names:
        match name:
            case "rouge_score":
                rouge = rouge_scores(texts, targets)
                found |= {column: [getattr(each, column) for each in rouge] for column in COLUMNS[name]}
            case "rouge_package":
                rows = [rouge_package(*pair) for pair in pairs]
                found |= {column: [row[place] for row in rows] for place, column in enumerate(COLUMNS[name])}
            case "bleu_1":
                found[name] = [bleu_1(*pair) for pair in words]
            case "meteor_stem":
                found[name] = [meteor_stem(*pair) for pair in words]
            case "contains":
                found[name] = [contains(*pair) for pair in pairs]
            case "first_letter":
                found[name] = [first_letter(*pair) for pair in pairs]
    return found
