"""Signals of quality, their thresholds, and planted junk."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from osler.corpus import text_counts as module
from osler.corpus.language import languages
from osler.corpus.quality import INSTRUCTION_RULES, RULES, Quality, Rule, failures, reasons, signals
from osler.corpus.scanning_errors import ALPHABET, TRIGRAMS, character_classes, rare_trigrams
from osler.corpus.text_counts import BOILERPLATE
from osler.ingest.drafts import Draft, documents_frame, draft
from osler.ingest.records import raw_records
from osler.ingest.source import Source
from osler.synthetic.clinic import companions, render, town_documents
from osler.synthetic.knowledge import knowledge_base
from osler.synthetic.settings import Synthesize
from tests.support.junk import KINDS, LANGUAGES, SEVERITIES, furniture, genuine, junk, misread
from tests.support.params import profile_params
from tests.support.project import SHARED

ROOT = Path(__file__).parents[2]
REAL: dict[str, Any] = profile_params("real-small")["quality"]
INVENTED_NAMES: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())["quality"]


def quality(**changed: Any) -> Quality:
    """The thresholds for real text, with `changed` ones."""
    return Quality.model_validate_json(json.dumps(REAL | changed))


def first_broken(found: pl.DataFrame, thresholds: Quality, rules: Sequence[Rule] = RULES) -> pl.Series:
    """The reasons without their details."""
    return reasons(found, thresholds, rules)["reason"]


def dropped_share(found: pl.Series) -> float:
    """Of all documents those with a reason."""
    return 1 - found.null_count() / len(found)


def signal(text: str, name: str) -> Any:
    """One signal of one text."""
    return signals(pl.Series([text]))[name][0]


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("the cat  sat\n\n on", "whitespace_words", 4),
        ("", "whitespace_words", 0),
        ("the cat (sat)", "mean_word_characters", 11 / 3),
        ("αβγ δ", "mean_word_characters", 2),
        ("12 (p = 0.03) ab IL-6", "alphabetic_word_fraction", 3 / 6),
        ("β 中 é 1 -", "alphabetic_word_fraction", 3 / 5),
        ("The the, THE. be withal (to", "stop_words", 2),
        ("the be to of and that have with", "stop_words", 8),
        ("# a ... b… c.. d. .... e", "symbol_word_ratio", 4 / 8),
        ("a1 2", "digit_fraction", 2 / 3),
        ("a\ufffd \ufffd\n b", "replacement_character_fraction", 2 / 4),
        ("", "replacement_character_fraction", 0),
        ("٣ ½ x", "digit_fraction", 2 / 3),
        ("- a\n• b\n c\n\n* d", "bullet_line_fraction", 3 / 4),
        ("a...\nb…\nc..\nd ... e", "ellipsis_line_fraction", 2 / 4),
        ("ab cd\nx\nAB  cd.\n\nab cd", "repeated_line_fraction", 2 / 4),
        ("ab cd\nx\nAB  cd.\n\nab cd", "repeated_line_character_fraction", 9 / 14),
        ("ab cd\ncd ab", "repeated_line_fraction", 0),
        ("a b a b c", "top_2gram_fraction", 4 / 5),
        ("aa b c aa b", "top_2gram_fraction", 6 / 7),
        ("a b c d", "top_2gram_fraction", 0),
        ("ab cd db ca", "top_2gram_fraction", 0),
        ("a a a a", "top_2gram_fraction", 1),
        ("a b c x A b, c y", "top_3gram_fraction", 7 / 9),
        ("a b c d x a b c d", "top_4gram_fraction", 8 / 9),
        ("a b c d e x a b c d e", "repeated_5gram_fraction", 5 / 11),
        ("a b c d e f x a b c d e f", "repeated_5gram_fraction", 6 / 13),
        ("a b c d e x a b c d f", "repeated_5gram_fraction", 0),
        ("a b c d e x a b c d e", "repeated_10gram_fraction", 0),
        (" ".join("abcdefghij" * 2), "repeated_10gram_fraction", 10 / 20),
        ("Read our Privacy Policy. Log in", "boilerplate_word_fraction", 4 / 6),
        ("back to the top, privacy and policy", "boilerplate_word_fraction", 0),
        ("- read more, read more read", "boilerplate_word_fraction", 4 / 6),
        ("the patient", "rare_trigram_fraction", 0),
        ("xqz", "rare_trigram_fraction", 1),
        ("pa1ient", "rare_trigram_fraction", 2 / 6),
        (f"{'xqz' * 9} the", "rare_trigram_fraction", 0),
        ("12 34", "rare_trigram_fraction", 0),
    ],
)
def test_signals_by_eye(text: str, name: str, expected: float) -> None:
    """Words stand between white space.

    Case and a word's last punctuation do not count where words are compared.
    """
    assert signal(text, name) == pytest.approx(expected, abs=1e-6)


def test_documents_do_not_see_each_other() -> None:
    """A document's signals are the same in any company.

    Alone, between copies of itself, and after another with its first half.
    """
    texts = ["", "a b c d e f g h i j k", "... a b", "privacy", "policy a b c d e", "the\nthe", "#", "a b c", ""]
    together = signals(pl.Series(texts * 2))
    alone = pl.concat([signals(pl.Series([text])) for text in texts * 2])
    assert together.equals(alone)


def test_no_documents_no_signals() -> None:
    """An empty batch has all columns and no row."""
    assert signals(pl.Series([], dtype=pl.String)).schema == signals(pl.Series(["a"])).schema


def slow_repeated(words: list[str], length: int) -> float:
    """The share of characters in n-grams that came earlier, with sets."""
    seen: set[tuple[str, ...]] = set()
    covered: set[int] = set()
    for start in range(len(words) - length + 1):
        ngram = tuple(words[start : start + length])
        if ngram in seen:
            covered.update(range(start, start + length))
        seen.add(ngram)
    return sum(len(words[place]) for place in covered) / max(1, sum(map(len, words)))


def slow_top(words: list[str], length: int) -> float:
    """The share of characters in the n-gram that covers most.

    With a counter.
    """
    counts = Counter(tuple(words[start : start + length]) for start in range(len(words) - length + 1))
    covered = [count * sum(map(len, ngram)) for ngram, count in counts.items() if count > 1]
    return min(1.0, max(covered, default=0) / max(1, sum(map(len, words))))


TEXTS = st.lists(st.lists(st.sampled_from(["a", "bb", "ccc"]), max_size=25), min_size=1, max_size=5)


@given(TEXTS)
def test_repetition_is_that_of_the_slow_way(documents: list[list[str]]) -> None:
    """Every repetition signal of every document against sets and counters."""
    found = signals(pl.Series([" ".join(words) for words in documents]))
    for number, words in enumerate(documents):
        for length in module.REPEATED_WORDS:
            assert found[f"repeated_{length}gram_fraction"][number] == pytest.approx(slow_repeated(words, length))
        for length in module.TOP_WORDS:
            assert found[f"top_{length}gram_fraction"][number] == pytest.approx(slow_top(words, length))


def test_trigrams_know_only_what_is_listed() -> None:
    """trigrams.txt has no line twice, and no "xqz".

    "the" and "est" are in it; a digit in the middle is never rare.
    """
    lines = TRIGRAMS.read_text(encoding="utf-8").splitlines()
    assert len({line[:2] for line in lines}) == len(lines)
    rare = rare_trigrams().reshape((len(ALPHABET),) * 3)
    number = ALPHABET.index
    assert [bool(rare[tuple(map(number, trigram))]) for trigram in ("the", "est", "xqz", "x0z", "___")] == [
        False, False, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("characters", "expected"),
    [("aZ", "az"), ("1²½", "000"), (" \n\u00a0\u2003", "____"), ("éßα中", "éééé"), (".(“", "...")],
)
def test_character_classes(characters: str, expected: str) -> None:
    """Each class holds the characters that its name says.

    Letters without case, any number, any white space, any other letter, common punctuation.
    """
    assert [ALPHABET[character_classes()[ord(character)]] for character in characters] == list(expected)
    assert ALPHABET[character_classes()[ord("~")]] == "~"


ENGLISH = "The patient was admitted with chest pain and treated with aspirin."
PASSING = signals(pl.Series([ENGLISH]))


def test_ordinary_text_breaks_no_rule() -> None:
    """A sentence of a discharge letter passes.

    Nothing is no repetition of itself.
    """
    assert first_broken(PASSING, quality())[0] is None


@pytest.mark.parametrize("rule", [rule.name for rule in RULES if rule.name != "foreign_language"])
def test_the_threshold_itself_passes(rule: str) -> None:
    """With the threshold at the signal's own value a document stays.

    A hair stricter, and its rule is the reason.
    """
    threshold, column = {
        "no_words": ("minimum_alphabetic_word_fraction", "alphabetic_word_fraction"),
        "short_words": ("minimum_mean_word_characters", "mean_word_characters"),
        "few_stop_words": ("minimum_stop_words", "stop_words"),
        "replacement_characters": ("maximum_replacement_character_fraction", "replacement_character_fraction"),
        "digits": ("maximum_digit_fraction", "digit_fraction"),
        "garbled": ("maximum_rare_trigram_fraction", "rare_trigram_fraction"),
        "long_words": ("maximum_mean_word_characters", "mean_word_characters"),
        "symbols": ("maximum_symbol_word_ratio", "symbol_word_ratio"),
        "bullets": ("maximum_bullet_line_fraction", "bullet_line_fraction"),
        "ellipses": ("maximum_ellipsis_line_fraction", "ellipsis_line_fraction"),
        "repeated_lines": ("maximum_repeated_line_fraction", "repeated_line_fraction"),
        "repeated_line_characters": ("maximum_repeated_line_character_fraction", "repeated_line_character_fraction"),
        "top_2gram": ("maximum_top_2gram_fraction", "top_2gram_fraction"),
        "top_3gram": ("maximum_top_3gram_fraction", "top_3gram_fraction"),
        "top_4gram": ("maximum_top_4gram_fraction", "top_4gram_fraction"),
        "repeated_5grams": ("maximum_repeated_5gram_fraction", "repeated_5gram_fraction"),
        "repeated_10grams": ("maximum_repeated_10gram_fraction", "repeated_10gram_fraction"),
        "boilerplate": ("maximum_boilerplate_word_fraction", "boilerplate_word_fraction"),
    }[rule]
    is_count = column == "stop_words"
    value = 3 if is_count else 0.7
    here = PASSING.with_columns(pl.lit(value, PASSING.schema[column]).alias(column))
    loose = {name: 1.0 for name in REAL if name.startswith("maximum")} | {"minimum_mean_word_characters": 0.0}
    loose |= {"maximum_mean_word_characters": 100.0}
    stricter = value + (1 if is_count else 0.001) * (1 if threshold.startswith("minimum") else -1)
    assert first_broken(here, quality(**loose | {threshold: value}))[0] is None
    assert first_broken(here, quality(**loose | {threshold: stricter}))[0] == rule


@pytest.mark.parametrize(
    ("language", "fraction", "expected"),
    [("de", 0.5, "foreign_language"), ("de", 0.49, None), ("en", 0.99, None), ("un", 0.99, None), ("fr", 0.9, None)],
)
def test_only_a_language_that_is_surely_another_is_foreign(
    language: str, fraction: float, expected: str | None
) -> None:
    """With English and French wanted German goes from half the text on.

    An unknown language stays.
    """
    here = PASSING.with_columns(
        pl.lit(language).alias("language"), pl.lit(fraction, pl.Float32).alias("language_fraction")
    )
    assert first_broken(here, quality(languages=["en", "fr"]))[0] == expected


def test_the_first_broken_rule_is_the_reason_and_all_are_counted() -> None:
    """A repeated line of numbers breaks rules on numbers, lines and n-grams.

    Numbers come first.
    """
    found = signals(pl.Series([ENGLISH, "\n".join(["1.2 3.4 5.6 7.8 9.0 1.1"] * 9), "¡Hola! " * 9]))
    assert first_broken(found, quality()).to_list()[:2] == [None, "digits"]
    broken = failures(found, quality())
    assert broken.columns == [rule.name for rule in RULES]
    assert broken.row(0, named=True) == dict.fromkeys(broken.columns, False)
    assert {name for name, is_broken in broken.row(1, named=True).items() if is_broken} >= {
        "digits", "no_words", "repeated_lines", "repeated_line_characters", "repeated_5grams", "repeated_10grams",
    }  # fmt: skip


def test_conversations_have_fewer_rules() -> None:
    """Among instructions a short question that repeats a name is kept.

    A table of numbers is not.
    """
    found = signals(pl.Series(["What is gout?\nGout is gout is gout is gout", "1 2 3 4 5 6"]))
    assert first_broken(found, quality())[0] is not None
    assert first_broken(found, quality(), INSTRUCTION_RULES).to_list() == [None, "digits"]


def test_every_threshold_is_set_and_in_range() -> None:
    """A missing, an unknown and an impossible threshold are errors."""
    wrong: list[tuple[dict[str, object], str]] = [
        ({"more": 1}, "more"),
        ({"maximum_digit_fraction": 1.1}, "maximum_digit_fraction"),
        ({"languages": []}, "languages"),
        ({"languages": ["en", "english"]}, "english is no language that CLD2 finds; it finds .*de, .*, zu"),
        ({"languages": ["en", "de", "en"]}, "en is named twice; take one out"),
        ({"languages": ["en", "un"]}, "un is no language"),
        ({"minimum_mean_word_characters": 12.5}, "is above maximum_mean_word_characters"),
        ({"maximum_symbol_word_ratio": float("inf")}, "finite number"),
    ]
    for change, message in wrong:
        with pytest.raises(ValidationError, match=message):
            Quality.model_validate_json(json.dumps({**REAL, **change}))
    for name in REAL:
        with pytest.raises(ValidationError):
            Quality.model_validate_json(json.dumps({key: value for key, value in REAL.items() if key != name}))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_has_signals(text: str) -> None:
    """No characters make it fail or leave a share outside 0..1.

    Not even controls, noncharacters and letters beyond the basic plane.
    """
    row = signals(pl.Series([text])).row(0, named=True)
    assert all(0 <= value <= 1 for name, value in row.items() if name.endswith("fraction"))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (ENGLISH, "en"),
        (ENGLISH.upper(), "en"),
        ("\x00\x0b\x7f\x80\ufdd0\ufffe\uffff\U0010ffff " + ENGLISH, "en"),
        ("Der Patient wurde mit Schmerzen in der Brust aufgenommen und mit Aspirin behandelt.", "de"),
        ("metoprolol, warfarin, prednisone, omeprazole, furosemide, gabapentin, losartan, sertraline", "un"),
        ("1 2 3", "un"),
        ("", "un"),
    ],
)
def test_language(text: str, language: str) -> None:
    """Capitals and characters that CLD2 refuses do not matter.

    A list of drugs is in no language.
    """
    assert languages(pl.Series([text]))["language"][0] == language


def test_a_mixture_is_no_foreign_language() -> None:
    """Where CLD2 is not sure no rule fires.

    As with one sentence in each of four languages: the fraction is 0.
    """
    sentences = (
        "Der Patient wurde mit Schmerzen in der Brust aufgenommen.",
        "The patient was admitted with chest pain.",
        "Le patient a été hospitalisé pour une douleur thoracique.",
        "Paciente de 40 años que acude a urgencias por dolor abdominal.",
    )
    assert languages(pl.Series([" ".join(sentences)]))["language_fraction"][0] == 0


def test_the_beginning_is_the_sample() -> None:
    """English for 4,000 characters stays English whatever follows."""
    german = "Der Patient wurde mit Schmerzen in der Brust aufgenommen. "
    assert languages(pl.Series([ENGLISH * 70 + german * 200]))["language"][0] == "en"


def test_planted_junk_is_varied_and_repeatable() -> None:
    """The same seed gives the same documents, another seed others.

    Every severity and language occurs.
    """
    planted = junk(100, 1, 0)
    assert planted.equals(junk(100, 1, 0))
    assert planted["text"].n_unique() > 390
    assert len(set(planted["text"]) & set(junk(100, 2, 0)["text"])) < 10
    details = {kind: set(planted.filter(pl.col("kind") == kind)["detail"]) for kind in KINDS}
    assert details["ocr_noise"] == {f"{severity:.2f}" for severity in SEVERITIES}
    assert details["foreign"] == set(LANGUAGES)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_severity_is_the_share_of_damaged_characters(severity: float) -> None:
    """Of the damaged letters four fifths are gone.

    One fifth stays, with a space or a speck after it.
    """
    damaged = misread("x" * 20_000, severity, random.Random(1))
    assert 1 - damaged.count("x") / 20_000 == pytest.approx(severity * 0.8, abs=0.01)
    assert misread("x y", 0.0, random.Random(1)) == "x y"


@pytest.mark.parametrize(("kind", "half"), [*((kind, 0) for kind in KINDS), ("boilerplate", 1)])
def test_planted_junk_is_found(kind: str, half: int) -> None:
    """At least 95 % of each kind, and clean text stays.

    On another seed than the thresholds were chosen on; the clean text is of the same make.
    """
    planted = junk(400, 2, half).filter(pl.col("kind") == kind)
    found = first_broken(signals(planted["text"]), quality())
    print(kind, half, f"{dropped_share(found):.3f}", Counter(found.drop_nulls()))
    assert dropped_share(found) >= 0.95


def test_junk_is_found_by_what_is_wrong_with_it() -> None:
    """Noise is garbled, tables are digits, foreign text is foreign.

    For at least 95 % of each.
    """
    planted = junk(200, 2, 0)
    found = planted.with_columns(first_broken(signals(planted["text"]), quality()).alias("reason"))
    for kind, reason in (("ocr_noise", "garbled"), ("number_table", "digits"), ("foreign", "foreign_language")):
        here = found.filter(pl.col("kind") == kind)
        assert (here["reason"] == reason).sum() >= 0.95 * len(here)


def test_boilerplate_is_found_without_its_own_phrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """95 % of boilerplate are found by other pages' phrases.

    Every phrase of the second half is forgotten that the first half does not have.
    """

    def has(half: int, phrase: str) -> bool:
        texts = ("".join(c if c.isalnum() else " " for c in text.lower()).split() for text in furniture(half))
        return any(f" {phrase} " in f" {' '.join(words)} " for words in texts)

    known = tuple(phrase for phrase in BOILERPLATE if has(0, phrase) or not has(1, phrase))
    assert len(known) <= len(BOILERPLATE) - 10
    monkeypatch.setattr(module, "BOILERPLATE", known)
    module._phrases.cache_clear()
    planted = junk(400, 2, 1).filter(pl.col("kind") == "boilerplate")
    found = first_broken(signals(planted["text"]), quality())
    module._phrases.cache_clear()
    assert dropped_share(found) >= 0.95


def test_clean_text_of_the_same_make_is_kept() -> None:
    """What noise is planted in passes without it."""
    stream = random.Random(5)
    texts = pl.Series([genuine(stream) for _ in range(300)])
    assert first_broken(signals(texts), quality()).null_count() == 300


@pytest.mark.parametrize("profile", ["default", "micro"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_invented_corpus_is_kept(profile: str, seed: int) -> None:
    """Invented names look garbled, so the synthetic profiles allow more of it.

    Nothing else is wrong with their documents.

    But that of a hundred town documents at most five, short quizzes about one town, repeat themselves more than is allowed.
    """
    config = Synthesize(**profile_params(profile)["synthesize"]["default"])
    config = config.model_copy(update={"seed": seed})
    counts = {"drug": config.drugs, "disease": config.diseases, "town": config.towns}
    entities = knowledge_base(counts, config.values_per_attribute, config.entities_in_instructions_fraction, seed)
    stream = random.Random(seed)
    groups = companions([entity for entity in entities if entity.kind != "town"], stream)
    texts = [render(source, next(groups), stream)["text"] for source in ("notes", "abstracts", "guidelines") * 40]
    assert first_broken(signals(pl.Series(texts)), quality(**INVENTED_NAMES)).null_count() == len(texts)
    towns = town_documents(config, [entity for entity in entities if entity.kind == "town"])
    found = first_broken(signals(pl.Series(towns)), quality(**INVENTED_NAMES)).drop_nulls()
    assert {reason for reason in found if not reason.startswith("top_")} == set()
    assert len(found) <= len(towns) / 20


PROFILE = profile_params("real-small")
ELIGIBILITY = {**PROFILE["source"]["pmc_trials"], "path": "corpus/trial_eligibility", "id": None, "license_field": None}
TEXTS_OF = {name: section for name, section in PROFILE["source"].items() if section.get("turns") is None}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real texts are not here")
@pytest.mark.parametrize("name", [*TEXTS_OF, "trial_eligibility"])
def test_real_text_is_kept(name: str) -> None:
    """Of each source at most a tenth is dropped.

    Counted on the documents that the trigram list was not made from.
    """
    section = ELIGIBILITY if name == "trial_eligibility" else TEXTS_OF[name]
    source = Source.model_validate_json(json.dumps(section))
    records = raw_records(SHARED / source.path, source)
    drafts = [draft(record, origin, name, source, source.templates) for origin, record in records]  # type: ignore[arg-type]
    texts = documents_frame([one for one in islice(drafts, 1, None, 2) if isinstance(one, Draft)], source)[0]["text"]
    found = signals(texts.filter(texts != ""))
    broken = failures(found, quality()).sum().row(0, named=True)
    dropped = dropped_share(first_broken(found, quality()))
    print(f"{name}: {dropped:.3f} of {len(found)}", {rule: count for rule, count in broken.items() if count})
    assert dropped <= 0.1


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real texts are not here")
@pytest.mark.parametrize("name", sorted(PROFILE["source"].keys() - TEXTS_OF.keys()))
def test_real_conversations_are_kept(name: str) -> None:
    """Of the instruction sources one in a hundred is dropped, at most.

    By the rules for them.
    """
    source = Source.model_validate_json(json.dumps(PROFILE["source"][name]))
    records = raw_records(SHARED / source.path, source)
    drafts = [draft(record, origin, name, source, source.templates) for origin, record in records]  # type: ignore[arg-type]
    texts = documents_frame([one for one in drafts if isinstance(one, Draft)][:2000], source)[0]["text"]
    assert dropped_share(first_broken(signals(texts), quality(), INSTRUCTION_RULES)) <= 0.01
