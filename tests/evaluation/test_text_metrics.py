"""How near a text comes to its target, against values worked out by hand and against the libraries."""

import pytest

from osler.evaluation.text_metrics import (
    entities_of,
    label_of,
    labels_of,
    length_ratio,
    normalized,
    rouge_scores,
    token_f1,
)
from tests.support.project import SHARED


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The  Patient's knee,\nswollen!", "the patients knee swollen"),
        ("1.5 mg twice-daily.", "1.5 mg twicedaily"),
        ("BP 120/80, up.", "bp 120/80 up"),
        ("(5)", "5"),
        ("...", ""),
    ],
)
def test_a_sign_between_two_digits_stays(text: str, words: str) -> None:
    """Ten times the dose is another dose, which SQuAD's own normalization does not see."""
    assert normalized(text) == words


@pytest.mark.parametrize(
    ("text", "target", "f1"),
    [
        ("fern tea", "Fern tea.", 1.0),
        ("the fern tea twice", "fern tea", 2 * 2 / 5),  # two words shared of three and two: articles do not count
        ("tea tea tea", "fern tea", 2 * 1 / 5),  # a word counts as often as it occurs in both
        ("tea tea", "tea tea tea", 2 * 2 / 5),
        ("honey", "fern tea", 0.0),
        ("", "fern tea", 0.0),
        ("the", "a", 1.0),
    ],
)
def test_token_f1_counts_the_words_in_common(text: str, target: str, f1: float) -> None:
    """Twice the shared words over the words of both."""
    assert token_f1(text, target) == pytest.approx(f1)
    assert token_f1(target, text) == token_f1(text, target)


def test_rouge_is_the_overlap_of_words_pairs_and_the_longest_common_sequence() -> None:
    """For "a b c d" and "a c b d e" by hand: 4 words, no pair, and 3 words in one order."""
    (found,) = rouge_scores(["a b c d"], ["a c b d e"])
    assert found == pytest.approx((2 * 4 / 9, 0.0, 2 * 3 / 9))
    assert rouge_scores(["Runs, daily"], ["running daily"])[0].rouge_1 == 0.5  # no stemming


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real notes, in OSLER_SHARED_DATA")
def test_rouge_is_the_librarys_on_real_notes() -> None:
    """Target and prediction are not swapped, and nothing is stemmed: precision and recall differ, F does not."""
    import polars as pl
    from rouge_score.rouge_scorer import RougeScorer

    rows = pl.read_csv(SHARED / "instruct/mts_dialog/MTS-Dialog-ValidationSet.csv.gz")
    texts, targets = rows["dialogue"].to_list(), rows["section_text"].to_list()
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    for text, target, found in zip(texts, targets, rouge_scores(texts, targets), strict=True):
        expected = scorer.score(target=target, prediction=text)
        assert found == tuple(expected[kind].fmeasure for kind in ("rouge1", "rouge2", "rougeL"))


def test_length_is_words_written_for_each_word_wanted() -> None:
    """Nothing written is 0; a target without words has no ratio."""
    assert length_ratio("one two three", "one two") == 1.5
    assert length_ratio("", "one") == 0.0
    assert length_ratio("one", "  ") is None


LABELS = ["Hepatitis", "Viral hepatitis", "Gout", "Hepatitis A"]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("GOUT.", "gout"),
        ("The diagnosis is gout, then.", "gout"),
        ("viral hepatitis", "viral hepatitis"),
        ("hepatitis A", "hepatitis a"),
        ("gout or hepatitis", None),
        ("goutweed", None),
        ("nogout", None),
        ("", None),
    ],
)
def test_a_label_is_read_only_where_one_is_named(text: str, label: str | None) -> None:
    """Two labels, or none, are no answer; a label inside a longer one is not named."""
    assert label_of(text, LABELS) == label


def test_without_labels_the_whole_text_is_one() -> None:
    """A free-text diagnosis is right only as a whole."""
    assert label_of("Acute gout.", None) == "acute gout"
    assert label_of(" . ", None) is None


def test_entities_are_a_set_of_normalized_pieces() -> None:
    """Order, case and repetition do not count; what has no word is none."""
    assert entities_of("Fern tea; honey wrap ;;fern tea.", ";") == {"fern tea", "honey wrap"}


def test_all_labels_of_a_text_are_read_and_a_longer_one_hides_what_it_holds() -> None:
    """Viral hepatitis is not hepatitis too; a text without a label has none."""
    assert labels_of("Gout, and viral hepatitis.", LABELS) == {"gout", "viral hepatitis"}
    assert labels_of("gouty", LABELS) == frozenset()


def test_a_sentence_that_says_there_is_none_names_no_entity() -> None:
    """Without case and signs; among others it is an entity like them."""
    none = "There is no related entity"
    assert entities_of("there is no related entity.", ", ", none) == frozenset()
    assert entities_of("gout, cold", ", ", none) == {"gout", "cold"}
    assert len(entities_of("there is no related entity.", ", ")) == 1
