"""Thoughts, boxes, tags and other forms in which models answer, over options of many kinds."""

import pytest

from osler.evaluation.answer_extraction import extracted
from osler.evaluation.questions import LETTERS
from osler.evaluation.thoughts import said

LEAVES = ("oak", "elm", "silver birch", "none of these")
DRUGS = ("Ceftriaxone", "Ceftriaxone and azithromycin", "Doxycycline", "Vancomycin or linezolid")
LETTERED = ("B", "C", "D", "A")  # blood groups, vitamins
OPTION_SETS: tuple[tuple[str, ...], ...] = (
    LEAVES,
    DRUGS,
    ("1", "1.5", "15", "5"),
    ("10^9/L", "10^6/L", "5 mg/kg", "0.5 mg/kg"),
    ("E. coli", "C. difficile", "S. aureus", "B. fragilis"),
    ("(+) strand", "(-) strand", "[18F]FDG", "(R)-warfarin"),
    ("A and C", "Both B and D", "All of the above", "None of the above"),
    ("Vitamin A", "Vitamin B12", "Hepatitis B", "Vitamin D"),
    ("yes", "no", "maybe"),
    ("Not indicated", "Avoid heparin", "Without treatment", "No change"),
    ("Stage I", "Stage II", "Stage III", "Stage IV", "Stage V"),
    ("$10", "$100 a day", "50%", "5%"),
    ("Increase the dose", "Increase the dose and add a diuretic", "Decrease the dose", "Stop"),
    ("Crohn's disease", "Cushing's syndrome", "Graves' disease", "Addison's disease"),
    ("The pancreas", "A sinus node", "I cannot tell", "The thyroid"),
    LETTERED,
)
PLACES = [(options, place) for options in OPTION_SETS for place in range(len(options))]

# {L} the letter, {O} the option's words
BY_LETTER = (
    "{L}",
    "So the final answer is $\\boxed{{{L}}}$.",
    "\\boxed{{{L}}}",
    "\\(\\boxed{{{L}}}\\)",
    "\\[\\boxed{{{L}}}\\]",
    "We rule the others out.\n\n$$\\boxed{{\\text{{{L}}}}}$$",
    "\\boxed{{\\textbf{{({L})}}}}",
    "The answer is $\\fbox{{\\mathrm{{{L}}}}}$",
    "<answer>{L}</answer>",
    "The signs are clear.\n<final_answer>\n{L}\n</final_answer>",
    "Option {L} is correct.",
    "The others do not fit. Therefore, option {L} is the best choice.",
    "({L}) is correct because the others are not.",
    "#### {L}",
    "He was ill for a week.\n#### {L}",
    "[{L}]",
    "The answer is [{L}].",
    "{{'answer': '{L}'}}",
    '{{"answer": ["{L}"]}}',
    '{{"answer": {L}}}',
    '```json\n{{"answer_choice": "{L}"}}\n```',
    "## Final Answer\n{L}",
    "**Final Answer**\n\n**{L}**",
    "answer={L}",
    "Answer：（{L}）",
    "<think>Could it be A? Or B? Therefore the answer is A.</think>\n\n**{L}**",
    "The answer is D.</think>The answer is {L}.",
    "<|channel|>analysis<|message|>The answer is A.<|end|><|start|>assistant<|channel|>final<|message|>{L}<|return|>",
    "analysisThe answer is A.assistantfinal{L}",
    "◁think▷The answer is B.◁/think▷ Answer: {L}",
)
BY_BOTH = (
    "{L}. {O}",
    "({L}) {O}",
    "[{L}] {O}",
    "**{L}. {O}**",
    "So the final answer is $\\boxed{{{L}}}$. {O}",
    "\\boxed{{{L}. \\text{{{O}}}}}",
    "<answer>{L}. {O}</answer>",
    "## Final Answer\n\n{L}. {O}",
    "### Answer:\n**{L}) {O}**",
    "#### {L}. {O}",
    "<think>Therefore the answer is A.</think>\n\n**{L}. {O}**",
    "<thinking>\nB is correct.\n</thinking>\nThe correct answer is {L}. {O}",
    '{{"answer": "{L}. {O}"}}',
    "{{'answer': '{L}. {O}'}}",
    "Option {L}: {O}",
    "The answer is {L}. {O}",
    "Final answer: {L}) {O}",
)


