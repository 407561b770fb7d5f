"""How near a text comes to its target. Pure functions.

ROUGE, F1 of words, length, a label, a list of entities.

ROUGE is google-research's `rouge-score` without stemming, which is what Hugging Face's `evaluate` computes by default and
so what MTS-Dialog and ACI-Bench report; importing it costs 2 s (it brings nltk, whose stemmer is not used), so that only
texts pay it. ROUGE-L takes time in words of text x words of target: 30 ms for a note of 500 words.
Words are normalized as SQuAD's are (Rajpurkar et al. 2016, arXiv 1606.05250), with two exceptions: a sign between two
digits stays, since 1.5 mg is not 15 mg, and in labels and entities so do articles, since hepatitis A is a disease.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

_SIGNS = re.escape(string.punctuation)
_PUNCTUATION = re.compile(rf"(?<!\d)[{_SIGNS}]|[{_SIGNS}](?!\d)")
_ARTICLES = ("a", "an", "the")


class Rouge(NamedTuple):
    """F-measures, 0 to 1."""

    rouge_1: float
    rouge_2: float
    rouge_l: float


def normalized(text: str) -> str:
    """`text` in lower case, without punctuation, one blank between words."""
    return " ".join(_PUNCTUATION.sub("", text.lower()).split())


def without_opening(text: str, opening: str | None) -> str:
    """`text` without the `opening` and a colon that it begins with."""
    return re.sub(rf"\A\s*{re.escape(opening)}\s*:?\s*", "", text, flags=re.IGNORECASE) if opening else text


def rouge_scores(texts: Sequence[str], targets: Sequence[str]) -> list[Rouge]:
    """ROUGE-1, ROUGE-2 and ROUGE-L of each text against its target.

    The whole text counts as one sequence of words.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    found = [scorer.score(target, text) for text, target in zip(texts, targets, strict=True)]
    return [Rouge(*(float(each[kind].fmeasure) for kind in ("rouge1", "rouge2", "rougeL"))) for each in found]


def token_f1(text: str, target: str) -> float:
    """F1 of the words of a text and its target.

    Articles are left out, and each word counts as often as it occurs. It is 1 when neither has a word.
    """
    ours, theirs = (
        Counter(word for word in normalized(each).split() if word not in _ARTICLES) for each in (text, target)
    )
    if not ours and not theirs:
        return 1.0
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())


def length_ratio(text: str, target: str) -> float | None:
    """Words of the text over words of the target.

    Both are split at white space. None for a target without words.
    """
    words = len(target.split())
    return len(text.split()) / words if words else None


def label_of(text: str, labels: Sequence[str] | None) -> str | None:
    """The label that `text` gives, normalized.

    None when it gives none that can be read. With `labels` it is the text itself, or the only one of them that occurs
    in it as whole words ("hepatitis" does not occur in "viral hepatitis" where that is a label too). What stands around
    it is not understood: "no hepatitis" gives hepatitis. Without `labels` it is the whole text.
    """
    if labels is None:
        return normalized(text) or None
    named = labels_of(text, labels)
    return next(iter(named)) if len(named) == 1 else None


def labels_of(text: str, labels: Sequence[str]) -> frozenset[str]:
    """All the labels that occur in `text` as whole words, normalized.

    See `label_of`.
    """
    known = sorted(map(normalized, labels), key=len, reverse=True)
    return frozenset(re.findall(rf"(?<!\w)(?:{'|'.join(map(re.escape, known))})(?!\w)", normalized(text)))


def entities_of(text: str, separator: str, none: str | None = None) -> frozenset[str]:
    """The different entities of a list, normalized.

    Pieces without a word are none, nor is a text that is the sentence `none` for there being none.
    """
    if none is not None and normalized(text) == normalized(none):
        return frozenset()
    return frozenset(filter(None, map(normalized, text.split(separator))))


def shared_f1(ours: frozenset[str], theirs: frozenset[str]) -> float:
    """F1 of two sets, 1 where both are empty."""
    return 2 * len(ours & theirs) / (len(ours) + len(theirs)) if ours or theirs else 1.0
