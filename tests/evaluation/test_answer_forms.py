"""Answers of reasoning models: every form that one is written in, over options that are easy to misread."""

import csv
import re

import pytest

from osler.build.pipeline import ROOT
from osler.evaluation.answer_extraction import extracted
from osler.evaluation.questions import LETTERS
from osler.evaluation.thoughts import after_thought, said

OPTIONS = (
    ("Heparin", "Ceftriaxone", "Aspirin", "Insulin glargine"),
    ("Iron", "Iron deficiency anemia", "Anemia", "Anemia of chronic disease"),  # one begins with another
    ("1", "1.5", "15", "5"),
    ("10 mg", "10 mg twice daily", "100 mg", "0.1 mg/kg"),
    ("Vitamin A", "Vitamin B", "Vitamin C", "Vitamin D"),
    ("Oak", "Elm", "Birch", "None of the above"),
    ("Oak", "Elm", "Both A and B", "All of the above"),
    ("Oak", "Elm", "A and C", "Neither oak nor elm"),
    ("[18F]FDG PET", "[99mTc] scan", "(R)-warfarin", "(S)-ketamine"),  # brackets first
    ("Not breathing", "No change", "Never smoked", "Cannot be determined"),  # negations
    ("Stop aspirin and heparin", "Stop aspirin or heparin", "Continue both", "Avoid aspirin"),
    ("C. difficile", "E. coli", "S. aureus", "H. pylori"),
    ("Crohn's disease", "Graves' disease", "Addison's disease", "Bell's palsy"),
    ("Ca, Mg, and K", "Na, K, and Cl", "Fe", "Zn; Cu"),
    ("The patient is dehydrated", "A drug reaction", "An answer is not needed", "I would choose surgery"),
    ("Yes", "No", "Maybe"),
    ("Rate of 50%", "p < 0.05", "CO2", "H2O"),
)
LETTERED = (("B", "C", "D", "A"), ("X", "Y", "D", "Z"), ("A", "B", "C", "D"), ("a", "b", "c", "both a and b"))


def forms(*says: str) -> list[str]:
    """The forms of tests/data/extraction_forms.csv that say this; L is a letter in them, O the words of an option."""
    with (ROOT / "tests" / "data" / "extraction_forms.csv").open(encoding="utf-8", newline="") as stream:
        return [row["form"] for row in csv.DictReader(stream) if row["says"] in says]


FORMS = forms("letter", "both", "words")


def filled(form: str, options: tuple[str, ...], place: int) -> str:
    """`form` with the letter and the words of an option."""
    holes = {"L": LETTERS[place], "O": options[place]}
    return re.sub(r"(?<![A-Za-z])[LO](?![A-Za-z])", lambda hole: holes[hole[0]], form)


def cases(form: str, sets: tuple[tuple[str, ...], ...] = OPTIONS) -> list[tuple[str, tuple[str, ...], int]]:
    """Every option of every set in one form."""
    return [(filled(form, options, place), options, place) for options in sets for place in range(len(options))]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_for_every_option(form: str) -> None:
    """Over 60 answers in each form, none misread and none left."""
    made = cases(form)
    assert len(made) > 60
    assert [
        (text, extracted(text, options)) for text, options, place in made if extracted(text, options) != place
    ] == []


@pytest.mark.parametrize("form", FORMS)
def test_options_that_are_letters_are_never_misread(form: str) -> None:
    """`D` may be the fourth option or the words of the third: then it is no answer. `C. D` is the third."""
    for text, options, place in cases(form, LETTERED):
        ambiguous = form not in forms("both")
        assert extracted(text, options) in ((place, None) if ambiguous else (place,)), (text, options)


@pytest.mark.parametrize("thought", forms("thought"))
def test_what_was_thought_is_no_answer(thought: str) -> None:
    """Only what follows is; without anything after it there is none."""
    options = OPTIONS[0]
    assert extracted(thought, options) is None
    for form in FORMS:
        for place in range(len(options)):
            assert extracted(thought + filled(form, options, place), options) == place


@pytest.mark.parametrize(
    "text",
    [
        "<think>Therefore the answer is A. Or is it",
        "<|channel|>analysis<|message|>The answer is A.",
        "analysisThe answer is A.",
        "◁think▷The answer is A.",
        "## Thinking\n\nThe answer is A.",
        "<think>\\boxed{B}</think>",
        "\\boxed{A} or \\boxed{B}",
        "<answer>I cannot say</answer>",
        "The answer is not \\boxed{B}.",
        "\\boxed{E}",
        "\\boxed{\\text{A and B}}",
        "\\boxed{7}",
        '{"answer": ["A", "B"]}',
        "{'answer': 'A or B'}",
        "Not B.",
        "B is incorrect.",
        "Option B is not correct.",
        "Is option B correct?",
        "I do not think option B is correct.",
        "Option A is correct. Option B is correct.",
        "Option B is correct?",
        "#### A. Heparin\nIt thins.\n#### B. Ceftriaxone",
        "Options:\nA. Heparin\nB. Ceftriaxone",
        "The list:\n- A. Heparin\n- B. Ceftriaxone",
        "I would not choose B.",
        "Hepatitis B is correct.",
    ],
)
def test_what_contradicts_itself_or_broke_off_has_no_answer(text: str) -> None:
    """Two boxes, a list, a denial, a thought without an end."""
    assert extracted(text, OPTIONS[0]) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\\boxed{15} steps. The answer is B.", 1),
        ("\\boxed{B} and again \\boxed{\\text{B. Ceftriaxone}}", 1),
        ("I thought the answer is A. Now I see: \\boxed{B}", 1),
        ("Option A is incorrect. Option B is correct. Option C is wrong. Option D is not.", 1),
        ("Option A is wrong, but B is the correct answer.", 1),
        ("Heparin is not given. Answer: B", 1),
        ("Answer\nB. Ceftriaxone\n\nExplanation: heparin is for clots.", 1),
    ],
)
def test_what_is_on_the_way_does_not_count(text: str, expected: int) -> None:
    """A box with a number, a thought said aloud, what is said of the other options."""
    assert extracted(text, OPTIONS[0]) == expected


def test_what_was_said_is_kept_as_it_is() -> None:
    """Without a thought, around one, and where a heading only looks like a mark."""
    note = "Thinking\n\nThe patient wrote: analysis. 3 < 5 > 2\n## Final Response\n\nStable."
    assert said(note) == note
    assert said("One. <think>two</think> Three.") == "One.  Three."
    assert after_thought("<think>two</think> Three.") == ("<think>two</think>", " Three.")
    assert after_thought("<think>two") == ("<think>two", "")
    assert said("<|channel|>final<|message|>Stable.<|return|>") == "Stable."
