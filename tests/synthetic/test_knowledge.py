"""The invented knowledge base, its sentences, and the planted faults."""

import random
from collections import Counter
from itertools import combinations, pairwise

import pytest

from osler.synthetic.knowledge import ATTRIBUTES, MAXIMUM_VALUES, REAL_NAMES, VALUES, balanced_values, knowledge_base
from osler.synthetic.planted_faults import disguised, jaccard, leak, near_copy, words
from osler.synthetic.sentences import QUESTIONS, STATEMENTS, abstract, chronicle, guideline, note, quiz

COUNTS = {"drug": 40, "disease": 40, "town": 20}
ENTITIES = knowledge_base(COUNTS, 16, 0.45, seed=3)
CLINICAL = [entity for entity in ENTITIES if entity.kind != "town"]
TOWNS = [entity for entity in ENTITIES if entity.kind == "town"]


def test_the_seed_alone_decides_what_is_invented() -> None:
    """The same arguments give the same entities.

    Another seed gives other names and other values.
    """
    assert knowledge_base(COUNTS, 16, 0.45, seed=3) == ENTITIES
    other = knowledge_base(COUNTS, 16, 0.45, seed=4)
    assert [entity.name for entity in other] != [entity.name for entity in ENTITIES]
    assert [entity.values for entity in other] != [entity.values for entity in ENTITIES]


def test_no_name_is_real_or_close_to_another() -> None:
    """All names differ in their first three letters.

    Whatever their kind; they have 6 to 8 letters and are on no list.
    """
    names = [entity.name.lower() for entity in ENTITIES]
    assert len({name[:3] for name in names}) == len(names) == sum(COUNTS.values())
    assert not REAL_NAMES & set(names)
    assert all(6 <= len(name) <= 8 for name in names)


def test_a_value_belongs_to_one_attribute() -> None:
    """An answer alone tells what was asked.

    And no option is right twice.
    """
    everything = [value for values in VALUES.values() for value in values]
    assert len(set(everything)) == len(everything)
    assert all(len(values) >= MAXIMUM_VALUES >= 16 for values in VALUES.values())


@pytest.mark.parametrize("instructed", [True, False])
def test_values_are_balanced_on_either_side_of_the_split(instructed: bool) -> None:
    """No value of an attribute is used twice more than another.

    Among instructed entities, and among the others.
    """
    for kind in ("drug", "disease"):
        for attribute in ATTRIBUTES[kind]:
            side = [entity for entity in ENTITIES if entity.kind == kind and entity.instructed is instructed]
            uses = Counter(entity.values[attribute] for entity in side)
            assert len(uses) == 16
            assert max(uses.values()) - min(uses.values()) <= 1


def test_balanced_values_are_not_in_turn() -> None:
    """The order is random.

    A value does not follow from that of the entity before.
    """
    drawn = balanced_values(list("abcd"), 400, random.Random(1))
    assert Counter(drawn) == dict.fromkeys("abcd", 100)
    assert len(set(pairwise(drawn))) == 16


def test_attributes_of_an_entity_are_independent() -> None:
    """One attribute does not give away another.

    No pair of values of two attributes is as common as 1 in 4.
    """
    for one, other in combinations(ATTRIBUTES["drug"], 2):
        drugs = [entity for entity in knowledge_base({**COUNTS, "drug": 160}, 4, 0.5, seed=1) if entity.kind == "drug"]
        pairs = Counter((entity.values[one], entity.values[other]) for entity in drugs)
        assert max(pairs.values()) < 40


def test_paraphrases_and_questions_are_at_least_eight_and_short() -> None:
    """Each attribute has eight distinct paraphrases and questions.

    A question of 13 words would be a 13-gram.
    """
    for attribute in VALUES:
        assert len(set(STATEMENTS[attribute])) == len(STATEMENTS[attribute]) >= 8
        assert len(set(QUESTIONS[attribute])) == len(QUESTIONS[attribute]) >= 8
        assert all(text.count("{e}") == text.count("{v}") == 1 for text in STATEMENTS[attribute])
        assert all(text.count("{e}") == 1 and len(words(text)) < 13 for text in QUESTIONS[attribute])


def test_no_question_contains_another() -> None:
    """Else an instruction could hold a dev item's text.

    Dev items are kept from the instructions.
    """
    everything = [" ".join(words(question.format(e="Abc"))) for own in QUESTIONS.values() for question in own]
    assert len(set(everything)) == len(everything)
    assert not [pair for pair in combinations(everything, 2) if f" {pair[0]} " in f" {pair[1]} "]
    assert not [pair for pair in combinations(everything, 2) if f" {pair[1]} " in f" {pair[0]} "]


def test_no_statement_contains_a_question() -> None:
    """Otherwise plain documents about an entity would count as contaminated."""
    for attribute, questions in QUESTIONS.items():
        for text in STATEMENTS[attribute]:
            assert not [question for question in questions if " ".join(words(question)) in " ".join(words(text))]


def test_documents_state_every_fact_of_their_entities() -> None:
    """Each genre mentions each value of its entities.

    There are three, and it mentions nothing of others.
    """
    stream = random.Random(5)
    group, towns = CLINICAL[:3], TOWNS[:3]
    texts = [note(group, stream), abstract(group, stream)[1], ". ".join(guideline(group, stream))]
    for text in texts:
        assert all(value in text.lower() for entity in group for value in entity.values.values())
        assert not [entity.name for entity in ENTITIES if entity not in group and entity.name in text]
    for text in (chronicle(towns, stream), quiz(towns, stream)):
        assert all(value.lower() in text.lower() for town in towns for value in town.values.values())
        assert "\n\n" not in text


def test_disguises_keep_the_words() -> None:
    """Whatever the disguise, the words in lower case are the same.

    One of them is the text itself.
    """
    stream = random.Random(2)
    text = "Background: Abc is Def.\nFindings: None."
    copies = {disguised(text, stream) for _ in range(40)}
    assert len(copies) == 4
    assert text in copies
    assert {tuple(words(copy)) for copy in copies} == {tuple(words(text))}


def test_jaccard_counts_word_5_grams() -> None:
    """A change of the last of ten words shares 5 of 7.

    It leaves five of the six 5-grams.
    """
    text = "a b c d e f g h i j"
    assert jaccard(text, text.upper()) == 1.0
    assert jaccard(text, text.replace("j", "x")) == pytest.approx(5 / 7)
    assert jaccard("a b c d e", "f g h i j") == 0.0
    assert jaccard("a b", "a b") == 1.0


def test_a_near_copy_differs_and_is_similar_enough() -> None:
    """Among 80 words, a changed copy shares the wanted 5-grams.

    Among 12 none can, and nothing is returned.
    """
    stream = random.Random(1)
    long = " ".join("abcdefgh"[index // 10] + "klmnopqrst"[index % 10] for index in range(80))
    for _ in range(20):
        copy = near_copy(long, 0.85, stream)
        assert copy is not None
        assert 0.85 <= jaccard(long, copy) < 1.0
    assert near_copy(" ".join(long.split()[:12]), 0.85, stream) is None


@pytest.mark.parametrize("show_options", [True, False])
def test_a_leak_is_the_question_followed_by_its_answer(show_options: bool) -> None:
    """The question is whole, and the correct option stands after it.

    The others only if options are shown.
    """
    text = leak("One. Two. Three.", "What is Abc?", ["red", "green", "blue", "grey"], 1, show_options, random.Random(0))
    assert "What is Abc?" in text
    assert text.index("green") > text.index("What is Abc?")
    assert ("blue" in text) is show_options
    assert text.startswith("One.")
    assert text.endswith("Three.")
