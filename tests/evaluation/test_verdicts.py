"""How a judge is asked, and how its verdict is read."""

import math

import pytest

from osler.evaluation.verdicts import judge_prompt, likelier, verdict_of


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ('It says so. {"met": true}', "met"),
        ('It does not.\n```json\n{"met": false}\n```', "unmet"),
        ('First I thought {"met": true}, but no: {"met": false}', "unmet"),
        ('{"reason": "it does", "met": true}', "met"),
        ('<think>{"met": true}</think> It lacks the dose. {"met": false}', "unmet"),
        ('{"met": true} then {"met": "perhaps"}', None),  # it took the first back
        ('{"met": "true"}', None),
        ('{"met": 1}', None),
        ('{"met": null}', None),
        ("{met: true}", None),
        ("Yes, the criterion is met.", None),
        ("", None),
    ],
)
def test_verdict_of_a_criterion_is_that_of_the_last_object(text: str, verdict: str | None) -> None:
    """What is not exactly true or false is none: no word beside it counts."""
    assert verdict_of("rubric", text) == verdict


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ('A is shorter. {"better": "A"}', "first"),
        ('{"better": "B"}', "second"),
        ('Both miss it. {"better": "tie"}', "tie"),
        ('{"better": "C"}', None),
        ('{"better": "a"}', None),
        ('{"better": ["A", "B"]}', None),
        ("Answer A is better", None),
    ],
)
def test_verdict_of_two_texts(text: str, verdict: str | None) -> None:
    """A is the first that was shown."""
    assert verdict_of("preference", text) == verdict


def test_prompts_hold_what_is_judged_and_no_name() -> None:
    """Texts stand in the order given; braces in them are text; options are there for likelihoods alone."""
    prompt = judge_prompt("preference", "written", "{source}?", ["one {x}", "two"])
    ((role, text),) = prompt.turns
    assert role == "user"
    assert "<request>\n{source}?\n</request>" in text
    assert text.index("<answer A>\none {x}\n</answer A>") < text.index("<answer B>\ntwo\n</answer B>")
    assert prompt.options == ()
    criterion = judge_prompt("rubric", "likelihood", "Why?", ["Because."], "Gives a reason")
    assert criterion.options == ("yes", "no")
    assert "<criterion>\nGives a reason\n</criterion>" in criterion.turns[0][1]
    assert judge_prompt("preference", "likelihood", "?", ["1", "2"]).options == ("A", "B")


def test_likelier_verdict_has_its_probability() -> None:
    """Likelihoods are of a token, so that an option of two has no handicap; of equal ones the last is taken."""
    verdict, probability = likelier("rubric", (math.log(0.3), math.log(0.1)), (1, 1))
    assert (verdict, round(probability, 6)) == ("met", 0.75)
    assert likelier("preference", (-4.0, -2.5), (2, 1))[0] == "first"
    assert likelier("rubric", (-1.0, -1.0), (1, 1)) == ("unmet", 0.5)
