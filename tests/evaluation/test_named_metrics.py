"""Scores that a task names, against values by hand, the libraries, and outputs of a published model."""

import math
from statistics import fmean

import polars as pl
import pytest
from pydantic import ValidationError

from osler.evaluation.named_metrics import (
    COLUMNS,
    bleu_1,
    contains,
    first_letter,
    meteor_stem,
    named_scores,
    rouge_package,
    treebank_words,
)
from osler.evaluation.text_metrics import without_opening
from osler.statistics.task_scores import scores_of
from tests.evaluation.test_tasks import task
from tests.statistics.test_task_scores import PAIRS, generations
from tests.support.project import SHARED


@pytest.mark.parametrize(
    ("text", "target", "score"),
    [
        ("the the the", "the cat sat", 1 / 3),  # a word counts as often as the target has it
        ("the cat", "the cat sat", math.exp(1 - 3 / 2)),  # too short
        ("the cat sat down", "the cat sat", 3 / 4),  # too long costs only the word
        ("Fever.", "fever", 0.0),  # case counts, and the full stop is a word
        ("", "fever", 0.0),
    ],
)
def test_bleu_1_is_clipped_precision_with_the_brevity_penalty(text: str, target: str, score: float) -> None:
    """It is nltk's sentence_bleu with weights (1, 0, 0, 0) and its first smoothing, which MedS-Bench calls."""
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    words, wanted = treebank_words(text), treebank_words(target)
    assert bleu_1(words, wanted) == pytest.approx(score)
    smooth = SmoothingFunction().method1
    theirs = sentence_bleu([wanted], words, weights=(1, 0, 0, 0), smoothing_function=smooth) if words else 0.0
    assert theirs == pytest.approx(score)


@pytest.mark.parametrize(
    ("text", "target", "scores"),
    [
        # a word counts once: 2 of 2 and of 3 words; pairs "a a" and "a b" of two and three; the same for the sequence
        ("a a b", "a a b c", (0.8, 0.8, 0.8)),
        ("Runs", "runs.", (0.0, 0.0, 0.0)),  # case counts
        # sentences change places: nothing is lost by the union, but for the pair across the full stop
        ("c d. a b", "a b. c d", (1.0, 2 / 3, 1.0)),
        # after the last full stop a blank is a sentence of one empty word, of which the target has none
        ("a b. ", "a b.", (0.8, 2 / 3, 0.8)),
        ("1.5 mg", "1. 5 mg", (1.0, 1.0, 1.0)),  # a decimal is two sentences
        # of "x a b" and "b a x" the package takes the sequence "b", then "a" and so on: values of the package 1.0.1
        ("x a b", "b a x", (1 / 3, 0.0, 1.0)),
        (".", "a", (0.0, 0.0, 0.0)),
    ],
)
def test_rouge_package_has_the_values_of_the_package(text: str, target: str, scores: tuple[float, ...]) -> None:
    """Each was computed by rouge 1.0.1 too, which gives no value for a text without a sentence."""
    assert rouge_package(text, target) == pytest.approx(scores, abs=1e-7)


def test_the_union_over_sentences_is_of_words_and_not_of_places() -> None:
    """Both sentences share "a" with the target's one: it counts once, 2 * 1 / (2 + 3)."""
    assert rouge_package("a x. a y", "a b")[0] == pytest.approx(2 * 1 / (3 + 2), abs=1e-7)


def test_meteor_by_stems_knows_stems_and_no_synonyms() -> None:
    """One chunk of two matches: 1 - 0.5 * (1 / 2) ** 3; a synonym is another word."""
    assert meteor_stem(["fevers", "rose"], ["fever", "rose"]) == pytest.approx(1 - 0.5 / 8)
    assert meteor_stem(["car"], ["automobile"]) == 0
    assert meteor_stem([], ["fever"]) == 0


def test_contains_is_the_papers_and_not_a_label() -> None:
    """A denied label counts, and so does part of a word; full stops of the target do not."""
    assert contains("No sign of GOUT today", "gout.") == 1
    assert contains("gouty arthritis", "Gout") == 1
    assert contains("ache", "gout") == 0
    assert contains("anything", ".") == 0


def test_first_letter_reads_what_the_paper_reads() -> None:
    """Only a to d, and only the first sign."""
    assert first_letter(" B: oak", "B: elm") == 1
    assert first_letter("B", "A") == 0
    assert first_letter("Answer: B", "A") == 1
    assert first_letter("yes", "yes") == 0
    assert first_letter("", "A") == 0


def test_a_named_score_stands_with_its_interval_after_the_tasks_own() -> None:
    """Means over items with their bounds; a name that repeats the task's own adds nothing."""
    section = task(metrics=["bleu_1", "rouge_package", "rouge_score"])
    rows = generations(PAIRS, section)
    found = scores_of(rows, "text", 0.95)
    assert list(found)[:7] == ["rouge_l", "rouge_2", "rouge_1", "bleu_1", *COLUMNS["rouge_package"]]
    assert found["bleu_1"].estimate == pytest.approx(fmean(rows["bleu_1"]))
    assert found["bleu_1"].low < found["bleu_1"].estimate < found["bleu_1"].high
    label = scores_of(generations([("a gout", "gout")], task(metric="label", metrics=["contains"])), "label", 0.95)
    assert (label["accuracy"].estimate, label["contains"].estimate) == (0, 1)


def test_words_before_every_target_count_for_no_score() -> None:
    """A label behind them is the label, in the text and in the target."""
    assert without_opening("the Diagnosis IS: gout", "The diagnosis is") == "gout"
    assert without_opening("gout. The diagnosis is", "The diagnosis is") == "gout. The diagnosis is"
    section = task(metric="label", opening="The diagnosis is", metrics=["contains"])
    rows = generations(
        [("Gout", "The diagnosis is gout."), ("The diagnosis is cold", "The diagnosis is gout.")], section
    )
    assert rows["score"].to_list() == rows["contains"].to_list() == [1, 0]


def test_a_name_that_is_none_or_twice_is_refused() -> None:
    """Before the build and not after it; a task that names none writes no key of it."""
    for names in (["rouge"], ["bleu_1", "bleu_1"], []):
        with pytest.raises(ValidationError):
            task(metrics=names)
    assert not {"metrics", "opening"} & set(task().model_dump())
    assert task(metrics=["bleu_1"]).model_dump()["metrics"] == ["bleu_1"]


@pytest.mark.skipif(not (SHARED / "eval/meds").is_dir(), reason="needs the outputs, in OSLER_SHARED_DATA")
def test_published_outputs_score_as_by_the_papers_code() -> None:
    """The 50 English explanations of MMedS-Llama 3: BLEU-1 46.4 and ROUGE-L 38.2 of the package; 29.4 by rouge-score."""
    rows = pl.read_csv(SHARED / "eval/meds/rationale_outputs_mmeds_llama3.csv.gz").filter(pl.col("task_id") == "task52")
    texts, targets = ([text.strip() for text in rows[name]] for name in ("output", "GT"))
    found = named_scores(["rouge_score", "rouge_package", "bleu_1"], texts, targets)
    means = {name: round(100 * fmean(values), 1) for name, values in found.items()}
    assert means == {
        "rouge_l": 29.4,
        "rouge_2": 21.5,
        "rouge_1": 51.6,
        "rouge_package_l": 38.2,
        "rouge_package_2": 16.4,
        "rouge_package_1": 42.2,
        "bleu_1": 46.4,
    }