@pytest.mark.parametrize("form", BY_LETTER)
def test_a_letter_is_read_in_each_form_over_every_set_of_options(form: str) -> None:
    """Where options are letters themselves, a letter without brackets may mean two of them: it has no answer."""
    assert len(PLACES) >= 60
    for options, place in PLACES:
        text = form.format(L=LETTERS[place], O=options[place])
        assert extracted(text, options) in ((None, place) if options == LETTERED else (place,)), (text, options)


@pytest.mark.parametrize("form", BY_BOTH)
def test_a_letter_with_its_option_is_read_in_each_form_over_every_set_of_options(form: str) -> None:
    """Also where the option is a letter, begins with a bracket, or another option begins with its words."""
    for options, place in PLACES:
        text = form.format(L=LETTERS[place], O=options[place])
        split = options == LETTERED and "$. {O}" in form  # the box ends before the option's words
        assert extracted(text, options) in ((None, place) if split else (place,)), (text, options)


@pytest.mark.parametrize("form", BY_BOTH)
def test_a_letter_with_another_options_words_is_never_read_as_the_other(form: str) -> None:
    """`B. oak`, where B is elm: the two contradict each other, and neither is taken."""
    for options, place in PLACES:
        other = (place + 1) % len(options)
        text = form.format(L=LETTERS[place], O=options[other])
        if options[other].casefold() not in options[place].casefold():
            assert extracted(text, options) in (None, place), (text, options)


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("So the answer is not $\\boxed{A}$.", LEAVES, None),
        ("$\\boxed{A}$ or $\\boxed{B}$", LEAVES, None),
        ("\\boxed{A, B}", LEAVES, None),
        ("First \\boxed{A}. Wait, no: the answer is \\boxed{B}.", LEAVES, 1),
        ("The dose is \\boxed{42}. The answer is C.", LEAVES, 2),
        ("\\boxed{E}", LEAVES, None),
        ("\\boxed{B", LEAVES, None),
        ("\\boxed{\\text{silver birch}}", LEAVES, 2),
        ("<think>The answer is B. So B", LEAVES, None),
        ("<think>The answer is \\boxed{B}.</think>", LEAVES, None),
        ("C. silver birch\n<think>or is it A. oak?</think>", LEAVES, 2),
        ("<think>a<think>A</think>b</think>B", LEAVES, 1),
        ("<|channel|>analysis<|message|>The answer is A.", LEAVES, None),
        ("Option B is incorrect.", LEAVES, None),
        ("Option B is not correct.", LEAVES, None),
        ("Option A is correct. Option B is correct.", LEAVES, None),
        ("Vitamin A is the correct answer.", ("Vitamin C", "Vitamin A"), 1),
        ("Hepatitis B is correct.", ("Hepatitis C", "Hepatitis A", "Hepatitis B"), 2),
        ("Statement A is correct.", LEAVES, None),
        ("{'answer': ['A', 'B']}", LEAVES, None),
        ("{'answer': 'Crohn's disease'}", ("Graves' disease", "Crohn's disease"), 1),
        ("## A. oak\nhas acorns\n\n#### B. elm", LEAVES, None),
        ("### Answer\n\nLet us think about it.", LEAVES, None),
        ("[B](http://example.org) says so", LEAVES, None),
        ("C. D", LETTERED, 2),
        ("B. D", LETTERED, None),
        ("The answer is C. D", LETTERED, 2),
        ("C", LETTERED, None),
    ],
)
def test_denied_doubled_and_unfinished_marks_give_no_answer(
    text: str, options: tuple[str, ...], expected: int | None
) -> None:
    """What is denied, or says two things, or was thought alone is none; the last box counts, as the last statement."""
    assert extracted(text, options) == expected


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("No fever.", "No fever."),
        ("<think>He has none.</think>No fever.", "No fever."),
        ("He has none.\n</think>\nNo fever.", "No fever."),
        ("<think>He has", ""),
        ("Cells <5 think</b> fine", "Cells <5 think</b> fine"),
        ("Analysis of the blood: no final word.", "Analysis of the blood: no final word."),
        (
            "<|channel|>analysis<|message|>x<|end|><|start|>assistant<|channel|>final<|message|>No fever.<|return|>",
            "No fever.",
        ),
        ("[THINK]x[/THINK]No fever.", "No fever."),
    ],
)
def test_what_was_thought_is_not_said(text: str, left: str) -> None:
    """Texts without thoughts stay as they are, to the byte."""
    assert said(text) == left
