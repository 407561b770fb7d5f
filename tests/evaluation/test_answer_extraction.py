"""Which option a text answers with: made-up texts for each rule, and 5,772 real outputs, some of them read by hand.

Labels are in tests/data/extraction_labels.csv: benchmark, item as the file of outputs calls it, and the letter that a
careful reader finds in the whole output, before the rules' result was looked at. Samples: `seed 5`, 100 outputs of each
benchmark; `unparsed`, every other output in which the rules find nothing; `seed 17`, 50, 25 and 25 outputs drawn after
the rules were changed. The JSON field is the answer also where the reasoning before it ends in another; "D. None of the
above" is none where option D says something else. `reasoning` is what a reader finds without the field, which is
where rules 2 to 5 are tried: there they may miss what a reader infers, but not read what is not said.
"""

import csv
import gzip
import json
import re
from functools import cache

import pytest

from osler.build.pipeline import ROOT
from osler.evaluation.answer_extraction import extracted
from osler.evaluation.benchmark_formats import RawItem
from osler.evaluation.benchmarks import Benchmark, read_items
from osler.evaluation.questions import LETTERS
from osler.statistics.intervals import accuracy_interval
from tests.support.project import SHARED

LABELS = ROOT / "tests" / "data" / "extraction_labels.csv"
OUTPUTS = {
    "medmcqa": Benchmark(path="eval/medmcqa", format="medmcqa"),
    "mmlu_medical": Benchmark(path="eval/mmlu_medical", format="mmlu"),
    "pubmedqa": Benchmark(path="eval/pubmedqa", format="pubmedqa"),
}
REAL = pytest.mark.skipif(not (SHARED / "predictions").is_dir(), reason="the real outputs are not here")
LEAVES = ("oak", "elm", "silver birch", "none of these")
NUMBERS = ("1", "1.5", "15", "5")
SPECIES = ("E. alba", "C. rubra", "C. alba", "D. nigra")
PAIRS = ("a", "c", "both a and c", "d")
VERDICTS = ("yes", "no", "maybe")


def letter(text: str, options: tuple[str, ...]) -> str:
    """The letter that is read off `text`, "none" for no answer."""
    place = extracted(text, options)
    return "none" if place is None else LETTERS[place]


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        # the JSON field, whole and broken
        ('{"steps": "the answer is A. oak", "answer_choice": "B"}', LEAVES, "B"),
        ('{"steps": "It is called "elm"." "answer_choice": "B. elm"}', LEAVES, "B"),
        ('{"answer": "silver birch"}', LEAVES, "C"),
        ('{"answer_choice": "C. silver bi', LEAVES, "C"),
        ('{"answer_choice": "1', NUMBERS, "none"),
        ('{"steps": "the answer is A. oak", "answer_choice": "A/B"}', LEAVES, "none"),
        ('{"answer_choice": "A. oak or B. elm"}', LEAVES, "none"),
        ('{"answer_choice": "A. oak or elm"}', LEAVES, "none"),
        ('{"answer_choice": "None of the above"}', LEAVES, "D"),
        ('{"answer_choice": "None of the above"}', NUMBERS, "none"),
        ('{"answer_choice": "D. None of the above"}', SPECIES, "none"),
        ('{"answer_choice": "E"}', LEAVES, "none"),
        ('{"answer_choice": "B. oak"}', LEAVES, "none"),
        ('{"answer_choice": "C. silvr birch"}', LEAVES, "C"),
        ('{"answer_choice": "Cannot be determined"}', LEAVES, "none"),
        ('{"steps": "Therefore, the answer is B.", "answer_choice": ""}', LEAVES, "B"),
        ('{"answer_choice": "C"}', PAIRS, "C"),
        ('{"answer_choice": "c"}', PAIRS, "none"),
        ('{"answer_choice": "K"}', ("Cu", "K", "Zn"), "B"),
        ('{"answer_choice": "A and C"}', PAIRS, "C"),
        ('{"answer_choice": "C. rubra"}', SPECIES, "B"),
        ('{"answer_choice": "C. rubrum"}', SPECIES, "none"),
        ('{"answer_choice": "A"} No, wait. {"answer_choice": "B"}', LEAVES, "B"),
        # statements
        ("Elms are tall. The answer is (B).", LEAVES, "B"),
        ("The answer is silver birch.", LEAVES, "C"),
        ("The answer is **elm**, as its leaves are rough.", LEAVES, "B"),
        ("Answer: B\nQuestion: which tree is an oak?", LEAVES, "B"),
        ("I thought the answer is A. oak. But no: the correct answer is B. elm.", LEAVES, "B"),
        ("So the answer is not A. oak.", LEAVES, "none"),
        ("If it is rough, the answer would be B. elm.", LEAVES, "none"),
        ("The answer is either A. oak, B. elm, or C.", LEAVES, "none"),
        ("Thus the answer is either A. oak or a tree unknown.", LEAVES, "none"),
        ("The correct answer is A. oak and B. elm.", LEAVES, "none"),
        ("Which is the correct answer: A. oak: has acorns. B. elm: has none.", LEAVES, "none"),
        ("The answer is 1.5.", NUMBERS, "B"),
        ("The answer is 1.25.", NUMBERS, "none"),
        ("The answer is A plant that is tall.", LEAVES, "none"),
        ("The answer is B because its leaves are rough.", LEAVES, "B"),
        ("The answer is C. rubra.", SPECIES, "B"),
        ("The answer is maybe, since trials disagree.", VERDICTS, "C"),
        ("The answer is none of the above.", SPECIES, "none"),
        # a letter that is called the answer
        ("Option B is the correct answer, for its leaves are rough.", LEAVES, "B"),
        ("None of the options (A, B) is the correct answer.", LEAVES, "none"),
        ("A is the correct answer. B is the correct answer.", LEAVES, "none"),
        # the beginning
        ("B", LEAVES, "B"),
        ("(b)", LEAVES, "B"),
        ("E", LEAVES, "none"),
        ("B) elm", LEAVES, "B"),
        ("B elm", LEAVES, "B"),
        ("Elm.", LEAVES, "B"),
        ("elm\n\nQuestion: and which is an oak?", LEAVES, "B"),
        ("A patient under an oak", LEAVES, "none"),
        ("C. alba grows on chalk.", ("oak", "elm", "ash"), "none"),
        ("A. oak has acorns. B. elm has none.", LEAVES, "none"),
        ("Elm. For A. oak has acorns, B. elm has none.", LEAVES, "none"),
        ("Yes, there is no doubt.", VERDICTS, "A"),
        ("Yes and no.", VERDICTS, "none"),
        ("There is no doubt.", VERDICTS, "none"),
        # the last sentence
        ("Acorns fall. Therefore it must be an oak.", LEAVES, "A"),
        ("Acorns fall. The tree you saw is A. oak.", LEAVES, "A"),
        ("Acorns fall. It is an oak.", LEAVES, "none"),
        ("Thus it is not an oak.", LEAVES, "none"),
        ("Thus it is an oak or an elm.", LEAVES, "none"),
        ("Therefore 15 were counted.", NUMBERS, "none"),
        # nothing
        ("", LEAVES, "none"),
        ("oaks", LEAVES, "none"),
        ("elm", ("elm", "elm", "oak"), "A"),
    ],
)
def test_an_answer_is_read_as_it_is_said_or_not_at_all(text: str, options: tuple[str, ...], expected: str) -> None:
    """What names several options, one that is not listed or none has no answer, however near an option is."""
    assert letter(text, options) == expected


def test_a_letter_or_an_option_alone_is_its_own_answer_wherever_it_is_listed() -> None:
    """Also where options are numbers that begin with one another, or letters of which one is in another."""
    for options in (LEAVES, NUMBERS, SPECIES, VERDICTS):
        for place, option in enumerate(options):
            for text in (LETTERS[place], option, f"{LETTERS[place]}. {option}", f"The answer is {option}."):
                assert extracted(text, options) == place, text


def rows() -> list[dict[str, str]]:
    """The labels, one an output."""
    with LABELS.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@cache
def outputs() -> dict[tuple[str, str], tuple[str, RawItem]]:
    """Text and question of every real output, by benchmark and the name that its file has for the item."""
    found = {}
    for benchmark, section in OUTPUTS.items():
        items = {item.id: item for item in read_items(SHARED / section.path, section)}
        with gzip.open(SHARED / "predictions" / f"{section.format}_cot_gpt-35-turbo-16k.jsonl.gz", "rt") as stream:
            for row in map(json.loads, stream):
                item = items[re.sub(r"^(?:dev|test)_|(?<=[a-z]-)0+(?=\d{1,3}$)", "", row["item"])]
                found[benchmark, row["item"]] = (row["output"] or "", item)  # an output that failed is an empty list
    return found


def test_labels_are_letters_of_four_hundred_outputs_and_no_text() -> None:
    """No output is labeled twice, and a label is a letter or `none`."""
    labels = rows()
    assert len({(row["benchmark"], row["item"]) for row in labels}) == len(labels)
    assert [sum(row["sample"] == sample for row in labels) for sample in ("seed 5", "seed 17")] == [300, 100]
    assert {row["answer"] for row in labels} <= {*"ABCD", "none"}
    assert all(re.fullmatch(r"(dev|test)_[\w-]+", row["item"]) for row in labels)


@REAL
def test_no_real_output_read_by_hand_is_misread() -> None:
    """300 drawn, 100 more, and every one that is left unparsed."""
    wrong = [row["item"] for row in rows() if letter(*_asked(row["benchmark"], row["item"])) != row["answer"]]
    assert wrong == []


@REAL
def test_every_output_left_unparsed_was_read_by_hand_and_has_no_answer() -> None:
    """5,436 of 5,772 are parsed; accuracy counts the others as wrong."""
    unparsed = {(row["benchmark"], row["item"]) for row in rows() if row["answer"] == "none"}
    assert {key for key in outputs() if letter(*_asked(*key)) == "none"} == unparsed
    for benchmark, expected in (("medmcqa", (3887, 4183)), ("mmlu_medical", (1049, 1089)), ("pubmedqa", (500, 500))):
        items = [item for (name, _), (_, item) in outputs().items() if name == benchmark]
        read = [extracted(*_asked(name, item)) for name, item in outputs() if name == benchmark]
        assert (sum(place is not None for place in read), len(read)) == expected
        right = [place == item.answer for place, item in zip(read, items, strict=True)]
        interval = accuracy_interval(right, [item.group for item in items], 0.95)
        print(f"{benchmark}: parsed {expected[0]} of {expected[1]}, accuracy {interval}")


@REAL
def test_reasoning_without_its_field_is_never_misread() -> None:
    """78 of 100 are read as a reader does; the others end without saying it in so many words."""
    labels = [row for row in rows() if row["reasoning"]]
    read = [letter(_reasoning(row), _asked(row["benchmark"], row["item"])[1]) for row in labels]
    same = [found == row["reasoning"] for found, row in zip(read, labels, strict=True)]
    assert all(found == "none" or equal for found, equal in zip(read, same, strict=True))
    assert sum(same) >= 78


def _asked(benchmark: str, item: str) -> tuple[str, tuple[str, ...]]:
    text, asked = outputs()[benchmark, item]
    return text, tuple(asked.options)


def _reasoning(row: dict[str, str]) -> str:
    """The output up to its field, without the marks of JSON."""
    text = re.split(r'"\s*,?\s*"answer_choice"', outputs()[row["benchmark"], row["item"]][0])[0]
    return text.removeprefix('{"step_by_step_thinking": "').replace("\\n", "\n").replace('\\"', '"')


@pytest.mark.parametrize(
    "text",
    [
        "I do not think the answer is B.",
        "It is false that the answer is B.",
        "A common wrong answer is A.",
        "Some say the answer is B.",
        "So the thumb is wrong",
        "Therefore Thumb can be ruled out.",
        "Therefore, thumb should be avoided.",
        "A. Thumb is contraindicated.",
        "Thumb\nIndex finger",
        "The answer is Thumb, possibly Index finger",
    ],
)
def test_a_denied_or_doubted_option_is_no_answer(text: str) -> None:
    """To say that an option is wrong, avoided or somebody else's answer does not give it."""
    assert extracted(text, ["Thumb", "Index finger", "Middle finger", "Ring finger"]) is None


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The thumb is not involved, so the answer is B.", "B"),
        ("\\boxed{B}", "B"),
        ('{"correct_answer": "C"}', "C"),
        ("B\n\nQuestion: next one\nAnswer: C", "B"),
        ("Thumb\n\nQuestion: Which toe?\nAnswer: Ring finger", "A"),
    ],
)
def test_what_denies_something_else_or_follows_the_answer_leaves_it(text: str, letter: str) -> None:
    """A denial in another clause, a box, and a next question that the model asks itself."""
    assert extracted(text, ["Thumb", "Index finger", "Middle finger", "Ring finger"]) == "ABCD".index(letter)
